"""Spark, DuckDB, pyarrow, `datasets` and Iceberg itself read the same rows; Spark writes what can be committed."""

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from warehouse_rows import JOB, prompts

import warehouse
from warehouse import read
from warehouse import spark as warehouse_spark
from warehouse.catalogue import Warehouse
from warehouse.commit import Job, commit, commit_arrow, stage
from warehouse.refs import Resolved, resolve

TABLE = "raw.prompts"


def normal(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


@pytest.fixture
def resolved(w: Warehouse) -> Resolved:
    """Two sources, an odd name among them, every kind of value and null, one file without the optional columns."""
    full = prompts("a", 30).append_column(
        "constraints",
        pa.array([None, [], [{"id": "length", "arguments": '{"words": 3}'}]] * 10),
    )
    full = full.append_column("skill", pa.array(["math", None, "ünï\n"] * 10))
    commit_arrow(w, TABLE, full, JOB)
    odd = prompts("o/d [d]*?%=#'", 5, text="“q” \x00 '")
    path = f"{stage(w, TABLE)}/few columns.parquet"
    pa.parquet.write_table(odd, path)
    commit(w, TABLE, [path], JOB)
    return resolve(w, TABLE)


def test_all_readers_agree(w: Warehouse, resolved: Resolved, spark: SparkSession) -> None:
    names = warehouse.contracts.load(TABLE).names
    arrow = read.arrow(w, resolved)
    assert arrow.schema == warehouse.contracts.load(TABLE).arrow_schema()
    expected = normal(arrow.to_pylist())
    assert len(expected) == resolved.rows == 35
    frame = warehouse_spark.read(spark, resolved)
    assert frame.columns == names
    assert normal([row.asDict(recursive=True) for row in frame.collect()]) == expected
    duck = read.views(w, [resolved]).sql(f"from {TABLE}")
    assert duck.columns == names
    assert normal(duck.to_arrow_table().to_pylist()) == expected
    hub = read.hugging_face(w, resolved)
    assert hub.column_names == names
    assert normal(list(hub)) == expected
    # Iceberg's own Python reader makes an empty list of a null one.
    own = [row | {"constraints": row["constraints"] or []} for row in w.table(TABLE).scan().to_arrow().to_pylist()]
    assert normal(own) == normal([row | {"constraints": row["constraints"] or []} for row in arrow.to_pylist()])


def test_readers_of_nothing(w: Warehouse, spark: SparkSession) -> None:
    nothing = resolve(w, TABLE)
    names = warehouse.contracts.load(TABLE).names
    assert warehouse_spark.read(spark, nothing).columns == names
    assert warehouse_spark.read(spark, nothing).count() == 0
    assert read.arrow(w, nothing).schema == warehouse.contracts.load(TABLE).arrow_schema()
    assert (read.hugging_face(w, nothing).num_rows, read.hugging_face(w, nothing).column_names) == (0, names)


def test_pyarrow_reads_columns_and_filters(w: Warehouse, resolved: Resolved) -> None:
    found = read.arrow(
        w, resolved, columns=["row"], where=(pa.compute.field("source") == "a") & (pa.compute.field("row") > 25)
    )
    assert sorted(found["row"].to_pylist()) == [26, 27, 28, 29, 30]


def test_spark_writes_what_can_be_committed(w: Warehouse, resolved: Resolved, spark: SparkSession) -> None:
    frame = warehouse_spark.read(spark, resolved).repartition(2)
    directory = stage(w, TABLE)
    files = warehouse_spark.write(frame, directory, partition="source")
    assert len(files) >= 2 and all(file.startswith(directory) for file in files)
    commit(w, TABLE, files, Job("pipelines.x", inputs=[resolved]), replace={"source": ["a", "o/d [d]*?%=#'"]})
    again = resolve(w, TABLE)
    assert set(again.files) == set(files)
    assert normal(read.arrow(w, again).to_pylist()) == normal(read.arrow(w, resolved).to_pylist())
    assert warehouse.diff.diff(w, resolved, again).changed == 0
    # Nothing but the files themselves is left in the folder.
    assert {s.path for s in warehouse.storage.listing(w, directory)} == set(files)


def test_spark_writes_nothing(w: Warehouse, spark: SparkSession) -> None:
    empty = warehouse_spark.read(spark, resolve(w, TABLE))
    for partition in (None, "source"):
        files = warehouse_spark.write(empty, stage(w, TABLE), partition=partition)
        commit(w, TABLE, files, JOB)
    assert resolve(w, TABLE).files == ()


def test_timestamps_are_the_same_microsecond_everywhere(w: Warehouse, spark: SparkSession) -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 123_457, UTC)
    row = {"release": "v0", "table": TABLE, "snapshot_id": 1, "rows": 0, "created_at": moment, "note": None}
    commit_arrow(w, "meta.releases", pa.Table.from_pylist([row]), JOB)
    resolved = resolve(w, "meta.releases")
    # As warehouse.spark.session configures it.
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    files = warehouse_spark.write(warehouse_spark.read(spark, resolved).selectExpr(
        "'v1' as release", "`table`", "snapshot_id", "rows", "created_at", "note"), stage(w, "meta.releases"))  # fmt: skip
    commit(w, "meta.releases", files, JOB)
    resolved = resolve(w, "meta.releases")
    assert read.arrow(w, resolved)["created_at"].to_pylist() == [moment, moment]
    assert [
        row[0] for row in read.views(w, [resolved]).sql("select epoch_us(created_at) from meta.releases").fetchall()
    ] == [int(moment.timestamp()) * 1_000_000 + 123_457] * 2
    assert {
        row.us for row in warehouse_spark.read(spark, resolved).selectExpr("unix_micros(created_at) as us").collect()
    } == {int(moment.timestamp()) * 1_000_000 + 123_457}
