"""OpenAI's Batch API: a file of requests is uploaded, a batch is made of it, its output and error files are read.

Formats: https://developers.openai.com/api/docs/guides/batch
"""

from collections.abc import Iterator
from pathlib import Path

import openai

from inference import clients
from inference.batches import ledger
from inference.batches.cut import Limits
from inference.batches.ledger import Chunk
from inference.batches.provider import SKEW, Item, State, Unreadable, parsed
from inference.models import Card
from inference.request import Request
from inference.scrub import learn

ENDED = ("completed", "expired", "cancelled", "failed")
MARK = "caravan_chunk"  # in a batch's metadata: which of our chunks it is


class OpenAIBatches:
    limits = Limits(requests=50_000, bytes=200_000_000)

    def __init__(self, card: Card) -> None:
        self._card = card
        # A repeated create would be a second batch: the engine alone decides what is tried again.
        self._client = openai.OpenAI(base_url=card.urls[0], api_key=learn(card.secret()), max_retries=0, timeout=600.0)

    def route(self, request: Request) -> str:
        return "/v1/completions" if request.messages is None else "/v1/chat/completions"

    def line(self, request: Request) -> bytes:
        body = clients.body(request, self._card)
        return ledger.line(request.request_id, {"method": "POST", "url": self.route(request), "body": body})

    def upload(self, path: Path) -> str | None:
        with path.open("rb") as file:
            return self._client.files.create(file=(path.name, file, "application/jsonl"), purpose="batch").id

    def create(self, chunk: Chunk, path: Path) -> str:
        batch = self._client.batches.create(
            input_file_id=chunk.input_file or "",
            endpoint=chunk.route,  # type: ignore[arg-type]  # one of those that `route` gives
            completion_window="24h",
            metadata={MARK: chunk.name},
        )
        return batch.id

    def find(self, chunk: Chunk, path: Path, known: set[str]) -> tuple[str | None, bool]:
        assert chunk.at is not None
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(MARK) == chunk.name:
                return batch.id, True
            if batch.created_at < chunk.at.timestamp() - SKEW:
                break
        return None, True

    def poll(self, batch: str) -> State:
        found = self._client.batches.retrieve(batch)
        counts = found.request_counts
        problems = (found.errors.data or []) if found.errors else []
        return State(
            status=found.status,
            ended=found.status in ENDED,
            done=counts.completed + counts.failed if counts else 0,
            errors=tuple((each.line, each.code or "", each.message or "no reason given") for each in problems),
        )

    def fetch(self, batch: str, folder: Path) -> list[Path]:
        found = self._client.batches.retrieve(batch)
        paths = []
        for kind, file_id in (("output", found.output_file_id), ("error", found.error_file_id)):
            if file_id:
                path = folder / f"{batch}.{kind}"
                with self._client.files.with_streaming_response.content(file_id) as response:
                    response.stream_to_file(path)
                paths.append(path)
        return paths

    def items(self, path: Path) -> Iterator[Item | Unreadable]:
        for where, value, text in parsed(path):
            item = None if value is None else _item(value, where)
            yield item or Unreadable(where, text)


def _item(value: dict[str, object], where: str) -> Item | None:
    """A line of an output or error file: {custom_id, response: {status_code, body} | null, error: {code, message} | null}."""
    custom_id, response, error = value.get("custom_id"), value.get("response"), value.get("error")
    if not isinstance(custom_id, str):
        return None
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        body = response.get("body")
        found = body.get("error") if isinstance(body, dict) else None
        words = str(found.get("message") or found) if isinstance(found, dict) else None
        status = response["status_code"]
        if status != 200 or isinstance(body, dict):
            return Item(custom_id, status, body if isinstance(body, dict) else None, words, where)
        return None
    if isinstance(error, dict):
        return Item(custom_id, None, None, f"{error.get('code')}: {error.get('message')}", where)
    return None
