"""Files held against a contract: schema and nulls from Parquet footers, enumerations and keys by query."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType

from warehouse.contracts import Column, Contract
from warehouse.errors import CaravanError
from warehouse.sql import scan

EXAMPLES = 5


@dataclass(frozen=True)
class Footer:
    """What the footer of a new file says: rows, columns, and the required columns that may hold nulls."""

    path: str
    rows: int
    columns: frozenset[str]
    doubtful: frozenset[str]


def new_files(
    table: Table, contract: Contract, connection: duckdb.DuckDBPyConnection, paths: Sequence[str]
) -> list[DataFile]:
    """Check new files by themselves and describe them to Iceberg; files without rows are left out.

    Raises CaravanError naming file and column, or up to five rows, where one breaks the contract.
    """
    if len(set(paths)) != len(paths):
        raise CaravanError(f"A file is named twice in a commit to {contract.name}: {_repeated(paths)}.")
    with ThreadPoolExecutor(8) as pool:
        footers = [footer for footer in pool.map(lambda path: _footer(table, contract, path), paths) if footer.rows]
        described = list(pool.map(lambda footer: _describe(table, contract, footer.path), footers))
    for column in contract.columns:
        doubtful = [footer.path for footer in footers if column.name in footer.doubtful]
        _refuse(connection, contract, doubtful, f'"{column.name}" is null', f"{column.name} is required and is null")
        if column.allowed:
            holding = [footer.path for footer in footers if column.name in footer.columns]
            _refuse(connection, contract, holding, _outside(column), _not_allowed(column))
    return described


def unique(
    table: Table,
    contract: Contract,
    connection: duckdb.DuckDBPyConnection,
    added: Sequence[DataFile],
    kept: Iterable[DataFile],
) -> None:
    """Check that no key is twice in what the table will hold: new files and those kept files that could share a key."""
    if not contract.key or not added:
        return
    files = [file.file_path for file in (*added, *_may_share_key(table.schema(), contract, added, kept))]
    keys = ", ".join(f'"{name}"' for name in contract.key)
    # 64-bit hashes first: they take a fraction of the memory of the keys, and the exact query then looks at few rows.
    repeated = f"select hash({keys}) from {scan(files)} group by 1 having count(*) > 1"
    rows = connection.sql(
        f"select {keys}, count(*) from {scan(files)} where hash({keys}) in ({repeated}) "
        f"group by all having count(*) > 1 order by all limit {EXAMPLES}"
    ).fetchall()
    if rows:
        named = "; ".join(f"{_name(contract.key, row)} ({row[-1]} times)" for row in rows)
        raise CaravanError(
            f"{contract.name}: the key ({', '.join(contract.key)}) must be unique, but after this commit the table would "
            f"hold it more than once for: {named}. Nothing was committed. Replace the old rows of a "
            f"{contract.partition or 'row'} instead of appending them, or remove the repeated rows."
        )


def _footer(table: Table, contract: Contract, path: str) -> Footer:
    try:
        with table.io.new_input(path).open() as stream:
            metadata = pq.read_metadata(stream)
    except FileNotFoundError as error:
        raise CaravanError(f"{contract.name}: the file {path} is not there, so it cannot be committed.") from error
    except pa.ArrowInvalid as error:
        raise CaravanError(f"{contract.name}: {path} is not a whole Parquet file ({error}).") from error
    schema = metadata.schema.to_arrow_schema()
    _check_schema(contract, path, schema)
    nulls = _nulls(metadata)
    doubtful = frozenset(column.name for column in contract.columns if column.required and nulls.get(column.name, 1))
    return Footer(path, metadata.num_rows, frozenset(schema.names), doubtful)


def _check_schema(contract: Contract, path: str, schema: pa.Schema) -> None:
    extra = [name for name in schema.names if name not in contract.names]
    if extra:
        raise CaravanError(
            f"{contract.name}: {path} has the column {extra[0]!r}, which the contract has not. "
            f"The contract's columns are: {', '.join(contract.names)}."
        )
    for column in contract.columns:
        if column.name not in schema.names:
            if column.required:
                raise CaravanError(f"{contract.name}: {path} lacks the required column {column.name!r}.")
            continue
        found = _plain(schema.field(column.name).type)
        if found != _plain(column.arrow):
            raise CaravanError(
                f"{contract.name}: column {column.name!r} of {path} is {found}, the contract says {_plain(column.arrow)}."
            )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without what does not matter: 64-bit offsets, dictionaries, nullability, names of list elements."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("element", _plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _nulls(metadata: pq.FileMetaData) -> dict[str, int]:
    """Column -> upper bound of its null rows. A nested column is null nowhere where one of its leaves is null nowhere."""
    least: dict[str, int] = {}
    leaves = [metadata.schema.column(index).path.split(".")[0] for index in range(metadata.num_columns)]
    for index, name in enumerate(leaves):
        total = 0
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(index)
            statistics = chunk.statistics
            known = statistics is not None and statistics.has_null_count
            total += statistics.null_count if known else chunk.num_values
        least[name] = min(total, least.get(name, total))
    return least


def _describe(table: Table, contract: Contract, path: str) -> DataFile:
    try:
        return parquet_file_to_data_file(io=table.io, table_metadata=table.metadata, file_path=path)
    except ValueError as error:
        raise CaravanError(
            f"{contract.name}: {path} cannot be committed ({error}). Each file of this table must hold one value of "
            f"{contract.partition!r} only."
        ) from error


def _refuse(
    connection: duckdb.DuckDBPyConnection, contract: Contract, paths: Sequence[str], condition: str, words: str
) -> None:
    if not paths:
        return
    # A table without a key names its rows by the first columns.
    columns = contract.key or contract.names[:4]
    selected = ", ".join(f'"{name}"' for name in columns)
    rows = connection.sql(
        f"select {selected}, count(*) over () from {scan(paths)} where {condition} order by all limit {EXAMPLES}"
    ).fetchall()
    if rows:
        named = "; ".join(_name(columns, row) for row in rows)
        raise CaravanError(
            f"{contract.name}: {words} in {rows[0][-1]:,} row{'s' if rows[0][-1] > 1 else ''}: {named}. "
            f"Nothing was committed. The contract is schemas/{contract.name}.yaml."
        )


def _outside(column: Column) -> str:
    allowed = ", ".join("'" + str(value).replace("'", "''") + "'" for value in column.allowed)
    return f'"{column.name}" not in ({allowed})'


def _not_allowed(column: Column) -> str:
    return f"{column.name} must be one of {', '.join(map(str, column.allowed))} and is not"


def _name(columns: Sequence[str], row: Sequence[Any]) -> str:
    return ", ".join(f"{column}={value!r}" for column, value in zip(columns, row, strict=False))


def _repeated(paths: Sequence[str]) -> str:
    return next(path for path in paths if paths.count(path) > 1)


def _may_share_key(
    schema: Schema, contract: Contract, added: Sequence[DataFile], kept: Iterable[DataFile]
) -> list[DataFile]:
    """The kept files whose bounds of every key column meet those of the new files of their partition."""
    partitioned = contract.partition in contract.key
    new: dict[Any, list[DataFile]] = defaultdict(list)
    for file in added:
        new[file.partition[0] if partitioned else None].append(file)
    ranges = {
        value: {name: _range(schema, files, name) for name in contract.key if name != contract.partition}
        for value, files in new.items()
    }
    return [
        file
        for file in kept
        if (mine := ranges.get(file.partition[0] if partitioned else None)) is not None
        and all(_meet(span, _range(schema, [file], name)) for name, span in mine.items())
    ]


def _range(schema: Schema, files: Sequence[DataFile], name: str) -> tuple[Any, Any] | None:
    field = schema.find_field(name)
    assert isinstance(field.field_type, PrimitiveType)
    lows = [(file.lower_bounds or {}).get(field.field_id) for file in files]
    highs = [(file.upper_bounds or {}).get(field.field_id) for file in files]
    if None in lows or None in highs:
        return None
    low = min(from_bytes(field.field_type, value) for value in lows if value is not None)
    high = max(from_bytes(field.field_type, value) for value in highs if value is not None)
    return low, high


def _meet(one: tuple[Any, Any] | None, other: tuple[Any, Any] | None) -> bool:
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
