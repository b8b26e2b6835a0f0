"""Shows how a run of requests gets on: a line that changes on a terminal, a line every half minute elsewhere."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.text import Text

LOOKS = 0.25  # seconds between two looks on a terminal
EVERY = 30.0  # seconds between two lines elsewhere


@dataclass
class Counts:
    """What happened so far."""

    answered: int = 0  # ok and refused
    refused: int = 0
    failed: int = 0
    skipped: int = 0
    unanswered: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


async def show(counts: Counts, spent: Callable[[], float], total: int | None, trouble: Callable[[], str]) -> None:
    """Show until cancelled. `trouble` says what keeps the run from getting on, or nothing."""
    start = monotonic()

    def now() -> str:
        told = line(counts, spent(), total, monotonic() - start)
        return f"{told} · {trouble()}" if trouble() else told

    console = Console(stderr=True)
    if not console.is_terminal:
        while True:
            await asyncio.sleep(EVERY)
            print(now(), file=sys.stderr, flush=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(Text(now(), overflow="ellipsis", no_wrap=True), refresh=True)
            await asyncio.sleep(LOOKS)


def line(counts: Counts, spent: float, total: int | None, seconds: float) -> str:
    """`1,200/2,000 answered, 3 failed · 85.1/s · 20,400 tokens/s · $1.23 · 0:00:09 left`"""
    done = counts.answered + counts.failed + counts.skipped
    rate = (counts.answered + counts.failed) / seconds if seconds else 0.0
    head = f"{done:,}/{total:,} answered" if total is not None else f"{done:,} answered"
    parts = [f"{head}, {counts.failed:,} failed" if counts.failed else head]
    if counts.retries:
        parts.append(f"{counts.retries:,} retries")
    parts += [f"{rate:,.1f}/s", f"{(counts.input_tokens + counts.output_tokens) / max(seconds, 1e-9):,.0f} tokens/s"]
    if spent:
        parts.append(f"${spent:,.2f}")
    if total is not None and rate:
        parts.append(f"{clock((total - done) / rate)} left")
    return " · ".join(parts)


def clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
