"""What the engine needs of a provider's batch API, and what its errors mean."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anthropic
import httpx2
import openai

from inference.batches.cut import Limits
from inference.batches.ledger import Chunk
from inference.models import Card
from inference.request import Request

SKEW = 600.0  # seconds by which a provider's clock and ours may differ
ERRORS = (openai.APIError, anthropic.APIError, httpx2.TransportError)


@dataclass(frozen=True)
class State:
    """How a batch stands. `errors`: what the provider said of a batch that it refused as a whole: (line from 1 or None, code, words)."""

    status: str
    ended: bool
    done: int = 0
    errors: tuple[tuple[int | None, str, str], ...] = ()


@dataclass(frozen=True)
class Item:
    """A line of results. `status` is that of HTTP (200: `body` is the answer), None where the request was never run; `words` says why
    there is no answer. `where` names file and line."""

    custom_id: str
    status: int | None
    body: Mapping[str, Any] | None
    words: str | None
    where: str


@dataclass(frozen=True)
class Unreadable:
    """A line of results that cannot be read."""

    where: str
    text: str


class Batches(Protocol):
    """The batch API of one model card. Methods raise ERRORS."""

    limits: Limits

    def route(self, request: Request) -> str: ...

    def line(self, request: Request) -> bytes:
        """The request as a line of a chunk's file. Raises CaravanError where the API cannot take it."""
        ...

    def upload(self, path: Path) -> str | None:
        """Bring a chunk's file to the provider, where that comes before the batch; its id there. Costs nothing."""
        ...

    def create(self, chunk: Chunk, path: Path) -> str:
        """Make a batch of a chunk: from here on it is paid. Returns its id."""
        ...

    def find(self, chunk: Chunk, path: Path, known: set[str]) -> tuple[str | None, bool]:
        """(the id of the batch that was made of this chunk, or None; whether that is certain). `known` are batches of other chunks."""
        ...

    def poll(self, batch: str) -> State: ...

    def fetch(self, batch: str, folder: Path) -> list[Path]:
        """Bring the results of a batch that has ended to files in a folder."""
        ...

    def items(self, path: Path) -> Iterator[Item | Unreadable]:
        """The results in such a file, one by one."""
        ...


@dataclass(frozen=True)
class Trouble:
    """What an error of the package means. `passing`: it may work later; `refused`: the provider certainly did nothing."""

    words: str
    passing: bool
    refused: bool
    wait: float = 0.0  # seconds that the provider asked for


def trouble(error: Exception) -> Trouble:
    """Read one of ERRORS."""
    if isinstance(error, openai.APIStatusError | anthropic.APIStatusError):
        status = error.status_code
        words = f"HTTP {status}: {_message(error)}"
        if status == 429:
            return Trouble(words, True, True, _seconds(error.response.headers.get("retry-after")))
        passing = status in (408, 409) or status >= 500
        return Trouble(words, passing, not passing, _seconds(error.response.headers.get("retry-after")))
    return Trouble(f"{type(error).__name__}: {error}", True, False)


def _message(error: openai.APIStatusError | anthropic.APIStatusError) -> str:
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else None
    return str(inner.get("message") or inner) if isinstance(inner, dict) else str(error)


def _seconds(text: str | None) -> float:
    try:
        return min(float(text or 0), 600.0)
    except ValueError:
        return 0.0


def parsed(path: Path) -> Iterator[tuple[str, dict[str, Any] | None, str]]:
    """(where, object or None where the line is none, text) of the lines of a file of results. Lines end at a line feed and nowhere else."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path.name}, line {number}"
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            yield where, value if isinstance(value, dict) else None, line[:80].decode("utf-8", "replace").rstrip("\n")


def of(card: Card) -> Batches:
    """The batch API that a card's URL speaks."""
    from inference.batches.anthropic_api import AnthropicBatches
    from inference.batches.openai_api import OpenAIBatches

    return OpenAIBatches(card) if card.provider == "openai" else AnthropicBatches(card)
