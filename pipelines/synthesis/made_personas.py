"""Personas that a model writes: of a text, who might write or need it; of a persona, somebody who stands in a relation to it."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.synthesis.choice import spread
from pipelines.templates import Template, template

LONGEST = 4_000  # characters of a text that are shown
RELATIONS = (
    "they work together",
    "one learns from the other",
    "one is a customer, patient or client of the other",
    "they are family",
    "they live in one place and would hardly meet",
    "they share a pastime",
    "they disagree on something that matters to both",
    "one comes after the other, a generation later",
)


def texts(prompts: DataFrame) -> DataFrame:
    """raw.prompts -> (parent, text, licence): the user's turns."""
    turns = F.concat_ws("\n", F.transform(F.filter("messages", lambda m: m.role == "user"), lambda m: m.content))
    first = F.min(F.struct("source", "file", "row", "branch", turns.alias("text"), "licence")).alias("first")
    return (
        prompts.groupBy(F.col("prompt_id").alias("parent")).agg(first).select("parent", "first.text", "first.licence")
    )


def known(personas: DataFrame) -> DataFrame:
    """raw.personas -> (parent, text, licence)."""
    first = F.min(F.struct("source", "file", "row", "text", "licence")).alias("first")
    return (
        personas.groupBy(F.col("persona_id").alias("parent")).agg(first).select("parent", "first.text", "first.licence")
    )


def asked(rows: DataFrame, form: Template, count: int, seed: int) -> DataFrame:
    """`texts` or `known` -> (number, round, parent, licence, question) of `count` requests, with a template that has text, or persona and relation."""
    chosen = spread(rows.where("btrim(text) != ''"), "parent", count, seed)
    text = F.left("text", F.lit(LONGEST))
    fields = {"text": text, "persona": text, "relation": _relation(seed)}
    question = form.column(**{name: fields[name] for name in form.fields})
    return chosen.select("number", "round", "parent", "licence", question.alias("question"))


def form_of(table: str) -> Template:
    """The template for what is in a table."""
    return template("personas/related" if table == "raw.personas" else "personas/from_text")


def rows(made: DataFrame, source: str, revision: str, file: str, model: str, licence: Column) -> DataFrame:
    """`tagged` replies -> raw.personas."""
    return made.where("problem is null").select(
        F.md5("text").alias("persona_id"),
        "text",
        F.lit(source).alias("source"),
        F.lit(revision).alias("revision"),
        F.lit(file).alias("file"),
        F.col("number").alias("row"),
        licence.alias("licence"),
        F.array("parent").alias("parents"),
        F.lit(model).alias("model"),
        "request_id",
    )


def _relation(seed: int) -> Column:
    """One of RELATIONS by hash of seed and number."""
    place = F.conv(
        F.left(F.md5(F.concat_ws("\x1f", F.lit(str(seed)), F.lit("relation"), F.col("number"))), F.lit(8)), 16, 10
    )
    listed = F.array(*(F.lit(one) for one in RELATIONS))
    return F.element_at(listed, (place.cast("long") % len(RELATIONS) + 1).cast("int"))
