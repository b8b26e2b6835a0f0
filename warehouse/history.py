"""The history of a table: its snapshots, what made them and what they are called."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from warehouse import contracts
from warehouse.catalogue import Warehouse
from warehouse.commit import PREFIX
from warehouse.errors import CaravanError
from warehouse.refs import Resolved


@dataclass(frozen=True)
class Entry:
    """A snapshot. Rows and files are counts after it; `added` and `removed` are rows; `refs` are its tags and branches."""

    snapshot_id: int
    parent_id: int | None
    time: datetime
    rows: int
    files: int
    size: int
    added: int
    removed: int
    job: str
    arguments: dict[str, Any]
    inputs: list[str]
    code: str
    refs: list[str]


def log(w: Warehouse, name: str) -> list[Entry]:
    """The snapshots of a table, newest first. Raises CaravanError where there is no such table."""
    table = w.load(name)
    if table is None:
        if name in contracts.names():
            return []
        raise CaravanError(f"There is no table {name!r} in {w.root}. There are: {', '.join(w.tables()) or 'none'}.")
    newest_first = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)
    return [_entry(table, snapshot) for snapshot in newest_first]


def entry(w: Warehouse, resolved: Resolved) -> Entry | None:
    """The snapshot of a reference; None where nothing was ever committed."""
    if resolved.snapshot_id is None:
        return None
    table = w.table(resolved.table)
    snapshot = table.snapshot_by_id(resolved.snapshot_id)
    assert snapshot is not None
    return _entry(table, snapshot)


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _entry(table: Table, snapshot: Snapshot) -> Entry:
    said = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
    named = [ref for ref, target in table.metadata.refs.items() if target.snapshot_id == snapshot.snapshot_id]
    return Entry(
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        time=moment(snapshot.timestamp_ms),
        rows=int(said.get("total-records", 0)),
        files=int(said.get("total-data-files", 0)),
        size=int(said.get("total-files-size", 0)),
        added=int(said.get("added-records", 0)),
        removed=int(said.get("deleted-records", 0)),
        job=said.get(f"{PREFIX}job", ""),
        arguments=json.loads(said.get(f"{PREFIX}arguments", "{}")),
        inputs=json.loads(said.get(f"{PREFIX}inputs", "[]")),
        code=said.get(f"{PREFIX}code", ""),
        refs=sorted(named, key=lambda ref: (ref != MAIN_BRANCH, ref)),
    )
