"""Requests as a DataFrame in, the answers to exactly these requests as a DataFrame out; the options of every job that asks models.

What the journal or llm.responses holds is never asked again. What is left is staged as Parquet, streamed to the models from the driver
or from executors, and committed to llm.requests and llm.responses, from where the answers are read: a million requests never sit in
the driver, and a job that is stopped loses nothing that was paid for.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import warehouse
from inference import models
from inference.models import Card
from inference.send import Summary
from pipelines.errands import Errand
from pipelines.requests import ID, REQUEST, chat, with_requests
from warehouse.commit import Job
from warehouse.errors import CaravanError
from warehouse.refs import Resolved, resolve
from warehouse.spark import read

__all__ = [
    "Unanswered",
    "add_options",
    "ask",
    "cards",
    "chat",
    "is_open",
    "known_sources",
    "names",
    "positive",
    "with_requests",
]
RESPONSES = "llm.responses"


class Unanswered(CaravanError):
    """Requests have no answer yet; running the same command again goes on with them."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a job that asks models."""
    add = parser.add_argument_group("asking models", "Cards, keys, budgets and batches: docs/ask.md.").add_argument
    add("--models", metavar="FILE", help="TOML file of model cards of your own: URLs, protocol, key's variable, prices")
    add("--concurrency", type=positive, default=64, metavar="N", help="requests in flight (default: 64)")
    add("--budget", type=_dollars, metavar="DOLLARS", help="never spend more than this in this run")
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


def _dollars(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not amount >= 0:  # nor is nan, which no sum would pass
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of dollars")
    return amount


def _open(spark: SparkSession, responses: Resolved, wanted: DataFrame) -> DataFrame:
    return wanted.join(read(spark, responses).select(ID), on=ID, how="left_anti")


def _check(summary: Summary, missing: int, options: argparse.Namespace) -> None:
    """Raises Unanswered where answers are missing, or KeyboardInterrupt where the user asked for the end."""
    if summary.stopped == "interrupted":
        raise KeyboardInterrupt
    if missing:
        why = "their batches brought none" if options.batch else f"they were tried for {options.patience:g} s"
        why = "the budget is spent" if summary.stopped == "budget" else why
        words = f"{missing:,} requests have no answer: {why}. Run the same command again to go on with them"
        if not options.partial:
            raise Unanswered(f"{words}, or with --partial to go on without them. Nothing was written but the answers.")
        print(f"{words}; --partial goes on without them.")
