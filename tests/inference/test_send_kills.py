"""kill -9 at random moments while requests are asked, journalled and committed: every one is answered once and paid for once.

The number of kills is CARAVAN_KILLS, 4 by default; the job has 2,000 requests for 50 of them.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
from conftest import REPOSITORY, Server
from sent_job import requests_of

import warehouse

KILLS = int(os.environ.get("CARAVAN_KILLS", "4"))
ROWS = max(400, 40 * KILLS)
CHUNK = max(20, ROWS // KILLS // 2)  # requests asked between two commits, so that the job lasts for all the kills
PATIENCE = 120.0  # seconds for a life to get anywhere
WHOLE = 600.0  # and for the last one to ask all that is left


class Runner:
    """Starts lives of the job and kills them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.edition, self.life = folder, 0, 0
        self.process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tests/inference/sent_job.py"), str(folder), str(ROWS), str(CHUNK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        )

    def start(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{self.edition}\n")
        self.process.stdin.flush()
        self.life = int(self.process.stdout.readline())

    def phases(self) -> list[tuple[int, float, str]]:
        """Life, moment and name of each phase that has begun."""
        path = self.folder / "phases"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(life), float(moment), name) for life, moment, name in (line.split(" ", 2) for line in lines)]

    def of_life(self) -> list[str]:
        return [name for life, _, name in self.phases() if life == self.life]

    def wait(self, seen: int = 1) -> None:
        """Until the life has begun so many phases, or ended."""
        end = time.monotonic() + PATIENCE
        while len(self.of_life()) < seen and self.alive():
            assert time.monotonic() < end, (self.folder / "output").read_text()
            time.sleep(0.002)

    def alive(self) -> bool:
        return psutil.pid_exists(self.life)

    def ended(self) -> None:
        """After a life ended by itself: it must have been done, and the next begins another edition."""
        assert self.of_life()[-1:] == ["done"], (self.folder / "output").read_text()
        self.edition += 1


def test_kills(server: Server, tmp_path: Path):
    server.faults(latency=0.02, jitter=0.1, status={"500": 0.01, "429": 0.01}, retry_after=0.1, cut=0.005)
    server.cards(tmp_path, loop={})
    runner, moments = Runner(tmp_path), random.Random(20261122)
    killed: Counter[str] = Counter()
    cycle = 1.0
    while killed.total() < KILLS:
        runner.start()
        runner.wait()
        begun = time.monotonic()
        moment = begun + moments.uniform(0, 1.5 * cycle)
        while time.monotonic() < moment and runner.alive():
            time.sleep(0.002)
        try:
            os.kill(runner.life, signal.SIGKILL)
        except ProcessLookupError:
            runner.ended()
            continue
        while runner.alive():
            time.sleep(0.002)
        if runner.of_life()[-1] == "done":
            runner.ended()
            continue
        killed[runner.of_life()[-1].split(" ", maxsplit=1)[0]] += 1
        sends = [at for life, at, name in runner.phases() if life == runner.life and name == "send"]
        if len(sends) > 1:
            cycle = sends[1] - sends[0]
    runner.start()
    runner.wait()
    end = time.monotonic() + WHOLE
    while runner.alive():
        assert time.monotonic() < end, (tmp_path / "output").read_text()
        time.sleep(0.05)
    runner.ended()
    runner.process.kill()
    check(server, runner, killed)


def check(server: Server, runner: Runner, killed: Counter[str]) -> None:
    wanted = {request.request_id for edition in range(runner.edition) for request in requests_of(edition, ROWS)}
    paid = server.paid()
    assert set(paid) == wanted
    assert {key: times for key, times in paid.items() if times != 1} == {}
    with warehouse.connect(root=str(runner.folder / "lake")) as database:
        for table in ("llm.responses", "llm.requests"):
            found = Counter(row[0] for row in database.sql(f"select request_id from {table}").fetchall())
            assert set(found) == wanted
            assert set(found.values()) == {1}
        assert database.sql("select distinct status from llm.responses").fetchall() == [("ok",)]
    # What a kill leaves behind is asked again, and nothing else: the server's other repeats are of answers that it cut off itself.
    doubtful = sum(int(name.split()[1]) for _, _, name in runner.phases() if name.startswith("doubt"))
    counts = server.counts()
    assert counts["from memory"] <= counts.get("cut", 0) + 32 * killed.total()
    assert list((runner.folder / "journal").glob("*.jsonl")) == []
    print(f"{killed.total()} kills: {dict(killed)}; {doubtful} asked again, {counts['from memory']} served from memory")
