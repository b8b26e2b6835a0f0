"""A server on loopback that follows OpenAI's Batch API and Anthropic's Message Batches, and fails on order.

    python -m tests.inference.loopback_batches [--faults '{"polls": 2, "expire": 0.1}']

It prints its URL. POST /faults sets `Faults` (fields as JSON), GET /paid says how often the answer to each custom_id was paid, GET /seen
lists the batches with their requests. Answers are those of tests/inference/loopback.py. A request is paid when its batch is made,
unless its fate is another: what becomes of a request is drawn from its custom_id and how often it was in a batch.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.inference import loopback
from tests.inference.conftest import REPOSITORY, Server
from tests.inference.loopback_fates import Batch, Faults, State, content, run

STATE: web.AppKey["State"] = web.AppKey("batches")


def start(**faults: Any) -> Server:
    """A new server in a process of its own."""
    command = [sys.executable, "-m", "tests.inference.loopback_batches", "--faults", json.dumps(faults)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    return Server(process.stdout.readline().strip(), process)


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
    limit = min(int(query.get("limit", 20)), state.faults.page)
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
    limit = min(int(query.get("limit", 20)), state.faults.page)
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
