"""Expiry takes what nothing names, and only that."""

from datetime import timedelta
from pathlib import Path

import pytest
from warehouse_rows import JOB, contents, prompts

import warehouse
from warehouse import storage
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow
from warehouse.errors import CaravanError
from warehouse.expire import expire
from warehouse.refs import resolve

TABLE = "raw.prompts"
NOW = timedelta(0)


def test_named_snapshots_and_their_files_stay(w: Warehouse) -> None:
    snapshots = [commit_arrow(w, TABLE, prompts("a", 3, text=f"{n}"), JOB, replace={"source": ["a"]}) for n in range(5)]
    warehouse.tags.create(w, TABLE, "v1", snapshots[1])
    commit_arrow(w, TABLE, prompts("b", 2), JOB, branch="audit-1")
    on_branch = commit_arrow(w, TABLE, prompts("c", 2), JOB, branch="audit-1")
    expected = {ref: contents(w, f"{TABLE}@{ref}") for ref in ("v1", "latest", "audit-1")}
    found = expire(w, TABLE, NOW)
    assert sorted(found.snapshots) == sorted([snapshots[0], snapshots[2], snapshots[3]])
    assert {ref: contents(w, f"{TABLE}@{ref}") for ref in expected} == expected
    assert resolve(w, f"{TABLE}@audit-1").snapshot_id == on_branch
    table = w.table(TABLE)
    data = [s.path for s in storage.listing(w, f"{table.location()}/data")]
    assert set(data) == storage.reachable(table).data
    assert len(data) == 4
    with pytest.raises(CaravanError, match="may have been expired"):
        resolve(w, f"{TABLE}@{snapshots[0]}")
    warehouse.publish(w, TABLE, "audit-1")
    assert {source for source, _, _ in contents(w, TABLE)} == {"a", "b", "c"}


def test_what_is_young_stays_and_a_dry_run_only_tells(w: Warehouse) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 1), JOB)
    commit_arrow(w, TABLE, prompts("b", 1), JOB)
    assert expire(w, TABLE).snapshots == ()
    assert expire(w, TABLE, NOW, dry_run=True).snapshots == (first,)
    assert len(contents(w, f"{TABLE}@{first}")) == 1
    assert expire(w, TABLE, NOW).snapshots == (first,)
    assert expire(w, TABLE, NOW).snapshots == ()
    assert len(contents(w, TABLE)) == 2


def test_a_file_that_a_kept_snapshot_shares_stays(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    commit_arrow(w, TABLE, prompts("b", 3), JOB)
    commit_arrow(w, TABLE, prompts("c", 3), JOB, replace={"source": ["b"]})
    found = expire(w, TABLE, NOW)
    assert len(found.snapshots) == 2 and found.size > 0
    assert {source for source, _, _ in contents(w, TABLE)} == {"a", "c"}


def test_a_tag_set_while_an_expiry_runs_is_not_lost(w: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 1, text="old"), JOB)
    commit_arrow(w, TABLE, prompts("a", 1, text="new"), JOB, replace={"source": ["a"]})
    real = type(w.catalogue).commit_table
    calls = 0

    def late(self, table, requirements, updates):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 1:
            warehouse.tags.create(w, TABLE, "v1", first)
        return real(self, table, requirements, updates)

    monkeypatch.setattr(type(w.catalogue), "commit_table", late)
    assert expire(w, TABLE, NOW).snapshots == ()
    monkeypatch.undo()
    assert contents(w, f"{TABLE}@v1") == [("a", 1, "old 1")]


def test_an_unknown_table(w: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(CaravanError, match=r"no table 'raw\.nothing'"):
        expire(w, "raw.nothing", NOW)
