"""The job that tests/inference/test_send_kills.py kills: ask so many requests, commit, ask more, until all are answered.

Run as: python sent_job.py FOLDER URL ROWS CHUNK, with an edition a line on standard input. It imports everything once and forks a life
for each line, whose process id goes to standard output. A life asks what its edition lacks, and ends.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa

import warehouse
from inference import record
from inference.journal import Journal
from inference.models import cards
from inference.request import Request
from inference.send import Sending, send
from warehouse import contracts
from warehouse.commit import Job
from warehouse.refs import resolve


def requests_of(edition: int, rows: int) -> Iterator[Request]:
    for row in range(rows):
        turn = {"role": "user", "content": f"Question {row} of edition {edition}"}
        yield Request("openai", "loop", (turn,), parameters={"max_tokens": 40, "seed": row})


def live(folder: Path, edition: int, rows: int, chunk: int) -> None:
    log = os.open(folder / "phases", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def phase(name: str) -> None:
        os.write(log, f"{os.getpid()} {time.monotonic():.4f} {name}\n".encode())

    w = warehouse.open(str(folder / "lake"))
    asked = list(requests_of(edition, rows))
    table = pa.Table.from_pylist([r.row() for r in asked], contracts.load("llm.requests").arrow_schema())
    job = Job("sent", {"edition": edition})
    known = cards(folder / "models.toml")
    phase("commit")
    with Journal(folder / "journal") as journal:
        record.commit(w, journal, table, job)
        answers = warehouse.read.arrow(w, resolve(w, "llm.responses"), columns=["request_id"])
        there = set(answers["request_id"].to_pylist())
        left = (request for request in asked if request.request_id not in there)
        while some := list(islice(left, chunk)):
            phase("send")
            summary = send(some, known, journal, Sending(concurrency=32, progress=False))
            phase(f"doubt {summary.in_doubt}")
            phase("commit")
            record.commit(w, journal, table, job)
    phase("done")


def main() -> None:
    folder, rows, chunk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.chdir(folder)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say = partial(print, flush=True)
    for line in sys.stdin:
        if child := os.fork():
            say(child)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = 1
        try:
            live(folder, int(line), rows, chunk)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)


if __name__ == "__main__":
    main()
