"""Bring the results of a batch into the journal: every line counts once, none can lose another."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from inference import clients
from inference.batches.ledger import Chunk, Ledger, ids
from inference.batches.provider import Batches, Item, Unreadable
from inference.journal import Journal
from inference.models import Card
from inference.request import Response
from inference.scrub import scrub

AGAIN = (408, 409, 425, 429)  # and 5xx: passing trouble of one request
OURS = (401, 402, 403, 404)  # key, bill, rights or model are wrong: the request is not, so it stays open


@dataclass
class Collected:
    """What the batches of a run brought."""

    answered: int = 0  # ok and refused
    refused: int = 0
    failed: int = 0
    unanswered: int = 0
    spent: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    notes: list[str] = field(default_factory=list)

    def take(self, journal: Journal, response: Response) -> None:
        """Keep a response, unless its request has one."""
        if journal.add(response):
            self.failed += response.status == "failed"
            self.answered += response.status != "failed"
            self.refused += response.status == "refused"
            self.spent += response.cost or 0.0
            self.input_tokens += response.input_tokens or 0
            self.output_tokens += response.output_tokens or 0


@dataclass
class _Batch:
    """One batch on its way into the journal."""

    card: Card
    chunk: Chunk
    wanted: set[bytes]  # requests that no line was read for yet
    seen: set[bytes] = field(default_factory=set)
    again: set[bytes] = field(default_factory=set)
    spent: float = 0.0
    odd: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def remark(self, kind: str, where: str) -> None:
        self.odd[kind] += 1
        self.examples.setdefault(kind, where)


def collect(
    card: Card, api: Batches, chunk: Chunk, ledger: Ledger, journal: Journal, found: Collected
) -> tuple[set[bytes], float]:
    """Journal the results of a batch that has ended. Returns the requests to submit again, and what the batch cost in US dollars.

    A file with a line that cannot be read is fetched once more, in case it broke on the way. Raises provider.ERRORS.
    """
    assert chunk.batch is not None
    batch = _Batch(card, chunk, set(ids(ledger.path(chunk))))
    paths = api.fetch(chunk.batch, ledger.folder)
    if any(isinstance(item, Unreadable) for item in _items(api, paths)):
        paths = api.fetch(chunk.batch, ledger.folder)
    for item in _items(api, paths):
        if isinstance(item, Unreadable):
            batch.remark("cannot be read", f"{item.where}: {item.text}")
        else:
            _line(batch, item, journal, found)
    if batch.wanted:
        batch.remark("missing", f"request {min(batch.wanted).hex()}")
        batch.odd["missing"] = len(batch.wanted)
    journal.flush()
    for path in paths:
        path.unlink()
    for kind, count in batch.odd.items():
        found.notes.append(scrub(f"{chunk.batch}: {count:,} results {WORDS[kind]} (first: {batch.examples[kind]})"))
    return batch.again | batch.wanted, batch.spent


WORDS = {
    "cannot be read": "cannot be read; their requests are asked again",
    "missing": "are missing; their requests are asked again",
    "unknown": "are of requests that were not in the batch, and were left out",
    "twice": "came twice, and count once",
    "cancelled": "were cancelled at the provider; the next run asks their requests again",
    "open": "are errors that the request is not to blame for; the next run asks again",
}


def _items(api: Batches, paths: list[Path]) -> Iterator[Item | Unreadable]:
    return (item for path in paths for item in api.items(path))


def _line(batch: _Batch, item: Item, journal: Journal, found: Collected) -> None:
    try:
        name = bytes.fromhex(item.custom_id)
    except ValueError:
        name = b""
    if name in batch.seen:
        batch.remark("twice", item.where)
        return
    if name not in batch.wanted:
        batch.remark("unknown", f"{item.where}: {item.custom_id[:80]}")
        return
    batch.wanted.discard(name)
    batch.seen.add(name)
    words = scrub(item.words or f"HTTP {item.status}")
    if item.status == 200 and item.body is not None:
        try:
            response = clients.answer(
                batch.card,
                item.custom_id,
                item.body,
                endpoint=urlsplit(batch.chunk.url).netloc,
                attempts=batch.chunk.attempt,
                batch_id=batch.chunk.batch,
            )
        except clients.Malformed as error:
            batch.again.add(name)
            batch.remark("cannot be read", f"{item.where}: {error}")
            return
        batch.spent += response.cost or 0.0
        found.take(journal, response)
    elif item.status is None and "cancel" in (item.words or ""):
        batch.remark("cancelled", item.where)
        found.unanswered += 1
    elif item.status is None or item.status in AGAIN or item.status >= 500:
        batch.again.add(name)
    elif item.status in OURS:
        batch.remark("open", f"{item.where}: {words}")
        found.unanswered += 1
    else:
        found.take(journal, failed(batch.chunk, item.custom_id, words))


def failed(chunk: Chunk, request_id: str, words: str) -> Response:
    """The response of a request that the provider refused for good."""
    return Response(
        request_id,
        "failed",
        endpoint=urlsplit(chunk.url).netloc,
        batch_id=chunk.batch,
        error=words,
        attempts=chunk.attempt,
        received_at=datetime.now(UTC),
    )
