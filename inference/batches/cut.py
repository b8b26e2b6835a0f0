"""Cut a stream of requests into files that keep to a provider's limits: one model and one route a file, never more than a line in memory."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from inference.batches.ledger import Chunk, Ledger

Key = tuple[str, str, str, int]  # model, URL, route, attempt


@dataclass(frozen=True)
class Limits:
    """What one batch may hold at most."""

    requests: int
    bytes: int


class Cutter:
    """Files under way. `limits` gives those of a key; a chunk is closed before the line that would pass them."""

    def __init__(self, ledger: Ledger, limits: Callable[[Key], Limits]) -> None:
        self._ledger, self._limits = ledger, limits
        self._open: dict[Key, tuple[Chunk, BinaryIO]] = {}

    def add(self, key: Key, line: bytes, worst: float | None) -> Chunk | None:
        """Put a line (with its line end) into the file of its key. Returns the chunk that this closed, if any.

        worst: US dollars that its answer costs at most, None where the model has no price.
        """
        limits = self._limits(key)
        closed = None
        if key in self._open:
            chunk, _ = self._open[key]
            if chunk.requests >= limits.requests or chunk.bytes + len(line) > limits.bytes:
                closed = self._close(key)
        if key not in self._open:
            chunk = self._ledger.new(*key)
            self._open[key] = chunk, self._ledger.path(chunk).open("wb")
        chunk, file = self._open[key]
        file.write(line)
        total = None if worst is None else (chunk.worst or 0.0) + worst
        chunk = replace(chunk, requests=chunk.requests + 1, bytes=chunk.bytes + len(line), worst=total)
        self._open[key] = chunk, file
        return closed

    def rest(self) -> Iterator[Chunk]:
        """Close all files that are open, and yield their chunks."""
        for key in list(self._open):
            yield self._close(key)

    @property
    def requests(self) -> int:
        """How many requests are in open files."""
        return sum(chunk.requests for chunk, _ in self._open.values())

    @property
    def worst(self) -> float:
        """US dollars that the requests in open files cost at most."""
        return sum(chunk.worst or 0.0 for chunk, _ in self._open.values())

    def _close(self, key: Key) -> Chunk:
        chunk, file = self._open.pop(key)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        return self._ledger.step(chunk, "cut")
