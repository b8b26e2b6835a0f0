"""Tags: names of snapshots that never move."""

from typing import Literal

from pyiceberg.table import Table
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate

from warehouse.catalogue import CONFLICTS, Warehouse, attempts, settle
from warehouse.errors import CaravanError
from warehouse.refs import check_name


def create(w: Warehouse, table: str, tag: str, snapshot_id: int) -> None:
    """Tag a snapshot. The same tag on the same snapshot again is no change; on another snapshot it is a CaravanError."""
    check_name("tag", tag)
    loaded = w.load(table)
    if loaded is None:
        raise CaravanError(f"There is no table {table!r} in {w.root}. There are: {', '.join(w.tables()) or 'none'}.")
    create_ref(w, loaded, tag, "tag", snapshot_id)


def create_ref(w: Warehouse, table: Table, name: str, kind: Literal["tag", "branch"], snapshot_id: int) -> None:
    """Make a tag or branch that must not exist yet, or must be this very one. Safe against other programs doing the same."""
    shown = ".".join(table.name())
    for attempt in attempts(f"The {kind} {name} of {shown} could not be set"):
        if attempt:
            table = w.catalogue.load_table(shown)
        there = table.metadata.refs.get(name)
        if there is not None:
            if there.snapshot_id == snapshot_id and there.snapshot_ref_type == kind:
                return
            raise CaravanError(
                f"{shown} already has the {there.snapshot_ref_type} {name!r}, on snapshot {there.snapshot_id}. A tag never "
                f"moves: choose another name for snapshot {snapshot_id}."
            )
        if table.snapshot_by_id(snapshot_id) is None:
            raise CaravanError(f"{shown} has no snapshot {snapshot_id}: it cannot be given the {kind} {name!r}.")
        # Iceberg's own create_tag moves a tag that exists; this requirement makes the catalogue refuse that.
        requirements = (
            AssertTableUUID(uuid=table.metadata.table_uuid),
            AssertRefSnapshotId.model_validate({"ref": name, "snapshot-id": None}),
        )
        try:
            update = SetSnapshotRefUpdate.model_validate({"ref-name": name, "type": kind, "snapshot-id": snapshot_id})
            w.catalogue.commit_table(table, requirements, (update,))
            return
        except CONFLICTS as error:
            settle(error)
