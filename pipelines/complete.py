"""Ask a pool of models for responses to prompts of the warehouse.

Each distinct prompt is answered by --each models of the pool, chosen by a hash of prompt and --seed; an on-policy model, such as a
checkpoint, answers every prompt. The responses are rows of raw.completions whose source is the campaign's --name; raw.sources says how
they came about. What was answered before is never asked again, so a run that was stopped goes on.

Run as: spark-submit pipelines/complete.py --name NAME --pool FILE|NAMES [--prompts raw.prompts@latest] [--sources a,b] [--dry-run]
    or: python -m pipelines.complete …
"""

import argparse
import functools
import hashlib
import operator
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyspark import StorageLevel
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from rich.table import Table

import warehouse
from inference import models
from inference.models import Card
from inference.request import canonical
from inference.vllm_server import FREE, VllmServer, checkpoint_name
from pipelines import asking, pools
from pipelines.pools import Member, Pool
from warehouse import contracts, licences
from warehouse.commit import Job, commit, commit_arrow, staged
from warehouse.errors import CaravanError, run
from warehouse.read import arrow
from warehouse.refs import Resolved, resolve
from warehouse.show import console
from warehouse.spark import read, session, write

TABLE, SOURCES, LABELS = "raw.completions", "raw.sources", "attr.labels"
ADAPTER = "pipelines.complete@1"
ROWS_A_FILE = 500_000
EXAMPLES = """examples:
  what four of eight models for each of 100 prompts would cost, and then the responses:
    spark-submit pipelines/complete.py --name pool_v1 --pool pool.toml --sources wildchat,flan_v2 --limit 100 --dry-run
    spark-submit pipelines/complete.py --name pool_v1 --pool pool.toml --sources wildchat,flan_v2 --limit 100 --budget 20
  on-policy: a checkpoint against three of four other models:
    spark-submit pipelines/complete.py --name on_policy_v1 --checkpoint runs/sft/final --pool a,b,c,d --each 4
  prompts that state constraints, by `personas.py detect`:
    spark-submit pipelines/complete.py --name pool_wildchat_if --pool pool.toml --sources wildchat --labelled states_constraints
  eight answers of one model, for prompts of mathematics, at half the price and within a day:
    spark-submit pipelines/complete.py --name eight --pool gpt-4o-2024-08-06 --samples 8 --where "skill = 'math'" --batch

Pool files, roles, licences and what the rows say: docs/preference.md. Model cards, keys and budgets: docs/ask.md.
"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="complete", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--name", required=True, help="of the campaign: source of its rows in raw.completions")
    add("--prompts", default="raw.prompts", metavar="REF", help="what to answer (default: raw.prompts)")
    add("--sources", type=asking.names, metavar="NAMES", help="only prompts of these sources (default: all)")
    add("--labelled", metavar="LABEL", help="only prompts of which a model says it, such as states_constraints")
    add("--where", metavar="SQL", help="only prompts for which this holds, such as \"skill = 'math'\"")
    add("--limit", type=asking.positive, metavar="N", help="only N of these prompts, the same ones each time")
    add("--pool", metavar="FILE|NAMES", help="a TOML file, or names of model cards with commas")
    add(
        "--on-policy",
        type=asking.names,
        default=[],
        metavar="NAMES",
        help="models of the pool that answer every prompt",
    )
    add("--checkpoint", metavar="FOLDER", help="serve this checkpoint with vLLM; it is on-policy")
    add("--checkpoint-licence", default="LicenseRef-Unstated", metavar="SPDX", help="what binds the checkpoint's text")
    add("--vllm", default="", metavar="ARGUMENTS", help="arguments of `vllm serve` for the checkpoint, in one string")
    add(
        "--each",
        type=asking.positive,
        metavar="N",
        help="models that answer a prompt (default: the pool file's, else 4)",
    )
    add("--samples", type=asking.positive, default=1, metavar="N", help="answers of each model (default: 1)")
    add("--seed", type=int, default=42, help="of the choice of models (default: 42)")
    add("--temperature", type=float, help="of all models (default: the pool file's, else the provider's)")
    add("--top-p", type=float, help="of all models (default: the pool file's, else the provider's)")
    add("--max-tokens", type=asking.positive, help=f"of a response (default: the pool file's, else {pools.MAX_TOKENS})")
    add("--replace", action="store_true", help="replace a campaign of this name that was asked for otherwise")
    asking.add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    w = warehouse.open()
    checkpoint = _checkpoint(options)
    told = {"temperature": options.temperature, "top_p": options.top_p, "max_tokens": options.max_tokens}
    given = {key: value for key, value in told.items() if value is not None}
    pool = pools.pool(options.pool, options.each, options.on_policy, given, [checkpoint] if checkpoint else [])
    cards = _cards(options, pool)
    prompts, before = resolve(w, options.prompts), resolve(w, SOURCES)
    labels = [resolve(w, LABELS)] if options.labelled else []
    print("reads", prompts, before, *labels)
    campaign = Campaign(options, pool, prompts, _row(w, before, options.name))
    spark = session("complete")
    job = Job("pipelines.complete", {k: v for k, v in vars(options).items() if v}, [prompts, *labels])
    sources = asking.known_sources(spark, prompts, options.sources)
    rows = read(spark, prompts)
    for ref in labels:
        rows = labelled(rows, read(spark, ref), options.labelled)
    try:
        chosen = selected(rows, sources, options.where, options.limit)
        plan = planned(chosen, pool, cards, options.seed, options.samples).persist(StorageLevel.DISK_ONLY)
    except (AnalysisException, ParseException) as error:
        raise CaravanError(f"--where {options.where!r} is no condition on {prompts}: {_first_line(error)}") from error
    if plan.isEmpty():
        raise CaravanError(
            f"No prompt of {prompts} is left to answer: check --sources, --labelled, --where and --limit."
        )
    with ExitStack() as stack:
        if checkpoint and not options.dry_run and asking.is_open(spark, w, plan, checkpoint.name):
            cards = {**cards, checkpoint.name: stack.enter_context(_serving(options)).card}
        answers = asking.ask(spark, w, plan, options, job, cards)
    if answers is None:
        return
    outcome = answered(plan, answers).persist(StorageLevel.DISK_ONLY)
    counts = counted(outcome)
    if not counts:
        raise asking.Unanswered("No request has an answer yet: nothing was written. Run the same command again.")
    campaign.write(w, job, outcome, counts, cards)
    report(counts)


@dataclass(frozen=True)
class Campaign:
    """A set of responses under one name; `before` is its row of raw.sources, None where there is none yet."""

    options: argparse.Namespace
    pool: Pool
    prompts: Resolved
    before: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        before = self.before
        if before is None:
            return
        if not before["adapter"].startswith(ADAPTER):
            raise CaravanError(
                f"'{self.options.name}' is a data set that was ingested. Give the campaign another --name."
            )
        if not self.options.replace and (before["adapter"], before["filter"]) != (self.how, self.filter):
            raise CaravanError(
                f"The campaign '{self.options.name}' is there already, asked for otherwise: {before['adapter']}; of "
                f"{before['filter'] or 'all prompts'}. Give this one another --name, or say --replace; the answers of both stay in "
                "llm.responses."
            )

    @property
    def how(self) -> str:
        return f"{ADAPTER} " + canonical(
            {**self.pool.told(), "seed": self.options.seed, "samples": self.options.samples}
        )

    @property
    def filter(self) -> str | None:
        told = {
            "source is": self.options.sources and " or ".join(self.options.sources),
            "labelled": self.options.labelled,
        }
        told |= {"where": self.options.where, "prompts at most": self.options.limit}
        return "; ".join(f"{key} {value}" for key, value in told.items() if value) or None

    def write(
        self, w: warehouse.Warehouse, job: Job, outcome: DataFrame, counts: Sequence[Row], cards: Mapping[str, Card]
    ) -> None:
        """Replace the campaign's rows, and only where they change. Its row of raw.sources comes last: where it is, all rows are there."""
        name = self.options.name
        rows = sum(each.responses for each in counts)
        bound = bindings(counts, cards)
        mixed = functools.reduce(operator.xor, (each.hash for each in counts))
        digest = hashlib.sha256(f"{self.how}\x1f{rows}\x1f{mixed}".encode()).hexdigest()
        row = {
            "source": name,
            "kind": "training",
            "location": self.prompts.table,
            "revision": f"sha256:{digest}",
            "adapter": self.how,
            "filter": self.filter,
            "licence": licences.combine(bound.values()),
            "parents": sorted({each.source for each in counts}),
            "models": sorted({each.model for each in counts}),
            "rows": rows,
            "rejects": sum(each.answers for each in counts) - rows,
        }
        if self.before is not None and all(self.before[key] == value for key, value in row.items()):
            print(f"{TABLE} has all of {name} already: nothing to write.")
            return
        with staged(w, TABLE) as directory:
            written = completions(outcome, name, row["revision"], bound)
            files = write(written.coalesce(1 + rows // ROWS_A_FILE), directory, partition="source")
            if self.before is not None:
                commit(w, SOURCES, [], job, replace={"source": [name]})
            snapshot = commit(w, TABLE, files, job, replace={"source": [name]})
        described = commit_arrow(
            w, SOURCES, pa.Table.from_pylist([row], contracts.load(SOURCES).arrow_schema()), job, {"source": [name]}
        )
        print(f"wrote {TABLE}@{snapshot} {SOURCES}@{described}: {name}, {rows:,} responses")


def labelled(prompts: DataFrame, labels: DataFrame, label: str) -> DataFrame:
    """The rows of raw.prompts of which some model says that the label of attr.labels is true."""
    said = labels.where((F.col("label") == label) & F.col("value"))
    return prompts.join(said, on="prompt_id", how="left_semi")


def selected(prompts: DataFrame, sources: Sequence[str] | None, where: str | None, limit: int | None) -> DataFrame:
    """raw.prompts -> (prompt_id, source, file, row, branch, messages, licence), a row for each distinct prompt that is asked for.

    Of rows with one prompt the first by source, file, row and branch is taken.
    """
    taken = prompts.where(F.col("source").isin(list(sources))) if sources else prompts
    taken = taken.where(where) if where else taken
    kept = [F.min_by(name, F.struct("source", "file", "row", "branch")).alias(name) for name in KEPT]
    distinct = taken.groupBy("prompt_id").agg(*kept)
    return distinct.orderBy(F.md5("prompt_id")).limit(limit) if limit else distinct


KEPT = ("source", "file", "row", "branch", "messages", "licence")


def planned(prompts: DataFrame, pool: Pool, cards: Mapping[str, Card], seed: int, samples: int) -> DataFrame:
    """`selected` -> a row for each response that there should be: the prompt's columns, `number`, policy, and the request."""
    rows = pools.chosen(prompts, pool, seed, samples)
    told = rows.sparkSession.createDataFrame(
        pools.members(pool), "model string, policy string, checkpoint_id string, parameters string"
    )
    joined = rows.join(F.broadcast(told), on="model", how="inner")
    columns = {name: F.col(name) for name in ("model", "messages", "parameters", "sample")}
    return asking.with_requests(joined, cards, **columns)


def answered(plan: DataFrame, answers: DataFrame) -> DataFrame:
    """The plan with status, content and finish_reason; content is null where the model gave no response that could be used."""
    told = answers.select(
        "request_id", "status", "finish_reason", F.when(F.col("status") == "ok", F.col("content")).alias("content")
    )
    return plan.join(told, on="request_id", how="inner")


def counted(outcome: DataFrame) -> list[Row]:
    """What became of the requests, a row a model, policy, source of prompts and licence of prompts."""
    content = F.col("content")
    groups = outcome.groupBy("model", "policy", "source", "licence").agg(
        F.count("*").alias("answers"),
        F.count(content).alias("responses"),
        F.count_if((F.col("finish_reason") == "length") & content.isNotNull()).alias("cut"),
        F.count_if(F.col("status") == "refused").alias("refused"),
        F.count_if(F.col("status") == "failed").alias("failed"),
        F.coalesce(F.sum(F.length(content)), F.lit(0)).alias("characters"),
        F.bit_xor(F.xxhash64("request_id", content, "source", "file", "row", "branch", "licence")).alias("hash"),
    )
    return groups.collect()


def bindings(counts: Sequence[Row], cards: Mapping[str, Card]) -> dict[tuple[str, str], str]:
    """(licence of the prompt, model) -> licence of the response: both, by the rules of ingestion and by the model's card."""
    binds = {name: pools.binding(card) for name, card in cards.items()}
    pairs = {(each.licence, each.model) for each in counts}
    return {(prompt, model): licences.combine(filter(None, (prompt, binds[model]))) for prompt, model in pairs}


def completions(outcome: DataFrame, name: str, revision: str, bound: Mapping[tuple[str, str], str]) -> DataFrame:
    """`answered` -> raw.completions of the campaign."""
    rows = [(*pair, licence) for pair, licence in bound.items()]
    terms = outcome.sparkSession.createDataFrame(rows, "licence string, model string, both string")
    told = outcome.where("content is not null").join(F.broadcast(terms), on=["licence", "model"], how="inner")
    nothing = F.lit(None)
    return told.select(
        F.md5(F.concat_ws("\x1f", "prompt_id", "model", F.col("number").cast("string"), "content")).alias(
            "completion_id"
        ),
        "prompt_id",
        F.lit(name).alias("source"),
        F.lit(revision).alias("revision"),
        F.concat_ws("/", "source", "file").alias("file"),
        "row",
        "branch",
        F.col("number").alias("sample"),
        "content",
        nothing.cast("string").alias("preference"),
        nothing.cast("double").alias("score"),
        "model",
        F.col("both").alias("licence"),
        "request_id",
        "finish_reason",
        "policy",
        "checkpoint_id",
    )


def report(counts: Sequence[Row]) -> None:
    """Print what became of the requests to each model."""
    table = Table("model", "policy", "answered", "responses", "cut off", "refused", "failed", "mean characters")
    for model, policy in sorted({(each.model, each.policy) for each in counts}):
        own = [each for each in counts if (each.model, each.policy) == (model, policy)]
        sums = {name: sum(each[name] for each in own) for name in SUMS}
        mean = sums.pop("characters") / max(1, sums["responses"])
        table.add_row(model, policy, *(f"{number:,}" for number in sums.values()), f"{mean:,.0f}")
    console.print(table)


SUMS = ("answers", "responses", "cut", "refused", "failed", "characters")


def _cards(options: argparse.Namespace, pool: Pool) -> dict[str, Card]:
    """The card of each model of the pool; of a checkpoint one without a URL, for as long as it is not served."""
    known = models.cards(options.models)
    return {
        m.name: Card(m.name, "openai", options.checkpoint_licence, urls=("http://not-yet-served",), prices=FREE)
        if m.checkpoint
        else models.find(known, m.name)
        for m in pool.members
    }


def _checkpoint(options: argparse.Namespace) -> Member | None:
    if not options.checkpoint:
        return None
    licences.combine([options.checkpoint_licence])
    name = checkpoint_name(Path(options.checkpoint))
    return Member(name, pools.ON, checkpoint=name.rsplit("/", 1)[-1])


def _serving(options: argparse.Namespace) -> VllmServer:
    print(f"serving {options.checkpoint} with vLLM")
    return VllmServer(options.checkpoint, arguments=shlex.split(options.vllm), licence=options.checkpoint_licence)


def _row(w: warehouse.Warehouse, sources: Resolved, name: str) -> dict[str, Any] | None:
    """The campaign's row of raw.sources."""
    rows = arrow(w, sources, where=ds.field("source") == name).to_pylist()
    return rows[0] if rows else None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


if __name__ == "__main__":
    run(main)
