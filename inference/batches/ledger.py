"""What is known of every batch, in a file beside the journal: `batches/ledger.jsonl` in the journal's folder.

A chunk is a file of requests that becomes one batch. Each line of the ledger is one step of one chunk, on the disk before the step
that follows from it is taken: `cut` (its file is whole), `submitting` (the provider is being asked to create it), `created` (its
batch id), `ended` (all that it brought is in the journal), `dropped` (it never became a batch). A chunk whose last step is
`submitting` may or may not have become a batch: that is asked of the provider before anything is submitted again.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

UNDER_WAY = ("submitting", "created")
OPENING = b'{"custom_id":"'


@dataclass(frozen=True)
class Chunk:
    """Requests that go into one batch: of one model, to one route of one URL."""

    name: str
    model: str
    url: str
    route: str
    attempt: int  # 1 for requests that were never in a batch before
    requests: int = 0
    bytes: int = 0
    worst: float | None = None  # US dollars if every answer is as long as it may be; None where the model has no price
    state: str = "open"
    batch: str | None = None
    input_file: str | None = None
    at: datetime | None = None  # of the last step


class Ledger:
    """The chunks of a journal's folder. Whoever writes holds the journal's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "batches"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.chunks: dict[str, Chunk] = {}
        path = self.folder / "ledger.jsonl"
        self._keep_whole_lines(path)
        for chunk in read(folder):
            self.chunks[chunk.name] = chunk
        self._file = path.open("a", encoding="utf-8")

    def new(self, model: str, url: str, route: str, attempt: int) -> Chunk:
        """A chunk that is still being written; the ledger hears of it with its first step."""
        return Chunk(uuid4().hex, model, url, route, attempt)

    def step(self, chunk: Chunk, state: str, **changes: Any) -> Chunk:
        """Note a step of a chunk; it is on the disk when this returns."""
        chunk = replace(chunk, state=state, at=datetime.now(UTC), **changes)
        self.chunks[chunk.name] = chunk
        self._file.write(json.dumps(_fields(chunk), ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if state in ("ended", "dropped"):
            self.path(chunk).unlink(missing_ok=True)
        return chunk

    def path(self, chunk: Chunk) -> Path:
        """The file of the chunk's requests: a JSON object a line, as its provider takes them."""
        return self.folder / f"{chunk.name}.jsonl"

    def under_way(self) -> list[Chunk]:
        """Chunks that are, or may be, with a provider, oldest first."""
        return [chunk for chunk in self.chunks.values() if chunk.state in UNDER_WAY]

    def batches(self) -> set[str]:
        """Ids of all batches that are known to be ours."""
        return {chunk.batch for chunk in self.chunks.values() if chunk.batch}

    def recover(self) -> list[Chunk]:
        """Tidy up after a program that was stopped; return the chunks that are under way.

        Chunks that never reached a provider are dropped: their requests come again. A chunk whose file somebody removed is given
        up, which is how a user forgets a batch that its provider has lost.
        """
        for chunk in list(self.chunks.values()):
            if chunk.state == "cut" or (chunk.state in UNDER_WAY and not self.path(chunk).exists()):
                self.step(chunk, "dropped")
        kept = {self.path(chunk).name for chunk in self.under_way()}
        for path in self.folder.iterdir():
            if path.name != "ledger.jsonl" and path.name not in kept:
                path.unlink()
        return self.under_way()

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def _keep_whole_lines(path: Path) -> None:
        """Cut off a last line that a power cut or a kill left unfinished."""
        if not path.exists():
            return
        with path.open("rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)


def read(folder: Path) -> list[Chunk]:
    """The chunks of a journal's folder, in the order in which they were cut; none where there never was a batch."""
    path = folder / "batches" / "ledger.jsonl"
    chunks: dict[str, Chunk] = {}
    if path.exists():
        for each in path.read_bytes().split(b"\n")[:-1]:
            fields = json.loads(each)
            chunks[fields["name"]] = Chunk(**{**fields, "at": datetime.fromisoformat(fields["at"])})
    return list(chunks.values())


def waiting(folder: Path) -> set[bytes]:
    """Ids (16 bytes each) of the requests that are with a provider in a batch: nobody else may ask them."""
    found: set[bytes] = set()
    for chunk in read(folder):
        path = folder / "batches" / f"{chunk.name}.jsonl"
        if chunk.state in UNDER_WAY and path.exists():
            found.update(ids(path))
    return found


def line(request_id: str, fields: dict[str, Any]) -> bytes:
    """A request as a line of a chunk's file. The id comes first, so that it can be read without parsing the rest."""
    return b'%s%s",%s\n' % (OPENING, request_id.encode(), json.dumps(fields, ensure_ascii=False).encode()[1:])


def lines(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """(id of 16 bytes, line) of the requests in a chunk's file."""
    with path.open("rb") as file:
        for each in file:
            yield bytes.fromhex(each[len(OPENING) : len(OPENING) + 32].decode()), each


def ids(path: Path) -> Iterator[bytes]:
    """Ids (16 bytes each) of the requests in a chunk's file."""
    return (request_id for request_id, _ in lines(path))


def _fields(chunk: Chunk) -> dict[str, Any]:
    at = chunk.at.isoformat() if chunk.at else None
    return {**{key: value for key, value in asdict(chunk).items() if value is not None}, "at": at}
