"""Write, audit, publish: rows go to a branch first, and main follows when they are found good."""

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotRefUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from warehouse.catalogue import CONFLICTS, Warehouse, attempts, settle
from warehouse.errors import CaravanError
from warehouse.refs import branches_of


def publish(w: Warehouse, table: str, branch: str) -> int:
    """Move main forward to the head of a branch and drop the branch, in one step. Returns the snapshot's id.

    Raises CaravanError where there is no such branch, or main has gone elsewhere since the branch was made.
    """
    for _ in attempts(f"The branch {branch} of {table} could not be published"):
        loaded, head = _head(w, table, branch)
        current = loaded.current_snapshot()
        line = {snapshot.snapshot_id for snapshot in ancestors_of(loaded.snapshot_by_id(head), loaded.metadata)}
        if current is not None and current.snapshot_id not in line:
            raise CaravanError(
                f"{table} was changed by another program after the branch {branch!r} was made, so main cannot move forward to "
                "it. Nothing was published: run the job that wrote the branch again."
            )
        move = SetSnapshotRefUpdate.model_validate({"ref-name": MAIN_BRANCH, "type": "branch", "snapshot-id": head})
        on_main = AssertRefSnapshotId.model_validate(
            {"ref": MAIN_BRANCH, "snapshot-id": current.snapshot_id if current else None}
        )
        if _change(w, loaded, branch, head, updates=(move,), requirements=(on_main,)):
            return head
    raise AssertionError("attempts ends with an error")


def drop(w: Warehouse, table: str, branch: str) -> None:
    """Drop a branch that was found wanting. Raises CaravanError where there is none of that name."""
    for _ in attempts(f"The branch {branch} of {table} could not be dropped"):
        loaded, head = _head(w, table, branch)
        if _change(w, loaded, branch, head):
            return


def _head(w: Warehouse, table: str, branch: str) -> tuple[Table, int]:
    loaded = w.load(table)
    branches = branches_of(loaded) if loaded else {}
    if loaded is None or branch not in branches:
        raise CaravanError(f"{table} has no branch {branch!r}. Its branches: {', '.join(sorted(branches)) or 'none'}.")
    return loaded, branches[branch]


def _change(
    w: Warehouse,
    table: Table,
    branch: str,
    head: int,
    *,
    updates: tuple[TableUpdate, ...] = (),
    requirements: tuple[AssertRefSnapshotId, ...] = (),
) -> bool:
    """Apply the updates and drop the branch, unless another writer was first (False)."""
    still = AssertRefSnapshotId.model_validate({"ref": branch, "snapshot-id": head})
    gone = RemoveSnapshotRefUpdate.model_validate({"ref-name": branch})
    try:
        w.catalogue.commit_table(
            table, (AssertTableUUID(uuid=table.metadata.table_uuid), still, *requirements), (*updates, gone)
        )
    except CONFLICTS as error:
        settle(error)
        return False
    return True
