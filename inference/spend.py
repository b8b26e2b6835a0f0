"""What requests will cost, at most and likely, and the budget that a run does not pass."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from inference.models import Card, cost, named
from inference.request import Request
from warehouse.errors import CaravanError

BYTES_A_TOKEN = 3.5  # of English text with code, for estimates; a bound needs 1: tokens are at least a byte
TOKENS_A_TURN = 8  # roles and separators around a message, at most
USED = 0.5  # share of max_tokens that answers use, for estimates
UNLIMITED = 4096  # tokens of an answer where neither request nor card says how many it may have, for estimates


@dataclass
class Estimate:
    """Of the requests to one model: tokens and US dollars, likely and at most; None where there is no price, or nothing limits the
    answers' length."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    likely: float | None = 0.0
    worst: float | None = 0.0

    def add(self, asked: int, said: int, likely: float | None, worst: float | None) -> None:
        self.requests += 1
        self.input_tokens += asked
        self.output_tokens += said
        self.likely = None if self.likely is None or likely is None else self.likely + likely
        self.worst = None if self.worst is None or worst is None else self.worst + worst


def most_tokens(request: Request, card: Card) -> tuple[int, int | None]:
    """Upper bounds of the tokens of question and answer; None where nothing limits the answer."""
    texts = [request.prompt or ""] if request.messages is None else [m["content"] for m in request.messages]
    asked = sum(len(text.encode()) for text in texts) + TOKENS_A_TURN * (len(texts) + 1)
    return asked if card.context is None else min(asked, card.context), _most_said(request, card)


def likely_tokens(request: Request, card: Card) -> tuple[int, int]:
    """Likely tokens of question and answer; of the answer, what a provider's rate limit counts: max_tokens."""
    texts = [request.prompt or ""] if request.messages is None else [m["content"] for m in request.messages]
    asked = sum(len(text.encode()) for text in texts) / BYTES_A_TOKEN + TOKENS_A_TURN * len(texts)
    return round(asked), _most_said(request, card) or UNLIMITED


def worst(request: Request, card: Card, batch: bool = False) -> float | None:
    """US dollars that a request costs at most today; None where there is no price, or nothing limits the answer's length."""
    asked, said = most_tokens(request, card)
    return None if said is None else cost(card, asked, said, datetime.now(UTC).date(), batch=batch)


def needed(request: Request, card: Card, batch: bool = False) -> float:
    """`worst` for a run with a budget. Raises CaravanError where it cannot be known."""
    found = worst(request, card, batch)
    if found is None and _most_said(request, card) is None:
        raise CaravanError(
            f"A budget needs to know what a request costs at most, and nothing limits the answers of '{card.name}': give max_tokens with "
            "the request, or output in the model card."
        )
    if found is None:
        raise CaravanError(
            f"A budget needs prices, and the model card '{card.name}' has none for today: add prices to it in a TOML file (--models; all 0 "
            "for a server of your own), or leave the budget out."
        )
    return found


def estimate(requests: Iterable[Request], cards: Mapping[str, Card], batch: bool = False) -> dict[str, Estimate]:
    """What requests would cost, by model. Raises CaravanError for a model without a card."""
    found: defaultdict[str, Estimate] = defaultdict(Estimate)
    today = datetime.now(UTC).date()
    for request in requests:
        card = named(cards, request.model)
        asked, most = likely_tokens(request, card)
        said = round(most * USED)
        likely = cost(card, asked, said, today, batch=batch)
        found[request.model].add(asked, said, likely, worst(request, card, batch))
    return dict(found)


class Exhausted(Exception):
    """The budget does not hold one more request."""


class Budget:
    """Money of a run. What a request may cost at most is reserved before it is asked and released when its answer is there.

    `spent` is what answers cost. `doubtful` is what attempts may have cost whose answer was lost (a time-out, a cut connection) or
    does not say how many tokens it took: it counts as spent, because a provider may charge for it.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.spent = self.doubtful = 0.0
        self._reserved = 0.0
        self._holding = 0  # reservations
        self._released = asyncio.Event()

    async def reserve(self, amount: float) -> None:
        """Reserve, when answers in flight have released enough. Raises Exhausted where that cannot happen any more."""
        if self.limit is None:
            return
        while self.spent + self.doubtful + self._reserved + amount > self.limit:
            if not self._holding or self.spent + self.doubtful + amount > self.limit:
                raise Exhausted
            self._released.clear()
            await self._released.wait()
        self._reserved += amount
        self._holding += 1

    def release(self, amount: float) -> None:
        if self.limit is not None:
            self._reserved -= amount
            self._holding -= 1
            self._released.set()


def _most_said(request: Request, card: Card) -> int | None:
    told = request.parameters.get("max_tokens") or request.parameters.get("max_completion_tokens")
    limits = [limit for limit in (told, card.output, card.context) if limit is not None]
    return min(limits, default=None)
