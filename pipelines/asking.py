"""Requests as a DataFrame in, the answers to exactly these requests as a DataFrame out; the options of every job that asks models.

What the journal or llm.responses holds is never asked again. What is left is staged as Parquet, streamed to the models from the driver
or from executors, and committed to llm.requests and llm.responses, from where the answers are read: a million requests never sit in
the driver, and a job that is stopped loses nothing that was paid for.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

import warehouse
from inference import models
from inference.models import Card
from inference.request import Request
from inference.send import Summary
from pipelines.errands import Errand
from warehouse import contracts
from warehouse.commit import Job
from warehouse.errors import CaravanError
from warehouse.refs import Resolved, resolve
from warehouse.spark import read

REQUESTS, RESPONSES = "llm.requests", "llm.responses"
REQUEST = tuple(contracts.load(REQUESTS).names)
ID = "request_id"


class Unanswered(CaravanError):
    """Requests have no answer yet; running the same command again goes on with them."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a job that asks models."""
    add = parser.add_argument_group("asking models", "Cards, keys, budgets and batches: docs/ask.md.").add_argument
    add("--models", metavar="FILE", help="TOML file of model cards of your own: URLs, protocol, key's variable, prices")
    add("--concurrency", type=positive, default=64, metavar="N", help="requests in flight (default: 64)")
    add("--budget", type=float, metavar="DOLLARS", help="never spend more than this in this run")
    add(
        "--patience",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long a request is tried again (default: 600)",
    )
    add(
        "--batch",
        action="store_true",
        help="ask through the providers' batch APIs, for half the price and within a day",
    )
    add("--dry-run", action="store_true", help="say how many requests there are and what they would cost; ask nothing")
    add(
        "--journal",
        metavar="FOLDER",
        help="where answers are written as they come (default: in the warehouse's folder)",
    )
    add(
        "--on",
        choices=("driver", "executors"),
        default="driver",
        help="who sends; executors share the journal's folder",
    )
    add("--partial", action="store_true", help="go on with the answers there are where some requests got none")
    parser.set_defaults(spent=0.0)


def cards(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Card]:
    """The model cards of these names. Raises CaravanError for an unknown one and for one without a URL."""
    known = models.cards(options.models)
    return {name: models.find(known, name) for name in names}


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


def ask(
    spark: SparkSession,
    w: warehouse.Warehouse,
    requests: DataFrame,
    options: argparse.Namespace,
    job: Job,
    cards: Mapping[str, Card] | None = None,
) -> DataFrame | None:
    """Rows of llm.responses of exactly these requests (columns of llm.requests), asked where there is no answer yet.

    `cards` are those of --models unless given. None on --dry-run, which prints what asking would cost. Raises Unanswered where requests
    stay without an answer, unless --partial; what was answered is in the tables all the same.
    """
    wanted = requests.select(*REQUEST).dropDuplicates([ID])
    known = cards or models.cards(options.models)
    errand = Errand(spark, w, known, options, job)
    if options.dry_run:
        before = resolve(w, RESPONSES)
        print("reads", before)
        errand.estimate(_open(spark, before, wanted))
        return None
    with errand:
        errand.finish_earlier()
        before = resolve(w, RESPONSES)
        print("reads", before)
        summary = errand.run(_open(spark, before, wanted))
    after = resolve(w, RESPONSES)
    answers = read(spark, after).join(wanted.select(ID), on=ID, how="left_semi")
    if summary is not None:
        _check(summary, _open(spark, after, wanted).count(), options)
    return answers


def is_open(spark: SparkSession, w: warehouse.Warehouse, requests: DataFrame, model: str) -> bool:
    """Whether a request to this model has no answer in llm.responses."""
    asked = requests.where(F.col("model") == model).select(*REQUEST)
    return not _open(spark, resolve(w, RESPONSES), asked).isEmpty()


def known_sources(spark: SparkSession, ref: Resolved, sources: Sequence[str] | None) -> Sequence[str] | None:
    """The sources that were asked for. Raises CaravanError where the reference has no rows of one."""
    if sources:
        known = {row.source for row in read(spark, ref).select("source").distinct().collect()}
        if unknown := sorted(set(sources) - known):
            raise CaravanError(
                f"{ref} holds no rows of {', '.join(unknown)}. Its sources: {', '.join(sorted(known)) or 'none'}."
            )
    return sources


def names(text: str) -> list[str]:
    """The type of an option that takes names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """The type of an option that takes a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _open(spark: SparkSession, responses: Resolved, wanted: DataFrame) -> DataFrame:
    return wanted.join(read(spark, responses).select(ID), on=ID, how="left_anti")


def _check(summary: Summary, missing: int, options: argparse.Namespace) -> None:
    """Raises Unanswered where answers are missing, or KeyboardInterrupt where the user asked for the end."""
    if summary.stopped == "interrupted":
        raise KeyboardInterrupt
    if missing:
        why = "the budget is spent" if summary.stopped == "budget" else f"they were tried for {options.patience:g} s"
        words = f"{missing:,} requests have no answer: {why}. Run the same command again to go on with them"
        if not options.partial:
            raise Unanswered(f"{words}, or with --partial to go on without them. Nothing was written but the answers.")
        print(f"{words}; --partial goes on without them.")
