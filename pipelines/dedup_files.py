"""Duplicates of plain files: their rows as DataFrames, and the folder with the rows that are kept."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.output import Output
from pipelines.overlap import clean, inputs
from pipelines.overlap.splits import TrainingSplit, batches, checked_texts
from warehouse.errors import CaravanError
from warehouse.spark import hadoop, write

SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("source", pa.string()),
        ("revision", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("branch", pa.int32()),
        ("text", pa.string()),
        ("problem", pa.string()),  # why the record could not be read; of a row without a number, why the file could not
    ]
)
COLUMNS = (
    "prompt_id string, source string, revision string, file string, row long, branch int, text string, problem string"
)


def splits_of(patterns: Sequence[str], field: str | None, format: str | None) -> list[TrainingSplit]:
    """Splits of the files: a source for each pattern, called NAME in NAME=pattern."""
    with ThreadPoolExecutor(16) as pool:
        return inputs.training_splits(patterns, field, format, pool.map)


def rows(spark: SparkSession, splits: Sequence[TrainingSplit], staging: str | None) -> DataFrame:
    """(source, file, row, …, text) of every record, read once. Raises CaravanError for a file that cannot be read."""
    shared = spark.sparkContext.broadcast((list(splits), staging))

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from _read(*shared.value, number)

    records = spark.range(0, len(splits), 1, len(splits)).mapInArrow(run, COLUMNS).persist(StorageLevel.DISK_ONLY)
    failure = records.where("problem is not null and row is null").first()
    if failure:
        raise CaravanError(failure.problem)
    return records


def finish(
    spark: SparkSession,
    output: Output,
    splits: Sequence[TrainingSplit],
    records: DataFrame,
    found: DataFrame,
    sources: Sequence[str],
) -> int:
    """Write duplicates/, clean/ and, where records could not be read, rejects/; returns the rows that are kept."""
    files = write(found.drop("revision", "prompt_id"), f"{output.folder}/duplicates")
    removed = spark.read.parquet(*map(hadoop, files)).where("kind = 'near' and not keeper") if files else found.limit(0)
    keys = f"{output.staging}/removed"
    columns = {"source": "train_set", "file": "train_file", "row": "train_row"}
    named = write(removed.select(*(F.col(name).alias(alias) for name, alias in columns.items())), keys)
    reason, content = (F.get_json_object("problem", f"$.{name}").alias(name) for name in ("reason", "content"))
    rejects = records.where("problem is not null").select("source", "file", "row", reason, content)
    if not rejects.isEmpty():
        write(rejects.coalesce(1), f"{output.folder}/rejects")
    removals = dict.fromkeys(sources, clean.Removal(files=named))
    return clean.write(spark.sparkContext, splits, output.staging, removals, output.clean)


def _read(splits: Sequence[TrainingSplit], staging: str | None, number: int) -> Iterator[pa.RecordBatch]:
    part = splits[number]
    rejects: list[dict[str, Any]] = []
    try:
        for batch in batches(splits, number, staging, rejects):
            read = checked_texts(part, batch)
            turns = [read.data[start:end].tobytes() for start, end in pairwise(read.turn_start)]
            ends = read.row_turn
            joined = [b"\n".join(turns[a:b]).decode() for a, b in pairwise(ends)]
            yield _lines(part, batch.keys(np.arange(len(batch.column))).row.to_pylist(), joined, None)
    except CaravanError as error:
        yield _lines(part, [None], [""], str(error))
        return
    for reject in rejects:
        detail = json.dumps({name: reject[name] for name in ("reason", "content")})
        yield _lines(part, [reject["train_row"]], [""], detail)


def _lines(part: TrainingSplit, numbers: list[int | None], found: list[str], problem: str | None) -> pa.RecordBatch:
    ids = [hashlib.md5(f"user\x1f{text}".encode(), usedforsecurity=False).hexdigest() for text in found]
    count = len(found)
    values = [
        ids,
        [part.train_set] * count,
        [""] * count,
        [part.name] * count,
        numbers,
        [0] * count,
        found,
        [problem] * count,
    ]
    return pa.RecordBatch.from_arrays([pa.array(v, f.type) for v, f in zip(values, SCHEMA, strict=True)], schema=SCHEMA)
