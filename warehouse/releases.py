"""Releases: one tag on several tables, and the rows of meta.releases that say which snapshots it stands for.

The rows are written first, in one commit; the tags are set from them. What interrupts a release between the two is made good
by the same command, or by `doctor --fix`: the rows alone decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from warehouse import read, tags
from warehouse.catalogue import Warehouse, attempts
from warehouse.commit import Job, Moved, commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import Resolved, check_name, resolve, tags_of

TABLE = "meta.releases"


@dataclass(frozen=True)
class Member:
    """One table of a release."""

    release: str
    table: str
    snapshot_id: int
    rows: int
    created_at: datetime
    note: str | None


def members(w: Warehouse, release: str | None = None) -> list[Member]:
    """What the releases (or one of them) hold, newest release first, tables by name."""
    return _members(w, resolve(w, TABLE), release)


def create(w: Warehouse, release: str, tables: Sequence[Resolved], note: str | None = None) -> list[Member]:
    """Release snapshots of several tables under one name, which never changes afterwards.

    The same release again completes it where it was interrupted, and is no change otherwise. Raises CaravanError where the
    name stands for other snapshots, or one of the tables has another tag of that name.
    """
    check_name("release", release)
    wanted = {resolved.table: resolved for resolved in tables}
    _check_tables(release, tables)
    for _ in attempts(f"The release {release} could not be written"):
        before = resolve(w, TABLE)
        held = _members(w, before, release)
        if held:
            _same(release, held, wanted)
            break
        _free(w, release, tables)
        try:
            commit_arrow(w, TABLE, _rows(release, tables, note), _job(release, tables), only_after=before)
        except Moved:
            continue
        held = _members(w, resolve(w, TABLE), release)
        break
    complete(w, held)
    return held


def complete(w: Warehouse, held: Sequence[Member]) -> None:
    """Set the tags that a release lacks."""
    for member in held:
        tags.create(w, member.table, member.release, member.snapshot_id)


def incomplete(w: Warehouse) -> list[Member]:
    """Members of releases whose tag is not set on the released snapshot."""
    named = {table: tags_of(loaded) for table in w.tables() if (loaded := w.load(table))}
    return [member for member in members(w) if named.get(member.table, {}).get(member.release) != member.snapshot_id]


def _members(w: Warehouse, resolved: Resolved, release: str | None) -> list[Member]:
    rows = read.arrow(w, resolved).sort_by(
        [("created_at", "descending"), ("release", "ascending"), ("table", "ascending")]
    )
    found = [Member(**row) for row in rows.to_pylist()]
    return [member for member in found if release in (None, member.release)]


def _check_tables(release: str, tables: Sequence[Resolved]) -> None:
    if not tables:
        raise CaravanError(f"The release {release!r} would hold no table. Name references such as mixtures.sft@latest.")
    names = [resolved.table for resolved in tables]
    for resolved in tables:
        if names.count(resolved.table) > 1:
            raise CaravanError(
                f"The release {release!r} names {resolved.table} twice: a release holds one snapshot a table."
            )
        if resolved.snapshot_id is None:
            raise CaravanError(
                f"{resolved.table} has no snapshot yet, so it cannot be part of the release {release!r}."
            )
        if resolved.table == TABLE:
            raise CaravanError(f"{TABLE} describes the releases and cannot be part of one.")


def _same(release: str, held: Sequence[Member], wanted: dict[str, Resolved]) -> None:
    if {member.table: member.snapshot_id for member in held} == {name: r.snapshot_id for name, r in wanted.items()}:
        return
    stands = ", ".join(f"{member.table}@{member.snapshot_id}" for member in held)
    asked = ", ".join(str(resolved) for resolved in wanted.values())
    raise CaravanError(
        f"The release {release!r} exists and stands for {stands}, not for {asked}. A release never changes: choose another name."
    )


def _free(w: Warehouse, release: str, tables: Sequence[Resolved]) -> None:
    for resolved in tables:
        loaded = w.load(resolved.table)
        taken = tags_of(loaded).get(release) if loaded else None
        if taken not in (None, resolved.snapshot_id):
            raise CaravanError(
                f"{resolved.table} already has the tag {release!r}, on snapshot {taken} and not {resolved.snapshot_id}. A tag "
                "never moves: choose another name for the release."
            )


def _rows(release: str, tables: Sequence[Resolved], note: str | None) -> pa.Table:
    return pa.table(
        {
            "release": [release] * len(tables),
            "table": [resolved.table for resolved in tables],
            "snapshot_id": pa.array([resolved.snapshot_id for resolved in tables], pa.int64()),
            "rows": pa.array([resolved.rows for resolved in tables], pa.int64()),
            "created_at": pa.array([datetime.now(UTC)] * len(tables), pa.timestamp("us", tz="UTC")),
            "note": pa.array([note] * len(tables), pa.string()),
        }
    )


def _job(release: str, tables: Sequence[Resolved]) -> Job:
    return Job("warehouse release", arguments={"release": release}, inputs=list(tables))
