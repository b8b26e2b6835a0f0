"""A model server on loopback that speaks OpenAI's and Anthropic's APIs, answers the same thing to the same question, and fails on order.

    python -m tests.inference.loopback --port 0 [--faults '{"status": {"429": 0.2}, "retry_after": 0.1}']

It prints its URL. POST /faults sets `Faults` (fields as JSON), POST /reset forgets all, GET /paid says how often each idempotency key was charged, GET
/counts how many requests came with which fate. A request whose Idempotency-Key was answered before is served from memory and not
charged again; one without a key is charged each time, under its content.
"""

import argparse
import asyncio
import hashlib
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from typing import Any

from aiohttp import web

MODELS = ("loop", "loop-large")
FAULTS: web.AppKey["State"] = web.AppKey("state")


@dataclass
class Faults:
    """What goes wrong. Shares are of requests, chosen at random by `seed`; each request meets one fault or none."""

    latency: float = 0.0  # seconds before an answer
    jitter: float = 0.0  # up to so many seconds more
    status: dict[str, float] = field(default_factory=dict)  # HTTP status -> share, such as {"429": 0.1, "500": 0.1}
    retry_after: float | None = None  # seconds, told with 429 and 529
    retry_after_date: bool = False  # told as a date
    malformed: float = 0.0  # half of the JSON
    cut: float = 0.0  # the connection is closed before the answer; it was charged
    slow: float = 0.0  # the answer takes `slow_seconds`
    slow_seconds: float = 5.0
    content_filter: float = 0.0
    length: float = 0.0
    first: int = 0  # so many requests fail with `first_status` before anything else
    first_status: int = 503
    key: str | None = None  # the only key that is let in
    echo_key: bool = False  # errors repeat the key that was sent, as careless servers do
    silent: bool = False  # answers do not say what they used
    too_long: int | None = None  # characters of a prompt that are refused as too long
    speaker: str | None = None  # "module:function" that says the text, of a body and how often it came before
    log: str | None = None  # file that gets a line for each charge, so that counts outlive the server
    seed: int = 0


class State:
    """What the server remembers."""

    def __init__(self) -> None:
        self.set(Faults())
        self.paid: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.served: dict[str, bytes] = {}
        self.questions: Counter[str] = Counter()
        self.running: dict[str, asyncio.Future[None]] = {}

    def set(self, faults: Faults) -> None:
        self.faults, self.random = faults, random.Random(faults.seed)

    def charge(self, key: str) -> None:
        self.paid[key] += 1
        if self.faults.log:
            with open(self.faults.log, "a", encoding="utf-8") as file:
                file.write(f"{key}\n")


def text(question: str) -> str:
    """The answer to a question."""
    digest = hashlib.md5(question.encode()).hexdigest()
    return f"Answer {digest[:8]}: {' '.join(digest[i : i + 4] for i in range(8, 32, 4))}."


def application() -> web.Application:
    app = web.Application(client_max_size=1 << 30)
    app[FAULTS] = State()
    app.add_routes(
        [
            web.post("/v1/chat/completions", chat),
            web.post("/v1/completions", completion),
            web.post("/v1/messages", messages),
            web.get("/v1/models", models),
            web.post("/faults", set_faults),
            web.post("/reset", reset),
            web.get("/paid", paid),
            web.get("/counts", counts),
        ]
    )
    return app


async def chat(request: web.Request) -> web.StreamResponse:
    return await _serve(request, _chat, _openai_error)


async def completion(request: web.Request) -> web.StreamResponse:
    return await _serve(request, _completion, _openai_error)


async def messages(request: web.Request) -> web.StreamResponse:
    return await _serve(request, _message, _anthropic_error)


async def models(request: web.Request) -> web.Response:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "loopback"} for name in MODELS]
    return web.json_response({"object": "list", "data": data})


async def set_faults(request: web.Request) -> web.Response:
    state, given = request.app[FAULTS], await request.json()
    known = {each.name for each in fields(Faults)}
    assert set(given) <= known, f"faults are {sorted(known)}"
    state.set(replace(Faults(), **given))
    return web.json_response(asdict(state.faults))


async def reset(request: web.Request) -> web.Response:
    request.app[FAULTS].__init__()
    return web.json_response({})


async def paid(request: web.Request) -> web.Response:
    return web.json_response(request.app[FAULTS].paid)


async def counts(request: web.Request) -> web.Response:
    state = request.app[FAULTS]
    return web.json_response({**state.counts, "most_in_flight": state.most_in_flight})


async def _serve(request: web.Request, answer: Any, error: Any) -> web.StreamResponse:
    state = request.app[FAULTS]
    body = await request.read()
    key = request.headers.get("Idempotency-Key") or hashlib.md5(body).hexdigest()
    state.in_flight += 1
    state.most_in_flight = max(state.most_in_flight, state.in_flight)
    try:
        return await _one(request, json.loads(body), key, answer, error)
    finally:
        state.in_flight -= 1


async def _one(request: web.Request, body: dict[str, Any], key: str, answer: Any, error: Any) -> web.StreamResponse:
    state = request.app[FAULTS]
    faults = state.faults
    state.counts["requests"] += 1
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
    status, words = _refusal(state, body, sent)
    fate = str(status) if status else _fate(state)
    state.counts[fate] += 1
    if fate.isdigit():
        told = f"{words} (key {sent})" if faults.echo_key else words
        return error(int(fate), told, _headers(faults) if fate in ("429", "503", "529") else None)
    if key in state.running:  # the same question, asked again while the first is being answered
        await state.running[key]
    if key not in state.served or not request.headers.get("Idempotency-Key"):
        state.running[key] = asyncio.get_running_loop().create_future()
        state.charge(key)
        wait = faults.latency + state.random.random() * faults.jitter + (faults.slow_seconds if fate == "slow" else 0)
        if wait:
            await asyncio.sleep(wait)
        told = answer(body, key, fate, _said(state, body))
        if faults.silent:
            del told["usage"]
        state.served[key] = json.dumps(told).encode()
        state.running.pop(key).set_result(None)
    else:
        state.counts["from memory"] += 1
    content = state.served[key]
    if fate == "cut":
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    if fate == "malformed":
        content = content[: len(content) // 2]
    return web.Response(body=content, content_type="application/json")


def _refusal(state: State, body: dict[str, Any], sent: str) -> tuple[int, str]:
    """Status and words for what is refused whatever the dice say; 0 where nothing is."""
    faults = state.faults
    if faults.key and sent != faults.key:
        return 401, f"Incorrect API key provided: {sent}."
    if body["model"] not in MODELS:
        return 404, f"The model `{body['model']}` does not exist."
    if faults.too_long and len(_question(body)) > faults.too_long:
        return 400, f"This model's maximum context length is {faults.too_long} characters."
    if state.counts["requests"] <= faults.first:
        return faults.first_status, "Not ready."
    return 0, "Failing on order."


def _fate(state: State) -> str:
    draw, faults = state.random.random(), state.faults
    shares = [*faults.status.items(), *((name, getattr(faults, name)) for name in SHARES)]
    for name, share in shares:
        draw -= share
        if draw < 0:
            return name
    return "ok"


SHARES = ("malformed", "cut", "slow", "content_filter", "length")


def _headers(faults: Faults) -> dict[str, str]:
    if faults.retry_after is None:
        return {}
    if faults.retry_after_date:
        return {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=faults.retry_after), usegmt=True)}
    return {"Retry-After": f"{faults.retry_after:g}"}


def _question(body: dict[str, Any]) -> str:
    turns = [{"role": "system", "content": body["system"]}] if "system" in body else []
    said = body["prompt"] if "prompt" in body else [*turns, *body["messages"]]
    return json.dumps([said, body.get("seed")], ensure_ascii=False)


def _said(state: State, body: dict[str, Any]) -> str:
    """The text of the answer."""
    question = _question(body)
    if not state.faults.speaker:
        return text(question)
    module, _, name = state.faults.speaker.partition(":")
    state.questions[question] += 1
    return getattr(import_module(module), name)(body, state.questions[question] - 1)


def _usage(body: dict[str, Any], content: str) -> tuple[int, int]:
    """Tokens are words here."""
    return len(_question(body).split()), len(content.split())


def _chat(body: dict[str, Any], key: str, fate: str, content: str | None = None) -> dict[str, Any]:
    content = text(_question(body)) if content is None else content
    asked, said = _usage(body, content)
    logprobs = [{"token": word, "logprob": -0.5, "bytes": None, "top_logprobs": []} for word in content.split()]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "" if fate == "content_filter" else content, "refusal": None},
        "logprobs": {"content": logprobs} if body.get("logprobs") else None,
        "finish_reason": fate if fate in ("content_filter", "length") else "stop",
    }
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    head = {"id": f"chatcmpl-{key[:12]}", "object": "chat.completion", "created": 0, "model": f"{body['model']}-served"}
    return {**head, "choices": [choice], "usage": usage}


def _completion(body: dict[str, Any], key: str, fate: str, content: str | None = None) -> dict[str, Any]:
    content = text(_question(body)) if content is None else content
    asked, said = _usage(body, content)
    words = content.split()
    logprobs = {"tokens": words, "token_logprobs": [-0.5] * len(words), "top_logprobs": None, "text_offset": []}
    choice = {
        "index": 0,
        "text": "" if fate == "content_filter" else content,
        "logprobs": logprobs if body.get("logprobs") is not None else None,
        "finish_reason": fate if fate in ("content_filter", "length") else "stop",
    }
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    head = {"id": f"cmpl-{key[:12]}", "object": "text_completion", "created": 0, "model": f"{body['model']}-served"}
    return {**head, "choices": [choice], "usage": usage}


def _message(body: dict[str, Any], key: str, fate: str, content: str | None = None) -> dict[str, Any]:
    content = text(_question(body)) if content is None else content
    asked, said = _usage(body, content)
    stopped = {"content_filter": "refusal", "length": "max_tokens"}.get(fate, "end_turn")
    return {
        "id": f"msg_{key[:12]}",
        "type": "message",
        "role": "assistant",
        "model": f"{body['model']}-served",
        "content": [] if fate == "content_filter" else [{"type": "text", "text": content}],
        "stop_reason": stopped,
        "stop_sequence": None,
        "usage": {"input_tokens": asked, "output_tokens": said},
    }


def _openai_error(status: int, words: str, headers: dict[str, str] | None = None) -> web.Response:
    kinds = {400: "context_length_exceeded", 401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    body = {"error": {"message": words, "type": "error", "param": None, "code": kinds.get(status)}}
    return web.json_response(body, status=status, headers=headers)


def _anthropic_error(status: int, words: str, headers: dict[str, str] | None = None) -> web.Response:
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 529: "overloaded_error"}
    body = {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": words}}
    return web.json_response(body, status=status, headers=headers)


async def serve(port: int, faults: Faults) -> None:
    app = application()
    app[FAULTS].set(faults)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    assert site._server is not None
    print(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="loopback", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--faults", default="{}", help="JSON of Faults")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.port, Faults(**json.loads(options.faults))))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
