"""Choices that depend on a seed and a number alone, so that the same command asks the same and a larger count extends a smaller one."""

from random import Random

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def rng(seed: int, *what: object) -> Random:
    """Random numbers that are the same for the same seed and purpose, on every machine."""
    return Random("\x1f".join(map(str, (seed, *what))))


def ranked(rows: DataFrame, key: str, seed: int) -> DataFrame:
    """Rows with their `place`, from 0, in an order that depends on the seed and the (distinct) key alone.

    Rows are cut into buckets by the start of the hash they are ordered by, so no task ever sorts all of them.
    """
    hashed = rows.withColumn("_hash", F.md5(F.concat_ws("\x1f", F.lit(str(seed)), F.col(key))))
    hashed = hashed.withColumn("_bucket", F.substring("_hash", 1, 3))
    before = Window.orderBy("_bucket").rowsBetween(Window.unboundedPreceding, -1)  # over 4,096 rows at most
    counts = hashed.groupBy("_bucket").agg(F.count("*").alias("_count"))
    starts = counts.select("_bucket", F.coalesce(F.sum("_count").over(before), F.lit(0)).alias("_start"))
    within = F.row_number().over(Window.partitionBy("_bucket").orderBy("_hash", key))
    placed = hashed.withColumn("_within", within).join(F.broadcast(starts), on="_bucket", how="inner")
    return placed.select(*rows.columns, (F.col("_start") + F.col("_within") - 1).alias("place"))


def spread(rows: DataFrame, key: str, count: int, seed: int) -> DataFrame:
    """`count` rows with their `number`, from 1, and `round`, from 0: all rows in the order of `ranked`, again and again."""
    placed = ranked(rows, key, seed)
    size = rows.count()
    if count <= size:
        first = placed.where(F.col("place") < count)
        return first.select((F.col("place") + 1).alias("number"), F.lit(0).alias("round"), *rows.columns)
    numbers = rows.sparkSession.range(1, count + 1).select(
        F.col("id").alias("number"),
        ((F.col("id") - 1) % size).alias("place"),
        F.floor((F.col("id") - 1) / size).cast("int").alias("round"),
    )
    return numbers.join(placed, on="place", how="inner").select("number", "round", *rows.columns)
