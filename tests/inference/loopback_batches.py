"""A server on loopback that follows OpenAI's Batch API and Anthropic's Message Batches, and fails on order.

    python -m tests.inference.loopback_batches [--faults '{"polls": 2, "expire": 0.1}']

It prints its URL. POST /faults sets `Faults` (fields as JSON), GET /paid says how often the answer to each custom_id was paid, GET /seen
lists the batches with their requests. Answers are those of tests/inference/loopback.py. A request is paid when its batch is made,
unless its fate is another: what becomes of a request is drawn from its custom_id and how often it was in a batch.
"""

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.inference import loopback

STATE: web.AppKey["State"] = web.AppKey("batches")


@dataclass
class Faults:
    """What goes wrong. Shares are of requests or of result lines."""

    polls: int = 1  # looks at a batch before it has ended
    slow: float = 0.0  # seconds that each look takes
    expire: float = 0.0  # not run within the day, the first time
    error: float = 0.0  # 500 in the results, the first time
    limited: float = 0.0  # 429 in the results, the first time
    refuse: float = 0.0  # 400 in the results, every time
    cancel: int = 0  # so many batches are cancelled with half of their requests run
    fail: list[dict[str, Any]] = field(
        default_factory=list
    )  # errors of the next batches as a whole: {code, message, line}
    queue: int | None = None  # requests that may be under way: OpenAI refuses batches beyond
    malformed: float = 0.0  # lines cut in half
    malformed_downloads: int = 1_000_000  # only in so many first downloads
    duplicate: float = 0.0  # lines that come twice
    unknown: float = 0.0  # lines of requests that nobody made come in between
    missing: float = 0.0  # lines left out, the first time
    status: dict[str, float] = field(default_factory=dict)  # HTTP status -> share of calls, before anything is done
    retry_after: float | None = None
    lost: int = 0  # so many creations are carried out and answered with 500
    hidden: float = 0.0  # seconds before a new batch is in the list
    key: str | None = None  # the only key that is let in
    seed: int = 0


@dataclass
class Batch:
    id: str
    provider: str
    requests: list[dict[str, Any]]
    endpoint: str = "/v1/messages"
    input_file: str = ""
    metadata: dict[str, str] | None = None
    created: float = field(default_factory=time.time)
    looks: int = 0
    status: str = "completed"  # once it has ended
    results: list[tuple[str, str]] = field(default_factory=list)  # (kind, line)
    errors: list[dict[str, Any]] = field(default_factory=list)
    downloads: int = 0


class State:
    def __init__(self) -> None:
        self.set(Faults())
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.paid: Counter[str] = Counter()
        self.times: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.made = 0

    def set(self, faults: Faults) -> None:
        self.faults, self.random = faults, random.Random(faults.seed)

    def name(self, kind: str) -> str:
        self.made += 1
        return f"{kind}_{self.made:06d}"

    def ended(self, batch: Batch) -> bool:
        return batch.looks >= self.faults.polls


def draw(*words: object) -> float:
    """A number from 0 to 1 that is the same for the same words."""
    return int(hashlib.md5(repr(words).encode()).hexdigest()[:8], 16) / 0x1_0000_0000


# --- what becomes of a request -------------------------------------------------------------------------------------------


def run(state: State, batch: Batch) -> None:
    """Decide the fate of every request of a new batch, and pay for those that are run."""
    cancelled = state.faults.cancel > 0
    state.faults.cancel -= cancelled
    if cancelled:
        batch.status = "cancelled"
    for number, request in enumerate(batch.requests):
        name = request["custom_id"]
        first = state.times[name] == 0
        state.times[name] += 1
        fate = _fate(state.faults, name, first)
        if cancelled and number >= len(batch.requests) // 2:
            fate = "cancelled"
        if fate == "ok":
            state.paid[name] += 1
        if fate == "expired":
            batch.status = "expired"
        if not (first and draw(name, "missing") < state.faults.missing):
            kind, line = (_openai if batch.provider == "openai" else _anthropic)(request, fate)
            batch.results.append((kind, json.dumps(line, ensure_ascii=False)))


def _fate(faults: Faults, name: str, first: bool) -> str:
    place = draw(name, "fate")
    shares = {"refused": faults.refuse, "expired": faults.expire, "error": faults.error, "limited": faults.limited}
    for fate, share in shares.items():
        place -= share
        if place < 0:
            return fate if first or fate == "refused" else "ok"
    return "ok"


def _openai(request: dict[str, Any], fate: str) -> tuple[str, dict[str, Any]]:
    """(output or error file, line)."""
    name, body = request["custom_id"], request["body"]
    line: dict[str, Any] = {"id": f"batch_req_{name[:8]}", "custom_id": name, "response": None, "error": None}
    if fate in ("expired", "cancelled"):
        line["error"] = {"code": f"batch_{fate}", "message": "This request could not be executed."}
        return "error", line
    if fate == "ok":
        answer = (loopback._chat if "messages" in body else loopback._completion)(body, name, "ok")
        line["response"] = {"status_code": 200, "request_id": f"req_{name[:8]}", "body": answer}
        return "output", line
    status = {"refused": 400, "error": 500, "limited": 429}[fate]
    problem = {"error": {"message": f"Failing on order: {fate}.", "type": "error", "param": None, "code": None}}
    line["response"] = {"status_code": status, "request_id": f"req_{name[:8]}", "body": problem}
    return "error", line


def _anthropic(request: dict[str, Any], fate: str) -> tuple[str, dict[str, Any]]:
    name = request["custom_id"]
    if fate == "ok":
        result: dict[str, Any] = {"type": "succeeded", "message": loopback._message(request["params"], name, "ok")}
    elif fate in ("expired", "cancelled"):
        result = {"type": fate.replace("cancelled", "canceled")}
    else:
        kind = {"refused": "invalid_request_error", "error": "api_error", "limited": "rate_limit_error"}[fate]
        words = {"type": kind, "message": f"Failing on order: {fate}."}
        result = {"type": "errored", "error": {"type": "error", "error": words, "request_id": None}}
    return "output", {"custom_id": name, "result": result}


def content(state: State, batch: Batch, kind: str) -> bytes:
    """A file of results, with what is wrong with it."""
    batch.downloads += 1
    faults, found = state.faults, []
    for number, line in enumerate(line for of, line in batch.results if of == kind):
        broken = batch.downloads <= faults.malformed_downloads and draw(line, "malformed") < faults.malformed
        found.append(line[: len(line) // 2] if broken else line)
        if draw(line, "duplicate") < faults.duplicate:
            found.append(line)
        if draw(line, "unknown") < faults.unknown:
            found.append(line.replace(json.loads(line)["custom_id"], f"{number:032x}"))
    state.random.shuffle(found)
    return "".join(f"{line}\n" for line in found).encode()


# --- OpenAI ------------------------------------------------------------------------------------------------------------


async def upload(request: web.Request) -> web.Response:
    state = request.app[STATE]
    form = await request.post()
    assert form["purpose"] == "batch"
    sent = form["file"]
    assert isinstance(sent, web.FileField)
    name = state.name("file")
    state.files[name] = sent.file.read()
    return web.json_response(
        {
            "id": name,
            "object": "file",
            "bytes": len(state.files[name]),
            "created_at": int(time.time()),
            "filename": sent.filename,
            "purpose": "batch",
            "status": "processed",
        }
    )


async def file_content(request: web.Request) -> web.Response:
    state = request.app[STATE]
    batch, _, kind = request.match_info["id"].partition(".")
    return web.Response(body=content(state, state.batches[batch], kind), content_type="application/octet-stream")


async def create(request: web.Request) -> web.Response:
    state, told = request.app[STATE], await request.json()
    lines = [json.loads(line) for line in state.files[told["input_file_id"]].splitlines()]
    batch = Batch(state.name("batch"), "openai", lines, told["endpoint"], told["input_file_id"], told.get("metadata"))
    assert told["completion_window"] == "24h"
    batch.errors = _problems(state, batch)
    if batch.errors:
        batch.status = "failed"
    else:
        run(state, batch)
    state.batches[batch.id] = batch
    return _made(state, web.json_response(_openai_batch(state, batch)))


def _problems(state: State, batch: Batch) -> list[dict[str, Any]]:
    if state.faults.fail:
        return [{"param": None, "line": None, **state.faults.fail.pop(0)}]
    waiting = sum(len(b.requests) for b in state.batches.values() if not state.ended(b) and b.status != "failed")
    if state.faults.queue is not None and waiting + len(batch.requests) > state.faults.queue:
        words = (
            "Enqueued token limit reached for loop. Please try again once some in_progress batches have been completed."
        )
        return [{"code": "token_limit_exceeded", "message": words, "param": None, "line": None}]
    names = Counter(line["custom_id"] for line in batch.requests)
    assert len(batch.requests) <= 50_000
    found = []
    for number, line in enumerate(batch.requests, 1):
        if names[line["custom_id"]] > 1:
            found.append(("duplicate_custom_id", "The custom_id is a duplicate.", number))
        if line["url"] != batch.endpoint or line["method"] != "POST":
            found.append(("invalid_url", "The URL provided does not match the batch endpoint.", number))
        if line["body"]["model"] != batch.requests[0]["body"]["model"]:
            found.append(("mismatched_model", "The model does not match that of the first line.", number))
        elif line["body"]["model"] not in loopback.MODELS:
            found.append(("model_not_found", f"The model {line['body']['model']} is not supported.", number))
    return [{"code": code, "message": words, "param": None, "line": number} for code, words, number in found]


async def retrieve(request: web.Request) -> web.Response:
    state = request.app[STATE]
    batch = state.batches.get(request.match_info["id"])
    if batch is None:
        return loopback._openai_error(404, "No batch found.")
    batch.looks += 1
    await asyncio.sleep(state.faults.slow)
    return web.json_response(_openai_batch(state, batch))


async def listed(request: web.Request) -> web.Response:
    state, query = request.app[STATE], request.query
    found = _visible(state, "openai")
    if after := query.get("after"):
        found = found[[batch.id for batch in found].index(after) + 1 :]
    limit = min(int(query.get("limit", 20)), 3)  # short pages, so that the next one counts
    data = [_openai_batch(state, batch) for batch in found[:limit]]
    return web.json_response({"object": "list", "data": data, "has_more": len(found) > limit})


def _openai_batch(state: State, batch: Batch) -> dict[str, Any]:
    ended = state.ended(batch)
    status = batch.status if ended else ("validating", "in_progress", "finalizing")[min(batch.looks, 2)]
    if batch.status == "failed" and batch.looks:
        ended, status = True, "failed"
    kinds = Counter(kind for kind, _ in batch.results)
    files = {f"{kind}_file_id": f"{batch.id}.{kind}" if ended and kinds[kind] else None for kind in ("output", "error")}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": status,
        "created_at": int(batch.created),
        "metadata": batch.metadata,
        "request_counts": {
            "total": len(batch.requests) if batch.status != "failed" else 0,
            "completed": kinds["output"] if ended else 0,
            "failed": kinds["error"] if ended else 0,
        },
        "errors": {"object": "list", "data": batch.errors} if batch.errors and ended else None,
        **files,
    }


# --- Anthropic -----------------------------------------------------------------------------------------------------------


async def create_messages(request: web.Request) -> web.Response:
    state, told = request.app[STATE], await request.json()
    names = [each["custom_id"] for each in told["requests"]]
    if len(set(names)) < len(names) or not 1 <= len(names) <= 100_000 or any(len(name) > 64 for name in names):
        return loopback._anthropic_error(
            400, "requests: custom_id must be unique, 1 to 64 characters, 1 to 100000 of them"
        )
    if state.faults.fail:
        return loopback._anthropic_error(400, state.faults.fail.pop(0)["message"])
    batch = Batch(state.name("msgbatch"), "anthropic", told["requests"])
    run(state, batch)
    state.batches[batch.id] = batch
    return _made(state, web.json_response(_anthropic_batch(state, request, batch)))


async def retrieve_messages(request: web.Request) -> web.Response:
    state = request.app[STATE]
    batch = state.batches.get(request.match_info["id"])
    if batch is None:
        return loopback._anthropic_error(404, "No batch found.")
    batch.looks += 1
    await asyncio.sleep(state.faults.slow)
    return web.json_response(_anthropic_batch(state, request, batch))


async def listed_messages(request: web.Request) -> web.Response:
    state, query = request.app[STATE], request.query
    found = _visible(state, "anthropic")
    if after := query.get("after_id"):
        found = found[[batch.id for batch in found].index(after) + 1 :]
    limit = min(int(query.get("limit", 20)), 3)
    for batch in found:
        batch.looks += 1  # time goes by for all
    data = [_anthropic_batch(state, request, batch) for batch in found[:limit]]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return web.json_response({"data": data, "has_more": len(found) > limit, **ends})


async def results(request: web.Request) -> web.Response:
    state = request.app[STATE]
    batch = state.batches[request.match_info["id"]]
    assert state.ended(batch)
    return web.Response(body=content(state, batch, "output"), content_type="application/x-jsonl")


def _anthropic_batch(state: State, request: web.Request, batch: Batch) -> dict[str, Any]:
    ended, created = state.ended(batch), datetime.fromtimestamp(batch.created, UTC)
    kinds = Counter(json.loads(line)["result"]["type"] for _, line in batch.results) if ended else Counter()
    counts = {kind: kinds[kind] for kind in ("succeeded", "errored", "canceled", "expired")}
    # A line that got lost in the results was counted all the same.
    counts["succeeded"] += len(batch.requests) - sum(counts.values()) if ended else 0
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {**counts, "processing": 0 if ended else len(batch.requests)},
        "created_at": created.isoformat(),
        "expires_at": (created + timedelta(days=1)).isoformat(),
        "ended_at": datetime.now(UTC).isoformat() if ended else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"{request.url.origin()}/v1/messages/batches/{batch.id}/results" if ended else None,
    }


# --- both ----------------------------------------------------------------------------------------------------------------


def _visible(state: State, provider: str) -> list[Batch]:
    """Batches that are in the list, newest first."""
    now = time.time()
    found = [b for b in state.batches.values() if b.provider == provider and now - b.created >= state.faults.hidden]
    return found[::-1]


def _made(state: State, answer: web.Response) -> web.Response:
    if state.faults.lost > 0:
        state.faults.lost -= 1
        return web.json_response({"error": {"message": "The answer was lost.", "type": "api_error"}}, status=500)
    return answer


@web.middleware
async def faulty(request: web.Request, handler: Any) -> web.StreamResponse:
    state, faults = request.app[STATE], request.app[STATE].faults
    if not request.path.startswith("/v1/"):
        return await handler(request)
    state.calls[f"{request.method} {request.match_info.route.resource.canonical}"] += 1  # type: ignore[union-attr]
    error = loopback._anthropic_error if "/messages/" in request.path else loopback._openai_error
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
    if faults.key and sent != faults.key:
        return error(401, f"Incorrect API key provided: {sent}.")
    place = state.random.random()
    for status, share in faults.status.items():
        place -= share
        if place < 0:
            headers = {"Retry-After": f"{faults.retry_after:g}"} if faults.retry_after is not None else None
            return error(int(status), "Failing on order.", headers)
    return await handler(request)


async def set_faults(request: web.Request) -> web.Response:
    state, given = request.app[STATE], await request.json()
    known = {each.name for each in fields(Faults)}
    assert set(given) <= known, f"faults are {sorted(known)}"
    state.set(replace(Faults(), **given))
    return web.json_response(asdict(state.faults))


async def paid(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].paid)


async def calls(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].calls)


async def seen(request: web.Request) -> web.Response:
    batches = request.app[STATE].batches.values()
    return web.json_response({b.id: [each["custom_id"] for each in b.requests] for b in batches})


def application() -> web.Application:
    app = web.Application(client_max_size=1 << 30, middlewares=[faulty])
    app[STATE] = State()
    app.add_routes(
        [
            web.post("/v1/files", upload),
            web.get("/v1/files/{id}/content", file_content),
            web.post("/v1/batches", create),
            web.get("/v1/batches", listed),
            web.get("/v1/batches/{id}", retrieve),
            web.post("/v1/messages/batches", create_messages),
            web.get("/v1/messages/batches", listed_messages),
            web.get("/v1/messages/batches/{id}", retrieve_messages),
            web.get("/v1/messages/batches/{id}/results", results),
            web.post("/faults", set_faults),
            web.get("/paid", paid),
            web.get("/calls", calls),
            web.get("/seen", seen),
        ]
    )
    return app


async def serve(faults: Faults) -> None:
    app = application()
    app[STATE].set(faults)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    print(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="loopback_batches", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faults", default="{}", help="JSON of Faults")
    asyncio.run(serve(Faults(**json.loads(parser.parse_args().faults))))


if __name__ == "__main__":
    main()
