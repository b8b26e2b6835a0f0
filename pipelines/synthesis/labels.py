"""Whether prompts state constraints that a program could verify, as a model says: rows of attr.labels."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.synthesis.choice import spread
from pipelines.templates import template

TABLE, LABEL, TEMPLATE = "attr.labels", "states_constraints", "detect/constraints"
KEY = ("label", "prompt_id", "model", "template")
ATTEMPTS = 3
LONGEST = 8_000  # characters of a prompt that are shown


def asked(prompts: DataFrame, count: int | None, seed: int) -> DataFrame:
    """raw.prompts -> (prompt_id, question): of each different prompt, or of `count` chosen by hash, the last user turn."""
    last = F.element_at(F.filter("messages", lambda m: m.role == "user"), -1)["content"]
    distinct = prompts.groupBy("prompt_id").agg(F.first(last).alias("message")).where("message is not null")
    if count is not None:
        distinct = spread(distinct, "prompt_id", count, seed).where("round = 0")
    form = template(TEMPLATE)
    return distinct.select("prompt_id", form.column(message=F.left("message", F.lit(LONGEST))).alias("question"))


def rows(replies: DataFrame, model: str) -> DataFrame:
    """Replies with `value` or `problem` -> attr.labels."""
    return replies.select(
        F.lit(LABEL).alias("label"),
        "prompt_id",
        F.lit(model).alias("model"),
        F.lit(template(TEMPLATE).id).alias("template"),
        "value",
        "problem",
        "request_id",
    )
