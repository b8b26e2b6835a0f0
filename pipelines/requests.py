"""Requests to models as a DataFrame: the columns of llm.requests, with ids that are those of inference.request.

Spark's tasks import this module, so it imports no client: those take seconds in every new Python worker.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from inference.models import Card
from inference.request import Request
from warehouse import contracts

REQUEST = tuple(contracts.load("llm.requests").names)
ID = "request_id"


def chat(user: Column, system: Column | None = None) -> Column:
    """The column `messages` of one user turn."""
    turns = [("system", system)] if system is not None else []
    return F.array(
        *(F.struct(F.lit(role).alias("role"), text.alias("content")) for role, text in [*turns, ("user", user)])
    )


def with_requests(
    rows: DataFrame,
    cards: Mapping[str, Card],
    *,
    model: Column | str,
    messages: Column | None = None,
    prompt: Column | None = None,
    parameters: Column | Mapping[str, Any],
    sample: Column | int = 0,
    template: Column | str = "",
) -> DataFrame:
    """The rows with the columns of llm.requests added. A string is a value, not a column's name.

    `model` names cards; one of `messages` and `prompt` is given. `parameters` are one mapping for all, or a column of JSON objects.
    """
    providers = F.create_map(*(F.lit(each) for name, card in cards.items() for each in (name, card.provider)))
    named = model if isinstance(model, Column) else F.lit(model)
    told = parameters if isinstance(parameters, Column) else F.lit(json.dumps(dict(parameters)))
    given = {
        "provider": providers[named],
        "model": named,
        "messages": (F.lit(None) if messages is None else messages).cast(
            "array<struct<role: string, content: string>>"
        ),
        "prompt": (F.lit(None) if prompt is None else prompt).cast("string"),
        "parameters": told,
        "sample": (sample if isinstance(sample, Column) else F.lit(sample)).cast("int"),
        "template": template if isinstance(template, Column) else F.lit(template),
    }
    asked = rows.withColumns(given)
    return asked.mapInArrow(_identified, StructType([*asked.schema.fields, StructField(ID, StringType())]))


def _identified(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        requests = [Request.from_row(row).row() for row in batch.select(list(REQUEST[1:])).to_pylist()]
        columns = {name: batch[name] for name in batch.schema.names}
        for name in ("parameters", ID):
            columns[name] = pa.array([row[name] for row in requests], pa.string())
        yield pa.RecordBatch.from_pydict(columns)
