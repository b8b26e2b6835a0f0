"""Which prompt rows are equal or nearly equal, and which one of them to keep. Pure: DataFrames in, DataFrames out."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines import minhash, neighbours

KEY = ("source", "file", "row", "branch")
ROW = ("prompt_id", "source", "revision", "file", "row", "branch")
EXACT = "equal after NFKC, case folding and collapsed white space"


def user_turns(prompts: DataFrame) -> DataFrame:
    """raw.prompts -> (ROW, text): what is compared is the text of the user's turns, one a line."""
    turns = F.transform(F.filter("messages", lambda m: m.role == "user"), lambda m: m.content)
    return prompts.select(*ROW, F.concat_ws("\n", turns).alias("text"))


def normalised(rows: DataFrame) -> DataFrame:
    """(ROW, text) -> (ROW, text_id, text): the normalised text and its identity, 16 bytes."""

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            texts = [minhash.normalise(text) for text in batch["text"].to_pylist()]
            ids = [hashlib.md5(text.encode(), usedforsecurity=False).digest() for text in texts]
            columns = [*(batch[name] for name in ROW), pa.array(ids, pa.binary()), pa.array(texts, pa.string())]
            yield pa.RecordBatch.from_arrays(columns, names=[*ROW, "text_id", "text"])

    types = dict(rows.dtypes)
    schema = ", ".join(f"`{name}` {types[name]}" for name in ROW)
    return rows.select(*ROW, "text").mapInArrow(transform, f"{schema}, text_id binary, text string")


def within(rows: DataFrame, threshold: float, priority: Sequence[str] = ()) -> DataFrame:
    """Clusters of `normalised` rows -> attr.duplicates. Equal rows are in a cluster of kind near too: it is the wider one."""
    texts = rows.groupBy("text_id").agg(F.first("text").alias("text"))
    roots = neighbours.clusters(texts, threshold)
    exact = rows.withColumn("cluster", F.col("text_id"))
    near = rows.join(roots, on="text_id", how="left").withColumn("cluster", F.coalesce("root", "text_id"))
    order = keep_order(priority)
    return _listed(exact, "exact", EXACT, order).union(_listed(near, "near", minhash.method(threshold), order))


def against(rows: DataFrame, others: DataFrame, threshold: float, priority: Sequence[str] = ()) -> DataFrame:
    """Rows that equal or nearly equal one of `others` (both `normalised`) -> attr.duplicates.

    A cluster is one of the others, its keeper, with the rows that are nearest to it. Similarity is not chained, rows that are
    alike among themselves only are not listed, and a row that is among the others itself is left alone.
    """
    order = keep_order(priority)
    own = rows.join(others.select(*KEY), on=list(KEY), how="left_anti")
    first = others.groupBy("text_id").agg(
        F.min_by(F.struct(*ROW), order).alias("keeper"), F.first("text").alias("text")
    )
    fixed = first.select("text_id", "text", F.lit(True).alias("fixed"))
    free = own.join(fixed, on="text_id", how="left_anti").groupBy("text_id").agg(F.first("text").alias("text"))
    matches = neighbours.matches(fixed.union(free.withColumn("fixed", F.lit(False))), threshold)
    equal = fixed.select("text_id", F.col("text_id").alias("cluster"))
    nearest = equal.union(matches.select("text_id", F.col("match").alias("cluster")))

    def clusters(pairs: DataFrame, kind: str, method: str) -> DataFrame:
        members = own.join(pairs, on="text_id", how="inner").select(*ROW, "cluster", F.lit(1).alias("side"))
        used = members.select("cluster").distinct()
        keepers = first.withColumnRenamed("text_id", "cluster").join(used, on="cluster", how="left_semi")
        ones = keepers.select(*(F.col(f"keeper.{name}") for name in ROW), "cluster", F.lit(0).alias("side"))
        return _listed(members.union(ones), kind, f"{method}; against others", F.struct("side", order))

    return clusters(equal, "exact", EXACT).union(clusters(nearest, "near", minhash.method(threshold)))


def keep_order(priority: Sequence[str]) -> Column:
    """Rows sort by it, the first is kept: by place of the source in `priority`, then by source, file, row and branch."""
    place = F.lit(len(priority))
    for index, source in enumerate(priority):
        place = F.when(F.col("source") == source, index).otherwise(place)
    return F.struct(place, *KEY)


def _listed(members: DataFrame, kind: str, method: str, order: Column) -> DataFrame:
    """(ROW, cluster) -> attr.duplicates, without clusters of one row."""
    clusters = members.groupBy("cluster").agg(
        F.min("prompt_id").alias("cluster_id"), F.count("*").alias("cluster_rows"), F.min(order).alias("first")
    )
    listed = members.join(clusters.where("cluster_rows > 1"), on="cluster", how="inner")
    return listed.select(
        *ROW,
        F.lit(kind).alias("kind"),
        "cluster_id",
        "cluster_rows",
        (order == F.col("first")).alias("keeper"),
        F.lit(method).alias("method"),
    )
