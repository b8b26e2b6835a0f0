"""Prompts with constraints added: no model is asked, and what was added is what the verifier takes."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.synthesis import constraints
from pipelines.synthesis.choice import rng, spread
from warehouse import contracts

VERSION = "constrain@1"  # of the way in which constraints are put to a prompt; the column file
CARRIED = ("number", "prompt_id", "messages", "licence", "language")


def chosen(prompts: DataFrame, count: int, seed: int) -> DataFrame:
    """raw.prompts -> (number, round, CARRIED) of `count` of them; a prompt in two sources counts once, the first."""
    first = F.min(F.struct("source", "file", "row", "branch", "messages", "licence", "language")).alias("first")
    distinct = prompts.groupBy("prompt_id").agg(first)
    rows = distinct.select("prompt_id", *(f"first.{name}" for name in ("messages", "licence", "language")))
    return spread(rows, "prompt_id", count, seed)


def augmented(rows: DataFrame, source: str, revision: str, seed: int) -> DataFrame:
    """`chosen` -> raw.prompts with a column `problem`: why constraints could not be added."""
    contract = contracts.load("raw.prompts")
    schema = pa.schema([*contract.arrow_schema(), ("problem", pa.string())])

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pipelines.transform import prompt_id

        for batch in batches:
            made = []
            for row in batch.to_pylist():
                new = _augmented(row, seed)
                own = {"prompt_id": prompt_id(new["messages"]), "source": source, "revision": revision, "file": VERSION}
                made.append({**own, "row": row["number"], "branch": 0, "licence": row["licence"], **new})
            yield pa.RecordBatch.from_pylist(made, schema=schema)

    return rows.select(*CARRIED).mapInArrow(transform, f"{contract.spark_ddl()}, problem string")


def _augmented(row: dict[str, Any], seed: int) -> dict[str, Any]:
    *before, last = row["messages"]
    text = last["content"].strip()
    kept = {"messages": row["messages"], "language": row["language"], "skill": "precise_if"}
    kept["parent_prompt_id"] = row["prompt_id"]
    if last["role"] != "user" or not text:
        return {**kept, "problem": "its last turn is not a user's, or is empty"}
    try:
        drawn = constraints.draw(rng(seed, "constrain", row["number"]), text)
    except ValueError as error:
        return {**kept, "problem": str(error)}
    stated = [(id, arguments) for id, arguments, _ in drawn]
    words = "\n".join(words for id, _, words in drawn if id != constraints.REPEAT)
    # The instruction to repeat the request ends with the request.
    repeat = next((words for id, _, words in drawn if id == constraints.REPEAT), None)
    parts = [words, repeat] if repeat else [text, words]
    content = "\n\n".join(part for part in parts if part)
    return {
        **kept,
        "messages": [*before, {"role": "user", "content": content}],
        "constraints": constraints.as_rows(stated),
        "verifier": constraints.VERIFIER,
        "ground_truth": constraints.ground_truth(stated),
        "problem": None,
    }


def rejects(made: DataFrame) -> DataFrame:
    """`augmented` -> raw.rejects."""
    content = F.left(F.element_at("messages", -1)["content"], F.lit(1000))
    return made.where("problem is not null").select(
        "source",
        "revision",
        "file",
        "row",
        F.concat("problem", F.lit("; prompt "), "parent_prompt_id").alias("reason"),
        content.alias("content"),
    )
