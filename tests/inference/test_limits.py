"""Token buckets, circuit breaker and backoff, on a clock that the tests turn."""

import asyncio

import pytest

from inference import lanes, limits
from inference.clients import Trouble
from inference.lanes import Closed, Lane
from inference.limits import Breaker, Bucket, backoff
from inference.models import Card


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "monotonic", made)
    return made


def taken(bucket: Bucket, clock: Clock, amount: float, seconds: float) -> int:
    """How often the amount can be taken within so many seconds by one who waits as told."""
    end, times = clock.now + seconds, 0
    while True:
        clock.now += bucket.wait(amount) + 1e-9
        if clock.now > end:
            return times
        bucket.take(amount)
        times += 1


@pytest.mark.parametrize(("rate", "amount", "most"), [(60, 1, 61), (600, 1, 610), (6000, 500, 13), (90, 1, 92)])
def test_the_rate_is_kept_and_used(clock: Clock, rate: float, amount: float, most: int):
    found = taken(Bucket(rate), clock, amount, 60)
    assert rate / amount - 1 <= found <= most


def test_more_than_the_bucket_holds_is_owed(clock: Clock):
    bucket = Bucket(60)
    assert bucket.wait(30) == 0
    bucket.take(30)
    assert bucket.wait(1) == pytest.approx(30)


def test_estimates_are_corrected(clock: Clock):
    bucket = Bucket(6000)
    bucket.take(1000)
    assert bucket.wait(1000) == pytest.approx(10)
    bucket.give_back(1000 - 50)
    assert bucket.wait(50) == 0
    bucket.give_back(-1000)  # it used more than was thought
    assert bucket.wait(100) == pytest.approx(10.5)
    clock.now += 3600
    assert bucket.wait(100) == 0
    bucket.take(100)
    assert bucket.wait(100) > 0, "an idle hour is no credit"


def test_a_circuit_opens_tries_and_closes(clock: Clock):
    breaker = Breaker()
    for _ in range(limits.FAILURES - 1):
        breaker.failed()
    assert breaker.wait() == 0
    breaker.succeeded()
    for _ in range(limits.FAILURES):
        assert breaker.wait() == 0
        breaker.begin()
        breaker.failed()
    assert breaker.wait() == limits.REST
    clock.now += limits.REST
    assert breaker.wait() == 0
    breaker.begin()
    assert breaker.wait() == float("inf"), "one request tries it, the others wait"
    breaker.failed()
    assert breaker.wait() == 2 * limits.REST
    clock.now += 2 * limits.REST
    breaker.begin()
    breaker.succeeded()
    assert breaker.wait() == 0
    breaker.begin()
    assert breaker.wait() == 0


def test_the_rest_grows_to_a_limit(clock: Clock):
    breaker = Breaker()
    for _ in range(limits.FAILURES + 20):
        clock.now += breaker.wait()
        breaker.begin()
        breaker.failed()
    assert breaker.wait() == limits.LONGEST_REST


def test_a_pause_is_kept(clock: Clock):
    breaker = Breaker()
    breaker.pause(5)
    breaker.pause(2)
    assert breaker.wait() == 5
    breaker.succeeded()
    assert breaker.wait() == 5, "an answer that was under way does not end it"
    clock.now += 5
    assert breaker.wait() == 0


def test_backoff_has_full_jitter_and_obeys_the_server():
    for attempt, most in ((1, 1.0), (3, 4.0), (30, limits.LONGEST_BACKOFF)):
        drawn = [backoff(attempt, None) for _ in range(2000)]
        assert 0 <= min(drawn) < 0.05 * most and 0.95 * most < max(drawn) <= most
    assert all(7 <= backoff(1, 7.0) <= 8 for _ in range(200))


CARD = Card("m", "openai", "MIT", ("http://127.0.0.1:9/v1",))


def test_a_server_that_says_slower_when_it_is_tried_is_well_again(clock: Clock):
    lane = Lane(CARD, concurrency=1, timeout=1.0, patience=60.0)
    [place] = lane.places
    for _ in range(limits.FAILURES):
        lane.trouble(place, Trouble("HTTP 500"))
    clock.now += place.breaker.wait()
    place.breaker.begin()
    assert place.breaker.wait() == float("inf")
    lane.trouble(place, Trouble("HTTP 429", after=3.0, down=False))
    assert place.breaker.wait() == 3.0


def test_a_lane_is_lost_when_patience_ends_and_nothing_is_in_flight(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lanes, "monotonic", clock)
    lane = Lane(CARD, concurrency=1, timeout=1.0, patience=600.0)
    [place] = lane.places
    lane.trouble(place, Trouble("refused", reached=False))
    clock.now += lanes.FIRST_CONTACT
    assert lane.lost()
    place.in_flight = 1
    assert not lane.lost(), "what is in flight may still bring an answer"
    place.in_flight = 0
    lane.trouble(place, Trouble("HTTP 500"))
    assert not lane.lost() and lane.left() == 600.0 - lanes.FIRST_CONTACT
    lane.well(place)
    clock.now += 1000
    assert not lane.lost()


def test_a_lane_that_is_closed_gives_its_slot_back():
    async def closed_while_it_waits_for_a_slot() -> asyncio.Semaphore:
        slots = asyncio.Semaphore(1)
        await slots.acquire()
        lane = Lane(CARD, concurrency=1, timeout=1.0, patience=60.0)
        waiting = asyncio.create_task(lane.admit(0, slots))
        await asyncio.sleep(0)
        lane.close()
        slots.release()
        with pytest.raises(Closed):
            await waiting
        return slots

    assert not asyncio.run(closed_while_it_waits_for_a_slot()).locked()
