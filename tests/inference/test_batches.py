"""OpenAI's Batch API and Anthropic's Message Batches, through their packages, against a server that follows the published protocols and
fails on order."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from inference.batches import Batching, ledger, run, waiting
from inference.batches.engine import Engine
from inference.journal import Journal
from inference.models import Card, Price
from inference.request import Request
from inference.send import Sending, send
from tests.inference.conftest import REPOSITORY
from tests.inference.loopback_batches import start
from warehouse.errors import CaravanError

KEY = "sk-planted-8c1fd2e07b3a45f6"
PREFIX = {"openai": "batch", "anthropic": "msgbatch"}  # of a batch's id
RESULTS = {"openai": "output", "anthropic": "results"}
QUICK = Batching(requests_per_batch=20, pause=(0.02, 0.1), settle=0.3, patience=20.0, progress=False)


only_openai = pytest.mark.parametrize("provider", ["openai"], indirect=True)
only_anthropic = pytest.mark.parametrize("provider", ["anthropic"], indirect=True)


@pytest.fixture(params=["openai", "anthropic"])
def provider(request):
    return request.param


@pytest.fixture(scope="module")
def shared():
    """One server for all tests here: a test sets its faults and asks what no other asks."""
    server = start()
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def server(shared):
    shared.faults()
    return shared


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal") as opened:
        yield opened


@pytest.fixture
def card(server, provider):
    prices = (Price(date(2024, 1, 1), 100.0, 200.0),)
    url = server.api if provider == "openai" else server.url
    return Card("m", provider, "Apache-2.0", (url,), serves="loop", prices=prices, batch_discount=0.5)


@pytest.fixture
def ask(card, journal):
    """Run requests in batches with the card `m`."""

    def asked(requests, **changes):
        return run(iter(requests), {"m": card}, journal, replace(QUICK, **changes))

    return asked


@pytest.fixture
def questions(request, provider):
    """So many requests that no other test makes."""

    def made(count, **fields):
        told = {"parameters": {"max_tokens": 30}, **fields}
        return [
            Request(provider, "m", ({"role": "user", "content": f"{request.node.name} {i}\u2028é"},), **told)
            for i in range(count)
        ]

    return made


def payments(server, requests):
    paid = server.paid()
    return Counter(paid.get(each.request_id, 0) for each in requests)


def answers(journal):
    found = {}
    for response in journal.responses():
        assert response.request_id not in found, "answered twice"
        found[response.request_id] = response
    return found


def test_requests_are_cut_submitted_polled_and_answered(server, ask, journal, questions):
    requests = questions(50)
    server.faults(polls=3)
    summary = ask([*requests, *requests[:5]])
    assert (summary.answered, summary.failed, summary.unanswered, summary.stopped) == (50, 0, 0, None)
    found = answers(journal)
    one = found[requests[7].request_id]
    assert one.status == "ok" and one.content.startswith("Answer ") and one.served_model == "loop-served"
    assert one.cost == pytest.approx((one.input_tokens * 100 + one.output_tokens * 200) / 1e6 / 2)
    assert summary.spent == pytest.approx(sum(each.cost for each in found.values()))
    assert len({each.batch_id for each in found.values()}) == 3
    assert server.url.endswith(one.endpoint)
    assert payments(server, requests) == {1: 50}
    assert ask(requests).skipped == 50
    assert sorted(path.name for path in (journal.folder / "batches").iterdir()) == ["ledger.jsonl"]


@only_openai
def test_raw_completions_go_to_their_own_route_and_models_to_their_own_file(server, journal, card, questions):
    large = Card("l", "openai", "Apache-2.0", card.urls, serves="loop-large", batch_discount=0.5)
    prompts = [Request("openai", "m", prompt=f"raw {i}", parameters={"max_tokens": 5}) for i in range(3)]
    mixed = [
        each
        for i, one in enumerate(questions(6))
        for each in (one, Request("openai", "l", ({"role": "user", "content": f"large {i}"},)))
    ]
    summary = run([*prompts, *mixed], {"m": card, "l": large}, journal, QUICK)
    assert summary.answered == 15
    found = answers(journal)
    assert len({each.batch_id for each in found.values()}) == 3
    assert Counter(each.served_model for each in found.values()) == {"loop-served": 9, "loop-large-served": 6}
    assert {each.cost is None for each in found.values() if each.served_model == "loop-large-served"} == {True}


def test_only_what_failed_for_now_or_expired_is_submitted_again(server, ask, journal, questions):
    requests = questions(80)
    server.faults(expire=0.1, error=0.1, limited=0.1, refuse=0.1)
    summary = ask(requests)
    found = answers(journal)
    assert set(found) == {each.request_id for each in requests}
    refused = [each for each in found.values() if each.status == "failed"]
    again = [each for each in found.values() if each.attempts > 1]
    assert len(refused) == summary.failed > 0 and len(again) > 10
    assert {each.error.removeprefix("invalid_request_error: ") for each in refused} == {"Failing on order: refused."}
    assert payments(server, requests) == {1: 80 - len(refused), 0: len(refused)}
    assert summary.unanswered == 0


def test_what_fails_again_and_again_stays_open(server, ask, journal, questions):
    requests = questions(10)
    server.faults(limited=1.0)
    summary = ask(requests, attempts=1)
    assert (summary.answered, summary.unanswered) == (0, 10)
    assert "got no answer in 1 batches" in " ".join(summary.notes)
    assert ask(requests).answered == 10


def test_bad_lines_are_told_of_and_lose_no_others(server, provider, ask, journal, questions):
    requests = questions(100)
    server.faults(malformed=0.1, malformed_downloads=1, duplicate=0.2, unknown=0.2)
    summary = ask(requests)
    assert (summary.answered, summary.unanswered) == (100, 0)
    assert len(answers(journal)) == 100
    assert payments(server, requests) == {1: 100}, "a file that broke on the way is fetched again, not paid again"
    notes = "\n".join(summary.notes)
    assert f"came twice, and count once (first: {PREFIX[provider]}_" in notes
    assert "were not in the batch" in notes


def test_lines_that_never_come_whole_are_asked_again_and_named(server, provider, ask, journal, questions):
    requests = questions(60)
    server.faults(malformed=0.1, missing=0.1)
    summary = ask(requests)
    twice = payments(server, requests)[2]
    assert 0 < twice < 20
    assert summary.answered + summary.unanswered == 60
    notes = "\n".join(summary.notes)
    assert f".{RESULTS[provider]}, line " in notes and "cannot be read; their requests are asked again" in notes
    assert "are missing; their requests are asked again" in notes


def test_errors_of_http_are_ridden_out(server, ask, questions):
    requests = questions(60)
    server.faults(status={"429": 0.25, "500": 0.2}, retry_after=0.05)
    assert ask(requests, patience=120.0).answered == 60
    assert payments(server, requests) == {1: 60}


def test_a_batch_whose_creation_was_answered_with_an_error_is_found_again(server, ask, questions):
    requests = questions(60)
    server.faults(lost=3, hidden=0.1, polls=4, page=2)
    assert ask(requests).answered == 60
    assert payments(server, requests) == {1: 60}


def test_a_batch_that_was_cancelled_is_not_forced_upon_its_canceller(server, ask, journal, questions):
    requests = questions(20)
    server.faults(cancel=1)
    summary = ask(requests)
    assert (summary.answered, summary.unanswered) == (10, 10)
    assert "cancelled at the provider" in summary.notes[0]
    assert ask(requests).answered == 10
    assert payments(server, requests) == {1: 20}


@only_openai
def test_a_refused_batch_is_reported_with_the_providers_words_and_others_go_on(server, journal, card, questions):
    other = Card("l", "openai", "Apache-2.0", card.urls, serves="loop-large", batch_discount=0.5)
    unknown = Card("u", "openai", "Apache-2.0", card.urls, serves="no-such-model", batch_discount=0.5)
    fine = [Request("openai", "l", ({"role": "user", "content": f"beside a refused one {i}"},)) for i in range(30)]
    wrong = [Request("openai", "u", ({"role": "user", "content": f"refused {i}"},)) for i in range(30)]
    with pytest.raises(
        CaravanError, match=r"u: the provider refused the batch .*The model no-such-model is not supported"
    ):
        run([*wrong, *fine], {"u": unknown, "l": other}, journal, QUICK)
    assert set(answers(journal)) == {each.request_id for each in fine}
    assert not waiting(journal.folder)


@only_openai
def test_a_line_that_a_provider_blames_fails_and_the_others_come_again(server, ask, journal, questions):
    requests = questions(20)
    server.faults(fail=[{"code": "invalid_request", "message": "Line 3 is not to my taste.", "line": 3}])
    summary = ask(requests)
    assert (summary.answered, summary.failed) == (19, 1)
    [failed] = [each for each in answers(journal).values() if each.status == "failed"]
    assert (failed.request_id, failed.error) == (requests[2].request_id, "invalid_request: Line 3 is not to my taste.")
    assert payments(server, requests) == {1: 19, 0: 1}


@only_openai
def test_a_full_queue_is_waited_for_and_a_batch_that_it_never_holds_is_halved(server, ask, questions):
    requests = questions(100)
    server.faults(queue=30, polls=2)
    assert ask(requests, requests_per_batch=50).answered == 100
    assert payments(server, requests) == {1: 100}


def test_the_budget_is_never_passed(server, ask, card, journal, questions):
    requests = questions(60)
    server.faults(polls=2, error=0.2)
    all_of_it = ask(requests[:10]).spent * 6
    summary = ask(requests, budget=all_of_it / 2)
    assert summary.stopped == "budget" and 0 < summary.spent <= all_of_it / 2
    assert 0 < summary.answered < 50
    with pytest.raises(CaravanError, match="budget needs prices"):
        run(questions(1, sample=1), {"m": replace(card, prices=())}, journal, replace(QUICK, budget=1.0))


@only_anthropic
def test_what_the_message_api_cannot_say_or_refuses(server, ask, questions):
    with pytest.raises(CaravanError, match="no raw completions"):
        ask([Request("anthropic", "m", prompt="Once upon a time", parameters={"max_tokens": 5})])
    server.faults(fail=[{"message": "requests.3: not to my taste"}])
    with pytest.raises(CaravanError, match=r"m: http\S+ refused a batch \(HTTP 400: requests.3: not to my taste\)"):
        ask(questions(5))


@only_anthropic
def test_a_lost_batch_is_told_by_its_results_from_others_of_its_size(server, card, ask, journal, questions):
    """A message batch bears no mark of whose it is."""
    others = [
        Request("anthropic", "m", ({"role": "user", "content": f"other {i}"},), parameters={"max_tokens": 5})
        for i in range(20)
    ]
    with Journal(journal.folder.parent / "others") as elsewhere:
        run(others, {"m": card}, elsewhere, QUICK)
    requests = questions(20)
    server.faults(lost=1, polls=2)
    assert ask(requests).answered == 20
    assert payments(server, requests) == {1: 20}
    assert payments(server, others) == {1: 20}


def test_send_leaves_to_batches_what_is_in_them(server, card, ask, journal, questions):
    requests = questions(30)
    server.faults(polls=1_000_000)
    engine = Engine(iter(requests[:20]), {"m": card}, journal, QUICK)
    engine._fill()
    engine.ledger.close()
    unreachable = replace(card, urls=("http://127.0.0.1:9",))
    summary = send(requests[:20], {"m": unreachable}, journal, Sending(progress=False))
    assert (summary.answered, summary.unanswered) == (0, 20)
    assert "20 are in batches under way" in summary.notes[0]
    server.faults()
    assert ask(requests).answered == 30
    assert payments(server, requests) == {1: 30}


def test_a_card_without_a_batch_api_is_refused_before_anything_is_asked(card, journal, questions):
    with pytest.raises(CaravanError, match="ask it without --batch"):
        run(questions(1), {"m": replace(card, batch_discount=None)}, journal, QUICK)


def test_a_lost_batch_is_given_up_by_deleting_its_file(card, ask, journal, questions):
    requests = questions(5)
    book = ledger.Ledger(journal.folder)
    chunk = book.new("m", card.urls[0], "/v1/any", 1)
    book.path(chunk).write_bytes(b"".join(ledger.line(each.request_id, {}) for each in requests))
    book.step(chunk, "created", batch="batch_of_yesterday", requests=5)
    book.close()
    with pytest.raises(CaravanError, match=r"gives no word of the batch batch_of_yesterday .*delete (\S+): ") as lost:
        ask(requests)
    Path(str(lost.value).split("delete ")[1].split(": ")[0]).unlink()
    assert ask(requests).answered == 5


def test_a_wrong_key_ends_the_run_and_is_in_no_file_or_word(server, card, journal, tmp_path, monkeypatch, questions):
    monkeypatch.setenv("A_KEY", KEY)
    server.faults(key="another")
    locked = replace(card, key="A_KEY")
    with pytest.raises(CaravanError, match=r"401.*Incorrect API key provided: \[key removed\]"):
        run(questions(3), {"m": locked}, journal, QUICK)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@only_openai
def test_ctrl_c_leaves_batches_running_and_the_next_run_takes_them_up(server, tmp_path, card, questions):
    server.faults(polls=1_000_000)
    script = tmp_path / "job.py"
    script.write_text(JOB, encoding="utf-8")
    command = [sys.executable, str(script), server.api, str(tmp_path / "journal"), "interrupted"]
    job = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )
    while len(waiting(tmp_path / "journal")) < 50:
        assert job.poll() is None
    job.send_signal(signal.SIGINT)
    told = json.loads(job.communicate(timeout=30)[0].splitlines()[-1])
    assert job.returncode == 0
    assert (told["stopped"], told["answered"], told["unanswered"]) == ("interrupted", 0, 50)
    assert "3 batches with 50 requests go on" in told["notes"][0] and "run the same command again" in told["notes"][0]
    server.faults()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert json.loads(done.stdout.splitlines()[-1])["answered"] == 50
    paid = server.paid()
    with Journal(tmp_path / "journal") as journal:
        assert [paid[name] for name in answers(journal)] == [1] * 50


JOB = """
import json, sys
from dataclasses import asdict
from inference.batches import Batching, run
from inference.journal import Journal
from inference.models import Card
from inference.request import Request

url, folder, words = sys.argv[1:]
card = Card("m", "openai", "Apache-2.0", (url,), serves="loop", batch_discount=0.5)
requests = [Request("openai", "m", ({"role": "user", "content": f"{words} {i}"},)) for i in range(50)]
with Journal(folder) as journal:
    print(json.dumps(asdict(run(requests, {"m": card}, journal, Batching(requests_per_batch=20, pause=(0.05, 0.2), settle=0.3)))))
"""


def test_a_million_requests_never_sit_in_memory(server, card, tmp_path):
    """Requests are read only as far as batches may be under way."""
    server.faults(polls=1_000_000)
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            if read == 101:
                # Nothing more is asked for until a batch has ended, so this is not reached.
                raise AssertionError("read ahead of the batches")
            yield Request(
                card.provider, "m", ({"role": "user", "content": f"endless {read}"},), parameters={"max_tokens": 5}
            )

    with Journal(tmp_path / "j") as journal:
        engine = Engine(endless(), {"m": card}, journal, replace(QUICK, at_once=3))
        engine._fill()
        assert len(engine.ledger.under_way()) == 3
        assert read <= 61 + 1
        assert {type(name) for name in engine.taken} == {bytes}
        engine.ledger.close()
