"""How fast a card may be asked, and which of its endpoints may be asked at all."""

import random
from time import monotonic

BURST = 1.0  # seconds of the rate that may be used at once
FAILURES = 5  # in a row: then an endpoint is left alone
REST, LONGEST_REST = 1.0, 60.0  # seconds that it is left alone, the first time and at most
BACKOFF, LONGEST_BACKOFF = 0.5, 60.0  # seconds before a second attempt, at most; doubled for each further one


class Bucket:
    """A rate a minute as a token bucket. An amount larger than the bucket may be taken from a full one, which then owes it."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, self._rate * BURST)
        self._level = self._most
        self._at = monotonic()

    def wait(self, amount: float) -> float:
        """Seconds until so much may be taken; 0 where it may be now."""
        now = monotonic()
        if self._level < self._most:
            self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._most) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        self._level -= amount

    def give_back(self, amount: float) -> None:
        """Correct an estimate: what was not used may be, at once; what was used beyond it (negative) is owed."""
        self._level += amount


class Breaker:
    """Leaves an endpoint alone after failures in a row, then lets one request try it (half open)."""

    def __init__(self) -> None:
        self._failures = 0
        self._rest = REST
        self._until = 0.0
        self._trying = False

    def wait(self) -> float:
        """Seconds until a request may go there: 0 for now, infinity while another one tries whether it is well again."""
        if self._failures < FAILURES:
            return max(0.0, self._until - monotonic())
        return float("inf") if self._trying else max(0.0, self._until - monotonic())

    def begin(self) -> None:
        """A request goes there."""
        self._trying = self._failures >= FAILURES

    def pause(self, seconds: float) -> None:
        """Send nothing for so long: the server said so."""
        self._until = max(self._until, monotonic() + seconds)

    def succeeded(self) -> None:
        self._failures, self._rest, self._trying = 0, REST, False

    def failed(self) -> None:
        self._failures += 1
        if self._failures == FAILURES or self._trying:
            self.pause(self._rest)
            self._rest = min(LONGEST_REST, 2 * self._rest)
        self._trying = False


def backoff(attempt: int, after: float | None) -> float:
    """Seconds before the attempt after this one (from 1): a random share of a time that doubles ("full jitter"), after what the server
    asked for. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""
    most = min(LONGEST_BACKOFF, BACKOFF * 2 ** min(attempt, 10))
    if after is None:
        return random.uniform(0, most)
    return after + random.uniform(0, min(most, after + BACKOFF))
