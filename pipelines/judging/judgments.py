"""Replies of a judge -> rows of pref.judgments. Pure; replies are read in Spark's tasks by pipelines/judging/replies.py."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.judging.replies import Rating, ratings
from warehouse import contracts

TABLE = "pref.judgments"
RATING = pa.struct(
    [("position", pa.int32()), ("score", pa.int32()), ("rationale", pa.string()), ("problem", pa.string())]
)
READ = pa.schema(
    [("request_id", pa.string()), ("missing", pa.int32()), ("raw", pa.string()), ("ratings", pa.list_(RATING))]
)
READ_DDL = "request_id string, missing int, raw string, ratings array<struct<position: int, score: int, rationale: string, problem: string>>"
# What one reply is for. A question is asked again under the same name.
QUESTION = ("prompt_id", "aspect", "template", "list")


def replies(asked: DataFrame, answers: DataFrame) -> DataFrame:
    """Questions with request_id, `attempt`, and llm.responses -> the same with `raw`, `ratings`, how many are `missing`, and `again`:
    whether the question should be asked once more."""
    told = answers.select("request_id", "status", "content", "error")
    joined = asked.select("request_id", F.size("list").alias("count")).join(told, on="request_id", how="inner")
    parsed = joined.mapInArrow(_read, READ_DDL)
    # What failed for good, such as a question that is too long for the judge, would only fail again.
    final = told.select("request_id", (F.col("status") == "failed").alias("final"))
    kept = asked.select(*QUESTION, "judge", "attempt", "request_id").join(parsed, on="request_id", how="inner")
    judged = kept.join(final, on="request_id", how="inner")
    return judged.select(*kept.columns, ((F.col("missing") > 0) & ~F.col("final")).alias("again"))


def best(replies: DataFrame) -> DataFrame:
    """The reply of each question that is taken: the first in which the fewest ratings are missing. All ratings of a list are of one
    reply, because a judge compares what it sees."""
    columns = F.struct("missing", "attempt", *(name for name in replies.columns if name not in ("missing", "attempt")))
    first = replies.groupBy(F.md5(F.to_json(F.struct(*QUESTION))).alias("question")).agg(
        F.min_by(columns, F.struct("missing", "attempt")).alias("taken")
    )
    return first.select("taken.*")


def judgments(taken: DataFrame, campaign: str, licence: str | None) -> DataFrame:
    """`best` -> pref.judgments of a campaign; `licence` is what binds the judge's text."""
    each = taken.select("*", F.inline("ratings"))
    one = F.col("list")[F.col("position")]
    return each.withColumns(
        {
            "campaign": F.lit(campaign),
            "completion_id": one["completion_id"],
            "cut": one["cut"],
            "listed": F.size("list"),
            "licence": F.lit(licence).cast("string"),
        }
    ).select(*contracts.load(TABLE).names)


def _read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_pylist([_row(row) for row in batch.to_pylist()], schema=READ)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    if row["status"] == "ok":
        found = ratings(row["content"], row["count"])
    else:
        words = f"the judge's answer {row['status']}" if row["status"] == "failed" else "the judge refused"
        found = [Rating(None, problem=f"{words}: {row['error']}" if row["error"] else words)] * row["count"]
    told = [
        {"position": place, "score": one.score, "rationale": one.rationale, "problem": one.problem}
        for place, one in enumerate(found)
    ]
    missing = sum(one.score is None for one in found)
    return {"request_id": row["request_id"], "missing": missing, "raw": row["content"], "ratings": told}
