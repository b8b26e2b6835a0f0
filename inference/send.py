"""The engine: many requests to many endpoints, each answered once, what is paid for never lost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inference.journal import Journal
from inference.models import Card
from inference.request import Request


@dataclass(frozen=True)
class Sending:
    """How to send. `concurrency`: requests in flight over all endpoints. `budget`: US dollars that this run must not pass, None for no
    limit. `patience`: seconds for which a request that meets passing trouble is tried again. `total`: how many requests there are, where
    it is known (for progress). `progress`: whether to show it."""

    concurrency: int = 64
    budget: float | None = None
    patience: float = 600.0
    total: int | None = None
    progress: bool = True


@dataclass(frozen=True)
class Summary:
    """What a run did. `answered` counts ok and refused, `failed` those that will not succeed; both are in the journal. `skipped` had an
    answer before. `unanswered` were read and got none: the next run asks them again. `stopped`: "budget", "interrupted" or None where
    all requests were read. `notes`: sentences for the user (servers that went away, requests that were in doubt)."""

    answered: int = 0
    failed: int = 0
    skipped: int = 0
    unanswered: int = 0
    in_doubt: int = 0
    spent: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    notes: tuple[str, ...] = ()


def send(
    requests: Iterable[Request], cards: Mapping[str, Card], journal: Journal, how: Sending | None = None
) -> Summary:
    """Ask every request that the journal has no answer for; the answers are in the journal when this returns.

    `requests` is read as slots get free. Ctrl-C once: nothing new is sent, what is in flight is waited for, and the summary says
    "interrupted"; twice: KeyboardInterrupt at once. Raises CaravanError, after the answers in flight came in, for what no retry mends: a
    missing or wrong key, an unknown model, a server that never answered, no price where a budget is given.
    """
    raise NotImplementedError
