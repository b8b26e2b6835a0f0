"""Requests as a DataFrame in, the answers to exactly these requests as a DataFrame out; the options of every job that asks models.

What the journal or llm.responses holds is never asked again. What is left is staged as Parquet, streamed to the models from the driver
or from executors, and committed to llm.requests and llm.responses, from where the answers are read: a million requests never sit in
the driver, and a job that is stopped loses nothing that was paid for.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

import warehouse
from warehouse.commit import Job

REQUESTS, RESPONSES = "llm.requests", "llm.responses"
REQUEST = ("request_id", "provider", "model", "messages", "prompt", "parameters", "sample", "template")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a job that asks models."""
    add = parser.add_argument_group("asking models").add_argument
    add("--models", metavar="FILE", help="TOML file of model cards of your own: URLs, protocol, key's variable, prices")
    add("--concurrency", type=int, default=64, metavar="N", help="requests in flight (default: 64)")
    add("--budget", type=float, metavar="DOLLARS", help="never spend more than this in this run")
    add(
        "--batch",
        action="store_true",
        help="ask through the providers' batch APIs, for half the price and within a day",
    )
    add("--dry-run", action="store_true", help="say how many requests there are and what they would cost; ask nothing")
    add(
        "--journal", metavar="FOLDER", help="where answers are written as they come; of --on executors, a shared folder"
    )
    add(
        "--on",
        choices=("driver", "executors"),
        default="driver",
        help="which machines send the requests (default: driver)",
    )
    add("--partial", action="store_true", help="go on with the answers there are where some requests got none")


def ask(
    spark: SparkSession, w: warehouse.Warehouse, requests: DataFrame, options: argparse.Namespace, job: Job
) -> DataFrame | None:
    """Rows of llm.responses of exactly these requests (columns of llm.requests), asked where there is no answer yet.

    None on --dry-run, which prints the estimate. Raises CaravanError where requests stay unanswered, unless --partial.
    """
    raise NotImplementedError


def chat(user: Column, system: Column | None = None) -> Column:
    """The column `messages` of one user turn."""
    turns = [("system", system)] if system is not None else []
    return F.array(
        *(F.struct(F.lit(role).alias("role"), text.alias("content")) for role, text in [*turns, ("user", user)])
    )


def with_requests(
    rows: DataFrame,
    cards: Mapping[str, Any],
    *,
    model: Column | str,
    messages: Column | None = None,
    prompt: Column | None = None,
    parameters: Column | Mapping[str, Any],
    sample: Column | int = 0,
    template: Column | str = "",
) -> DataFrame:
    """The rows with the columns REQUEST added. A string is a value, not a column's name.

    `model` names cards; one of `messages` and `prompt` is given. `parameters` are one mapping for all, or a column of JSON objects.
    """
    names = rows.sparkSession.createDataFrame(
        [(n, c.provider) for n, c in cards.items()], "model string, provider string"
    )
    told = parameters if isinstance(parameters, Column) else F.lit(json.dumps(dict(parameters), ensure_ascii=False))
    given = rows.withColumns(
        {
            "model": model if isinstance(model, Column) else F.lit(model),
            "messages": (F.lit(None) if messages is None else messages).cast(
                "array<struct<role: string, content: string>>"
            ),
            "prompt": (F.lit(None) if prompt is None else prompt).cast("string"),
            "parameters": told,
            "sample": (sample if isinstance(sample, Column) else F.lit(sample)).cast("int"),
            "template": template if isinstance(template, Column) else F.lit(template),
        }
    ).join(F.broadcast(names), on="model", how="left")
    schema = StructType([*given.schema.fields, StructField("request_id", StringType())])
    return given.mapInArrow(_identified, schema)


def _identified(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from inference.request import Request

    for batch in batches:
        rows = batch.select(list(REQUEST[1:])).to_pylist()
        ids, texts = [], []
        for row in rows:
            row["parameters"] = json.loads(row["parameters"])
            row["messages"] = tuple(row["messages"]) if row["messages"] is not None else None
            ids.append(Request(**row).request_id)
            texts.append(json.dumps(row["parameters"], sort_keys=True, separators=(",", ":"), ensure_ascii=False))
        columns = {name: batch[name] for name in batch.schema.names} | {"parameters": pa.array(texts, pa.string())}
        yield pa.RecordBatch.from_pydict({**columns, "request_id": pa.array(ids, pa.string())})
