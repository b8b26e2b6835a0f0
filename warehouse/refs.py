"""References: `namespace.table[@tag|@branch|@snapshot-id|@latest]`, resolved once to a snapshot and its files."""

import re
from dataclasses import dataclass

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType

from warehouse import contracts
from warehouse.catalogue import Warehouse
from warehouse.errors import CaravanError

LATEST = "latest"
_MANIFESTS: dict[str, list[DataFile]] = {}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Resolved:
    """One snapshot of a table. `files` are paths or URIs, sorted; `snapshot_id` is None where nothing was ever committed."""

    table: str
    snapshot_id: int | None
    files: tuple[str, ...]
    rows: int

    def __str__(self) -> str:
        return f"{self.table}@{'empty' if self.snapshot_id is None else self.snapshot_id}"


def resolve(w: Warehouse, reference: str) -> Resolved:
    """Resolve a reference. Raises CaravanError naming what exists where table, tag or snapshot does not."""
    name, _, ref = reference.partition("@")
    table = w.load(name)
    if table is None:
        if name not in contracts.names():
            known = sorted({*w.tables(), *contracts.names()})
            raise CaravanError(f"There is no table {name!r} in {w.root}. There are: {', '.join(known)}.")
        if ref not in ("", LATEST, "empty"):
            raise CaravanError(f"{name} in {w.root} is empty: it has no tag or snapshot {ref!r}. Only @latest exists.")
        return Resolved(name, None, (), 0)
    snapshot_id = _snapshot(table, name, ref)
    try:
        files = data_files(table, snapshot_id)
    except FileNotFoundError as error:
        raise CaravanError(
            f"{name}@{snapshot_id} cannot be read: {error}. `python -m warehouse doctor` lists all files that are missing."
        ) from error
    return Resolved(
        name, snapshot_id, tuple(sorted(file.file_path for file in files)), sum(file.record_count for file in files)
    )


def data_files(table: Table, snapshot_id: int | None) -> list[DataFile]:
    """The data files that are live in a snapshot."""
    if snapshot_id is None:
        return []
    snapshot = table.snapshot_by_id(snapshot_id)
    assert snapshot is not None
    live = [
        manifest
        for manifest in snapshot.manifests(table.io)
        if manifest.has_added_files() or manifest.has_existing_files()
    ]
    return [file for manifest in live for file in _files_of(manifest, table.io)]


def _files_of(manifest: ManifestFile, io: FileIO) -> list[DataFile]:
    # Manifests never change, and a program that commits often meets the same ones again.
    if manifest.manifest_path not in _MANIFESTS:
        if len(_MANIFESTS) >= 200:
            _MANIFESTS.clear()
        entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
        _MANIFESTS[manifest.manifest_path] = [entry.data_file for entry in entries]
    return _MANIFESTS[manifest.manifest_path]


def tags_of(table: Table) -> dict[str, int]:
    """Tag -> snapshot id."""
    refs = table.metadata.refs.items()
    return {name: ref.snapshot_id for name, ref in refs if ref.snapshot_ref_type == SnapshotRefType.TAG}


def branches_of(table: Table) -> dict[str, int]:
    """Branch other than main -> snapshot id."""
    refs = table.metadata.refs.items()
    return {
        name: ref.snapshot_id
        for name, ref in refs
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH and name != MAIN_BRANCH
    }


def check_name(kind: str, name: str) -> None:
    """Refuse a tag or branch name that could be read as something else."""
    if not _NAME.fullmatch(name) or name.isdigit() or name in (LATEST, MAIN_BRANCH, "empty"):
        raise CaravanError(
            f"{name!r} cannot be the name of a {kind}: use letters, digits, '.', '_' and '-', at least one of them no "
            "digit, and not 'latest', 'main' or 'empty'."
        )


def _snapshot(table: Table, name: str, ref: str) -> int | None:
    if ref in ("", LATEST):
        current = table.current_snapshot()
        return current.snapshot_id if current else None
    if ref == "empty":
        return None
    if ref in table.metadata.refs:
        return table.metadata.refs[ref].snapshot_id
    if ref.isdigit():
        if table.snapshot_by_id(int(ref)):
            return int(ref)
        raise CaravanError(
            f"{name} has no snapshot {ref}: it may have been expired. `python -m warehouse log {name}` lists those there are."
        )
    tags = ", ".join(sorted(tags_of(table))) or "none"
    raise CaravanError(
        f"{name} has no tag {ref!r}. Its tags: {tags}. `python -m warehouse log {name}` lists its snapshots."
    )
