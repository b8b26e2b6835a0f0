"""The rows that are kept, as they came, as Parquet."""

import glob
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipelines.overlap.splits import ROW, TrainingSplit, as_json
from pipelines.overlap.verdict import Cell
from pipelines.readers import open_binary


class Job(NamedTuple):
    """What every task gets by broadcast."""

    splits: list[TrainingSplit]
    staging: str
    schemas: dict[str, pa.Schema]  # of the training sets that were staged
    removed_sets: set[str]
    removing: dict[str, list[str]]  # evaluations whose overlapping rows are removed, by training set
    evidence: str
    output: str


def write(
    spark: SparkSession,
    splits: Sequence[TrainingSplit],
    staging: str,
    cells: Sequence[Cell],
    evidence: str,
    output: str,
) -> int:
    """Write the rows that are kept under `output`, a file for each split that has any; returns how many."""
    removing = defaultdict(list)
    for cell in cells:
        if cell.action == "rows":
            removing[cell.train_set].append(cell.eval_set)
    removed_sets = {cell.train_set for cell in cells if cell.action == "set"}
    job = Job(list(splits), staging, _schemas(splits, staging), removed_sets, dict(removing), evidence, output)
    shared = spark.sparkContext.broadcast(job)

    def run(batches):  # type: ignore[no-untyped-def]
        for batch in batches:
            kept = [_write_split(shared.value, number) for number in batch.column(0).to_pylist()]
            yield pa.RecordBatch.from_pydict({"rows": kept})

    rows = spark.range(0, len(splits), 1, len(splits)).mapInArrow(run, "rows long").groupBy().sum("rows").first()
    return int(rows[0]) if rows and rows[0] is not None else 0


def _staged(staging: str, number: int) -> Iterator[pq.ParquetFile]:
    """The staged pieces of a split, in order."""
    fs, folder = fsspec.core.url_to_fs(staging)
    for path in sorted(fs.glob(f"{glob.escape(folder)}/{number:06d}-*.parquet")):
        with fs.open(path, "rb") as stream:
            yield pq.ParquetFile(stream)


def _schemas(splits: Sequence[TrainingSplit], staging: str) -> dict[str, pa.Schema]:
    """One schema for each staged training set; a column whose types do not agree becomes JSON text."""
    found: dict[str, list[pa.Schema]] = defaultdict(list)
    for number, part in enumerate(splits):
        found[part.train_set] += [file.schema_arrow for file in _staged(staging, number)]
    return {name: _united(schemas) for name, schemas in found.items() if schemas}


def _united(schemas: list[pa.Schema]) -> pa.Schema:
    names = dict.fromkeys(name for schema in schemas for name in schema.names if name != ROW)
    return pa.schema([(name, _united_type([s.field(name) for s in schemas if name in s.names])) for name in names])


def _united_type(fields: list[pa.Field]) -> pa.DataType:
    try:
        united = pa.unify_schemas([pa.schema([field]) for field in fields], promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        return pa.string()
    return pa.string() if pa.types.is_null(united) else united


def _write_split(job: Job, number: int) -> int:
    part = job.splits[number]
    if part.train_set in job.removed_sets:
        return 0
    removed = _removed(job, part)
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


def _removed(job: Job, part: TrainingSplit) -> pa.Array:
    evaluations = job.removing.get(part.train_set)
    if not evaluations:
        return pa.array([], pa.int64())
    chosen = (
        (pc.field("train_set") == part.train_set)
        & (pc.field("train_file") == part.name)
        & pc.field("eval_set").isin(evaluations)
    )
    fs, folder = fsspec.core.url_to_fs(job.evidence)
    found = ds.dataset(folder, filesystem=fs, format="parquet").to_table(columns=["train_row"], filter=chosen)
    return found["train_row"].combine_chunks().unique() if len(found) else pa.array([], pa.int64())


def _rows(job: Job, number: int) -> Iterator[tuple[pa.Array, pa.Table]]:
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
