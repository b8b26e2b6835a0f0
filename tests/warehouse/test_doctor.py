"""The doctor finds what is wrong, puts right what can be, and touches nothing else."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from warehouse_rows import JOB, contents, prompts

import warehouse
from warehouse import doctor, refs
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow, stage
from warehouse.errors import CaravanError
from warehouse.refs import resolve

TABLE = "raw.prompts"
NOW = timedelta(0)

SOURCE = {
    "source": "a",
    "kind": "training",
    "location": "x/y",
    "revision": "r1",
    "adapter": "messages",
    "licence": "MIT",
}


@pytest.fixture
def table(w: Warehouse) -> Path:
    """The folder of raw.prompts with two snapshots; its one source is registered."""
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    commit_arrow(w, TABLE, prompts("a", 4), JOB, replace={"source": ["a"]})
    register(w, "r1")
    return Path(w.table(TABLE).location())


def register(w: Warehouse, revision: str) -> None:
    schema = warehouse.contracts.load("raw.sources").arrow_schema()
    row = SOURCE | {"revision": revision, "parents": [], "models": [], "rows": 4, "rejects": 0}
    commit_arrow(w, "raw.sources", pa.Table.from_pylist([row], schema=schema), JOB, replace={"source": ["a"]})


def files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def test_a_sound_warehouse(w: Warehouse, table: Path) -> None:
    assert list(doctor.examine(w, NOW, fix=True)) == []


def test_orphans_are_deleted_after_their_grace(w: Warehouse, table: Path) -> None:
    before = files(Path(w.root))
    staged = Path(stage(w, TABLE))
    (staged / "half.parquet").write_bytes(b"PAR1")
    (table / "metadata" / "00009-lost.metadata.json").write_text("{}")
    (table / "metadata" / "lost-m0.avro").write_bytes(b"Obj")
    unborn = Path(w.root) / "mixtures" / "sft" / "metadata" / "00000-lost.metadata.json"
    unborn.parent.mkdir(parents=True)
    unborn.write_text("{}")
    assert list(doctor.examine(w, fix=True)) == []
    old = time.time() - 2 * 24 * 3600
    for path in (staged / "half.parquet", unborn):
        os.utime(path, (old, old))
    found = list(doctor.examine(w, fix=True))
    assert [(f.kind, f.table, f.fixed) for f in found] == [
        ("orphan files", "mixtures.sft", True),
        ("orphan files", TABLE, True),
    ]
    assert not staged.exists()
    reported = list(doctor.examine(w, NOW))
    assert [f.kind for f in reported] == ["orphan files"] and "2 files" in reported[0].detail and not reported[0].fixed
    assert all(f.fixed for f in doctor.examine(w, NOW, fix=True))
    assert files(Path(w.root)) - {str(Path(w.root) / "catalogue.db-wal"), str(Path(w.root) / "catalogue.db-shm")} == (
        before - {str(Path(w.root) / "catalogue.db-wal"), str(Path(w.root) / "catalogue.db-shm")}
    )
    assert len(contents(w, TABLE)) == 4


def test_leftover_branches_are_dropped(w: Warehouse, table: Path) -> None:
    commit_arrow(w, TABLE, prompts("a", 4, start=4), JOB, branch="audit-1")
    assert list(doctor.examine(w)) == []
    found = list(doctor.examine(w, NOW))
    assert [(f.kind, f.fixed) for f in found] == [("leftover branch", False)] and "audit-1" in found[0].detail
    assert [f.fixed for f in doctor.examine(w, NOW, fix=True)] == [True]
    assert list(doctor.examine(w, NOW)) == []
    assert len(contents(w, TABLE)) == 4


def test_a_branch_that_was_made_just_now_is_left_alone(w: Warehouse, table: Path) -> None:
    time.sleep(2)
    head = resolve(w, TABLE).snapshot_id
    assert head is not None
    warehouse.tags.create_ref(w, w.table(TABLE), "audit-1", "branch", head)
    assert list(doctor.examine(w, timedelta(seconds=1), fix=True)) == []
    time.sleep(1)
    assert [f.kind for f in doctor.examine(w, timedelta(seconds=1), fix=True)] == ["leftover branch"]


def test_missing_files_are_named_and_nothing_is_deleted(w: Warehouse, table: Path) -> None:
    (gone,) = resolve(w, TABLE).files
    Path(gone).unlink()
    found = list(doctor.examine(w, NOW, fix=True))
    assert [(f.kind, f.fixed) for f in found] == [("missing files", False)] and gone in found[0].detail
    with pytest.raises(CaravanError, match=r"raw\.prompts@\d+ cannot be read.*doctor"):
        warehouse.connect(root=w.root)
    current = w.table(TABLE).current_snapshot()
    assert current is not None
    lost = current.manifests(w.table(TABLE).io)[0].manifest_path
    Path(lost).unlink()
    before = files(table)
    found = list(doctor.examine(w, NOW, fix=True))
    assert [f.kind for f in found] == ["missing files"] and lost in found[0].detail
    refs._MANIFESTS.clear()
    with pytest.raises(CaravanError, match=r"raw\.prompts@\d+ cannot be read.*doctor"):
        resolve(w, TABLE)
    assert files(table) == before


def test_half_ingested_sources(w: Warehouse, table: Path) -> None:
    commit_arrow(w, TABLE, prompts("a", 4, revision="r2"), JOB, replace={"source": ["a"]})
    commit_arrow(w, TABLE, prompts("b", 1), JOB)
    found = list(doctor.examine(w, fix=True))
    assert [(f.kind, f.table, f.fixed) for f in found] == [("half-ingested source", TABLE, False)] * 2
    assert "a is at revision r2 here, and raw.sources knows revision r1" in found[0].detail
    assert "b is at revision r1 here, and raw.sources knows nothing of it" in found[1].detail
    assert "ingest a again" in found[0].advice
    register(w, "r2")
    assert ["b is at" in f.detail for f in doctor.examine(w)] == [True]
