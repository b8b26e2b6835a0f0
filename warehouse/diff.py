"""The difference of two snapshots of a table: rows added, removed and changed, by the contract's key."""

from dataclasses import dataclass, field
from typing import Any

import duckdb

from warehouse import contracts
from warehouse.catalogue import Warehouse
from warehouse.contracts import Contract
from warehouse.errors import CaravanError
from warehouse.read import query
from warehouse.refs import Resolved
from warehouse.sql import connection

Row = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """Counts of rows, and up to `examples` of each kind as keys (a changed row also names the columns that differ).

    `columns`: column -> rows in which it differs. A table without a key compares whole rows, so nothing counts as changed.
    """

    old: Resolved
    new: Resolved
    added: int
    removed: int
    changed: int
    columns: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[Row]] = field(default_factory=dict)


def diff(w: Warehouse, old: Resolved, new: Resolved, examples: int = 5) -> Difference:
    """Compare two snapshots of one table. Only files that are in one of them alone are read."""
    if old.table != new.table:
        raise CaravanError(f"Only snapshots of one table can be compared, and {old} and {new} are of two.")
    contract = contracts.load(old.table)
    database = connection(w)
    shared = set(old.files) & set(new.files)
    for name, resolved in (("before", old), ("after", new)):
        files = tuple(file for file in resolved.files if file not in shared)
        database.execute(f"create view {name} as {query(Resolved(resolved.table, resolved.snapshot_id, files, 0))}")
    if not contract.key:
        return _whole_rows(database, contract, old, new, examples)
    keys = ", ".join(f'"{name}"' for name in contract.key)
    added = f"from after anti join before using ({keys})"
    removed = f"from before anti join after using ({keys})"
    others = [name for name in contract.names if name not in contract.key]
    differs = " or ".join(f'before."{name}" is distinct from after."{name}"' for name in others)
    changed = f"from before join after using ({keys}) where {differs}"
    sums = ", ".join(f'count(*) filter (before."{name}" is distinct from after."{name}")' for name in others)
    count, *column_counts = database.execute(f"select count(*), {sums} {changed}").fetchall()[0]
    names = ", ".join(
        f'case when before."{name}" is distinct from after."{name}" then \'{name}\' end' for name in others
    )
    listed = f"list_filter([{names}], lambda name: name is not null) as columns"
    return Difference(
        old,
        new,
        added=_count(database, added),
        removed=_count(database, removed),
        changed=count,
        columns={name: rows for name, rows in zip(others, column_counts, strict=True) if rows},
        examples={
            "added": _rows(database, f"select {keys} {added} order by all limit {examples}"),
            "removed": _rows(database, f"select {keys} {removed} order by all limit {examples}"),
            "changed": _rows(database, f"select {keys}, {listed} {changed} order by all limit {examples}"),
        },
    )


def _whole_rows(
    database: duckdb.DuckDBPyConnection, contract: Contract, old: Resolved, new: Resolved, examples: int
) -> Difference:
    added, removed = "select * from after except all from before", "select * from before except all from after"
    shown = ", ".join(f'"{name}"' for name in contract.names[:4])
    return Difference(
        old,
        new,
        added=_count(database, f"from ({added})"),
        removed=_count(database, f"from ({removed})"),
        changed=0,
        examples={
            "added": _rows(database, f"select {shown} from ({added}) order by all limit {examples}"),
            "removed": _rows(database, f"select {shown} from ({removed}) order by all limit {examples}"),
            "changed": [],
        },
    )


def _count(database: duckdb.DuckDBPyConnection, rows: str) -> int:
    return int(database.execute(f"select count(*) {rows}").fetchall()[0][0])


def _rows(database: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    result = database.execute(sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
