"""Pairs of nearly equal texts in Spark: signatures, buckets, a bounded number of candidates a text, and their true similarity.

A text is (text_id binary, text string), normalised and distinct. In a bucket a text meets at most 1 + WINDOW others, so a template
that thousands of texts share costs in proportion to the texts and not to their pairs.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from pipelines import minhash
from pipelines.components import components

WINDOW = 16  # texts before it in a bucket that a text is compared with


def clusters(texts: DataFrame, threshold: float) -> DataFrame:
    """texts (text_id, text) -> (text_id, root): the texts that are linked, over any number of steps, by pairs at the threshold."""
    bucketed = buckets(texts, threshold).persist(StorageLevel.DISK_ONLY)
    # First each bucket against its smallest text: of a template that leaves one component, and few pairs to look at.
    stars = similar(candidates(bucketed, [hub()]), texts, threshold).persist(StorageLevel.DISK_ONLY)
    roots = components(stars)
    windows = candidates(bucketed, [before(place) for place in range(1, WINDOW + 1)])
    joined = similar(_apart(windows, roots), texts, threshold).select("a", "b").localCheckpoint()
    found = roots if joined.isEmpty() else components(stars.select("a", "b").union(joined))
    stars.unpersist()
    bucketed.unpersist()
    return found.select(F.col("node").alias("text_id"), "root")


def matches(texts: DataFrame, threshold: float) -> DataFrame:
    """texts (text_id, text, fixed) -> (text_id, match, similarity): for each text that is not fixed, the most similar fixed one.

    Only pairs at the threshold count. Of equally similar ones it is the smallest.
    """
    bucketed = buckets(texts, threshold)
    near = [hub("fixed"), _fixed_before(), _fixed_after()]
    pairs = candidates(bucketed, near, "not fixed")
    best = F.min_by(F.struct("a", "similarity"), F.struct(-F.col("similarity"), "a"))
    found = similar(pairs, texts, threshold).groupBy("b").agg(best.alias("best"))
    return found.select(F.col("b").alias("text_id"), F.col("best.a").alias("match"), "best.similarity")


def buckets(texts: DataFrame, threshold: float) -> DataFrame:
    """texts (text_id, text[, fixed]) -> (text_id, fixed, bucket, next), a row a band.

    `next` is the text's bucket in the following band: texts that agree there too are probably alike, and so sort together.
    """

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            own = minhash.buckets(batch["text"].to_pylist(), threshold)
            rows = pa.array(np.repeat(np.arange(len(own)), own.shape[1]))
            following = np.roll(own, -1, axis=1)
            columns = [
                batch["text_id"].take(rows),
                batch["fixed"].take(rows),
                pa.array(own.ravel()),
                pa.array(following.ravel()),
            ]
            yield pa.RecordBatch.from_arrays(columns, names=["text_id", "fixed", "bucket", "next"])

    fixed = F.col("fixed") if "fixed" in texts.columns else F.lit(False)
    rows = texts.select("text_id", "text", fixed.alias("fixed"))
    return rows.mapInArrow(transform, "text_id binary, fixed boolean, bucket bigint, next bigint")


def candidates(bucketed: DataFrame, others: list[Column], condition: str = "true") -> DataFrame:
    """Distinct (a, b) of each text b that meets `condition`, with the `others` of its buckets."""
    paired = bucketed.select("text_id", "fixed", F.array(*others).alias("others")).where(condition)
    pairs = paired.select(F.explode("others").alias("a"), F.col("text_id").alias("b")).where("a is not null and a != b")
    return pairs.distinct()


def similar(pairs: DataFrame, texts: DataFrame, threshold: float) -> DataFrame:
    """(a, b) -> (a, b, similarity) of those whose Jaccard similarity is at the threshold, computed from the texts."""

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            both = zip(batch["one"].to_pylist(), batch["other"].to_pylist(), strict=True)
            similarity = pa.array([minhash.jaccard(one, other, threshold) for one, other in both], pa.float64())
            rows = pa.RecordBatch.from_arrays([batch["a"], batch["b"], similarity], names=["a", "b", "similarity"])
            yield rows.filter(pc.greater_equal(similarity, threshold))

    one = texts.select(F.col("text_id").alias("a"), F.col("text").alias("one"))
    other = texts.select(F.col("text_id").alias("b"), F.col("text").alias("other"))
    joined = pairs.join(one, on="a", how="inner").join(other, on="b", how="inner")
    return joined.select("a", "b", "one", "other").mapInArrow(transform, "a binary, b binary, similarity double")


def _apart(pairs: DataFrame, roots: DataFrame) -> DataFrame:
    """The pairs whose texts are not in one component yet."""
    of_a = roots.select(F.col("node").alias("a"), F.col("root").alias("root_a"))
    of_b = roots.select(F.col("node").alias("b"), F.col("root").alias("root_b"))
    known = pairs.join(of_a, on="a", how="left").join(of_b, on="b", how="left")
    return known.where("coalesce(root_a, a) != coalesce(root_b, b)").select("a", "b")


def _sorted() -> WindowSpec:
    return Window.partitionBy("bucket").orderBy("next", "text_id")


def _fixed() -> Column:
    return F.when(F.col("fixed"), F.col("text_id"))


def hub(condition: str = "true") -> Column:
    """The smallest text of the bucket."""
    return F.min(F.when(F.expr(condition), F.col("text_id"))).over(Window.partitionBy("bucket"))


def before(place: int) -> Column:
    """The text so many places before."""
    return F.lag("text_id", place).over(_sorted())


def _fixed_before() -> Column:
    """The nearest fixed text before."""
    return F.last(_fixed(), ignorenulls=True).over(_sorted().rowsBetween(Window.unboundedPreceding, Window.currentRow))


def _fixed_after() -> Column:
    """The nearest fixed text after."""
    return F.first(_fixed(), ignorenulls=True).over(_sorted().rowsBetween(Window.currentRow, Window.unboundedFollowing))
