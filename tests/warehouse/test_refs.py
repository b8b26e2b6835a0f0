"""References: what they resolve to, and what is said where they do not."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from warehouse_rows import JOB, prompts

import warehouse
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import resolve

TABLE = "raw.prompts"


def test_a_table_that_was_never_written_is_empty(w: Warehouse) -> None:
    resolved = resolve(w, TABLE)
    assert (resolved.snapshot_id, resolved.files, resolved.rows, str(resolved)) == (None, (), 0, f"{TABLE}@empty")
    assert resolve(w, str(resolved)) == resolved


def test_tag_snapshot_latest_and_branch(w: Warehouse) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 3), JOB)
    warehouse.tags.create(w, TABLE, "v1", first)
    second = commit_arrow(w, TABLE, prompts("b", 2), JOB)
    third = commit_arrow(w, TABLE, prompts("c", 4), JOB, branch="audit-1")
    assert resolve(w, f"{TABLE}@v1") == resolve(w, f"{TABLE}@{first}")
    assert resolve(w, TABLE) == resolve(w, f"{TABLE}@latest") == resolve(w, f"{TABLE}@{second}")
    assert [resolve(w, f"{TABLE}@{ref}").rows for ref in ("v1", "latest", "audit-1", str(third))] == [3, 5, 9, 9]
    resolved = resolve(w, TABLE)
    assert str(resolved) == f"{TABLE}@{second}"
    assert list(resolved.files) == sorted(resolved.files) and len(resolved.files) == 2


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("raw.prompt", r"no table 'raw\.prompt'.*raw\.prompts"),
        (f"{TABLE}@v2", r"raw\.prompts has no tag 'v2'. Its tags: v1"),
        (f"{TABLE}@12345", r"raw\.prompts has no snapshot 12345.*warehouse log raw\.prompts"),
        ("raw.rejects@v1", r"raw\.rejects .* is empty: it has no tag or snapshot 'v1'"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(w: Warehouse, reference: str, words: str) -> None:
    warehouse.tags.create(w, TABLE, "v1", commit_arrow(w, TABLE, prompts("a", 1), JOB))
    with pytest.raises(CaravanError, match=words):
        resolve(w, reference)


def test_connect_shows_the_tables_of_a_tag_and_of_the_newest_snapshots(w: Warehouse, warehouse_root: Path) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 3), JOB)
    commit_arrow(w, TABLE, prompts("b", 2), JOB)
    warehouse.tags.create(w, TABLE, "v1", first)
    with warehouse.connect("@v1") as database:
        assert database.sql("select count(*) from raw.prompts").fetchall() == [(3,)]
        assert database.sql("select table_schema || '.' || table_name from information_schema.tables").fetchall() == [
            (TABLE,)
        ]
    with warehouse.connect(root=str(warehouse_root)) as database:
        assert database.sql("select count(*) from raw.prompts").fetchall() == [(5,)]
        assert database.sql("select count(*) from mixtures.sft").fetchall() == [(0,)]
        assert database.sql("from raw.prompts").columns == warehouse.contracts.load(TABLE).names
    with pytest.raises(CaravanError, match=r"No table .* has the tag 'v9'. The tags there are: v1"):
        warehouse.connect("@v9")


def test_an_empty_table_without_a_contract_is_no_view(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    w.catalogue.create_table("raw.notes", pa.schema([("note", pa.string())]))
    with warehouse.connect(root=w.root) as database:
        assert database.sql("select count(*) from raw.prompts").fetchall() == [(3,)]
        with pytest.raises(duckdb.CatalogException, match="notes"):
            database.sql("from raw.notes")


def test_every_name_of_the_package_is_there() -> None:
    package = Path(warehouse.__file__).parent
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__", "dbt_plugin"} == warehouse._MODULES
    for name in (*warehouse._MODULES, *warehouse._FUNCTIONS):
        assert warehouse.__getattr__(name)


def test_a_warehouse_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaravanError, match=r"no warehouse at .*nowhere.*init"):
        warehouse.connect(root=str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_view_stays_right_in_a_database_file_that_is_opened_later(w: Warehouse, tmp_path: Path) -> None:
    commit_arrow(w, TABLE, prompts("a", 3), JOB)
    with duckdb.connect(str(tmp_path / "notes.duckdb")) as database:
        database.execute(f"create view prompts as {warehouse.read.query(resolve(w, TABLE))}")
    with duckdb.connect(str(tmp_path / "notes.duckdb")) as database:
        assert database.sql("select count(*) from prompts").fetchall() == [(3,)]
