"""Contracts: one description, the same types in every engine."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import pyarrow_to_schema, schema_to_pyarrow
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from warehouse import contracts
from warehouse.errors import CaravanError


def plain(schema: pa.Schema) -> dict[str, str]:
    """Types without the width of offsets, the name of list elements and the name of the time zone."""
    types = {field.name: str(field.type).replace("large_", "") for field in schema}
    return {name: re.sub(r"tz=[^]]+", "tz", re.sub(r"list<\w+:", "list<", kind)) for name, kind in types.items()}


@pytest.mark.parametrize("name", contracts.names())
def test_arrow_iceberg_and_duckdb_say_the_same(name: str) -> None:
    contract = contracts.load(name)
    iceberg = contract.iceberg_schema()
    assert plain(schema_to_pyarrow(iceberg, include_field_ids=False)) == plain(contract.arrow_schema())
    assert not any(field.required for field in iceberg.fields)
    back = pyarrow_to_schema(contract.arrow_schema(), name_mapping=iceberg.name_mapping)
    assert [(f.field_id, f.name, f.field_type) for f in back.fields] == [
        (f.field_id, f.name, f.field_type) for f in iceberg.fields
    ]
    shown = duckdb.sql(f"select {contract.duckdb_nulls()} where false").to_arrow_table()
    assert plain(shown.schema) == plain(contract.arrow_schema())


@pytest.mark.parametrize("name", contracts.names())
def test_spark_says_the_same(name: str, spark: SparkSession, tmp_path: Path) -> None:
    contract = contracts.load(name)
    declared = StructType.fromDDL(contract.spark_ddl())
    assert declared.names == contract.names
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    spark.createDataFrame([], declared).coalesce(1).write.parquet(str(tmp_path / "out"))
    written = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
    assert plain(written.remove_metadata()) == plain(contract.arrow_schema())


@pytest.mark.parametrize("name", contracts.names())
def test_keys_and_partitions_are_required_columns(name: str) -> None:
    contract = contracts.load(name)
    required = {column.name for column in contract.columns if column.required}
    assert set(contract.key) <= required
    assert contract.partition is None or contract.partition in required
    assert name == contract.name and contract.purpose and all(column.description for column in contract.columns)


def test_enumerations_are_read() -> None:
    allowed = {column.name: column.allowed for column in contracts.load("raw.sources").columns}
    assert allowed["kind"] == ["training", "evaluation", "personas"]
    assert allowed["licence"] == []


def test_unknown_contract_names_those_there_are() -> None:
    with pytest.raises(CaravanError, match=r"no table contract 'raw.prompt'.*raw\.prompts"):
        contracts.load("raw.prompt")
