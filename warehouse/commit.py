"""Commits: files that a job wrote become one snapshot of a table, or nothing does."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, ManifestEntry, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _MergeAppendFiles, _OverwriteFiles

from warehouse import check, contracts, storage
from warehouse.catalogue import CONFLICTS, Warehouse, attempts, settle
from warehouse.errors import CaravanError
from warehouse.refs import Resolved, branches_of, check_name, data_files
from warehouse.sql import connection
from warehouse.tags import create_ref

PREFIX = "caravan."


class Moved(CaravanError):
    """The table is no longer what the commit was computed from."""


@dataclass(frozen=True)
class Job:
    """What made a snapshot; recorded with it, together with the commit of the code."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Resolved] = ()

    def properties(self) -> dict[str, str]:
        return {
            f"{PREFIX}job": self.name,
            f"{PREFIX}arguments": json.dumps(dict(self.arguments), ensure_ascii=False, default=str),
            f"{PREFIX}inputs": json.dumps([str(resolved) for resolved in self.inputs]),
            f"{PREFIX}code": code_version(),
        }


@lru_cache(maxsize=1)
def code_version() -> str:
    """The git commit of this code, with `+changes` where files differ from it; the package's version outside git."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        sha = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = [*git, "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout.strip()
        return sha + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        try:
            return version("caravan-recipe")
        except PackageNotFoundError:
            return "unknown"


def stage(w: Warehouse, table: str) -> str:
    """A new folder (path or URI) under the table's data folder. What is in it stays invisible until it is committed."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    directory = f"{w.table(table).location()}/data/{moment}-{uuid.uuid4().hex[:12]}"
    if w.settings.local:
        Path(directory).mkdir(parents=True)
    return directory


@contextmanager
def staged(w: Warehouse, table: str) -> Iterator[str]:
    """`stage` for a `with`: where that ends with an exception, the folder's files that no snapshot refers to are deleted."""
    directory = stage(w, table)
    try:
        yield directory
    except BaseException:
        # What cannot be cleaned now is left to the doctor, so that the first error is the one that is told.
        with suppress(Exception):
            storage.clear(w, directory, keep=storage.reachable(w.catalogue.load_table(table)).data)
        raise
    storage.remove_empty(w, directory)


def commit(
    w: Warehouse,
    table: str,
    files: Sequence[str],
    job: Job,
    replace: Mapping[str, Sequence[Any]] | None = None,
    *,
    branch: str = MAIN_BRANCH,
    only_after: Resolved | None = None,
) -> int:
    """Commit Parquet files as one snapshot and return its id.

    `replace={partition column: values}` removes the old files of those partitions in the same snapshot; None appends.
    Another `branch` than main starts at main's head. Raises CaravanError, with nothing committed, where the files break
    the contract (rows are named), or other writers leave no gap for two minutes; Moved where `only_after` is given and
    the branch has another head than that, or the branch was dropped meanwhile.
    """
    contract = contracts.load(table)
    _check_replace(contract, replace)
    current = w.table(table)
    if branch != MAIN_BRANCH:
        current = _start_branch(w, current, branch, job)
    database = connection(w)
    added = check.new_files(current, contract, database, [_plain(path) for path in files])
    for _ in attempts(f"The commit to {table} found no gap"):
        with w.turn(table):
            current = w.catalogue.load_table(table)
            head = current.snapshot_by_name(branch)
            head_id = head.snapshot_id if head else None
            if branch != MAIN_BRANCH and head is None:
                raise Moved(f"The branch {branch!r} of {table} was dropped by another program. Nothing was committed.")
            if only_after is not None and head_id != only_after.snapshot_id:
                raise Moved(
                    f"{table} has changed since {only_after}. Nothing was committed: run the same command again."
                )
            removed, kept = _split(data_files(current, head_id), contract, replace)
            _not_there_already(table, added, [*removed, *kept])
            check.unique(current, contract, database, added, kept)
            snapshot_id = _try(w, current, removed, added, properties=job.properties(), branch=branch)
        if snapshot_id is not None:
            return snapshot_id
    raise AssertionError("attempts ends with an error")


def commit_arrow(
    w: Warehouse,
    table: str,
    rows: pa.Table,
    job: Job,
    replace: Mapping[str, Sequence[Any]] | None = None,
    *,
    branch: str = MAIN_BRANCH,
    only_after: Resolved | None = None,
) -> int:
    """Write an Arrow table as Parquet, a file a partition, and commit it as `commit` does. Optional columns may be missing."""
    contract = contracts.load(table)
    rows = _fit(contract, rows)
    with staged(w, table) as directory:
        files = []
        for number, part in enumerate(_parts(contract, rows)):
            path = f"{directory}/{number:05d}.parquet"
            with w.io.new_output(path).create() as stream:
                pq.write_table(part, stream, compression="zstd")
            files.append(path)
        return commit(w, table, files, job, replace, branch=branch, only_after=only_after)


class _Transaction(Transaction):
    """A transaction of one step: what it looks up is the table as it was, so Iceberg need not copy the whole history."""

    @property
    def table_metadata(self) -> TableMetadata:
        return self._table.metadata


class _Commit(_OverwriteFiles, _MergeAppendFiles):
    """Removes and adds files in one snapshot, merges small manifests, and lets go of manifests with no live file."""

    def _deleted_entries(self) -> list[ManifestEntry]:
        return super()._deleted_entries() if self._deleted_data_files else []

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        merged = super()._process_manifests(manifests)
        # A manifest that went into a merged one at once was never referred to.
        for path in set(self._written_manifests) - {manifest.manifest_path for manifest in merged}:
            self._written_manifests.remove(path)
            self._io.delete(path)
        return merged

    def _existing_manifests(self) -> list[ManifestFile]:
        if not self._deleted_data_files:
            return _MergeAppendFiles._existing_manifests(self)
        return [
            manifest
            for manifest in super()._existing_manifests()
            if manifest.has_added_files() or manifest.has_existing_files()
        ]


def _try(
    w: Warehouse,
    table: Table,
    removed: Sequence[DataFile],
    added: Sequence[DataFile],
    *,
    properties: dict[str, str],
    branch: str,
) -> int | None:
    """The new snapshot's id, or None where another writer was first."""
    transaction = _Transaction(table)
    operation = Operation.OVERWRITE if removed else Operation.APPEND
    producer = _Commit(operation, transaction, table.io, branch=branch, snapshot_properties=properties)
    for file in removed:
        producer.delete_data_file(file)
    for file in added:
        producer.append_data_file(file)
    try:
        producer.commit()
        transaction.commit_transaction()
    except CONFLICTS as error:
        settle(error)
        # A database may report trouble for a transaction that it did complete.
        now = w.catalogue.load_table(".".join(table.name()))
        return producer.snapshot_id if now.snapshot_by_id(producer.snapshot_id) else None
    return producer.snapshot_id


def _check_replace(contract: contracts.Contract, replace: Mapping[str, Sequence[Any]] | None) -> None:
    if replace is not None and list(replace) != [contract.partition]:
        raise CaravanError(
            f"{contract.name} can replace the files of whole values of {contract.partition!r} only, not of "
            f"{', '.join(replace) or 'nothing'}."
        )


def _start_branch(w: Warehouse, table: Table, branch: str, job: Job) -> Table:
    name = ".".join(table.name())
    if branch in branches_of(table):
        return table
    check_name("branch", branch)
    if table.current_snapshot() is None:
        # Iceberg cannot branch from nothing.
        commit(w, name, [], job)
        table = w.catalogue.load_table(name)
    head = table.current_snapshot()
    assert head is not None
    create_ref(w, table, branch, "branch", head.snapshot_id)
    return w.catalogue.load_table(name)


def _split(
    files: Sequence[DataFile], contract: contracts.Contract, replace: Mapping[str, Sequence[Any]] | None
) -> tuple[list[DataFile], list[DataFile]]:
    """The files to remove and those to keep."""
    values = set(replace[contract.partition]) if replace and contract.partition else set()
    removed = [file for file in files if values and file.partition[0] in values]
    return removed, [file for file in files if not values or file.partition[0] not in values]


def _not_there_already(table: str, added: Sequence[DataFile], live: Sequence[DataFile]) -> None:
    both = {file.file_path for file in added} & {file.file_path for file in live}
    if both:
        raise CaravanError(
            f"{table} already holds the file {min(both)}: its commit went through before. Nothing was changed."
        )


def _plain(path: str) -> str:
    if path.startswith("file:"):
        path = "/" + path.removeprefix("file:").lstrip("/")
    return path if "://" in path else str(Path(path).absolute())


def _fit(contract: contracts.Contract, rows: pa.Table) -> pa.Table:
    extra = [name for name in rows.column_names if name not in contract.names]
    if extra:
        raise CaravanError(f"{contract.name} has no column {extra[0]!r}. It has: {', '.join(contract.names)}.")
    columns = []
    for column in contract.columns:
        if column.name not in rows.column_names:
            columns.append(pa.nulls(len(rows), column.arrow))
            continue
        try:
            columns.append(rows[column.name].cast(column.arrow))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise CaravanError(f"{contract.name}: column {column.name!r} does not fit the contract: {error}") from error
    return pa.table(columns, schema=contract.arrow_schema())


def _parts(contract: contracts.Contract, rows: pa.Table) -> list[pa.Table]:
    if contract.partition is None or len(rows) == 0:
        return [rows] if len(rows) else []
    column = rows[contract.partition]
    if column.null_count:
        raise CaravanError(
            f"{contract.name}: {contract.partition} is required and is null in {column.null_count:,} rows. Nothing was committed."
        )
    return [rows.filter(pc.equal(column, value)) for value in pc.unique(column)]
