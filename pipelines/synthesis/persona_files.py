"""Personas from files and from the hub: read record by record, hashed, and with what cannot be read beside them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines import files, hub
from pipelines.readers import open_raw
from pipelines.registry import Source
from warehouse.errors import CaravanError

FIELDS = ("persona", "input persona", "text")  # of Persona Hub: of its personas, and of what was made with them
BATCH = 5_000
KEPT = 1_000  # characters of what cannot be read
RECORDS = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("text", pa.string()),
        ("problem", pa.string()),
        ("content", pa.string()),
    ]
)
RECORDS_DDL = "file string, row long, text string, problem string, content string"

Part = tuple[files.Split | hub.Shard, str]  # and the file's name in the tables


def from_files(patterns: Sequence[str], format: str | None) -> tuple[list[Part], str]:
    """Splits of all the files, and a hash of their names and bytes."""
    names = files.relative(sorted({file for pattern in patterns for file in files.expand(pattern)}))
    parts = [(split, names[split.file]) for split in files.plan(names, format)]
    told = "\x1e".join(f"{name}\x1f{_digest(file)}" for file, name in sorted(names.items()))
    return list(parts), "sha256:" + hashlib.sha256(told.encode()).hexdigest()


def from_hub(source: Source) -> tuple[list[Part], str]:
    """Shards of a data set of the hub, and its commit."""
    revision = hub.commit_of(source)
    return [(shard, shard.file) for shard in hub.shards(source, revision)], revision


def records(spark: SparkSession, parts: Sequence[Part], field: str | None) -> DataFrame:
    """(file, row, text, problem, content) of every record, read once. Raises CaravanError for an unreadable file."""
    shared = spark.sparkContext.broadcast(list(parts))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from _read(shared.value[number], field)

    rows = spark.range(0, len(parts), 1, len(parts)).mapInArrow(read, RECORDS_DDL).persist(StorageLevel.DISK_ONLY)
    failure = rows.where("row is null").first()
    if failure:
        raise CaravanError(failure.problem)
    return rows


def _read(part: Part, field: str | None) -> Iterator[pa.RecordBatch]:
    split, name = part
    rows: list[dict[str, Any]] = []
    try:
        for record in hub.records(split) if isinstance(split, hub.Shard) else files.records(split):
            rows.append({"file": name, "row": record.row, **_persona(record, field)})
            if len(rows) == BATCH:
                yield pa.RecordBatch.from_pylist(rows, schema=RECORDS)
                rows = []
    except CaravanError as error:
        rows = [{"file": name, "problem": str(error)}]
    yield pa.RecordBatch.from_pylist(rows, schema=RECORDS)


def _persona(record: files.Record, field: str | None) -> dict[str, str | None]:
    """The text of a record, or what is wrong with it."""
    if record.value is None:
        return {"problem": record.error, "content": record.text}
    names = (field,) if field else FIELDS
    text = next((record.value[name] for name in names if record.value.get(name) is not None), None)
    if isinstance(text, str) and text.strip():
        return {"text": text.strip()}
    return {"problem": f"no text in the field {' or '.join(names)}", "content": str(record.value)[:KEPT]}


def personas(found: DataFrame, source: str, revision: str, licence: str) -> DataFrame:
    """`records` -> raw.personas."""
    return found.where("problem is null").select(
        F.md5("text").alias("persona_id"),
        "text",
        F.lit(source).alias("source"),
        F.lit(revision).alias("revision"),
        "file",
        "row",
        F.lit(licence).alias("licence"),
        F.array().cast("array<string>").alias("parents"),
        F.lit(None).cast("string").alias("model"),
        F.lit(None).cast("string").alias("request_id"),
    )


def rejects(found: DataFrame, source: str, revision: str) -> DataFrame:
    """`records` -> raw.rejects."""
    return found.where("problem is not null").select(
        F.lit(source).alias("source"),
        F.lit(revision).alias("revision"),
        "file",
        "row",
        F.col("problem").alias("reason"),
        "content",
    )


def _digest(file: str) -> str:
    digest = hashlib.sha256()
    with open_raw(file) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
