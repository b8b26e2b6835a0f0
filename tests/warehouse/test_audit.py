"""Write, audit, publish."""

from typing import Any

import pytest
from pyiceberg.manifest import DataFile
from warehouse_rows import JOB, contents, prompts

import warehouse
from warehouse import audit, check
from warehouse.catalogue import Warehouse
from warehouse.commit import Moved, commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import branches_of, resolve

TABLE = "raw.prompts"


@pytest.mark.parametrize("start_empty", [True, False])
def test_a_branch_is_invisible_until_it_is_published(w: Warehouse, start_empty: bool) -> None:
    if not start_empty:
        commit_arrow(w, TABLE, prompts("a", 3), JOB)
    before = contents(w, TABLE)
    snapshot_id = commit_arrow(w, TABLE, prompts("b", 2), JOB, branch="audit-1")
    assert contents(w, TABLE) == before
    assert len(contents(w, f"{TABLE}@audit-1")) == len(before) + 2
    assert warehouse.publish(w, TABLE, "audit-1") == snapshot_id
    assert resolve(w, TABLE).snapshot_id == snapshot_id
    assert len(contents(w, TABLE)) == len(before) + 2
    assert branches_of(w.table(TABLE)) == {}


def test_several_commits_to_a_branch_and_a_replacement(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    commit_arrow(w, TABLE, prompts("b", 2), JOB, branch="audit-1")
    commit_arrow(w, TABLE, prompts("a", 1, text="new"), JOB, replace={"source": ["a"]}, branch="audit-1")
    with pytest.raises(CaravanError, match="must be unique"):
        commit_arrow(w, TABLE, prompts("b", 1), JOB, branch="audit-1")
    warehouse.publish(w, TABLE, "audit-1")
    assert contents(w, TABLE) == [("a", 1, "new 1"), ("b", 1, "hello 1"), ("b", 2, "hello 2")]


def test_main_has_moved_on(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    commit_arrow(w, TABLE, prompts("b", 2), JOB, branch="audit-1")
    commit_arrow(w, TABLE, prompts("c", 1), JOB)
    before = resolve(w, TABLE)
    with pytest.raises(CaravanError, match="changed by another program after the branch 'audit-1' was made"):
        warehouse.publish(w, TABLE, "audit-1")
    assert resolve(w, TABLE) == before


def test_drop_and_unknown_branches(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    commit_arrow(w, TABLE, prompts("b", 2), JOB, branch="audit-1")
    with pytest.raises(CaravanError, match=r"no branch 'audit-2'. Its branches: audit-1"):
        warehouse.publish(w, TABLE, "audit-2")
    audit.drop(w, TABLE, "audit-1")
    with pytest.raises(CaravanError, match="Its branches: none"):
        audit.drop(w, TABLE, "audit-1")
    assert len(contents(w, TABLE)) == 3


def test_a_branch_that_is_dropped_under_a_commit(w: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    new_files = check.new_files

    def drop_meanwhile(*arguments: Any) -> list[DataFile]:
        audit.drop(w, TABLE, "audit-1")
        return new_files(*arguments)

    monkeypatch.setattr(check, "new_files", drop_meanwhile)
    with pytest.raises(Moved, match=r"'audit-1' of raw\.prompts was dropped"):
        commit_arrow(w, TABLE, prompts("b", 2), JOB, branch="audit-1")
    assert branches_of(w.table(TABLE)) == {} and len(w.table(TABLE).snapshots()) == 1


def test_main_and_tags_are_no_branches_to_publish(w: Warehouse) -> None:
    warehouse.tags.create(w, TABLE, "v1", commit_arrow(w, TABLE, prompts("a", 3), JOB))
    for name in ("main", "v1"):
        with pytest.raises(CaravanError, match="has no branch"):
            warehouse.publish(w, TABLE, name)
