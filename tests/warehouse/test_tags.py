"""Tags never move, whoever tries and however many at once."""

from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from warehouse_rows import JOB, prompts, tag_once

from warehouse import tags
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import resolve, tags_of

TABLE = "raw.prompts"


def test_a_tag_is_set_once(w: Warehouse) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 1), JOB)
    second = commit_arrow(w, TABLE, prompts("b", 1), JOB)
    tags.create(w, TABLE, "v1", first)
    tags.create(w, TABLE, "v1", first)
    with pytest.raises(CaravanError, match=rf"already has the tag 'v1', on snapshot {first}.*never.*moves"):
        tags.create(w, TABLE, "v1", second)
    assert resolve(w, f"{TABLE}@v1").snapshot_id == first


def test_what_cannot_be_tagged(w: Warehouse) -> None:
    snapshot_id = commit_arrow(w, TABLE, prompts("a", 1), JOB)
    for name in ("main", "latest", "2024", "", "with space", "a/b", "-x", "é"):
        with pytest.raises(CaravanError, match="cannot be the name of a tag"):
            tags.create(w, TABLE, name, snapshot_id)
    with pytest.raises(CaravanError, match="no snapshot 77"):
        tags.create(w, TABLE, "v1", 77)
    with pytest.raises(CaravanError, match=r"no table 'raw\.nothing'"):
        tags.create(w, "raw.nothing", "v1", snapshot_id)
    commit_arrow(w, TABLE, prompts("b", 1), JOB, branch="audit-1")
    with pytest.raises(CaravanError, match="already has the branch 'audit-1'"):
        tags.create(w, TABLE, "audit-1", snapshot_id)


def test_a_branch_cannot_take_a_tags_name(w: Warehouse) -> None:
    tags.create(w, TABLE, "v1", commit_arrow(w, TABLE, prompts("a", 1), JOB))
    with pytest.raises(CaravanError, match="already has the tag 'v1'"):
        commit_arrow(w, TABLE, prompts("b", 1), JOB, branch="v1")


def test_of_many_processes_one_sets_the_tag(w: Warehouse, processes: ForkServerContext, tmp_path: Path) -> None:
    snapshots = [commit_arrow(w, TABLE, prompts("a", 1, start=n), JOB) for n in range(8)]
    children = [
        processes.Process(target=tag_once, args=(w.root, "v1", snapshot_id, str(tmp_path / str(snapshot_id))))
        for snapshot_id in snapshots
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    outcomes = {snapshot_id: (tmp_path / str(snapshot_id)).read_text(encoding="utf-8") for snapshot_id in snapshots}
    winners = [snapshot_id for snapshot_id, outcome in outcomes.items() if outcome == "set"]
    assert len(winners) == 1, outcomes
    assert tags_of(w.table(TABLE)) == {"v1": winners[0]}
    assert all(f"on snapshot {winners[0]}" in outcome for outcome in outcomes.values() if outcome != "set")
    assert len(w.table(TABLE).snapshots()) == 8
