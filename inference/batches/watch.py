"""Progress of batches: what is done, under way, spent, and for how long."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.status import Status

from inference.batches.collect import Collected
from inference.batches.ledger import Chunk
from inference.progress import clock

EVERY = 60.0  # seconds between two lines where nobody watches a screen


class Watch:
    """A line that is rewritten on a terminal, and a new line now and then in a file."""

    def __init__(self, shown: bool, total: int | None) -> None:
        self.done: dict[str, int] = {}  # chunk -> requests that its provider is done with
        self._total = total
        self._shown = shown
        self._console = Console(file=sys.stderr, highlight=False)
        self._status: Status | None = None
        self._last, self._at = "", 0.0

    def say(self, words: str) -> None:
        """A line that stays."""
        if self._shown:
            self._console.print(words, markup=False, soft_wrap=True)

    def show(self, chunks: Sequence[Chunk], found: Collected, skipped: int) -> None:
        """How things stand."""
        if not self._shown:
            return
        there = found.answered + found.failed
        done = there + sum(self.done.get(chunk.name, 0) for chunk in chunks)
        total = self._total - skipped if self._total is not None else there + sum(chunk.requests for chunk in chunks)
        oldest = min((chunk.at for chunk in chunks if chunk.at), default=None)
        age = f", the oldest for {clock((datetime.now(UTC) - oldest).total_seconds())}" if oldest else ""
        line = f"{done:,} of {total:,} requests done; {len(chunks):,} batches under way{age}; ${found.spent:,.2f} spent"
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(line)
                self._status.start()
            self._status.update(line)
        elif time.monotonic() - self._at > EVERY and line != self._last:
            self._last, self._at = line, time.monotonic()
            self.say(line)

    def close(self) -> None:
        if self._status:
            self._status.stop()
