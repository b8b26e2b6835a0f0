"""Preference pairs from constraints: the answer to a prompt in which one constraint was relaxed is the rejected one for the prompt itself."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines import verdicts
from pipelines.synthesis import constraints
from pipelines.synthesis.choice import rng, spread
from pipelines.synthesis.rows import completion_id
from pipelines.templates import template

KEY = ("source", "file", "row", "branch")
TEMPLATE = "synthesis/rewrite"
ASKED = "number long, relaxed string, question string"


def chosen(prompts: DataFrame, completions: DataFrame, count: int, seed: int) -> DataFrame:
    """Prompts with constraints and their first completion -> `count` rows with number, prompt and `answer`.

    A prompt that asks to be repeated is left out: relaxing another constraint would change what is to be repeated.
    """
    repeats = F.exists("constraints", lambda one: one.id == constraints.REPEAT)
    usable = prompts.where(F.size("constraints") > 0).where(~repeats)
    usable = usable.select(
        *KEY, "prompt_id", "messages", "constraints", "ground_truth", "licence", "skill", "language", "persona_id"
    )
    first = completions.where("sample = 0 and finish_reason is distinct from 'length'").select(
        *KEY,
        "prompt_id",
        F.col("content").alias("answer"),
        F.col("model").alias("answer_model"),
        F.col("licence").alias("answer_licence"),
        F.col("request_id").alias("answer_request"),
    )
    pairs = usable.join(first, on=[*KEY, "prompt_id"], how="inner")
    one = F.min(F.struct(*KEY, *(name for name in pairs.columns if name not in (*KEY, "prompt_id")))).alias("one")
    distinct = pairs.groupBy("prompt_id").agg(one).select("prompt_id", "one.*")
    return spread(distinct, "prompt_id", count, seed)


def asked(rows: DataFrame, seed: int) -> DataFrame:
    """`chosen` -> the same with `relaxed`, the constraint that the rewrite is to relax, and the `question` that asks for it."""
    schema = pa.schema([("number", pa.int64()), ("relaxed", pa.string()), ("question", pa.string())])

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = [_ask(row, seed) for row in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(found, schema=schema)

    told = rows.select("number", "messages", "constraints").mapInArrow(transform, ASKED)
    return rows.join(told, on="number", how="inner")


def _ask(row: dict[str, Any], seed: int) -> dict[str, Any]:
    stated = constraints.from_rows(row["constraints"])
    id, arguments = rng(seed, "relax", row["number"]).choice(stated)
    words = constraints.described(id, arguments)
    question = template(TEMPLATE).render(constraint=words, request=row["messages"][-1]["content"])
    return {"number": row["number"], "relaxed": id, "question": question}


def rewritten(replies: DataFrame) -> DataFrame:
    """`tagged` replies to `asked` -> the same, with a problem where the rewrite lost another constraint or changed nothing."""
    lost = F.udf(_lost, "string")
    own = F.element_at("messages", -1)["content"]
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


def completions(pairs: DataFrame, model: str, licence: Column) -> DataFrame:
    """`verified` rows -> the columns of raw.completions: of each prompt the chosen (sample 0) and the rejected one (sample 1)."""
    own = F.struct(
        F.lit(0).alias("sample"),
        F.lit("chosen").alias("preference"),
        F.col("answer").alias("content"),
        F.col("answer_model").alias("model"),
        F.col("answer_licence").alias("licence"),
        F.col("answer_request").alias("request_id"),
    )
    other = F.struct(
        F.lit(1).alias("sample"),
        F.lit("rejected").alias("preference"),
        F.col("text").alias("content"),
        F.lit(model).alias("model"),
        licence.alias("licence"),
        F.col("request_id"),
    )
    rows = pairs.where("problem is null").select(
        "prompt_id", F.col("number").alias("row"), F.explode(F.array(own, other)).alias("one")
    )
    id = completion_id(F.col("prompt_id"), F.col("one.model"), F.col("one.sample"), F.col("one.content"))
    return rows.select(id.alias("completion_id"), "prompt_id", "row", "one.*")
