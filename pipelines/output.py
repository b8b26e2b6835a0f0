"""The folder that a run on plain files leaves, and the Parquet files in it."""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from warehouse.errors import CaravanError

# What a run leaves. A folder with anything else in it is not replaced.
NAMES = frozenset({"clean", "duplicates", "evidence", "rejects", "verdicts", "report.json", "report.md"})


def query(files: Sequence[str], sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
    """The result of SQL over the rows of Parquet files, which it calls `pairs`."""
    connection = duckdb.connect()
    connection.register("pairs", dataset(files))
    return connection.execute(sql, parameters)


def dataset(files: Sequence[str]) -> ds.Dataset:
    """The rows of Parquet files, wherever fsspec finds them."""
    fs, _ = fsspec.core.url_to_fs(files[0])
    return ds.dataset([fsspec.core.strip_protocol(path) for path in files], filesystem=fs, format="parquet")


def make(folder: str) -> None:
    """Make a folder, where there is such a thing."""
    fs, path = fsspec.core.url_to_fs(folder)
    fs.makedirs(path, exist_ok=True)


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, if it is there."""
    fs, path = fsspec.core.url_to_fs(folder)
    if fs.exists(path):
        fs.rm(path, recursive=True)


class Output:
    """A folder that appears complete or not at all, with `folders` in it. A URL is written in place, report.json last.

    Raises CaravanError where there is something already, and with `overwrite` where it is not the output of an earlier run.
    """

    def __init__(self, path: str, overwrite: bool, folders: Sequence[str] = ("clean",)) -> None:
        self.local = "://" not in path
        self.path = str(Path(path).absolute()) if self.local else path.rstrip("/")
        self.fs, self._target = fsspec.core.url_to_fs(self.path)
        self._refuse(path, overwrite)
        mark = uuid.uuid4().hex[:8]
        self.folder = f"{self.path}.{mark}.partial" if self.local else self.path
        self.staging = f"{self.folder}/staging-{mark}"
        self.clean, self.evidence = f"{self.folder}/clean", f"{self.folder}/evidence"
        if not self.local and self.fs.exists(self._target):
            self.fs.rm(self._target, recursive=True)
        for folder in (self.staging, *(f"{self.folder}/{name}" for name in folders)):
            make(folder)

    def _refuse(self, path: str, overwrite: bool) -> None:
        if not self.fs.exists(self._target):
            return
        if not overwrite:
            raise CaravanError(f"{path} exists already. Give another --output, or --overwrite to replace it.")
        found = {entry.rstrip("/").rsplit("/", 1)[-1] for entry in self.fs.ls(self._target, detail=False)}
        if foreign := sorted(name for name in found - NAMES if not name.startswith("staging-")):
            raise CaravanError(
                f"{path} is not replaced: it holds {foreign[0]}, which no run of this job left. Give another --output."
            )

    def put(self, name: str, text: str) -> None:
        """Write a small file."""
        with fsspec.open(f"{self.folder}/{name}", "w", encoding="utf-8") as stream:
            stream.write(text)

    def write(self, name: str, table: pa.Table) -> None:
        """Write a small table as Parquet."""
        with fsspec.open(f"{self.folder}/{name}", "wb") as stream:
            pq.write_table(table, stream, compression="zstd")

    def move(self, files: Sequence[str], folder: str) -> None:
        """Take staged files into a folder that is left."""
        make(f"{self.folder}/{folder}")
        target = fsspec.core.strip_protocol(f"{self.folder}/{folder}")
        for number, path in enumerate(sorted(files)):
            self.fs.mv(fsspec.core.strip_protocol(path), f"{target}/{number:06d}.parquet")

    def publish(self) -> None:
        """Let the folder appear."""
        remove(self.staging)
        if self.local:
            old = Path(f"{self.folder}.old")
            if Path(self.path).exists():
                Path(self.path).rename(old)
            Path(self.folder).rename(self.path)
            remove(str(old))

    def discard(self) -> None:
        """Remove what was not published."""
        # Tasks that were stopped may still be writing: what went wrong first is the error to tell.
        with suppress(OSError):
            remove(self.folder if self.local else self.staging)
