"""DuckDB over the files of a warehouse, with no DuckDB extension."""

import re
from collections.abc import Sequence
from urllib.parse import urlparse

import duckdb
from fsspec.implementations.arrow import ArrowFSWrapper
from pyiceberg.io.pyarrow import PyArrowFileIO

from warehouse.catalogue import Warehouse


def connection(w: Warehouse) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that can read the warehouse's files, wherever they lie. Timestamps are shown in UTC."""
    opened = duckdb.connect()
    prepare(opened, w)
    return opened


def prepare(opened: duckdb.DuckDBPyConnection, w: Warehouse) -> None:
    """Let any DuckDB connection read the warehouse's files."""
    opened.execute("set timezone = 'UTC'")
    if not w.settings.local:
        # The same file system, and so the same credentials, that Iceberg uses.
        uri = urlparse(w.root)
        assert isinstance(w.io, PyArrowFileIO)
        opened.register_filesystem(ArrowFSWrapper(w.io.fs_by_scheme(uri.scheme, uri.netloc)))


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def scan(files: Sequence[str]) -> str:
    """A `read_parquet(…)` over exactly these files: no glob, no columns made up from folder names."""
    paths = ", ".join(literal(re.sub(r"[*?\[]", r"[\g<0>]", path)) for path in files)
    return f"read_parquet([{paths}], union_by_name=true, hive_partitioning=false)"
