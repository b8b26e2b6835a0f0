"""kill -9 at any moment: the warehouse opens, what was committed is whole, and what is left over is litter."""

import os
import random
import signal
import time
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

from warehouse_rows import JOB, contents, prompts, replace_for_ever

import warehouse
from warehouse import doctor, storage
from warehouse.commit import commit_arrow
from warehouse.refs import resolve

TABLE = "raw.prompts"
KILLS = 100
ROWS = 40


def whole(root: Path) -> None:
    """Every source at the newest snapshot has all rows of one revision, or (appended) as many as were committed."""
    with warehouse.connect(root=str(root)) as database:
        found = database.sql(
            "select source, count(*), count(distinct revision), count(distinct row) from raw.prompts group by 1"
        ).fetchall()
    for source, rows, revisions, distinct in found:
        assert rows == distinct
        assert (rows, revisions) == (ROWS, 1) if source != "c" else rows == 10 * revisions


def test_a_hundred_kills(processes: ForkServerContext, warehouse_root: Path) -> None:
    moments = random.Random(20260101)
    w = warehouse.open(str(warehouse_root))
    commit_arrow(w, TABLE, prompts("b", ROWS), JOB)
    start = time.monotonic()
    good = commit_arrow(w, TABLE, prompts("a", ROWS), JOB)
    # Kills fall into the first few commits of each child, however fast the machine is.
    span = min(0.5, 4 * (time.monotonic() - start))
    warehouse.tags.create(w, TABLE, "good", good)
    expected = contents(w, f"{TABLE}@good")
    for number in range(KILLS):
        # Every other child has committed once before its moment comes, so that the table grows on a slow machine too.
        ready = processes.Event()
        child = processes.Process(target=replace_for_ever, args=(str(warehouse_root), ROWS, number, ready, number % 2))
        child.start()
        assert ready.wait(60)
        time.sleep(moments.uniform(0, span))
        assert child.pid and child.exitcode is None, "the child ended by itself"
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        whole(warehouse_root)
    w = warehouse.open(str(warehouse_root))
    snapshots = warehouse.history.log(w, TABLE)
    assert len(snapshots) >= KILLS / 2, "too few children got to commit anything"
    assert contents(w, f"{TABLE}@good") == expected
    for entry in moments.sample(snapshots, 20):
        resolved = resolve(w, f"{TABLE}@{entry.snapshot_id}")
        assert warehouse.read.arrow(w, resolved, columns=["row"]).num_rows == entry.rows == resolved.rows
    before = {stored.path for stored in storage.listing(w, w.table(TABLE).location())}
    used = storage.reachable(w.table(TABLE))
    assert not used.broken
    litter = before - used.data - used.metadata
    assert litter, "no kill left anything half-written, so this test tested nothing"
    reported = [f.kind for f in doctor.examine(w, timedelta(0))]
    assert "orphan files" in reported and set(reported) <= {"orphan files", "half-ingested source"}
    list(doctor.examine(w, timedelta(0), fix=True))
    assert {stored.path for stored in storage.listing(w, w.table(TABLE).location())} == before - litter
    assert "orphan files" not in {f.kind for f in doctor.examine(w, timedelta(0))}
    whole(warehouse_root)
    assert contents(w, f"{TABLE}@good") == expected
