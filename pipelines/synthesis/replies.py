"""What models answer, read strictly: one text between tags, or one word. What cannot be read is kept, with the reason."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

SPACE = " \t\n\r"


def answered(asked: DataFrame, responses: DataFrame) -> DataFrame:
    """Rows with their request_id -> the same with `reply`, `finish_reason` and `problem` (why there is no reply)."""
    given = responses.select(
        "request_id",
        F.when(F.col("status") == "ok", F.col("content")).alias("reply"),
        "finish_reason",
        _unanswered().alias("problem"),
    )
    return asked.join(given, on="request_id", how="inner")


def tagged(rows: DataFrame, tag: str) -> DataFrame:
    """`answered` with `text`: what stands between the only <tag> and the only </tag> of the reply; else `problem` says why not."""
    opening, closing = F.lit(f"<{tag}>"), F.lit(f"</{tag}>")
    inside = F.btrim(F.regexp_extract("reply", f"(?s)<{tag}>(.*)</{tag}>", 1), F.lit(SPACE))
    cut = F.when(F.col("finish_reason") == "length", ": it was cut off at max_tokens").otherwise("")
    once = (F.regexp_count("reply", opening) == 1) & (F.regexp_count("reply", closing) == 1)
    problem = (
        F.when(F.col("problem").isNotNull(), F.col("problem"))
        .when(~once, F.concat(F.lit(f"the reply does not hold one <{tag}> and one </{tag}>"), cut))
        .when(~inside.rlike(r"\p{L}"), f"there is no text between <{tag}> and </{tag}>")
    )
    return rows.withColumns({"text": F.when(problem.isNull(), inside), "problem": problem})


def whole(rows: DataFrame) -> DataFrame:
    """`answered` with `text`: the whole reply; a solution that was cut off is none."""
    problem = F.coalesce(
        "problem",
        F.when(F.col("finish_reason") == "length", "the answer was cut off at max_tokens"),
        F.when(F.btrim("reply", F.lit(SPACE)) == "", "the answer is empty"),
    )
    return rows.withColumns({"text": F.when(problem.isNull(), F.col("reply")), "problem": problem})


def yes_or_no(rows: DataFrame) -> DataFrame:
    """`answered` with `value`: true for the one word yes, false for no, in any case and with a full stop or without."""
    word = F.lower(F.regexp_replace(F.btrim("reply", F.lit(SPACE)), r"\.$", ""))
    value = F.when(word == "yes", True).when(word == "no", False)
    problem = F.coalesce("problem", F.when(value.isNull(), "the reply is neither yes nor no"))
    return rows.withColumns({"value": value, "problem": problem})


def _unanswered() -> Column:
    error = F.coalesce("error", F.lit(""))
    return (
        F.when(F.col("status") == "refused", "the provider's filter refused the request")
        .when(F.col("status") != "ok", F.concat(F.lit("the request failed: "), error))
        .when(F.col("content").isNull(), "the answer has no text")
    )
