"""kill -9 at random moments of the Spark jobs, their commits, the dbt build, its publication and a release.

After every kill the warehouse opens, every snapshot is one whole edition of the data, and what was acknowledged is there.
The number of kills is CARAVAN_KILLS, 4 by default.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from killed_job import EVALUATION, PHASES, PLANTED, RELEASED, ROWS, TRAINING, answer, text

import warehouse
from warehouse import doctor, refs, releases, storage
from warehouse.catalogue import Warehouse

REPOSITORY = Path(__file__).resolve().parent.parent
KILLS = int(os.environ.get("CARAVAN_KILLS", "4"))
CLEANED_EVERY = 10  # kills
PATIENCE = 300  # seconds for a phase to begin
SEEDS = {
    "mixtures": "mixture,recipe,without,fraction,use,seed,description\nall,all,,1,any,1,\n",
    "recipes": "recipe,source,rows,share,groups\nall,one,,,\nall,two,,,\n",
    "best_models": "source,model,note\nmany,gpt-4*,\n",
    "contamination_policy": "eval_set,train_set,suite,action,note\n*,*,*,rows,\n",
}
# The phase that begins when a table's commit is known to have gone through.
COMMITTED_BEFORE = {
    "raw.prompts": "evidence",
    "raw.completions": "evidence",
    "raw.eval_instances": "evidence",
    "raw.sources": "evidence",
    "attr.contamination": "dbt build",
    "mixtures.sft": "release",
}
DATA = ("raw.prompts", "raw.completions", "raw.eval_instances")
LEFT_BY_A_KILL = {"orphan files", "half-ingested source", "leftover branch", "incomplete release"}
Row = tuple[Any, ...]


class Runner:
    """Starts lives of the job and kills them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
        self.process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tests/killed_job.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lives = 0
        self.leader = 0

    def start(self, cycles: int = 0) -> None:
        assert self.process.stdin and self.process.stdout
        self.lives += 1
        self.process.stdin.write(f"{self.lives} {cycles}\n")
        self.process.stdin.flush()
        self.leader = int(self.process.stdout.readline())

    def phases(self) -> list[tuple[float, int, str]]:
        """Moment, edition and name of each phase of this life that has begun."""
        path = self.folder / f"phases-{self.lives}"
        lines = path.read_text().splitlines() if path.exists() else []
        split = [line.split(" ", 2) for line in lines]
        return [(float(moment), int(edition), name) for moment, edition, name in split]

    def wait_for(self, phase: str, cycle: int) -> None:
        end = time.monotonic() + PATIENCE
        wanted = self.lives * 1000 + cycle
        while not any((edition, name) == (wanted, phase) for _, edition, name in self.phases()):
            running = psutil.pid_exists(self.leader) and time.monotonic() < end
            assert running, self.complaint(f"did not come to {phase!r}")
            time.sleep(0.01)

    def alive(self) -> list[int]:
        """The processes of this life: its session, because Spark's Python workers have a group of their own."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.leader and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def kill(self) -> None:
        assert psutil.pid_exists(self.leader), self.complaint("ended by itself")
        os.killpg(self.leader, signal.SIGKILL)
        while left := self.alive():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)

    def complaint(self, what: str) -> str:
        output = (self.folder / f"output-{self.lives}").read_text(errors="replace")
        return f"life {self.lives} {what}: {output[-6000:]}"


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("sql", "warehouse/licences"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, content in SEEDS.items():
        (tmp_path / "sql/seeds" / f"{name}.csv").write_text(content, encoding="utf-8")
    for name in ("data", "spark"):
        (tmp_path / name).mkdir()
    made = Runner(tmp_path)
    yield made
    for pid in made.alive():
        os.kill(pid, signal.SIGKILL)
    assert made.process.stdin
    made.process.stdin.close()
    made.process.wait(30)


def expected(table: str, edition: int) -> list[Row]:
    """What a table holds of an edition, in the form of `contents`."""
    rows = range(1, ROWS + 1)
    if table == "raw.sources":
        return sorted((name, ROWS, 0) for name in (*TRAINING, EVALUATION))
    if table == "raw.eval_instances":
        return [(row, text(EVALUATION, row, edition)) for row in rows]
    if table == "attr.contamination":
        return [(TRAINING[0], row, row) for row in rows if row <= PLANTED]
    both = [(name, row) for name in TRAINING for row in rows]
    if table == "raw.prompts":
        return [(name, row, text(name, row, edition)) for name, row in both]
    if table == "raw.completions":
        return [(name, row, answer(name, row, edition)) for name, row in both]
    clean = [(name, row) for name, row in both if name != TRAINING[0] or row > PLANTED]
    return [(name, row, text(name, row, edition), answer(name, row, edition)) for name, row in clean]


def contents(table: str, rows: list[dict[str, Any]]) -> list[Row]:
    if table == "raw.sources":
        return sorted((r["source"], r["rows"], r["rejects"]) for r in rows)
    if table == "raw.eval_instances":
        return sorted((r["row"], r["fields"][0]["text"]) for r in rows)
    if table == "attr.contamination":
        return sorted((r["train_set"], r["train_row"], r["eval_row"]) for r in rows)
    if table == "raw.completions":
        return sorted((r["source"], r["row"], r["content"]) for r in rows)
    if table == "mixtures.sft":
        assert sorted(r["position"] for r in rows) == list(range(len(rows)))
    return sorted((r["source"], r["row"], *(m["content"] for m in r["messages"])) for r in rows)


def edition_of(w: Warehouse, resolved: refs.Resolved) -> int | None:
    """The one edition whose rows a snapshot holds, each of them once; None where it is empty."""
    rows = warehouse.read.arrow(w, resolved).to_pylist()
    assert len(rows) == resolved.rows
    if not rows:
        return None
    column = {"raw.sources": "location", "attr.contamination": "train_file"}.get(resolved.table, "file")
    found = {re.sub(r".*-(\d+)\.jsonl$", r"\1", row[column]) for row in rows}
    assert len(found) == 1, f"{resolved} holds a mixture of the editions {found}"
    edition = int(found.pop())
    assert contents(resolved.table, rows) == expected(resolved.table, edition), f"{resolved} is not whole"
    return edition


class State:
    """What is known of the warehouse: the edition of every snapshot ever seen, and those that readers get."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.seen: dict[str, int | None] = {}
        self.tags: dict[tuple[str, str], int] = {}
        self.newest: dict[str, int | None] = {}

    def check(self, again: int | None, choice: random.Random) -> None:
        """Every snapshot is whole; those seen before are still there, and `again` of them (None: all) hold the same."""
        w = warehouse.open(self.root)
        there = {f"{name}@{entry.snapshot_id}" for name in COMMITTED_BEFORE for entry in warehouse.history.log(w, name)}
        old = sorted(self.seen)
        assert set(old) <= there, "snapshots are gone"
        for reference in old if again is None else choice.sample(old, min(again, len(old))):
            assert edition_of(w, refs.resolve(w, reference)) == self.seen[reference]
        for reference in sorted(there - set(old)):
            self.seen[reference] = edition_of(w, refs.resolve(w, reference))
        self.newest = {name: self.seen[str(refs.resolve(w, name))] for name in COMMITTED_BEFORE}
        # Between its removal from raw.sources and its return a source counts as not ingested.
        assert all(edition for name, edition in self.newest.items() if name != "raw.sources")
        if registered := self.newest["raw.sources"]:
            assert {self.newest[name] for name in DATA} == {registered}, "raw.sources speaks of rows that are not there"
        tags = {(name, tag): id for name in COMMITTED_BEFORE for tag, id in refs.tags_of(w.table(name)).items()}
        assert self.tags.items() <= tags.items(), "a tag moved or went away"
        self.tags = tags

    def check_acknowledged(self, phases: list[tuple[float, int, str]], before: dict[str, int | None]) -> None:
        """What a phase had committed before the next one began is there; nothing else is newer than it was."""
        _, edition, _ = phases[-1]
        if phases[0][1] < edition:  # it came round to its next cycle
            before = dict.fromkeys(before, edition - 1)
        begun = {name for _, of, name in phases if of == edition}
        for table, found in self.newest.items():
            if COMMITTED_BEFORE[table] in begun:
                assert found == edition, f"{table} lost its commit of {edition}"
            else:
                removed = table == "raw.sources" and found is None
                assert removed or found in (edition, before[table]), f"{table} is at {found}"
        if "done" in begun:
            w = warehouse.open(self.root)
            held = releases.members(w, f"edition-{edition}")
            assert sorted(member.table for member in held) == sorted(RELEASED)

    def clean(self) -> Counter[str]:
        """Let the doctor put everything right: it names and removes what a kill left, and nothing else."""
        w = warehouse.open(self.root)
        names = w.tables()
        before = {name: {s.path for s in storage.listing(w, w.table(name).location())} for name in names}
        used = {name: storage.reachable(w.table(name)) for name in names}
        litter = {name: before[name] - used[name].data - used[name].metadata for name in names}
        branches = {name: len(refs.branches_of(w.table(name))) for name in names}
        half = [name for name in DATA if self.newest[name] != self.newest["raw.sources"]]
        lacking = {(member.table, member.release) for member in releases.incomplete(w)}
        found = list(doctor.examine(w, timedelta(0), fix=True))
        kinds = Counter(finding.kind for finding in found)
        assert set(kinds) <= LEFT_BY_A_KILL
        assert {f.table for f in found if f.kind == "orphan files"} == {name for name in names if litter[name]}
        assert kinds["leftover branch"] == sum(branches.values())
        assert kinds["incomplete release"] == len(lacking)
        assert {f.table for f in found if f.kind == "half-ingested source"} == set(half)
        for name in names:
            after = {s.path for s in storage.listing(w, w.table(name).location())}
            assert not litter[name] & after
            assert used[name].data <= after
            # Dropping a branch or setting a tag writes a table's metadata anew, and Iceberg then lets go of the oldest.
            changed = (before[name] - litter[name]) ^ after
            assert all(path.endswith(".metadata.json") for path in changed)
            assert not changed or branches[name] or any(table == name for table, _ in lacking)
            assert not refs.branches_of(w.table(name))
        assert {f.kind for f in doctor.examine(w, timedelta(0))} <= {"half-ingested source"}
        return kinds


def test_kills_of_the_whole_job(runner: Runner) -> None:
    seed = time.time_ns()
    choice = random.Random(seed)
    print(f"seed {seed}")
    state = State(str(runner.folder / "lake"))
    runner.start()
    runner.wait_for("done", 1)
    moments = [moment for moment, edition, _ in runner.phases() if edition == 1001]
    spans = dict(zip(PHASES, (b - a for a, b in pairwise(moments)), strict=False))
    w = warehouse.open(state.root)
    for table in COMMITTED_BEFORE:
        warehouse.tags.create(w, table, "good", min(entry.snapshot_id for entry in warehouse.history.log(w, table)))
    before: dict[str, int | None] = dict.fromkeys(COMMITTED_BEFORE, 1001)
    killed: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for number in range(1, KILLS + 1):
        aims = list(spans)
        choice.shuffle(aims)
        aim = min(aims, key=lambda phase: killed[phase])
        if number > 1:
            runner.start()
        runner.wait_for(aim, 2 if number == 1 else 1)
        time.sleep(choice.uniform(0, spans[aim]))
        runner.kill()
        phases = runner.phases()
        killed[phases[-1][2]] += 1
        state.check(20, choice)
        state.check_acknowledged(phases, before)
        before = state.newest
        print(f"kill {number} in {phases[-1][2]!r}; {len(state.seen)} snapshots", flush=True)
        if number % CLEANED_EVERY == 0 or number == KILLS:
            found += state.clean()
            state.check(None, choice)
            print(f"kills by phase: {dict(killed)}; found by the doctor: {dict(found)}", flush=True)
    runner.start(cycles=1)
    runner.wait_for("done", 1)
    psutil.Process(runner.leader).wait(60)
    state.check(None, choice)
    assert set(state.newest.values()) == {runner.lives * 1000 + 1}
    state.check_acknowledged(runner.phases(), before)
    assert list(doctor.examine(warehouse.open(state.root), timedelta(0))) == []
    print(f"{KILLS} kills, then the whole job: {len(state.seen)} snapshots, all whole")
    assert sum(killed.values()) == KILLS
    if KILLS >= 50:
        assert all(killed[phase] >= 3 for phase in spans)
        assert {"orphan files", "half-ingested source"} <= set(found)
