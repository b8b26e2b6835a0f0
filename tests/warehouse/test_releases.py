"""Releases: one name over several tables, whole or on the way to being whole."""

from pathlib import Path

import pytest
from test_commit import REJECT
from warehouse_rows import JOB, prompts

import warehouse
from warehouse import doctor, releases, tags
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import Resolved, resolve, tags_of


@pytest.fixture
def tables(w: Warehouse) -> list[Resolved]:
    commit_arrow(w, "raw.prompts", prompts("a", 3), JOB)
    commit_arrow(w, "raw.rejects", REJECT, JOB)
    return [resolve(w, "raw.prompts"), resolve(w, "raw.rejects")]


def tagged(w: Warehouse, name: str) -> dict[str, int]:
    return {table: snapshot for table in w.tables() if (snapshot := tags_of(w.table(table)).get(name))}


def test_a_release_tags_every_table_and_is_recorded(w: Warehouse, tables: list[Resolved]) -> None:
    held = releases.create(w, "v1", tables, note="the first")
    assert tagged(w, "v1") == {resolved.table: resolved.snapshot_id for resolved in tables}
    assert [(m.table, m.snapshot_id, m.rows, m.note) for m in held] == [
        (resolved.table, resolved.snapshot_id, resolved.rows, "the first") for resolved in tables
    ]
    commit_arrow(w, "raw.prompts", prompts("b", 3), JOB)
    assert warehouse.connect("@v1").sql("select count(*) from raw.prompts").fetchall() == [(3,)]


def test_a_release_never_changes(w: Warehouse, tables: list[Resolved]) -> None:
    releases.create(w, "v1", tables)
    assert releases.create(w, "v1", tables) == releases.members(w, "v1")
    with pytest.raises(CaravanError, match=r"'v1' exists and stands for raw\.prompts@.*never changes"):
        releases.create(w, "v1", tables[:1])
    commit_arrow(w, "raw.prompts", prompts("b", 3), JOB)
    with pytest.raises(CaravanError, match="never changes"):
        releases.create(w, "v1", [resolve(w, "raw.prompts"), tables[1]])
    assert resolve(w, "meta.releases").rows == 2


def test_what_cannot_be_released(w: Warehouse, tables: list[Resolved]) -> None:
    tags.create(w, "raw.prompts", "mine", tables[0].snapshot_id or 0)
    newer = commit_arrow(w, "raw.prompts", prompts("b", 3), JOB)
    cases = {
        "would hold no table": ("v1", []),
        "names raw.prompts twice": ("v1", [tables[0], tables[0]]),
        "has no snapshot yet": ("v1", [resolve(w, "mixtures.sft")]),
        "cannot be the name of a release": ("latest", tables),
        rf"already has the tag 'mine', on snapshot {tables[0].snapshot_id} and not {newer}": (
            "mine",
            [resolve(w, "raw.prompts")],
        ),
    }
    for words, (name, members) in cases.items():
        with pytest.raises(CaravanError, match=words):
            releases.create(w, name, members)
    assert resolve(w, "meta.releases").rows == 0
    releases.create(w, "mine", tables)
    assert tagged(w, "mine") == {resolved.table: resolved.snapshot_id for resolved in tables}


@pytest.mark.parametrize("done", [0, 1])
@pytest.mark.parametrize("by", ["the same command", "the doctor"])
def test_an_interrupted_release_is_rolled_forward(
    w: Warehouse, tables: list[Resolved], done: int, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are written, `done` of two tags are set, then the program dies."""
    calls = 0
    real = tags.create

    def dying(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls > done:
            raise KeyboardInterrupt
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tags, "create", dying)
    with pytest.raises(KeyboardInterrupt):
        releases.create(w, "v1", tables)
    monkeypatch.undo()
    assert len(tagged(w, "v1")) == done
    assert len(releases.incomplete(w)) == 2 - done
    # Meanwhile the tables go on, and old snapshots expire: a released snapshot stays, tagged or not.
    commit_arrow(w, "raw.prompts", prompts("b", 3), JOB)
    commit_arrow(w, "raw.rejects", REJECT, JOB)
    for resolved in tables:
        warehouse.expire.expire(w, resolved.table, older_than=doctor.timedelta(0))
    if by == "the doctor":
        found = [f.kind for f in doctor.examine(w)]
        assert found.count("incomplete release") == 2 - done
        assert all(f.fixed for f in doctor.examine(w, fix=True) if f.kind == "incomplete release")
    else:
        releases.create(w, "v1", tables)
    assert tagged(w, "v1") == {resolved.table: resolved.snapshot_id for resolved in tables}
    assert releases.incomplete(w) == []


def test_before_its_rows_a_release_does_not_exist(
    w: Warehouse, tables: list[Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*arguments: object, **options: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(releases, "commit_arrow", dying)
        with pytest.raises(KeyboardInterrupt):
            releases.create(w, "v1", tables)
    assert tagged(w, "v1") == {} and releases.members(w) == []
    releases.create(w, "v1", tables)


def test_two_releases_of_one_name_at_once(
    w: Warehouse, tables: list[Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program writes the rows of the same name, for other tables, after this one has looked."""
    real = releases.commit_arrow

    def late(*arguments: object, **options: object) -> int:
        monkeypatch.setattr(releases, "commit_arrow", real)
        releases.create(w, "v1", tables[:1])
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(releases, "commit_arrow", late)
    with pytest.raises(CaravanError, match="never changes"):
        releases.create(w, "v1", tables[1:])
    assert [m.table for m in releases.members(w, "v1")] == ["raw.prompts"]
    assert list(tagged(w, "v1")) == ["raw.prompts"]


def test_a_tag_in_the_way_is_reported(w: Warehouse, tables: list[Resolved], monkeypatch: pytest.MonkeyPatch) -> None:
    newer = commit_arrow(w, "raw.prompts", prompts("b", 3), JOB)
    real = releases.complete

    def crossed(w: Warehouse, held: list[releases.Member]) -> None:
        tags.create(w, "raw.prompts", "v1", newer)
        real(w, held)

    monkeypatch.setattr(releases, "complete", crossed)
    with pytest.raises(CaravanError, match="already has the tag 'v1'"):
        releases.create(w, "v1", tables)
    monkeypatch.undo()
    left = [f for f in doctor.examine(w, fix=True) if f.kind == "incomplete release" and f.table == "raw.prompts"]
    assert [f.fixed for f in left] == [False] and "another name" in left[0].advice


def test_the_warehouse_folder_holds_the_release(w: Warehouse, tables: list[Resolved], warehouse_root: Path) -> None:
    releases.create(w, "v1", tables)
    assert [m.release for m in releases.members(warehouse.open(str(warehouse_root)))] == ["v1", "v1"]
