"""Anthropic's Message Batches: the requests go up in one body, results come as JSON lines when all have ended.

Formats: https://docs.anthropic.com/en/docs/build-with-claude/batch-processing
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
from anthropic.types.messages import MessageBatch

from inference import clients
from inference.batches import ledger
from inference.batches.cut import Limits
from inference.batches.ledger import Chunk
from inference.batches.provider import SKEW, Item, State, Unreadable, parsed
from inference.models import Card
from inference.request import Request
from inference.scrub import learn
from warehouse.errors import CaravanError

# The status that the Messages API answers with for each type of error: docs.anthropic.com, "Errors".
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
OPENING, CLOSING = b'{"requests":[', b"]}"


class AnthropicBatches:
    limits = Limits(requests=100_000, bytes=256_000_000 - len(OPENING) - len(CLOSING))

    def __init__(self, card: Card) -> None:
        self._card = card
        self._others: set[tuple[str, str]] = set()  # chunk, and a batch that was not made of it
        # A repeated create would be a second batch: the engine alone decides what is tried again.
        self._client = anthropic.Anthropic(
            base_url=card.urls[0], api_key=learn(card.secret()), max_retries=0, timeout=600.0
        )

    def route(self, request: Request) -> str:
        return "/v1/messages"

    def line(self, request: Request) -> bytes:
        if request.messages is None:
            raise CaravanError(
                f"{request.model} speaks Anthropic's protocol, which has no raw completions: use messages."
            )
        return ledger.line(request.request_id, {"params": clients.body(request, self._card)})

    def upload(self, path: Path) -> str | None:
        return None

    def create(self, chunk: Chunk, path: Path) -> str:
        # What client.messages.batches.create sends, without all the requests in memory.
        length = len(OPENING) + chunk.bytes - 1 + len(CLOSING)
        headers = {"content-type": "application/json", "content-length": str(length)}
        batch = self._client.post(
            "/v1/messages/batches", cast_to=MessageBatch, content=_body(path), options={"headers": headers}
        )
        return batch.id

    def find(self, chunk: Chunk, path: Path, known: set[str]) -> tuple[str | None, bool]:
        """A batch bears no mark of ours: of those made since, with as many requests, it is the one whose results are ours. Results are
        there only when a batch has ended, so until then nothing is certain."""
        assert chunk.at is not None
        candidates, certain, ours = [], True, None
        for batch in self._client.messages.batches.list(limit=100):
            if batch.created_at.timestamp() < chunk.at.timestamp() - SKEW:
                break
            if batch.id in known or (chunk.name, batch.id) in self._others:
                continue
            if sum(batch.request_counts.model_dump().values()) == chunk.requests:
                candidates.append(batch)
        for batch in reversed(candidates):
            if batch.processing_status != "ended":
                certain = False
                continue
            ours = ours or {request_id.hex() for request_id in ledger.ids(path)}
            names = {item.custom_id for item in self._results(batch.id, path.parent) if isinstance(item, Item)}
            # Most, because lines may be broken, and lines of others may have got in between.
            if 2 * len(names & ours) > len(names):
                return batch.id, True
            self._others.add((chunk.name, batch.id))
        return None, certain

    def poll(self, batch: str) -> State:
        found = self._client.messages.batches.retrieve(batch)
        counts = found.request_counts
        done = counts.succeeded + counts.errored + counts.canceled + counts.expired
        return State(found.processing_status, found.processing_status == "ended", done)

    def fetch(self, batch: str, folder: Path) -> list[Path]:
        path = folder / f"{batch}.results"
        # `results` itself gives up at the first line that is no JSON.
        with self._client.messages.batches.with_streaming_response.results(batch) as response, path.open("wb") as file:
            for part in response.iter_bytes():
                file.write(part)
        return [path]

    def items(self, path: Path) -> Iterator[Item | Unreadable]:
        for where, value, text in parsed(path):
            item = None if value is None else _item(value, where)
            yield item or Unreadable(where, text)

    def _results(self, batch: str, folder: Path) -> Iterator[Item | Unreadable]:
        for path in self.fetch(batch, folder):
            yield from self.items(path)
            path.unlink()


def _body(path: Path) -> Iterator[bytes]:
    """The body of a create request from a chunk's file: its lines with commas between them."""
    yield OPENING
    with path.open("rb") as file:
        before = b""
        for line in file:
            yield before + line[:-1]
            before = b","
    yield CLOSING


def _item(value: dict[str, Any], where: str) -> Item | None:
    """A line of results: {custom_id, result: {type, message | error}}."""
    custom_id, result = value.get("custom_id"), value.get("result")
    if not isinstance(custom_id, str) or not isinstance(result, dict):
        return None
    match result:
        case {"type": "succeeded", "message": dict(message)}:
            return Item(custom_id, 200, message, None, where)
        case {"type": "errored", "error": {"error": {"type": kind, "message": words}}}:
            return Item(custom_id, STATUS.get(kind, 500), None, f"{kind}: {words}", where)
        case {"type": "expired" | "canceled" as kind}:
            return Item(custom_id, None, None, f"batch_{kind}", where)
    return None
