"""Reading a reference: with DuckDB, pyarrow or `datasets`. Spark's reader is in warehouse.spark."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.io.pyarrow import PyArrowFileIO

from warehouse import catalogue, contracts, refs
from warehouse.catalogue import Warehouse
from warehouse.errors import CaravanError
from warehouse.refs import LATEST, Resolved
from warehouse.sql import connection, scan

if TYPE_CHECKING:
    import datasets


def connect(ref: str = "@latest", root: str | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view `namespace.table` for each table at a tag, or at its newest snapshot.

    Tables without the tag are absent. Raises CaravanError where no table has it.
    """
    w = catalogue.open(root, create=False)
    return views(w, at(w, ref))


def at(w: Warehouse, ref: str) -> list[Resolved]:
    """All tables at a tag (`@v1`) or at `@latest`. Raises CaravanError naming the tags there are."""
    tag = ref.removeprefix("@") or LATEST
    tables = w.tables()
    if tag == LATEST:
        return _with_columns(refs.resolve(w, name) for name in sorted({*tables, *contracts.names()}))
    tags = {name: refs.tags_of(w.catalogue.load_table(name)) for name in tables}
    found = [refs.resolve(w, f"{name}@{tag}") for name in tables if tag in tags[name]]
    if not found:
        known = sorted({tag for named in tags.values() for tag in named})
        raise CaravanError(
            f"No table in {w.root} has the tag {tag!r}. The tags there are: {', '.join(known) or 'none'}."
        )
    return _with_columns(found)


def _with_columns(found: Iterable[Resolved]) -> list[Resolved]:
    """Without the empty tables that have no contract: nothing says what to select from them."""
    return [each for each in found if each.files or each.table in contracts.names()]


def views(w: Warehouse, resolved: list[Resolved]) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view for each resolved table, columns in the contract's order."""
    opened = connection(w)
    for each in resolved:
        namespace, short = each.table.split(".")
        opened.execute(f'create schema if not exists "{namespace}"')
        try:
            opened.execute(f'create view "{namespace}"."{short}" as {query(each)}')
        except duckdb.IOException as error:
            raise CaravanError(
                f"{each} cannot be read: {str(error).splitlines()[0]}. `python -m warehouse doctor` lists all files that are missing."
            ) from error
    return opened


def query(resolved: Resolved) -> str:
    """A DuckDB query for all rows of a reference. It names the files, so it stays right in a database file opened later."""
    files = scan(resolved.files) if resolved.files else ""
    if resolved.table not in contracts.names():
        return f"select * from {files}"
    # The typed nulls fix the columns' order and types, also where old files lack a column.
    typed = f"select {contracts.load(resolved.table).duckdb_nulls()} where false"
    return f"{typed} union all by name select * from {files}" if files else typed


def dataset(w: Warehouse, resolved: Resolved) -> ds.Dataset:
    """A pyarrow data set of a reference, with the contract's schema."""
    schema = contracts.load(resolved.table).arrow_schema()
    if not resolved.files:
        return ds.dataset(pa.table({name: [] for name in schema.names}, schema=schema))
    assert isinstance(w.io, PyArrowFileIO)
    uri = urlparse(w.root) if not w.settings.local else urlparse("file:///")
    paths = [path.partition("://")[2] or path for path in resolved.files]
    return ds.dataset(paths, schema=schema, format="parquet", filesystem=w.io.fs_by_scheme(uri.scheme, uri.netloc))


def arrow(w: Warehouse, resolved: Resolved, columns: list[str] | None = None, where: Any = None) -> pa.Table:
    """Rows of a reference as an Arrow table; `where` is a pyarrow expression."""
    return dataset(w, resolved).to_table(columns=columns, filter=where)


def hugging_face(w: Warehouse, resolved: Resolved) -> "datasets.Dataset":
    """Rows of a reference as a `datasets.Dataset`: mapped from that library's cache, or in memory from an object store."""
    import datasets

    schema = contracts.load(resolved.table).arrow_schema()
    features = datasets.Features.from_arrow_schema(schema)
    if not resolved.files:
        return datasets.Dataset.from_dict({name: [] for name in schema.names}, features=features)
    if not w.settings.local:
        return datasets.Dataset(datasets.table.InMemoryTable(arrow(w, resolved)))
    return datasets.load_dataset("parquet", data_files=list(resolved.files), split="train", features=features)
