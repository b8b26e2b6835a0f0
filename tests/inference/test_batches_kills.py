"""kill -9 while batches are cut, submitted, polled and fetched: every request is answered once, and none is paid twice.

CARAVAN_KILLS says how many times each provider's run is killed at random moments (default: 4).
"""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from multiprocessing import get_context

import pytest

from inference.batches import Batching, run, waiting
from inference.batches.ledger import Ledger
from inference.journal import Journal
from inference.models import Card, Price
from inference.request import Request
from tests.inference.loopback_batches import start

KILLS = int(os.environ.get("CARAVAN_KILLS", "4"))
QUICK = Batching(requests_per_batch=25, pause=(0.02, 0.1), settle=0.3, patience=60.0, progress=False)
FAULTS = {
    "polls": 2,
    "expire": 0.05,
    "error": 0.05,
    "limited": 0.05,
    "refuse": 0.05,
    "duplicate": 0.05,
    "unknown": 0.05,
}
FAULTS |= {"lost": 2, "hidden": 0.1, "page": 5}
STEPS = [(state, when) for state in ("cut", "submitting", "created", "ended") for when in ("before", "after")]
FORK = get_context("fork")  # a new interpreter would take longer to begin than a job to end


@pytest.fixture
def server():
    started = start(**FAULTS)
    yield started
    started.process.kill()
    started.process.wait()


def _card(server, provider):
    url = server.api if provider == "openai" else server.url
    prices = (Price(date(2024, 1, 1), 1.0, 2.0),)
    return Card("m", provider, "Apache-2.0", (url,), serves="loop", prices=prices, batch_discount=0.5, output=30)


def _questions(provider, words, count):
    return [Request(provider, "m", ({"role": "user", "content": f"{words} {i}"},)) for i in range(count)]


def _job(card, folder, count, dies=None):
    """What is killed. `dies`: (state, before or after): it kills itself at that step of the second chunk that comes to it."""
    if dies:
        step, seen = Ledger.step, Counter()

        def deadly(ledger, chunk, state, **changes):
            seen[state] += 1
            now = (state, seen[state]) == (dies[0], 2)
            if now and dies[1] == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            stepped = step(ledger, chunk, state, **changes)
            if now:
                os.kill(os.getpid(), signal.SIGKILL)
            return stepped

        Ledger.step = deadly
    with Journal(folder) as journal:
        summary = run(
            iter(_questions(card.provider, folder.name, count)), {"m": card}, journal, replace(QUICK, attempts=5)
        )
    os._exit(0 if summary.unanswered == 0 else 1)


def _start(*arguments):
    process = FORK.Process(target=_job, args=arguments)
    process.start()
    return process


def _check(server, folder, requests):
    """Each request has one answer in the journal and was paid once, unless it was refused."""
    with Journal(folder) as journal:
        found = list(journal.responses())
    assert len(found) == len({each.request_id for each in found}), "answered twice"
    assert {each.request_id for each in found} == {each.request_id for each in requests}
    names = {each.request_id for each in requests}
    paid = {name: times for name, times in server.paid().items() if name in names}
    assert {name: times for name, times in paid.items() if times != 1} == {}
    assert set(paid) == {each.request_id for each in found if each.status == "ok"}
    assert not waiting(folder)
    return Counter(each.status for each in found)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_at_random_moments(server, provider, tmp_path):
    card, moments, killed = _card(server, provider), random.Random(17), 0
    # How long a job takes here that nobody kills, so that the moments lie within one.
    begun = time.monotonic()
    whole = _start(card, tmp_path / "whole", 400)
    whole.join()
    assert whole.exitcode == 0
    length = time.monotonic() - begun
    server.faults(**FAULTS)
    names = ["whole", "killed 0"]
    while killed < KILLS:
        job = _start(card, tmp_path / names[-1], 400)
        job.join(moments.uniform(0, length))
        if job.exitcode is None:
            os.kill(job.pid, signal.SIGKILL)
            killed += 1
            job.join()
        else:
            assert job.exitcode == 0
            names.append(f"killed {len(names) - 1}")
    last = _start(card, tmp_path / names[-1], 400)
    last.join()
    assert last.exitcode == 0
    print(f"{provider}: {killed} kills in {len(names) - 1} runs of 400 requests")
    for name in names:
        counts = _check(server, tmp_path / name, _questions(provider, name, 400))
        assert counts["ok"] > 350 and counts["failed"] > 5


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_at_every_step(server, provider, tmp_path):
    """Before and after each line of the ledger: between what is done and the note that it is done."""
    card = _card(server, provider)
    for number, dies in enumerate(STEPS):
        folder = tmp_path / str(number)
        server.faults(polls=2, hidden=0.1, page=5)
        first = _start(card, folder, 100, dies)
        first.join()
        assert first.exitcode == -signal.SIGKILL, f"{dies} was never reached"
        second = _start(card, folder, 100)
        second.join()
        assert second.exitcode == 0, dies
    assert len(server.paid()) == 100 * len(STEPS)
    assert set(server.paid().values()) == {1}
