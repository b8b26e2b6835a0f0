"""The rows that are kept, as they came, as Parquet."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import SparkContext

from pipelines.output import dataset
from pipelines.overlap.splits import ROW, TrainingSplit, as_json, staged_name
from pipelines.readers import open_binary


@dataclass(frozen=True)
class Removal:
    """What is removed of a training set: all of it, or the rows that files name (train_file, train_row), of some evaluations.

    `evaluations` are values of a column eval_set; None where the files have no such column and every row that they name goes.
    """

    whole: bool = False
    files: Sequence[str] = ()
    evaluations: Sequence[str] | None = None


class _Job(NamedTuple):
    """What every task gets by broadcast."""

    splits: Sequence[TrainingSplit]
    staging: str
    schemas: dict[str, pa.Schema]  # of the training sets that were staged
    removals: Mapping[str, Removal]  # by training set
    output: str


def write(
    context: SparkContext,
    splits: Sequence[TrainingSplit],
    staging: str,
    removals: Mapping[str, Removal],
    output: str,
) -> int:
    """Write the rows that are kept under `output`, a file for each split that has any; returns how many."""
    tasks = context.parallelize(range(len(splits)), len(splits))
    schemas: dict[str, list[pa.Schema]] = defaultdict(list)
    for part, found in zip(splits, tasks.map(lambda number: _schemas(staging, number)).collect(), strict=True):
        schemas[part.train_set] += found
    united = {name: _united(found) for name, found in schemas.items() if found}
    shared = context.broadcast(_Job(splits, staging, united, removals, output))
    return int(tasks.map(lambda number: _write_split(shared.value, number)).sum())


def _staged(staging: str, number: int) -> Iterator[pq.ParquetFile]:
    """The staged pieces of a split, in order; a split that is Parquet has none."""
    fs, folder = fsspec.core.url_to_fs(staging)
    for piece in count():
        path = f"{folder}/{staged_name(number, piece)}"
        if not fs.exists(path):
            return
        with fs.open(path, "rb") as stream:
            yield pq.ParquetFile(stream)


def _schemas(staging: str, number: int) -> list[pa.Schema]:
    """The schemas of a split's staged pieces, each once."""
    found: list[pa.Schema] = []
    for file in _staged(staging, number):
        if file.schema_arrow not in found:
            found.append(file.schema_arrow)
    return found


def _united(schemas: list[pa.Schema]) -> pa.Schema:
    names = dict.fromkeys(name for schema in schemas for name in schema.names if name != ROW)
    return pa.schema([(name, _united_type([s.field(name) for s in schemas if name in s.names])) for name in names])


def _united_type(fields: list[pa.Field]) -> pa.DataType:
    try:
        united = pa.unify_schemas([pa.schema([field]) for field in fields], promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        return pa.string()
    return pa.string() if pa.types.is_null(united) else united


def _write_split(job: _Job, number: int) -> int:
    part = job.splits[number]
    removal = job.removals.get(part.train_set, Removal())
    if removal.whole:
        return 0
    removed = _removed(removal, part)
    written = 0
    writer = None
    for rows, batch in _rows(job, number):
        kept = batch.filter(pc.invert(pc.is_in(rows, removed)))
        if len(kept):
            if writer is None:
                file = fsspec.open(f"{job.output}/{part.train_set}-{number:06d}.parquet", "wb").open()
                writer = pq.ParquetWriter(file, kept.schema, compression="zstd")
            writer.write(kept)
            written += len(kept)
    if writer is not None:
        writer.close()
        file.close()
    return written


def _removed(removal: Removal, part: TrainingSplit) -> pa.Array:
    if not removal.files or removal.evaluations == []:
        return pa.array([], pa.int64())
    chosen = (pc.field("train_set") == part.train_set) & (pc.field("train_file") == part.name)
    if removal.evaluations is not None:
        chosen &= pc.field("eval_set").isin(pa.array(removal.evaluations, pa.string()))
    found = dataset(removal.files).to_table(columns=["train_row"], filter=chosen)
    return found["train_row"].combine_chunks().unique() if len(found) else pa.array([], pa.int64())


def _rows(job: _Job, number: int) -> Iterator[tuple[pa.Array, pa.Table]]:
    """Batches of a split with all their columns, and the rows' numbers."""
    part = job.splits[number]
    if part.split.format != "parquet":
        for file in _staged(job.staging, number):
            table = file.read()
            yield table[ROW].combine_chunks(), _fit(table, job.schemas[part.train_set])
        return
    first = part.split.first_row
    with open_binary(part.split.file) as stream:
        groups = range(part.split.start, part.split.end)
        for batch in pq.ParquetFile(stream).iter_batches(1 << 14, groups, use_threads=False):
            yield pa.array(range(first, first + len(batch))), pa.Table.from_batches([batch])
            first += len(batch)


def _fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
        elif field.type == pa.string() and not pa.types.is_string(table.schema.field(field.name).type):
            columns.append(as_json(table[field.name].to_pylist()))
        else:
            columns.append(table[field.name].cast(field.type))
    return pa.table(columns, schema=schema)
