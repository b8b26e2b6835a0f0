"""Differences between two snapshots."""

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_commit import REJECT
from warehouse_rows import JOB, prompts

import warehouse
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow
from warehouse.diff import diff
from warehouse.errors import CaravanError
from warehouse.refs import resolve

TABLE = "raw.prompts"


def at(w: Warehouse, snapshot_id: int, table: str = TABLE):
    return resolve(w, f"{table}@{snapshot_id}")


def test_added_removed_and_changed_rows(w: Warehouse) -> None:
    rows = pa.concat_tables([prompts("a", 6), prompts("b", 3)])
    first = commit_arrow(w, TABLE, rows, JOB)
    new = pa.concat_tables([prompts("a", 2), prompts("a", 2, start=2, text="other"), prompts("a", 3, start=8)])
    licences = pa.array(["MIT", "MIT", "MIT", "Apache-2.0", "MIT", "MIT", "MIT"])
    new = new.set_column(new.column_names.index("licence"), "licence", licences)
    second = commit_arrow(w, TABLE, new, JOB, replace={"source": ["a"]})
    found = diff(w, at(w, first), at(w, second), examples=2)
    assert (found.added, found.removed, found.changed) == (3, 2, 2)
    assert found.columns == {"messages": 2, "licence": 1}
    key = {"source": "a", "file": "train.jsonl", "branch": 0}
    assert [row | {"row": 0} for row in found.examples["added"]] == [key | {"row": 0}] * 2
    assert [row["row"] for row in found.examples["added"]] == [9, 10]
    assert [row["row"] for row in found.examples["removed"]] == [5, 6]
    assert [(row["row"], row["columns"]) for row in found.examples["changed"]] == [
        (3, ["messages"]),
        (4, ["messages", "licence"]),
    ]
    back = diff(w, at(w, second), at(w, first))
    assert (back.added, back.removed, back.changed) == (2, 3, 2)


def test_equal_rows_in_other_files_are_no_difference(w: Warehouse) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 5), JOB)
    second = commit_arrow(w, TABLE, prompts("a", 5), JOB, replace={"source": ["a"]})
    found = diff(w, at(w, first), at(w, second))
    assert (found.added, found.removed, found.changed, found.columns) == (0, 0, 0, {})
    same = diff(w, at(w, first), at(w, first))
    assert (same.added, same.removed, same.changed) == (0, 0, 0)


def test_a_null_that_becomes_a_value_is_a_change(w: Warehouse) -> None:
    first = commit_arrow(w, TABLE, prompts("a", 2), JOB)
    rows = prompts("a", 2).append_column("skill", pa.array([None, "math"]))
    second = commit_arrow(w, TABLE, rows, JOB, replace={"source": ["a"]})
    assert diff(w, at(w, first), at(w, second)).columns == {"skill": 1}


def test_from_nothing_and_without_a_key(w: Warehouse) -> None:
    first = commit_arrow(w, "raw.rejects", REJECT, JOB)
    second = commit_arrow(w, "raw.rejects", REJECT, JOB)
    third = commit_arrow(w, "raw.rejects", pa.concat_tables([REJECT] * 1), JOB, replace={"source": ["a"]})
    nothing = resolve(w, "raw.rejects@empty")
    tables = [nothing, *(at(w, snapshot_id, "raw.rejects") for snapshot_id in (first, second, third))]
    counts = [(f.added, f.removed) for old, new in pairwise(tables) if (f := diff(w, old, new))]
    assert counts == [(1, 0), (1, 0), (0, 1)]
    assert diff(w, nothing, tables[1]).examples["added"] == [{"source": "a", "revision": "r", "file": "f", "row": 1}]


def test_two_tables_cannot_be_compared(w: Warehouse) -> None:
    with pytest.raises(CaravanError, match="snapshots of one table"):
        diff(w, resolve(w, TABLE), resolve(w, "raw.rejects"))


ROWS = st.dictionaries(st.integers(1, 8), st.sampled_from(["x", "y"]), max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=ROWS, new=ROWS)
def test_as_sets_of_rows_would_have_it(tmp_path_factory: pytest.TempPathFactory, old: dict, new: dict) -> None:
    w = warehouse.open(str(tmp_path_factory.mktemp("lake")))
    snapshots = []
    for rows in (old, new):
        parts = [prompts("a", 1, start=row - 1, text=text) for row, text in rows.items()]
        table = pa.concat_tables(parts) if parts else prompts("a", 1).slice(0, 0)
        snapshots.append(commit_arrow(w, TABLE, table, JOB, replace={"source": ["a"]}))
    found = diff(w, at(w, snapshots[0]), at(w, snapshots[1]))
    assert found.added == len(new.keys() - old.keys())
    assert found.removed == len(old.keys() - new.keys())
    assert found.changed == sum(old[row] != new[row] for row in old.keys() & new.keys())
