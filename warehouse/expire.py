"""Expiry: old snapshots that nothing names are forgotten, and the files that only they used are deleted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.update import AssertTableUUID, RemoveSnapshotsUpdate, ValidatableTableRequirement

from warehouse import releases, storage
from warehouse.catalogue import CONFLICTS, Warehouse, attempts, settle
from warehouse.errors import CaravanError
from warehouse.history import moment

KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Expired:
    """What an expiry took: snapshot ids, and the number and bytes of the files that only they used."""

    table: str
    snapshots: tuple[int, ...]
    files: int
    size: int


class _SameRefs(ValidatableTableRequirement):
    """The table's tags and branches are those that the expiry was computed from.

    Iceberg drops a tag together with its snapshot, so a tag that is set while an expiry runs must stop the expiry.
    """

    type: str = "caravan-same-refs"
    refs: dict[str, int]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        now = {name: ref.snapshot_id for name, ref in base_metadata.refs.items()} if base_metadata else {}
        if now != self.refs:
            raise CommitFailedException("Requirement failed: tags or branches have changed")


def expire(w: Warehouse, table: str, older_than: timedelta = KEPT, dry_run: bool = False) -> Expired:
    """Forget snapshots of a table that are older than `older_than`, and delete the files that only they used.

    Kept always: what a tag, a release or a branch names, and the newest snapshot. A program that still reads one of the
    snapshots forgotten will miss its files. Raises CaravanError where there is no such table.
    """
    limit = datetime.now(UTC) - older_than
    for _ in attempts(f"The snapshots of {table} could not be expired"):
        with w.turn(table):
            before = w.load(table)
            if before is None:
                raise CaravanError(
                    f"There is no table {table!r} in {w.root}. There are: {', '.join(w.tables()) or 'none'}."
                )
            kept = _named(w, before)
            old = [
                snapshot.snapshot_id
                for snapshot in before.snapshots()
                if snapshot.snapshot_id not in kept and moment(snapshot.timestamp_ms) < limit
            ]
            if not old:
                return Expired(table, (), 0, 0)
            if dry_run:
                return Expired(table, tuple(old), 0, 0)
            used = storage.reachable(before)
            try:
                refs = {name: ref.snapshot_id for name, ref in before.metadata.refs.items()}
                # A REST catalogue knows Iceberg's own requirements only.
                still = (_SameRefs(refs=refs),) if isinstance(w.catalogue, MetastoreCatalog) else ()
                same = AssertTableUUID(uuid=before.metadata.table_uuid)
                update = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": old})
                w.catalogue.commit_table(before, (same, *still), (update,))
            except CONFLICTS as error:
                settle(error)
                continue
        return _delete_unused(w, table, tuple(old), used)
    raise AssertionError("attempts ends with an error")


def _named(w: Warehouse, table: Table) -> set[int]:
    """Snapshots to keep: those that refs and releases name, and what lies between main and the head of another branch."""
    name = ".".join(table.name())
    released = {member.snapshot_id for member in releases.members(w) if member.table == name}
    main = {snapshot.snapshot_id for snapshot in ancestors_of(table.current_snapshot(), table.metadata)}
    kept = {ref.snapshot_id for ref in table.metadata.refs.values()} | released
    for ref, target in table.metadata.refs.items():
        if ref == MAIN_BRANCH or target.snapshot_ref_type != "branch":
            continue
        for snapshot in ancestors_of(table.snapshot_by_id(target.snapshot_id), table.metadata):
            kept.add(snapshot.snapshot_id)
            if snapshot.snapshot_id in main:
                break
    return kept


def _delete_unused(w: Warehouse, table: str, old: tuple[int, ...], used: storage.Reachable) -> Expired:
    after = w.catalogue.load_table(table)
    still = storage.reachable(after)
    if still.broken:
        raise CaravanError(
            f"{table}: the file {min(still.broken)} is gone, so it cannot be told which files are still used. The snapshots were "
            "expired and no file was deleted. `python -m warehouse doctor` says more."
        )
    unused = (used.data - still.data) | {path for path in used.metadata - still.metadata if path.endswith(".avro")}
    folder = after.location()
    sizes = {stored.path: stored.size for stored in storage.listing(w, folder)}
    storage.delete(w, sorted(unused & sizes.keys()), folder)
    return Expired(table, old, len(unused), sum(sizes.get(path, 0) for path in unused))
