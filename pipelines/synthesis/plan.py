"""What is asked for each number: the kind of prompt, its topics and constraints, and the words of the request."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.requests import chat
from pipelines.synthesis import constraints
from pipelines.synthesis.choice import rng, spread
from pipelines.synthesis.skills import Skill
from pipelines.templates import template

CONSTRAINTS = pa.list_(pa.struct([("id", pa.string()), ("arguments", pa.string())]))
STATED = "array<struct<id: string, arguments: string>>"
PLANNED = pa.schema(
    [
        ("number", pa.int64()),
        ("round", pa.int32()),
        ("persona_id", pa.string()),
        ("licence", pa.string()),
        ("file", pa.string()),
        ("question", pa.string()),
        ("constraints", CONSTRAINTS),
    ]
)
PLANNED_DDL = (
    f"number long, round int, persona_id string, licence string, file string, question string, constraints {STATED}"
)
OWN = "Apache-2.0"  # of the templates, where nothing else went into a text


def personas(rows: DataFrame, count: int, seed: int) -> DataFrame:
    """raw.personas -> (number, round, persona_id, text, licence) of `count` prompts; a persona in two sources counts once."""
    first = F.min(F.struct("source", "file", "row", "text", "licence")).alias("first")
    distinct = rows.groupBy("persona_id").agg(first).select("persona_id", "first.text", "first.licence")
    return spread(distinct, "persona_id", count, seed)


def nobody(spark: SparkSession, count: int) -> DataFrame:
    """The same for prompts without personas: the questions are few, and `round` tells their answers apart."""
    return spark.range(1, count + 1).select(
        F.col("id").alias("number"),
        F.col("id").cast("int").alias("round"),
        F.lit(None).cast("string").alias("persona_id"),
        F.lit(None).cast("string").alias("text"),
        F.lit(OWN).alias("licence"),
    )


def planned(rows: DataFrame, skill: Skill, seed: int) -> DataFrame:
    """`personas` or `nobody` -> PLANNED: `file` is the template's id, `question` the user turn of the request."""

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = [_plan(row, skill, seed) for row in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(found, schema=PLANNED)

    return rows.select("number", "round", "persona_id", "text", "licence").mapInArrow(transform, PLANNED_DDL)


def solution(skill: Skill) -> tuple[Column, Column]:
    """(messages, template id) with which a second model is asked for the solution of raw.prompts' `messages`, by their `file`."""
    user = F.element_at("messages", -1)["content"]
    messages, told = chat(user), F.lit("")
    for kind in skill.kinds:
        if kind.solve:
            own, system = F.col("file") == template(kind.path).id, template(f"synthesis/{kind.solve}")
            messages = F.when(own, chat(user, F.lit(system.render()))).otherwise(messages)
            told = F.when(own, F.lit(system.id)).otherwise(told)
    return messages, told


def _plan(row: dict[str, Any], skill: Skill, seed: int) -> dict[str, Any]:
    random = rng(seed, skill.name, row["number"])
    fields = {name: random.choice(topics) for name, topics in sorted(skill.topics.items())}
    fields["about"] = "\n\n" + template("synthesis/persona").render(persona=row["text"]) if row["text"] else ""
    stated = None
    if skill.constrained:
        drawn = constraints.draw(random, row["text"] or "")
        stated = constraints.as_rows([(id, arguments) for id, arguments, _ in drawn])
        told = [(id, words) for id, _, words in drawn if id != constraints.REPEAT]
        kind = skill.kinds[0 if told else 1]
        if told:
            fields["constraints"] = "\n".join(f"- {words}" for _, words in told)
            fields["example"] = constraints.seed_of(random, told[0][0]).text
    else:
        kind = random.choice(skill.kinds)
    form = template(kind.path)
    carried = {name: row[name] for name in ("number", "round", "persona_id", "licence")}
    return {**carried, "file": form.id, "question": form.render(**fields), "constraints": stated}
