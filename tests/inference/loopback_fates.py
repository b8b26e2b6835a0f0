"""What becomes of the requests in batches on the loopback server: drawn from their names, so that it is the same in every run."""

import hashlib
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.inference import loopback


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
    page: int = 100  # batches a page of the list, at most
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
