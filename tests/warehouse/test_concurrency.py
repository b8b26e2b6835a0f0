"""Many writers at once: nothing is lost and nothing is doubled, whichever database keeps the catalogue."""

from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import sqlalchemy
from warehouse_rows import append_many, contents

import warehouse
from warehouse import doctor, history

TABLE = "raw.prompts"
# Writers with and without taking turns: those on several machines cannot, and then the catalogue alone settles every race.
NAMES = ("workers", "commits", "alone")
CROWDS = ["one machine", "several machines"]


def append(processes: ForkServerContext, root: Path, workers: int, commits: int, alone: bool, uri: str = "") -> None:
    children = [
        processes.Process(target=append_many, args=(str(root), worker, commits, alone, uri))
        for worker in range(workers)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(500)
        assert child.exitcode == 0
    w = warehouse.open(str(root))
    expected = sorted(
        ("ab"[worker % 2], row, f"hello {row}")
        for worker in range(workers)
        for row in range(worker * 10_000 + 1, worker * 10_000 + commits * 3 + 1)
    )
    assert contents(w, TABLE) == expected
    entries = history.log(w, TABLE)
    assert len(entries) == workers * commits
    assert [entry.rows for entry in entries] == list(range(workers * commits * 3, 0, -3))
    assert [entry.parent_id for entry in entries] == [*(entry.snapshot_id for entry in entries[1:]), None]
    # What lost races left is litter at most.
    assert {f.kind for f in doctor.examine(w, timedelta(0), fix=True)} <= {"orphan files", "half-ingested source"}
    assert contents(w, TABLE) == expected


@pytest.mark.parametrize(NAMES, [(8, 50, False), (4, 8, True)], ids=CROWDS)
def test_sqlite(processes: ForkServerContext, warehouse_root: Path, workers: int, commits: int, alone: bool) -> None:
    append(processes, warehouse_root, workers, commits, alone)


@pytest.mark.parametrize(NAMES, [(8, 12, False), (4, 8, True)], ids=CROWDS)
def test_postgres(
    postgres: str,
    processes: ForkServerContext,
    warehouse_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    commits: int,
    alone: bool,
) -> None:
    # The catalogue's name is fixed, so each test has a database of its own.
    engine = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as server:
        server.exec_driver_sql(f"create database appends_{workers}")
    uri = postgres.removesuffix("postgres") + f"appends_{workers}"
    monkeypatch.setenv("CARAVAN_CATALOGUE", uri)
    append(processes, warehouse_root, workers, commits, alone, uri)
    assert not (warehouse_root / "catalogue.db").exists()
