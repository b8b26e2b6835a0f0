"""Have a judge rate completions from 1 to 5: helpfulness, instruction following, honesty, truthfulness.

A question to the judge is one prompt, one of these aspects and the responses to it, at most --together of them, in an order of its
own. Replies are kept whole and read strictly; one that leaves a rating out is asked again, up to --attempts times, and what is missing
then has no score and says why. Rows go to pref.judgments: another judge, template or --name adds rows and replaces none.

Run as: spark-submit pipelines/judge.py --judge MODEL [--completions raw.completions@latest] [--sources a,b] [--dry-run]
    or: python -m pipelines.judge …
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.table import Table

import warehouse
from inference import models
from inference.models import Card
from pipelines import asking, pools, templates
from pipelines.judging import judgments, questions
from pipelines.judging.judgments import TABLE
from pipelines.judging.questions import ASPECTS, FIELDS, Asking
from pipelines.templates import Template
from warehouse import contracts
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError, run
from warehouse.refs import resolve
from warehouse.show import console
from warehouse.spark import read, session, write

MAX_TOKENS = 2048
WARMER = 0.7  # at least, when a question is asked again: at 0 the same reply would come
ROWS_A_FILE = 1_000_000
EXAMPLES = """examples:
  what the recipe's judge would cost for a campaign of pipelines/complete.py, and then its judgements, as a batch:
    spark-submit pipelines/judge.py --judge gpt-4o-2024-08-06 --sources pool_v1 --dry-run
    spark-submit pipelines/judge.py --judge gpt-4o-2024-08-06 --sources pool_v1 --batch --budget 300
  a second opinion on one aspect, each response by itself:
    spark-submit pipelines/judge.py --judge claude-sonnet-4-6 --sources pool_v1 --aspects truthfulness --together 1 --name alone
  templates of your own: FOLDER/politeness.txt is the aspect politeness:
    spark-submit pipelines/judge.py --judge my-model --models cards.toml --templates FOLDER --sources pool_v1

What judges see, how replies are read and what the rows say: docs/preference.md. Model cards, keys and budgets: docs/ask.md.
"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="judge", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--judge", required=True, metavar="MODEL", help="name of the judge's model card")
    add("--name", help="campaign of the rows (default: the judge's name)")
    add("--completions", default="raw.completions", metavar="REF", help="what to judge (default: raw.completions)")
    add("--prompts", default="raw.prompts", metavar="REF", help="what they answer (default: raw.prompts)")
    add(
        "--sources",
        type=asking.names,
        metavar="NAMES",
        help="only completions of these sources or campaigns (default: all)",
    )
    add("--aspects", type=asking.names, metavar="NAMES", help=f"what is rated (default: {','.join(ASPECTS)})")
    add("--templates", metavar="FOLDER", help="templates of your own, <aspect>.txt each")
    add(
        "--together",
        type=asking.positive,
        default=4,
        metavar="N",
        help="responses in one question (default: 4; 1: each alone)",
    )
    add(
        "--longest",
        type=asking.positive,
        default=24_000,
        metavar="N",
        help="characters of a response that are shown (default: 24000)",
    )
    add("--attempts", type=asking.positive, default=3, metavar="N", help="times that a question is asked (default: 3)")
    add("--seed", type=int, default=42, help="of the order of responses (default: 42)")
    add("--temperature", type=float, default=0.0, help="of the judge (default: 0)")
    add("--no-temperature", action="store_true", help="send none: some models know only their own")
    add("--max-tokens", type=asking.positive, default=MAX_TOKENS, help=f"of a reply (default: {MAX_TOKENS})")
    asking.add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    how = Asking(_templates(options), options.together, options.longest, options.seed)
    known = models.cards(options.models)
    cards = {options.judge: models.find(known, options.judge)}
    campaign = options.name or options.judge
    w = warehouse.open()
    completions, prompts = resolve(w, options.completions), resolve(w, options.prompts)
    print("reads", completions, prompts)
    spark = session("judge")
    job = Job("pipelines.judge", {k: v for k, v in vars(options).items() if v}, [completions, prompts])
    rated = questions.candidates(read(spark, completions), asking.known_sources(spark, completions, options.sources))
    asked = questions.questions(rated, questions.conversations(read(spark, prompts)), how).persist(
        StorageLevel.DISK_ONLY
    )
    if asked.isEmpty():
        print(f"No completion of {completions} answers a prompt of {prompts}: nothing to judge.")
        return
    found = _replies(spark, w, asked, cards, options, job)
    if found is not None:
        rows = judgments.judgments(judgments.best(found), campaign, pools.binding(cards[options.judge])).persist(
            StorageLevel.DISK_ONLY
        )
        add_rows(w, job, rows, campaign)
        report(rows)


def _templates(options: argparse.Namespace) -> dict[str, Template]:
    """Aspect -> template. Raises CaravanError for an aspect without one, and for one that does not show the responses."""
    if not options.templates:
        return {aspect: templates.template(f"judge/{aspect}") for aspect in options.aspects or ASPECTS}
    folder = Path(options.templates)
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    if unknown := sorted(set(options.aspects or ()) - set(files)):
        raise CaravanError(f"{folder} holds no {unknown[0]}.txt. It holds: {', '.join(files) or 'no template'}.")
    if not files:
        raise CaravanError(
            f"{folder} holds no template: write the judge's prompt for an aspect into {folder}/<aspect>.txt."
        )
    found = {}
    for aspect in options.aspects or files:
        found[aspect] = templates.of(f"{folder.name}/{aspect}", files[aspect].read_text(encoding="utf-8").rstrip("\n"))
        fields = set(found[aspect].fields)
        if not {"conversation", "responses"} <= fields <= FIELDS:
            raise CaravanError(
                f"{files[aspect]} must have the fields $conversation and $responses, and may have $mark and $count. It has: "
                f"{', '.join(sorted(fields)) or 'none'}."
            )
    return found


def _replies(
    spark: SparkSession,
    w: warehouse.Warehouse,
    asked: DataFrame,
    cards: Mapping[str, Card],
    options: argparse.Namespace,
    job: Job,
) -> DataFrame | None:
    """The replies to all questions, and again to those whose reply leaves a rating out; None on --dry-run."""
    replies = None
    for attempt in range(options.attempts):
        told: dict[str, Any] = {"max_tokens": options.max_tokens}
        if not options.no_temperature:
            told["temperature"] = max(options.temperature, WARMER) if attempt else options.temperature
        requests = asking.with_requests(
            asked.withColumns({"judge": F.lit(options.judge), "attempt": F.lit(attempt)}),
            cards,
            model=options.judge,
            messages=asking.chat(F.col("text")),
            parameters=told,
            sample=attempt,
            template=F.col("template"),
        ).persist(StorageLevel.DISK_ONLY)
        answers = asking.ask(spark, w, requests, options, job)
        if answers is None:
            return None
        # Not persisted: the plan of each attempt would hold that of the one before several times.
        found = judgments.replies(requests, answers).localCheckpoint(storageLevel=StorageLevel.DISK_ONLY)
        replies = found if replies is None else replies.unionByName(found)
        again = found.where("again").select("request_id")
        asked = requests.join(again, on="request_id", how="left_semi").select(*asked.columns)
        count = again.count()
        if not count:
            break
        more = "asking them again" if attempt + 1 < options.attempts else "they stay without"
        print(f"{count:,} replies leave ratings out, attempt {attempt + 1} of {options.attempts}: {more}")
    return replies


def add_rows(w: warehouse.Warehouse, job: Job, rows: DataFrame, campaign: str) -> None:
    """Commit the rows that the campaign has not, or has otherwise: those take the place of their old ones."""
    contract = contracts.load(TABLE)
    before = resolve(w, TABLE)
    existing = read(rows.sparkSession, before).where(F.col("campaign") == campaign)
    whole = F.md5(F.to_json(F.struct(*contract.names))).alias("whole")
    there = existing.select(*contract.key, whole)
    fresh = rows.select("*", whole).join(there, on=[*contract.key, "whole"], how="left_anti").drop("whole")
    fresh = fresh.persist(StorageLevel.DISK_ONLY)
    count = fresh.count()
    if not count:
        print(f"{TABLE} has all of {campaign} already: nothing to write.")
        return
    keys = fresh.select(*contract.key)
    replaced = existing.join(keys, on=contract.key, how="left_semi").count()
    with staged(w, TABLE) as directory:
        if replaced:
            fresh = existing.join(keys, on=contract.key, how="left_anti").unionByName(fresh)
        files = write(fresh.coalesce(1 + count // ROWS_A_FILE), directory, partition="campaign")
        replace = {"campaign": [campaign]} if replaced else None
        snapshot = commit(w, TABLE, files, job, replace, only_after=before if replaced else None)
    print(f"wrote {TABLE}@{snapshot}: {campaign}, {count - replaced:,} judgements, {replaced:,} replaced")


def report(rows: DataFrame) -> None:
    """Print what was judged, by aspect, and an example of what could not be."""
    counts = rows.groupBy("aspect").agg(
        F.count("*").alias("rows"),
        F.count("score").alias("scored"),
        F.avg("score").alias("mean"),
        *(F.count_if(F.col("score") == score).alias(f"n{score}") for score in range(1, 6)),
        F.count_if("cut").alias("cut"),
        F.min(F.when(F.col("score").isNull(), F.struct("completion_id", "problem"))).alias("example"),
    )
    table = Table("aspect", "completions", "without score", "mean", *map(str, range(1, 6)))
    found = sorted(counts.collect(), key=lambda row: row.aspect)
    for row in found:
        mean = f"{row.mean:.2f}" if row.scored else "-"
        shares = (f"{row[f'n{score}']:,}" for score in range(1, 6))
        table.add_row(row.aspect, f"{row.rows:,}", f"{row.rows - row.scored:,}", mean, *shares)
    console.print(table)
    if cut := max(row.cut for row in found):
        print(
            f"{cut:,} completions are longer than --longest: the judge saw their beginning only, and their rows say so (cut)."
        )
    for row in found:
        if row.example:
            print(f"{row.aspect}: such as completion_id {row.example.completion_id}: {row.example.problem}")


if __name__ == "__main__":
    run(main)
