"""How the warehouse's commands print: tables for people, CSV and JSON lines for programs."""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import duckdb
from rich.console import Console
from rich.table import Table

from warehouse import contracts, history
from warehouse.catalogue import Warehouse
from warehouse.diff import Difference
from warehouse.doctor import Finding
from warehouse.errors import CaravanError
from warehouse.expire import Expired
from warehouse.history import Entry
from warehouse.read import views
from warehouse.refs import Resolved, branches_of, tags_of
from warehouse.releases import Member

# Wide enough for a log where the output is no terminal, such as a file of a batch job.
console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
T = TypeVar("T")
BATCH = 10_000
CELL = 90


def say(text: str) -> None:
    console.print(text, markup=False)


def working(text: str, items: Iterable[T]) -> Iterator[T]:
    with Console(stderr=True).status(text):
        yield from items


def tables(w: Warehouse) -> None:
    grid = _grid("table", "rows>", "files>", "size>", "snapshots>", "last change (UTC)", "tags", "branches")
    for name in w.tables():
        table = w.catalogue.load_table(name)
        current = table.current_snapshot()
        newest = next((e for e in history.log(w, name) if current and e.snapshot_id == current.snapshot_id), None)
        grid.add_row(
            name,
            _number(newest.rows if newest else 0),
            _number(newest.files if newest else 0),
            size(newest.size if newest else 0),
            _number(len(table.snapshots())),
            f"{newest.time:%Y-%m-%d %H:%M:%S}" if newest else "never",
            _some(sorted(tags_of(table))),
            _some(sorted(branches_of(table))),
        )
    console.print(grid)


def log(name: str, entries: Sequence[Entry], limit: int) -> None:
    grid = _grid("snapshot", "time (UTC)", "rows>", "added>", "removed>", "job", "inputs", "names")
    shown = entries[: limit or None]
    for entry in shown:
        grid.add_row(
            str(entry.snapshot_id),
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            _number(entry.rows),
            _number(entry.added),
            _number(entry.removed),
            _made(entry),
            "\n".join(entry.inputs),
            ", ".join(entry.refs),
        )
    console.print(grid)
    if len(entries) > len(shown):
        say(f"{len(entries) - len(shown)} older snapshots of {name}: --limit 0 shows all.")


def table(w: Warehouse, resolved: Resolved, rows: int) -> None:
    contract = contracts.load(resolved.table)
    say(f"{resolved}: {resolved.rows:,} rows in {len(resolved.files):,} files. {contract.purpose}")
    grid = _grid("column", "type", "rules", "meaning")
    for column in contract.columns:
        rules = [
            "key" if column.name in contract.key else "",
            "required" if column.required else "",
            "partition" if column.name == contract.partition else "",
            " | ".join(map(str, column.allowed)),
        ]
        grid.add_row(column.name, column.duckdb, ", ".join(filter(None, rules)), column.description)
    console.print(grid)
    for entry in history.log(w, resolved.table):
        if entry.snapshot_id == resolved.snapshot_id:
            say(f"made {entry.time:%Y-%m-%d %H:%M:%S} UTC by {_made(entry)}, code {entry.code}")
            say(f"from {', '.join(entry.inputs) or 'no table'}; named {', '.join(entry.refs) or 'nothing'}")
    if resolved.rows and rows:
        relation = views(w, [resolved]).sql(f"from {resolved.table} limit {rows}")
        for number, row in enumerate(relation.fetchall(), 1):
            record = _grid(f"row {number}", "value")
            for name, value in zip(relation.columns, row, strict=True):
                if value is not None:
                    record.add_row(name, _cell(value))
            console.print(record)


def difference(found: Difference) -> None:
    say(f"{found.old} → {found.new}")
    grid = _grid("rows", "count>", "examples")
    for kind, count in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        lines = [", ".join(f"{name}={_cell(value)}" for name, value in row.items()) for row in found.examples[kind]]
        grid.add_row(kind, _number(count), "\n".join(lines))
    console.print(grid)
    if found.columns:
        say("changed columns: " + ", ".join(f"{name} in {rows:,} rows" for name, rows in found.columns.items()))


def releases(members: Sequence[Member], untagged: set[tuple[str, str]]) -> None:
    grid = _grid("release", "table", "snapshot", "rows>", "made (UTC)", "note", "tag")
    for member in members:
        grid.add_row(
            member.release,
            member.table,
            str(member.snapshot_id),
            _number(member.rows),
            f"{member.created_at:%Y-%m-%d %H:%M:%S}",
            member.note or "",
            "missing: run doctor --fix" if (member.release, member.table) in untagged else "set",
        )
    console.print(grid)


def query(database: duckdb.DuckDBPyConnection, resolved: Sequence[Resolved], arguments: argparse.Namespace) -> None:
    try:
        relation = database.sql(arguments.query)
        if relation is None:
            return
        if arguments.csv or arguments.json:
            _stream(relation, arguments.json)
            return
        rows = relation.limit(arguments.rows + 1).fetchall()
        grid = _grid(
            *(
                f"{name}>" if _numeric(kind) else name
                for name, kind in zip(relation.columns, relation.types, strict=True)
            )
        )
        for row in rows[: arguments.rows]:
            grid.add_row(*map(_cell, row))
    except duckdb.Error as error:
        tables = ", ".join(each.table for each in resolved)
        raise CaravanError(f"The query failed: {error}\nThe tables at {arguments.ref} are: {tables}.") from error
    console.print(grid)
    if len(rows) > arguments.rows:
        say(f"The first {arguments.rows} rows. --rows shows more, --csv and --json show all.")
    read = [str(each) for each in resolved if each.table in arguments.query]
    say(f"read {', '.join(read) or 'no table'}")


def expired(found: Sequence[Expired], dry_run: bool) -> None:
    grid = _grid("table", "snapshots to expire>" if dry_run else "snapshots expired>", "files deleted>", "size>")
    for each in found:
        grid.add_row(each.table, _number(len(each.snapshots)), _number(each.files), size(each.size))
    console.print(grid)


def findings(found: Sequence[Finding], root: str) -> None:
    if not found:
        say(f"{root} is in order.")
        return
    grid = _grid("finding", "table", "what", "state")
    for each in found:
        grid.add_row(each.kind, each.table, each.detail, "put right" if each.fixed else each.advice)
    console.print(grid)


def size(count: int) -> str:
    """A number of bytes for people: 1.2 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _stream(relation: duckdb.DuckDBPyRelation, as_json: bool) -> None:
    names = relation.columns
    writer = csv.writer(sys.stdout)
    if not as_json:
        writer.writerow(names)
    while rows := relation.fetchmany(BATCH):
        if as_json:
            for row in rows:
                print(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str))
        else:
            writer.writerows(rows)


def _grid(*columns: str) -> Table:
    """A table; a column whose name ends in > is set to the right."""
    grid = Table(show_edge=False, pad_edge=False, header_style="bold", box=None)
    for column in columns:
        grid.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    return grid


def _made(entry: Entry) -> str:
    arguments = " ".join(f"{name}={value}" for name, value in entry.arguments.items())
    return _cell(f"{entry.job} {arguments}".strip() or "unknown")


def _number(count: int) -> str:
    return f"{count:,}"


def _numeric(kind: Any) -> bool:
    return str(kind) in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "FLOAT", "DOUBLE")


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:,}" if type(value) is int else str(value).replace("\n", "⏎")
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
