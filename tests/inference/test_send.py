"""The engine against the loopback server: every request answered once, whatever goes wrong on the way."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Server, start

from inference import lanes, limits
from inference.journal import Journal
from inference.request import Request
from inference.send import AHEAD, CHUNK, Sending, Summary, send
from warehouse.errors import CaravanError

QUIET: dict[str, Any] = {"progress": False}
PRICE = [{"since": date(2025, 1, 1), "input": 1000.0, "output": 1000.0}]  # a token is a tenth of a cent


def asking(count: int, model: str = "a", provider: str = "openai", **parameters: Any) -> list[Request]:
    told = {"max_tokens": 20, **parameters}
    return [
        Request(provider, model, ({"role": "user", "content": f"{model} asks {number}"},), parameters=told)
        for number in range(count)
    ]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal") as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits in proportion to tests."""
    monkeypatch.setattr(limits, "BACKOFF", 0.02)
    monkeypatch.setattr(limits, "REST", 0.1)
    monkeypatch.setattr(lanes, "FIRST_CONTACT", 1.0)


def ids(requests: list[Request]) -> set[str]:
    return {request.request_id for request in requests}


def kept(journal: Journal) -> set[str]:
    found = [response.request_id for response in journal.responses()]
    assert len(found) == len(set(found))
    return set(found)


def test_all_are_answered_and_none_is_asked_again(loop: Server, tmp_path: Path, journal: Journal):
    cards = loop.cards(tmp_path, a={"prices": PRICE}, b={"provider": "anthropic"})
    asked = asking(150) + asking(50, "b", "anthropic")
    loop.faults(latency=0.05)
    found = send([*asked, *asked[:10]], cards, journal, Sending(concurrency=16, **QUIET))
    assert (found.answered, found.skipped, found.failed, found.unanswered, found.stopped) == (200, 10, 0, 0, None)
    assert kept(journal) == ids(asked)
    assert loop.paid() == dict.fromkeys(ids(asked), 1)
    assert loop.counts()["most_in_flight"] == 16
    costs = [response.cost for response in journal.responses() if response.cost is not None]
    assert len(costs) == 150
    assert found.spent == pytest.approx(sum(costs))
    tokens = [(r.input_tokens or 0, r.output_tokens or 0) for r in journal.responses()]
    assert (found.input_tokens, found.output_tokens) == tuple(map(sum, zip(*tokens, strict=True)))
    again = send(asked, cards, journal, Sending(**QUIET))
    assert (again.answered, again.skipped) == (0, 200)
    assert loop.counts()["requests"] == 200


def test_trouble_of_all_kinds(loop: Server, tmp_path: Path, journal: Journal):
    shares = {"status": {"429": 0.1, "500": 0.05, "529": 0.05}, "malformed": 0.05, "cut": 0.05, "slow": 0.02}
    loop.faults(**shares, retry_after=0.05, slow_seconds=1.5, content_filter=0.05, length=0.05)
    cards = loop.cards(tmp_path, a={}, b={"provider": "anthropic"})
    asked = asking(150) + asking(150, "b", "anthropic")
    found = send(asked, cards, journal, Sending(concurrency=32, timeout=1.0, **QUIET))
    assert (found.answered, found.unanswered) == (300, 0)
    assert found.retries > 30 and found.refused > 3
    assert set(loop.paid().values()) == {1}, "a repeat under another key was paid twice"
    assert max(response.attempts for response in journal.responses()) > 1


def test_requests_are_read_as_slots_get_free(loop: Server, tmp_path: Path, journal: Journal):
    loop.faults(latency=0.02)
    read, most = 0, 0

    def stream() -> Iterator[Request]:
        nonlocal read, most
        for request in asking(600):
            read += 1
            most = max(most, read - loop_answered())
            yield request

    def loop_answered() -> int:
        return len(journal._answered)

    send(stream(), loop.cards(tmp_path, a={}), journal, Sending(concurrency=8, **QUIET))
    assert read == 600
    assert most <= 8 * AHEAD + 2 * CHUNK + 8


def test_several_urls_share_the_work(loop: Server, tmp_path: Path, journal: Journal):
    other, dead = start(latency=0.02), "http://127.0.0.1:9/v1"
    loop.faults(latency=0.02)
    try:
        cards = loop.cards(tmp_path, a={"urls": [loop.api, other.api, dead]})
        found = send(asking(200), cards, journal, Sending(concurrency=20, **QUIET))
        assert found.answered == 200
        shares = loop.counts()["ok"], other.counts()["ok"]
        assert sum(shares) == 200 and min(shares) > 60
        assert found.retries < 40, "the dead one was asked on and on"
    finally:
        other.process.kill()


def test_rate_limits_of_a_card(loop: Server, tmp_path: Path, journal: Journal):
    cards = loop.cards(tmp_path, a={"requests_per_minute": 1200}, b={"tokens_per_minute": 60_000}, c={})
    for model, most in (("a", 20), ("b", 1000 / 24)):
        begun = time.monotonic()
        assert send(asking(80, model), cards, journal, Sending(**QUIET)).answered == 80
        # The first second's worth may go at once. The corrected estimate of b is what the server counts: 16 to 24 tokens a request.
        assert time.monotonic() - begun > (80 - 2 * most) / (1.6 * most)


def test_what_is_not_limited_overtakes(loop: Server, tmp_path: Path, journal: Journal):
    cards = loop.cards(tmp_path, slow={"requests_per_minute": 120}, quick={})
    slow, quick = asking(12, "slow"), asking(12, "quick")
    mixed = [request for pair in zip(slow, quick, strict=True) for request in pair]
    send(mixed, cards, journal, Sending(concurrency=8, **QUIET))
    order = [response.request_id in ids(quick) for response in journal.responses()]
    assert sum(order[:18]) == 12


def test_the_budget_holds(loop: Server, tmp_path: Path, journal: Journal):
    loop.faults(latency=0.01)
    cards = loop.cards(tmp_path, a={"prices": PRICE})
    found = send(asking(200), cards, journal, Sending(concurrency=16, budget=0.50, **QUIET))
    assert found.stopped == "budget"
    assert 0.40 < found.spent <= 0.50
    assert found.answered == len(kept(journal)) == len(loop.paid())
    assert found.spent == pytest.approx(sum(r.cost or 0 for r in journal.responses()))
    assert any("budget of $0.50" in note for note in found.notes)
    rest = send(asking(200), cards, journal, Sending(budget=100, **QUIET))
    assert rest.answered == 200 - found.answered


def test_lost_answers_count_against_the_budget(loop: Server, tmp_path: Path, journal: Journal):
    loop.faults(cut=1)
    cards = loop.cards(tmp_path, a={"prices": PRICE})
    found = send(asking(50), cards, journal, Sending(concurrency=4, budget=0.5, patience=30, **QUIET))
    assert (found.stopped, found.answered, found.spent) == ("budget", 0, 0)
    assert 0.3 < found.doubtful <= 0.5
    assert any("may be charged" in note for note in found.notes)


def test_answers_that_do_not_say_what_they_used_count_as_the_most(loop: Server, tmp_path: Path, journal: Journal):
    loop.faults(silent=True)
    cards = loop.cards(tmp_path, a={"prices": PRICE})
    found = send(asking(50), cards, journal, Sending(concurrency=4, budget=0.5, **QUIET))
    assert (found.stopped, found.spent) == ("budget", 0)
    assert 0 < found.answered == len(loop.paid()) < 50
    assert 0.3 < found.doubtful <= 0.5


@pytest.mark.parametrize(
    ("card", "parameters", "budget", "words"),
    [
        ({}, {}, 1.0, "has none for today"),
        ({"prices": PRICE}, {"max_tokens": None}, 1.0, "give max_tokens"),
        ({"key": "NOT_SET_ANYWHERE"}, {}, None, "NOT_SET_ANYWHERE"),
        ({"serves": "loup"}, {}, None, "Close to it are: loop"),
        ({"provider": "anthropic"}, {}, None, "protocol"),
        ({"urls": ["http://127.0.0.1:9/v1"]}, {}, None, "No server of 'a' answers"),
        ({"urls": ["http://no-such-host.invalid/v1"]}, {}, None, "No server of 'a' answers"),
    ],
)
def test_what_no_retry_mends(
    loop: Server,
    tmp_path: Path,
    journal: Journal,
    card: dict[str, Any],
    parameters: dict[str, Any],
    budget: float | None,
    words: str,
):
    cards = loop.cards(tmp_path, a=card)
    begun = time.monotonic()
    with pytest.raises(CaravanError, match=words):
        send(asking(100, **parameters), cards, journal, Sending(concurrency=4, budget=budget, **QUIET))
    assert time.monotonic() - begun < 8
    assert loop.paid() == {}


def test_an_unknown_model(loop: Server, tmp_path: Path, journal: Journal):
    with pytest.raises(CaravanError, match="Did you mean model-a"):
        send(asking(3, "modela"), loop.cards(tmp_path, **{"model-a": {}}), journal, Sending(**QUIET))


@pytest.mark.parametrize("kind", [CaravanError, OSError])
def test_an_error_while_reading_keeps_what_is_there(
    loop: Server, tmp_path: Path, journal: Journal, kind: type[Exception]
):
    def broken() -> Iterator[Request]:
        yield from asking(2 * CHUNK)
        raise kind("line 3 is no request")

    loop.faults(latency=0.05)
    with pytest.raises(kind, match="line 3"):
        send(broken(), loop.cards(tmp_path, a={}), journal, Sending(concurrency=4, **QUIET))
    assert kept(journal) == set(loop.paid())


def test_a_server_that_goes_away_ends_its_own_requests_only(loop: Server, tmp_path: Path, journal: Journal):
    cards = loop.cards(tmp_path, a={}, b={"provider": "anthropic"})
    away = start(latency=0.02)
    try:
        cards |= {"a": away.cards(tmp_path, a={})["a"]}
        away.process.kill()
        away.process.wait()
        other = start(first=3)  # answers 503 at first, so that it was reached once
        cards |= {"a": other.cards(tmp_path, a={})["a"]}
        other.faults(status={"500": 1})
        asked = [request for pair in zip(asking(40), asking(40, "b", "anthropic"), strict=True) for request in pair]
        found = send(asked, cards, journal, Sending(concurrency=8, patience=1.0, **QUIET))
        other.process.kill()
        assert (found.answered, found.unanswered) == (40, 40)
        assert any("was given up" in note for note in found.notes)
        assert kept(journal) == ids(asking(40, "b", "anthropic"))
    finally:
        away.process.kill()


def test_in_a_running_loop(loop: Server, tmp_path: Path, journal: Journal):
    async def notebook() -> Summary:
        return send(asking(5), loop.cards(tmp_path, a={}), journal, Sending(**QUIET))

    assert asyncio.run(notebook()).answered == 5


def test_in_doubt_is_asked_again_under_the_same_key(loop: Server, tmp_path: Path):
    cards, asked = loop.cards(tmp_path, a={}), asking(10)
    with Journal(tmp_path / "journal") as journal:
        for request in asked[:4]:
            journal.asked(request.request_id)
    with Journal(tmp_path / "journal") as journal:
        found = send(asked, cards, journal, Sending(**QUIET))
    assert (found.answered, found.in_doubt) == (10, 4)
    assert any(note.startswith("4 were in flight when the run before was killed") for note in found.notes)


def doubted(folder: Path) -> set[str]:
    """What the next run takes for in flight when this one was killed."""
    with Journal(folder) as journal:
        return journal.in_doubt()


@pytest.mark.parametrize(
    ("faults", "how"),
    [
        ({"status": {"500": 1}}, {"patience": 0.3}),
        ({"cut": 1}, {"patience": 0.3}),
        ({"cut": 1}, {"budget": 0.5}),
        ({"slow": 1, "slow_seconds": 1.5}, {"patience": 0.3, "timeout": 0.4}),
        ({"key": "another"}, {}),
    ],
)
def test_what_is_given_up_is_not_in_doubt(loop: Server, tmp_path: Path, faults: dict[str, Any], how: dict[str, Any]):
    loop.faults(**faults)
    cards = loop.cards(tmp_path, a={"prices": PRICE})
    with Journal(tmp_path / "journal") as journal, suppress(CaravanError):
        found = send(asking(30), cards, journal, Sending(concurrency=8, **how, **QUIET))
        assert found.unanswered and not found.answered
        assert (found.doubtful > 0) == ("status" not in faults), "money is told by the run that lost the answers"
    assert loop.counts()["requests"] >= 8
    assert doubted(tmp_path / "journal") == set()
    loop.faults()
    with Journal(tmp_path / "journal") as journal:
        found = send(asking(30), cards, journal, Sending(**QUIET))
    assert (found.answered, found.in_doubt) == (30, 0)
    assert not any("in flight" in note for note in found.notes)


def test_what_waits_for_another_attempt_at_control_c_is_not_in_doubt(loop: Server, tmp_path: Path):
    loop.faults(status={"429": 1}, retry_after=60)
    stop = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    with Journal(tmp_path / "journal") as journal:
        found = send(asking(30), loop.cards(tmp_path, a={}), journal, Sending(concurrency=8, **QUIET))
    assert (found.stopped, found.answered, found.unanswered > 0) == ("interrupted", 0, True)
    assert loop.counts()["requests"] >= 8
    assert doubted(tmp_path / "journal") == set()


def test_what_a_killed_run_left_stays_in_doubt_until_it_is_asked(loop: Server, tmp_path: Path):
    cards, asked = loop.cards(tmp_path, a={"prices": PRICE}), asking(4)
    with Journal(tmp_path / "journal") as journal:
        for request in asked:
            journal.asked(request.request_id)
    with Journal(tmp_path / "journal") as journal:
        found = send(asked, cards, journal, Sending(budget=0.0, **QUIET))
        assert (found.stopped, found.in_doubt) == ("budget", 0)
    assert doubted(tmp_path / "journal") == ids(asked)


JOB = """
import sys
from pathlib import Path
from inference.journal import Journal
from inference.models import cards
from inference.send import Sending, send
from tests.inference.test_send import asking
with Journal(sys.argv[1] + "/journal") as journal:
    print("stopped:", send(asking(5000), cards(sys.argv[1] + "/models.toml"), journal, Sending(concurrency=20, total=5000)).stopped)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_control_c(server: Server, tmp_path: Path, times: int):
    server.cards(tmp_path, a={})
    server.faults(latency=1.0)
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/inference"), *sys.path])
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    while server.counts().get("requests", 0) < 30:
        time.sleep(0.02)
    if times == 2:
        server.faults(latency=30.0)
        while server.counts()["requests"] < 41:  # more than two rounds of 20: some are of those that take long
            time.sleep(0.02)
    for _ in range(times):
        job.send_signal(signal.SIGINT)
        time.sleep(0.3)
    begun = time.monotonic()
    said, told = job.communicate(timeout=60)
    assert "stopping: waiting for" in told
    with Journal(tmp_path / "journal") as journal:
        if times == 1:
            assert said == "stopped: interrupted\n" and "Stopped by Ctrl-C" in told
            assert kept(journal) == set(server.paid()), "an answer that was paid for was thrown away"
            assert journal.in_doubt() == set()
        else:
            assert "KeyboardInterrupt" in told and time.monotonic() - begun < 15
            assert kept(journal) and journal.in_doubt()
            assert kept(journal) | journal.in_doubt() >= set(server.paid())
