"""The way to one model: its endpoints, how fast it may be asked, and whether anybody answers there."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from inference.clients import Endpoint, Trouble
from inference.limits import Breaker, Bucket
from inference.models import Card

FIRST_CONTACT = 20.0  # seconds to wait for a server that has never answered
LONGEST = 3600.0  # seconds that asyncio is asked to sleep at once


class Closed(Exception):
    """The lane was given up: what waits in it stays unanswered."""


@dataclass(eq=False)
class Place:
    """An endpoint and how it does."""

    endpoint: Endpoint
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    used: int = 0  # when it was chosen last, by the lane's count


class Lane:
    """All that concerns one card in a run."""

    def __init__(self, card: Card, concurrency: int, timeout: float, patience: float) -> None:
        self.card = card
        self._patience = patience
        self.places = [Place(Endpoint(card, url, concurrency=concurrency, timeout=timeout)) for url in card.urls]
        self.requests = Bucket(card.requests_per_minute) if card.requests_per_minute else None
        self.tokens = Bucket(card.tokens_per_minute) if card.tokens_per_minute else None
        self.closed = False
        self.reached = False  # whether any server ever answered
        self.words = ""  # of the last trouble
        self._since: float | None = None  # since when there was nothing but trouble
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._chosen = 0

    async def admit(self, tokens: int, slots: asyncio.Semaphore) -> Place:
        """Wait until the limits, an endpoint and a slot allow a request of so many tokens; the endpoint that it goes to.

        One request waits at a time and the others queue behind it, so that none is overtaken for ever. Raises Closed, also where the
        endpoints rest and patience has ended.
        """
        async with self._turn:
            while True:
                self._changed.clear()
                wait = self._wait(tokens)
                if not wait:
                    await slots.acquire()
                    if not self.closed and not self._wait(tokens):
                        return self._take(tokens)
                    slots.release()
                    continue
                if self.lost():
                    raise Closed
                left = self.left()
                try:
                    await asyncio.wait_for(self._changed.wait(), min(wait, left if left > 0 else LONGEST, LONGEST))
                except TimeoutError:
                    continue

    def well(self, place: Place) -> None:
        """The endpoint gave an answer."""
        self.reached, self._since = True, None
        place.breaker.succeeded()
        self._changed.set()

    def trouble(self, place: Place, trouble: Trouble) -> None:
        """The endpoint gave none."""
        self.reached |= trouble.reached
        self._since = self._since or monotonic()
        self.words = str(trouble)
        if trouble.down:
            place.breaker.failed()
        else:
            place.breaker.succeeded()  # it is well, and has enough to do
        if trouble.after is not None:
            place.breaker.pause(trouble.after)
        self._changed.set()

    def troubled(self) -> float:
        """Seconds for which there was nothing but trouble."""
        return 0.0 if self._since is None else monotonic() - self._since

    @property
    def patience(self) -> float:
        """Seconds of nothing but trouble after which the lane is given up."""
        return self._patience if self.reached else min(self._patience, FIRST_CONTACT)

    def left(self) -> float:
        """Seconds of patience that are left."""
        return self.patience - self.troubled()

    def lost(self) -> bool:
        """Whether patience has ended, and nothing is in flight that may still bring an answer."""
        return self._since is not None and self.left() <= 0 and not any(place.in_flight for place in self.places)

    def close(self) -> None:
        self.closed = True
        self._changed.set()

    def used(self, estimated: int, tokens: int) -> None:
        """Correct the estimate of a request's tokens."""
        if self.tokens:
            self.tokens.give_back(estimated - tokens)

    def _wait(self, tokens: int) -> float:
        if self.closed:
            raise Closed
        wait = min(place.breaker.wait() for place in self.places)
        if self.requests:
            wait = max(wait, self.requests.wait(1))
        return max(wait, self.tokens.wait(tokens)) if self.tokens else wait

    def _take(self, tokens: int) -> Place:
        self._chosen += 1
        ready = [place for place in self.places if not place.breaker.wait()]
        place = min(ready, key=lambda each: (each.in_flight, each.used))
        place.in_flight += 1
        place.used = self._chosen
        place.breaker.begin()
        if self.requests:
            self.requests.take(1)
        if self.tokens:
            self.tokens.take(tokens)
        return place
