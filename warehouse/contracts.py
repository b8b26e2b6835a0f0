"""Table contracts: one Open Data Contract Standard YAML a table, turned into Arrow, Iceberg, Spark and DuckDB types."""

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import yaml
from pyiceberg import types as iceberg
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform

from warehouse.errors import CaravanError

SCHEMAS = cast(Path, files("warehouse")).parent / "schemas"

# physicalType of the contract -> Arrow, Iceberg, Spark, DuckDB
_TYPES: dict[str, tuple[pa.DataType, iceberg.IcebergType, str, str]] = {
    "string": (pa.string(), iceberg.StringType(), "STRING", "VARCHAR"),
    "int": (pa.int32(), iceberg.IntegerType(), "INT", "INTEGER"),
    "long": (pa.int64(), iceberg.LongType(), "BIGINT", "BIGINT"),
    "double": (pa.float64(), iceberg.DoubleType(), "DOUBLE", "DOUBLE"),
    "boolean": (pa.bool_(), iceberg.BooleanType(), "BOOLEAN", "BOOLEAN"),
    "timestamptz": (pa.timestamp("us", tz="UTC"), iceberg.TimestamptzType(), "TIMESTAMP", "TIMESTAMPTZ"),
}


@dataclass(frozen=True)
class Column:
    """A column of a contract; `allowed` is its enumeration, empty where any value will do."""

    name: str
    definition: dict[str, Any]

    @property
    def required(self) -> bool:
        return bool(self.definition.get("required"))

    @property
    def description(self) -> str:
        return str(self.definition.get("description", ""))

    @property
    def allowed(self) -> list[Any]:
        for rule in self.definition.get("quality", []):
            if rule.get("metric") == "invalidValues":
                return list(rule["arguments"]["validValues"])
        return []

    @property
    def arrow(self) -> pa.DataType:
        return _arrow(self.definition)

    @property
    def spark(self) -> str:
        return _spark(self.definition)

    @property
    def duckdb(self) -> str:
        return _duckdb(self.definition)


@dataclass(frozen=True)
class Contract:
    """What a table holds. All fields are optional in the file schemas: `required` is checked at commit."""

    name: str
    purpose: str
    columns: tuple[Column, ...]

    @cached_property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @cached_property
    def key(self) -> list[str]:
        """Columns that together name a row, in the contract's order; empty where rows have no name."""
        keyed = [column for column in self.columns if column.definition.get("primaryKey")]
        return [column.name for column in sorted(keyed, key=lambda column: column.definition["primaryKeyPosition"])]

    @cached_property
    def partition(self) -> str | None:
        """The column whose value is one and the same within each file, or None."""
        return next((column.name for column in self.columns if column.definition.get("partitioned")), None)

    def arrow_schema(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, column.arrow) for column in self.columns])

    def iceberg_schema(self) -> Schema:
        """The Iceberg schema, ids from 1: first the columns, then what they hold."""
        ids = count(1)
        numbered = [(next(ids), column) for column in self.columns]
        return Schema(
            *(
                iceberg.NestedField(
                    number,
                    column.name,
                    _iceberg(column.definition, ids),
                    required=False,
                    doc=column.description or None,
                )
                for number, column in numbered
            )
        )

    def partition_spec(self) -> PartitionSpec:
        if self.partition is None:
            return PartitionSpec()
        position = self.names.index(self.partition) + 1
        return PartitionSpec(PartitionField(position, 1000, IdentityTransform(), self.partition))

    def spark_ddl(self) -> str:
        return ", ".join(f"`{column.name}` {column.spark}" for column in self.columns)

    def duckdb_nulls(self) -> str:
        """A select list of typed nulls, one a column: `null::VARCHAR as "prompt_id", …`."""
        return ", ".join(f'null::{column.duckdb} as "{column.name}"' for column in self.columns)


def names() -> list[str]:
    """The tables that have a contract, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in SCHEMAS.iterdir() if path.name.endswith(".yaml"))


@cache
def load(name: str) -> Contract:
    """The contract of `namespace.table`. Raises CaravanError where there is none."""
    path = SCHEMAS / f"{name}.yaml"
    if name not in names():
        raise CaravanError(f"There is no table contract {name!r}. The tables with one are: {', '.join(names())}.")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    properties = document["schema"][0]["properties"]
    return Contract(
        name=name,
        purpose=document["description"]["purpose"],
        columns=tuple(Column(definition["name"], definition) for definition in properties),
    )


def _arrow(definition: dict[str, Any]) -> pa.DataType:
    match definition["logicalType"]:
        case "array":
            return pa.list_(pa.field("element", _arrow(definition["items"])))
        case "object":
            return pa.struct([pa.field(field["name"], _arrow(field)) for field in definition["properties"]])
        case _:
            return _TYPES[definition["physicalType"]][0]


def _iceberg(definition: dict[str, Any], ids: "count[int]") -> iceberg.IcebergType:
    match definition["logicalType"]:
        case "array":
            number = next(ids)
            return iceberg.ListType(number, _iceberg(definition["items"], ids), element_required=False)
        case "object":
            numbered = [(next(ids), field) for field in definition["properties"]]
            return iceberg.StructType(
                *(
                    iceberg.NestedField(number, field["name"], _iceberg(field, ids), required=False)
                    for number, field in numbered
                )
            )
        case _:
            return _TYPES[definition["physicalType"]][1]


def _spark(definition: dict[str, Any]) -> str:
    match definition["logicalType"]:
        case "array":
            return f"ARRAY<{_spark(definition['items'])}>"
        case "object":
            fields = (f"`{field['name']}`: {_spark(field)}" for field in definition["properties"])
            return f"STRUCT<{', '.join(fields)}>"
        case _:
            return _TYPES[definition["physicalType"]][2]


def _duckdb(definition: dict[str, Any]) -> str:
    match definition["logicalType"]:
        case "array":
            return f"{_duckdb(definition['items'])}[]"
        case "object":
            fields = (f'"{field["name"]}" {_duckdb(field)}' for field in definition["properties"])
            return f"STRUCT({', '.join(fields)})"
        case _:
            return _TYPES[definition["physicalType"]][3]
