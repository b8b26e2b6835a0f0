"""Translation to both APIs, reading of what they answer, and what every kind of error means."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import Server

from inference import clients
from inference.clients import Endpoint, Malformed, Trouble, answer, body
from inference.models import Card
from inference.request import Request, Response
from warehouse.errors import CaravanError

OPENAI = Card(
    "gpt", "openai", "MIT", ("http://here/v1",), serves="gpt-served", renames={"max_tokens": "max_completion_tokens"}
)
ANTHROPIC = Card("claude", "anthropic", "MIT", ("http://here",), output=100)
TURNS = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Bye"},
)


def test_chat_of_openai():
    asked = Request(
        "openai", "gpt", TURNS, parameters={"max_tokens": 9, "stop": ["\n"], "seed": 1, "logprobs": True, "top_k": 5}
    )
    assert body(asked, OPENAI) == {
        "model": "gpt-served",
        "messages": list(TURNS),
        "max_completion_tokens": 9,
        "stop": ["\n"],
        "seed": 1,
        "logprobs": True,
        "top_k": 5,
    }


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}),
        ({"logprobs": False}, {}),
        ({"logprobs": 2}, {"logprobs": 2}),
    ],
)
def test_raw_completion_of_openai(given: dict[str, Any], sent: dict[str, Any]):
    assert body(Request("openai", "gpt", prompt="Once", parameters=given), OPENAI) == {
        "model": "gpt-served",
        "prompt": "Once",
        **sent,
    }


def test_chat_of_anthropic():
    asked = Request(
        "anthropic", "claude", TURNS, parameters={"max_tokens": 9, "stop": "END", "seed": 1, "temperature": 0.5}
    )
    assert body(asked, ANTHROPIC) == {
        "model": "claude",
        "system": "Be brief.",
        "messages": list(TURNS[1:]),
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "temperature": 0.5,
    }
    assert body(Request("anthropic", "claude", TURNS[1:]), ANTHROPIC)["max_tokens"] == 100
    assert "system" not in body(Request("anthropic", "claude", TURNS[1:]), ANTHROPIC)
    with pytest.raises(CaravanError, match="max_tokens"):
        body(Request("anthropic", "claude", TURNS), Card("claude", "anthropic", "MIT"))
    with pytest.raises(CaravanError, match="only chats"):
        body(Request("anthropic", "claude", prompt="Once"), ANTHROPIC)


@pytest.mark.parametrize(
    ("choice", "status", "content", "finish", "error"),
    [
        ({"message": {"content": "Hi"}, "finish_reason": "stop"}, "ok", "Hi", "stop", None),
        ({"message": {"content": "H"}, "finish_reason": "length"}, "ok", "H", "length", None),
        ({"message": {"content": None}, "finish_reason": "length"}, "ok", "", "length", None),
        ({"message": {"content": ""}, "finish_reason": "content_filter"}, "refused", "", "content_filter", None),
        (
            {"message": {"content": None, "refusal": "I can't."}, "finish_reason": "stop"},
            "refused",
            None,
            "stop",
            "I can't.",
        ),
        ({"text": "raw", "finish_reason": "stop"}, "ok", "raw", "stop", None),
        ({"message": {"content": "a\ud83db"}, "finish_reason": "stop"}, "ok", "a\ufffdb", "stop", None),
    ],
)
def test_answers_of_openai(choice: dict[str, Any], status: str, content: str | None, finish: str, error: str | None):
    found = answer(OPENAI, "1" * 32, {"model": "x", "choices": [choice], "usage": None}, endpoint="here")
    assert (found.status, found.content, found.finish_reason, found.error) == (status, content, finish, error)
    assert (found.input_tokens, found.cost, found.served_model) == (None, None, "x")


@pytest.mark.parametrize(
    ("blocks", "reason", "status", "content", "finish"),
    [
        ([{"type": "text", "text": "H"}, {"type": "text", "text": "i"}], "end_turn", "ok", "Hi", "stop"),
        ([{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "Hi"}], "stop_sequence", "ok", "Hi", "stop"),
        ([{"type": "text", "text": "H"}], "max_tokens", "ok", "H", "length"),
        ([], "end_turn", "ok", "", "stop"),
        ([], "refusal", "refused", None, "content_filter"),
    ],
)
def test_answers_of_anthropic(blocks: list[dict[str, str]], reason: str, status: str, content: str | None, finish: str):
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": None}
    found = answer(
        ANTHROPIC, "1" * 32, {"model": "x", "content": blocks, "stop_reason": reason, "usage": usage}, endpoint="here"
    )
    assert (found.status, found.content, found.finish_reason) == (status, content, finish)
    assert (found.input_tokens, found.output_tokens) == (8, 2)


@pytest.mark.parametrize(
    "found",
    [{}, {"choices": []}, {"choices": None}, {"error": {"message": "overloaded"}}, {"choices": [{}]}, [], None, 3],
)
def test_what_is_no_answer(found: Any):
    for card in (OPENAI, ANTHROPIC):
        with pytest.raises(Malformed):
            answer(card, "1" * 32, found, endpoint="here")


def ask(card: Card, request: Request, attempt: int = 1, timeout: float = 5.0) -> Response:
    async def once() -> Response:
        endpoint = Endpoint(card, card.urls[0], concurrency=1, timeout=timeout)
        try:
            return await endpoint.ask(request, attempt)
        finally:
            await endpoint.close()

    return asyncio.run(once())


CHAT = Request("openai", "a", TURNS, parameters={"max_tokens": 9, "logprobs": True})
RAW = Request("openai", "a", prompt="Once", parameters={"max_tokens": 9, "logprobs": True})
CLAUDE = Request("anthropic", "b", TURNS, parameters={"max_tokens": 9})


@pytest.fixture
def known(loop: Server, tmp_path: Path) -> dict[str, Card]:
    price = [{"since": date(2025, 1, 1), "input": 1000.0, "output": 2000.0}]
    return loop.cards(tmp_path, a={"prices": price}, b={"provider": "anthropic", "prices": price})


def test_answers_over_the_wire(loop: Server, known: dict[str, Card]):
    for request in (CHAT, RAW, CLAUDE):
        found = ask(known[request.model], request, attempt=3)
        assert (found.status, found.finish_reason, found.attempts, found.request_id) == (
            "ok",
            "stop",
            3,
            request.request_id,
        )
        assert found.content and found.content.startswith("Answer ") and found.served_model == "loop-served"
        assert found.input_tokens and found.output_tokens == 8
        assert found.cost == pytest.approx((found.input_tokens * 1000 + 8 * 2000) / 1e6)
        assert found.endpoint == loop.url.removeprefix("http://")
        assert found.seconds and 0 < found.seconds < 5
        if request.provider == "openai":
            assert found.logprobs and json.loads(found.logprobs)
    assert loop.paid() == {request.request_id: 1 for request in (CHAT, RAW, CLAUDE)}
    assert ask(known["a"], CHAT).content == ask(known["a"], CHAT).content
    assert loop.paid()[CHAT.request_id] == 1, "the idempotency key was not sent"


@pytest.mark.parametrize(
    ("fault", "status", "finish"), [("content_filter", "refused", "content_filter"), ("length", "ok", "length")]
)
def test_finish_over_the_wire(loop: Server, known: dict[str, Card], fault: str, status: str, finish: str):
    loop.faults(**{fault: 1})
    for request in (CHAT, RAW, CLAUDE):
        found = ask(known[request.model], request)
        assert (found.status, found.finish_reason) == (status, finish)


def test_passing_trouble(loop: Server, known: dict[str, Card]):
    def met(request: Request, **faults: Any) -> Trouble:
        loop.reset()
        loop.faults(**faults)
        with pytest.raises(Trouble) as caught:
            ask(known[request.model], request, timeout=0.5)
        return caught.value

    for request in (CHAT, CLAUDE):
        found = met(request, status={"429": 1}, retry_after=7)
        assert (found.after, found.charged, found.down) == (7, False, False)
        found = met(request, status={"429": 1}, retry_after=30, retry_after_date=True)
        assert found.after is not None and 27 < found.after <= 30
        found = met(request, status={"500": 1})
        assert (found.after, found.charged, found.down) == (None, False, True)
        assert not met(request, status={"529": 1}).down
        for faults in ({"malformed": 1}, {"cut": 1}, {"slow": 1, "slow_seconds": 3}):
            found = met(request, **faults)
            assert (found.charged, found.down, found.reached) == (True, True, True), faults


def test_what_will_come_again_is_a_failed_answer(loop: Server, known: dict[str, Card]):
    loop.faults(too_long=10)
    for request in (CHAT, CLAUDE):
        found = ask(known[request.model], request)
        assert (found.status, found.content, found.cost) == ("failed", None, None)
        assert found.error == "HTTP 400: This model's maximum context length is 10 characters"


def test_what_no_retry_mends(loop: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = loop.cards(
        tmp_path, a={"serves": "lop-large"}, b={"provider": "anthropic", "serves": "lop-large"}, c={"key": "LOOP_KEY"}
    )
    for request in (CHAT, CLAUDE):
        with pytest.raises(CaravanError, match=r"HTTP 404.*Close to it are: loop-large"):
            ask(known[request.model], request)
    monkeypatch.delenv("LOOP_KEY", raising=False)
    with pytest.raises(CaravanError, match="LOOP_KEY"):
        ask(known["c"], CHAT)
    monkeypatch.setenv("LOOP_KEY", "sk-wrong")
    loop.faults(key="sk-right")
    with pytest.raises(CaravanError, match="does not accept the key in LOOP_KEY") as caught:
        ask(known["c"], CHAT)
    assert "sk-wrong" not in str(caught.value)
    monkeypatch.setenv("LOOP_KEY", "sk-right\n")  # as `$(cat file)` does not leave it, but other tools do
    assert ask(known["c"], CHAT).status == "ok"
    with pytest.raises(CaravanError, match="wants a key"):
        ask(Card("d", "openai", "MIT", (loop.api,), serves="loop"), CHAT)
    loop.faults(status={"402": 1})
    with pytest.raises(CaravanError, match="no credit"):
        ask(known["c"], CHAT)


def test_nobody_there():
    card = Card("a", "openai", "MIT", ("http://127.0.0.1:9/v1",))
    with pytest.raises(Trouble) as caught:
        ask(card, CHAT)
    assert (caught.value.charged, caught.value.reached) == (False, False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2.5"}, 2.5),
        ({"retry-after-ms": "300", "retry-after": "1"}, 0.3),
        ({"Retry-After": "soon"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    assert clients._retry_after(httpx2.Headers(headers)) == seconds


def test_retry_after_a_date_that_has_passed():
    passed = format_datetime(datetime.now(UTC) - timedelta(seconds=9), usegmt=True)
    assert clients._retry_after(httpx2.Headers({"Retry-After": passed})) == 0
