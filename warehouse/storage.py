"""What lies in the folders of the tables, and which of it the tables refer to."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlparse

from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from warehouse.catalogue import Warehouse


@dataclass(frozen=True)
class Stored:
    """A file: path or URI as the tables write it, size in bytes, time of its last change."""

    path: str
    size: int
    changed: datetime


@dataclass(frozen=True)
class Reachable:
    """The files that a table's snapshots refer to; `broken` names metadata files that are referred to and not there."""

    data: frozenset[str]
    metadata: frozenset[str]
    broken: frozenset[str]


def location(w: Warehouse, name: str) -> str:
    namespace, short = name.split(".")
    table = w.load(name)
    return table.location() if table else f"{w.root}/{namespace}/{short}"


def listing(w: Warehouse, folder: str) -> list[Stored]:
    """All files under a table's folder."""
    system, path, prefix = _system(w, folder)
    infos = system.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    files = (info for info in infos if info.type == FileType.File)
    return [Stored(prefix + info.path, info.size or 0, info.mtime or datetime.now(UTC)) for info in files]


def missing(w: Warehouse, paths: Iterable[str]) -> list[str]:
    """Those of the files that are not there."""
    asked = sorted(paths)
    if not asked:
        return []
    system, _, prefix = _system(w, asked[0])
    infos = system.get_file_info([path.removeprefix(prefix) for path in asked])
    return [path for path, info in zip(asked, infos, strict=True) if info.type == FileType.NotFound]


def delete(w: Warehouse, paths: Iterable[str], folder: str) -> None:
    """Delete files, and the folders under `folder` that this leaves empty."""
    parents = set()
    for path in paths:
        w.io.delete(path)
        parents.add(Path(path).parent)
    if not w.settings.local:
        return
    top = Path(folder)
    for parent in parents:
        for each in (parent, *parent.parents):
            # A table's own folders stay, so that a writer never finds them gone under its feet.
            if top not in each.parents or each.parent == top or not each.is_dir() or any(each.iterdir()):
                break
            each.rmdir()


def clear(w: Warehouse, folder: str, keep: Collection[str] = ()) -> None:
    """Delete the files of a folder except those to keep, and what folders this leaves empty."""
    for stored in listing(w, folder):
        if stored.path not in keep:
            w.io.delete(stored.path)
    remove_empty(w, folder)


def remove_empty(w: Warehouse, folder: str) -> None:
    """Remove a folder, and those in it, where they hold no file. An object store has no folders."""
    if w.settings.local:
        for each, _, _ in os.walk(folder, topdown=False):
            if not os.listdir(each):
                os.rmdir(each)


def reachable(table: Table) -> Reachable:
    """All files that any snapshot of the table, or its metadata log, refers to."""
    metadata = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    data: set[str] = set()
    broken: set[str] = set()
    for snapshot in table.snapshots():
        metadata.add(snapshot.manifest_list)
        try:
            manifests = snapshot.manifests(table.io)
        except FileNotFoundError:
            broken.add(snapshot.manifest_list)
            continue
        for manifest in manifests:
            if manifest.manifest_path in metadata:
                continue
            metadata.add(manifest.manifest_path)
            try:
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            except FileNotFoundError:
                broken.add(manifest.manifest_path)
                continue
            data.update(entry.data_file.file_path for entry in entries)
    return Reachable(frozenset(data), frozenset(metadata), frozenset(broken))


def _system(w: Warehouse, path: str) -> tuple[FileSystem, str, str]:
    """The file system of a path, the path as that system wants it, and what it takes to make a URI of it again."""
    assert isinstance(w.io, PyArrowFileIO)
    if "://" not in path:
        return w.io.fs_by_scheme("file", None), path, ""
    uri = urlparse(path)
    system = w.io.fs_by_scheme(uri.scheme, uri.netloc)
    if uri.scheme in ("hdfs", "viewfs"):
        return system, uri.path, f"{uri.scheme}://{uri.netloc}"
    return system, f"{uri.netloc}{uri.path}", f"{uri.scheme}://"
