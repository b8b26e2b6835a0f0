"""Rows of the raw tables from what models wrote. Pure: DataFrames in, DataFrames out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.registry import terms_of
from pipelines.synthesis import constraints
from pipelines.synthesis.plan import CONSTRAINTS, STATED
from warehouse import contracts, licences

LONGEST = 1000  # characters of an unreadable reply that are kept
FINISHED = f"text string, problem string, constraints {STATED}, ground_truth string"


def bound(licence: Column, models: Sequence[tuple[str, str | None]], terms: Mapping[str, str]) -> Column:
    """The licence with what binds the text of these models, by the rule of ingestion: (name, licence that the card states)."""
    own = [term for name, stated in models for term in [*(terms_of(name, terms) or ()), *([stated] if stated else [])]]
    return F.udf(lambda text: licences.combine([text, *own]), "string")(licence)


def prompt_id(messages: Column) -> Column:
    """raw.prompts.prompt_id."""
    return F.md5(F.concat_ws("\x1e", F.transform(messages, lambda m: F.concat_ws("\x1f", m.role, m.content))))


def completion_id(prompt: Column, model: Column, sample: Column, content: Column) -> Column:
    """raw.completions.completion_id."""
    return F.md5(F.concat_ws("\x1f", prompt, F.coalesce(model, F.lit("")), sample.cast("string"), content))


def finished(replies: DataFrame) -> DataFrame:
    """`tagged` replies whose `constraints` were planned -> the same with prompt and ground truth, or with what the words leave out."""
    kept = [name for name in replies.columns if name not in ("text", "problem", "constraints")]
    types = dict(replies.dtypes)
    ddl = ", ".join(f"`{name}` {types[name]}" for name in kept)
    schema = pa.schema(
        [("text", pa.string()), ("problem", pa.string()), ("constraints", CONSTRAINTS), ("ground_truth", pa.string())]
    )

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [_finished(row) for row in batch.select(["text", "problem", "constraints"]).to_pylist()]
            new = pa.RecordBatch.from_pylist(rows, schema=schema)
            yield pa.RecordBatch.from_arrays(
                [*(batch[name] for name in kept), *new.columns], names=[*kept, *schema.names]
            )

    return replies.mapInArrow(transform, f"{ddl}, {FINISHED}")


def _finished(row: dict[str, Any]) -> dict[str, Any]:
    if row["problem"] is not None:
        return row
    prompt, stated, problem = constraints.finished(row["text"], constraints.from_rows(row["constraints"]))
    if problem:
        return {**row, "text": None, "problem": problem}
    truth = constraints.ground_truth(stated)
    return {"text": prompt, "problem": None, "constraints": constraints.as_rows(stated), "ground_truth": truth}


def prompts(made: DataFrame, source: str, revision: str, skill: str, licence: Column) -> DataFrame:
    """Replies with `text` -> raw.prompts. `ground_truth`, where there is one, is of the verifier of constraints."""
    good = made.where("problem is null")
    messages = F.array(F.struct(F.lit("user").alias("role"), F.col("text").alias("content")))
    truth = F.col("ground_truth")
    return contracted(
        "raw.prompts",
        good,
        {
            "prompt_id": prompt_id(messages),
            "source": F.lit(source),
            "revision": F.lit(revision),
            "row": F.col("number"),
            "branch": F.lit(0),
            "messages": messages,
            "licence": licence,
            "skill": F.lit(skill),
            "language": F.lit("en"),
            "verifier": F.when(truth.isNotNull(), constraints.VERIFIER),
        },
    )


def completions(solved: DataFrame, model: str, licence: Column) -> DataFrame:
    """Prompts of raw.prompts with the `text` of their solutions -> raw.completions."""
    return contracted(
        "raw.completions",
        solved.where("problem is null"),
        {
            "completion_id": completion_id(F.col("prompt_id"), F.lit(model), F.lit(0), F.col("text")),
            "sample": F.lit(0),
            "content": F.col("text"),
            "model": F.lit(model),
            "licence": licence,
        },
    )


def rejects(replies: DataFrame, source: str, revision: str, what: str, row: str = "number") -> DataFrame:
    """Replies with a `problem` -> raw.rejects; `what` names the request in the reason."""
    reason = F.concat(F.lit(f"{what}: "), "problem", F.lit("; request "), "request_id")
    return contracted(
        "raw.rejects",
        replies.where("problem is not null"),
        {
            "source": F.lit(source),
            "revision": F.lit(revision),
            "row": F.col(row),
            "reason": reason,
            "content": F.left("reply", F.lit(LONGEST)),
        },
    )


def contracted(table: str, rows: DataFrame, given: Mapping[str, Column]) -> DataFrame:
    """The columns of a table's contract: as given, else as the rows have them, else null."""
    columns = []
    for column in contracts.load(table).columns:
        if column.name in given:
            value = given[column.name]
        elif column.name in rows.columns:
            value = F.col(column.name)
        else:
            value = F.lit(None)
        columns.append(value.cast(column.spark).alias(column.name))
    return rows.select(*columns)
