"""Preference pairs from constraints: the answer to a prompt in which one constraint was relaxed is the rejected one for the prompt itself."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines import verdicts
from pipelines.synthesis import constraints
from pipelines.synthesis.choice import rng, spread
from pipelines.synthesis.rows import completion_id, contracted
from pipelines.templates import template

KEY = ("source", "file", "row", "branch")
CARRIED = ("number", "prompt_id", "turns", "constraints", "ground_truth", "licence", "language", "persona_id")
CHOSEN = ("answer", "answer_model", "answer_licence", "answer_request")
TEMPLATE = "synthesis/rewrite"
ASKED = pa.schema([("number", pa.int64()), ("relaxed", pa.string()), ("question", pa.string())])


def chosen(prompts: DataFrame, completions: DataFrame, count: int, seed: int) -> DataFrame:
    """Prompts with constraints and their first completions -> (round, CARRIED, CHOSEN) of at most `count`, each prompt once.

    A prompt that asks to be repeated is left out: relaxing another constraint would change what is to be repeated.
    """
    repeats = F.exists("constraints", lambda one: one.id == constraints.REPEAT)
    usable = prompts.where(F.size("constraints") > 0).where(~repeats).withColumnRenamed("messages", "turns")
    usable = usable.select(*KEY, *CARRIED[1:])
    first = completions.where("sample = 0").select(
        *KEY,
        "prompt_id",
        F.col("content").alias("answer"),
        F.col("model").alias("answer_model"),
        F.col("licence").alias("answer_licence"),
        F.col("request_id").alias("answer_request"),
    )
    pairs = usable.join(first, on=[*KEY, "prompt_id"], how="inner")
    one = F.min(F.struct(*KEY, *CARRIED[2:], *CHOSEN)).alias("one")
    distinct = pairs.groupBy("prompt_id").agg(one).select("prompt_id", "one.*").drop(*KEY)
    return spread(distinct, "prompt_id", count, seed).where("round = 0")


def asked(rows: DataFrame, seed: int) -> DataFrame:
    """`chosen` -> the same with `relaxed`, the constraint that the rewrite is to relax, the `question` that asks for it, its `file`."""

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pylist([_ask(row, seed) for row in batch.to_pylist()], schema=ASKED)

    told = rows.select("number", "turns", "constraints").mapInArrow(
        transform, "number long, relaxed string, question string"
    )
    return rows.join(told, on="number", how="inner").withColumn("file", F.lit(template(TEMPLATE).id))


def _ask(row: dict[str, Any], seed: int) -> dict[str, Any]:
    stated = constraints.from_rows(row["constraints"])
    id, arguments = rng(seed, "relax", row["number"]).choice(stated)
    words = constraints.described(id, arguments)
    question = template(TEMPLATE).render(constraint=words, request=row["turns"][-1]["content"])
    return {"number": row["number"], "relaxed": id, "question": question}


def rewritten(replies: DataFrame) -> DataFrame:
    """`tagged` replies to `asked` -> the same, with a problem where the rewrite lost another constraint or changed nothing."""
    lost = F.udf(_lost, "string")
    own = F.element_at("turns", -1)["content"]
    problem = (
        F.when(F.col("problem").isNotNull(), F.col("problem"))
        .when(F.col("text") == own, "the rewrite is the prompt itself")
        .otherwise(lost("text", "constraints", "relaxed"))
    )
    return replies.withColumn("problem", problem)


def _lost(text: str | None, rows: list[Any], relaxed: str) -> str | None:
    for id, arguments in constraints.from_rows(rows):
        if text is not None and id != relaxed and (left_out := constraints.unsaid(text, id, arguments)):
            return f"the rewrite does not state {id} any more: it lacks {left_out!r}"
    return None


def verified(solved: DataFrame) -> DataFrame:
    """Rows with `answer` (chosen) and `text` (rejected) -> the same, with a problem where the verifier does not tell them so."""
    kept = solved.columns
    types = dict(solved.dtypes)
    ddl = ", ".join(f"`{name}` {types[name]}" for name in kept)

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = batch.select(["answer", "text", "ground_truth", "problem"]).to_pylist()
            problems = pa.array(_untold(rows), pa.string())
            columns = [problems if name == "problem" else batch[name] for name in kept]
            yield pa.RecordBatch.from_arrays(columns, names=kept)

    return solved.mapInArrow(transform, ddl)


def _untold(rows: list[dict[str, Any]]) -> list[str | None]:
    """What speaks against each pair."""
    good = [row for row in rows if row["problem"] is None]
    names, truths = [constraints.VERIFIER] * len(good), [row["ground_truth"] for row in good]
    answers = verdicts.verdicts(names, [row["answer"] for row in good], truths)
    others = verdicts.verdicts(names, [row["text"] for row in good], truths)
    for row, answer, other in zip(good, answers, others, strict=True):
        if not answer.get("correct"):
            row["problem"] = (
                f"the prompt's own answer does not follow its constraints: {answer.get('message') or answer.get('problem')}"
            )
        elif other.get("correct"):
            row["problem"] = "the answer to the rewrite follows all constraints"
    return [row["problem"] for row in rows]


def good(replies: DataFrame) -> DataFrame:
    """`rewritten` replies without a problem -> (CARRIED, CHOSEN, file, rewrite)."""
    return replies.where("problem is null").select(*CARRIED, *CHOSEN, "file", F.col("text").alias("rewrite"))


def prompts(pairs: DataFrame, source: str, revision: str) -> DataFrame:
    """`verified` rows -> raw.prompts: the prompts as they were, beside their pairs."""
    given = {
        "source": F.lit(source),
        "revision": F.lit(revision),
        "row": F.col("number"),
        "branch": F.lit(0),
        "messages": F.col("turns"),
        "skill": F.lit("precise_if"),
        "verifier": F.lit(constraints.VERIFIER),
        "request_id": F.lit(None),
    }
    return contracted("raw.prompts", pairs.where("problem is null"), given)


def completions(pairs: DataFrame, source: str, revision: str, model: str, licence: Column) -> DataFrame:
    """`verified` rows -> raw.completions: of each prompt the chosen (sample 0) and the rejected response (sample 1)."""
    chosen = ("chosen", "answer", "answer_model", "answer_licence", "answer_request")
    rejected = ("rejected", "text", F.lit(model), licence, "request_id")
    names = ("preference", "content", "by", "bound", "request")

    def one(sample: int, columns: Sequence[str | Column]) -> Column:
        preference, *others = columns
        values = [F.lit(preference), *(F.col(c) if isinstance(c, str) else c for c in others)]
        return F.struct(F.lit(sample).alias("sample"), *(v.alias(n) for v, n in zip(values, names, strict=True)))

    rows = pairs.where("problem is null").select(
        "prompt_id", "file", "number", F.explode(F.array(one(0, chosen), one(1, rejected))).alias("one")
    )
    rows = rows.select("prompt_id", "file", "number", "one.*")
    given = {
        "completion_id": completion_id(*(F.col(name) for name in ("prompt_id", "by", "sample", "content"))),
        "source": F.lit(source),
        "revision": F.lit(revision),
        "row": F.col("number"),
        "branch": F.lit(0),
        "model": F.col("by"),
        "licence": F.col("bound"),
        "request_id": F.col("request"),
    }
    return contracted("raw.completions", rows, given)
