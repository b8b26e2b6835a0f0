"""What a judge is asked: one question a list of responses to one prompt and an aspect. Pure: DataFrames in, DataFrames out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.templates import Template

ASPECTS = ("helpfulness", "instruction_following", "honesty", "truthfulness")
FIELDS = {"mark", "conversation", "responses", "count"}
CUT = " [cut here]"


@dataclass(frozen=True)
class Asking:
    """How responses are put before a judge. `templates` by aspect; `together`: responses of one list at most; `longest`: characters of a
    response that are shown."""

    templates: dict[str, Template]
    together: int
    longest: int
    seed: int


def candidates(completions: DataFrame, sources: Sequence[str] | None) -> DataFrame:
    """raw.completions -> (completion_id, prompt_id, content), each completion once; blank ones, of which there is nothing to say, left out."""
    taken = completions.where(F.col("source").isin(list(sources))) if sources else completions
    return (
        taken.where(F.col("content").rlike(r"(?U)\S"))
        .select("completion_id", "prompt_id", "content")
        .dropDuplicates(["completion_id"])
    )


def conversations(prompts: DataFrame) -> DataFrame:
    """raw.prompts -> (prompt_id, conversation): the messages as text."""
    turns = F.transform("messages", lambda turn: F.concat(F.lit("["), turn["role"], F.lit("]\n"), turn["content"]))
    return prompts.select("prompt_id", F.array_join(turns, "\n\n").alias("conversation")).dropDuplicates(["prompt_id"])


def questions(rated: DataFrame, conversations: DataFrame, how: Asking) -> DataFrame:
    """`candidates` and `conversations` -> (prompt_id, aspect, template, list, text), a row for each question.

    `list` holds (completion_id, cut) in the order that the judge sees. A prompt's responses are dealt into lists of even length, the same
    for all aspects; order and dealing are by hash of seed, prompt and completion, the order also of the aspect.
    """
    # Hashes and short texts are all that is grouped before the aspects multiply the rows.
    cut = F.length("content") > how.longest
    shown = F.when(cut, F.concat(F.substring("content", 1, how.longest), F.lit(CUT))).otherwise(F.col("content"))
    one = F.struct(_hash(how, "completion_id").alias("hash"), "completion_id", cut.alias("cut"), shown.alias("shown"))
    grouped = rated.groupBy("prompt_id").agg(F.sort_array(F.collect_list(one)).alias("all"))
    lists = F.ceil(F.size("all") / how.together).cast("int")
    dealt = grouped.select(
        "prompt_id", "all", F.explode(F.sequence(F.lit(0), lists - 1)).alias("which"), lists.alias("lists")
    )
    taken = F.filter("all", lambda _, place: place % F.col("lists") == F.col("which"))
    asked = dealt.select("prompt_id", "which", taken.alias("taken")).join(conversations, on="prompt_id", how="inner")
    every = asked.select("*", F.explode(F.array(*map(F.lit, how.templates))).alias("aspect"))
    ordered = every.withColumns({"list": _ordered(how), "mark": F.substring(_hash(how, "which"), 1, 8)})
    text, template = F.lit(None).cast("string"), F.lit(None).cast("string")
    for aspect, one_template in how.templates.items():
        own = F.col("aspect") == aspect
        text = F.when(own, one_template.column(**_fields())).otherwise(text)
        template = F.when(own, F.lit(one_template.id)).otherwise(template)
    short = F.transform("list", lambda each: F.struct(each["completion_id"], each["cut"]))
    return ordered.select("prompt_id", "aspect", template.alias("template"), text.alias("text"), short.alias("list"))


def _ordered(how: Asking) -> Column:
    """The responses of a list in an order of the aspect's own."""

    def placed(each: Column) -> Column:
        hashed = F.md5(F.concat_ws("\x1f", F.lit(str(how.seed)), F.col("aspect"), each["completion_id"]))
        return F.struct(hashed.alias("hash"), each["completion_id"], each["cut"], each["shown"])

    return F.sort_array(F.transform("taken", placed))


def _fields() -> dict[str, Column]:
    """The fields of a template. A mark that the responses cannot know keeps them from posing as the end of the material."""
    headed = F.transform(
        "list",
        lambda each, place: F.concat(
            F.lit("\n=== "),
            F.col("mark"),
            F.lit(" response "),
            (place + 1).cast("string"),
            F.lit(" ===\n"),
            each["shown"],
        ),
    )
    return {
        "mark": F.col("mark"),
        "conversation": F.col("conversation"),
        "responses": F.array_join(headed, "\n"),
        "count": F.size("list").cast("string"),
    }


def _hash(how: Asking, *columns: str) -> Column:
    return F.md5(
        F.concat_ws("\x1f", F.lit(str(how.seed)), "prompt_id", *(F.col(name).cast("string") for name in columns))
    )
