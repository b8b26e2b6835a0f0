"""Connected components of a graph in Spark, by alternating large and small stars.

Every node is attached to the smallest node that it can see until nothing changes (Kiveris and others, "Connected components in
MapReduce and beyond", 2014): a few rounds even for long chains, and no step collects a node's neighbours in one place.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def components(edges: DataFrame) -> DataFrame:
    """`edges` (a, b) -> (node, root): for each node that has an edge, the smallest node of its component."""
    stars = _keep(
        edges.where("a != b").select(F.greatest("a", "b").alias("a"), F.least("a", "b").alias("b")).distinct()
    )
    while True:
        after = _keep(_small_star(_large_star(stars)))
        if _equal(stars, after):
            break
        stars = after
    # Now every edge leads from a node straight to its root.
    roots = stars.select(F.col("b").alias("node"), F.col("b").alias("root"))
    return stars.select(F.col("a").alias("node"), F.col("b").alias("root")).union(roots).distinct()


def _large_star(edges: DataFrame) -> DataFrame:
    """Attach each larger neighbour of a node to the smallest of the node and its neighbours. Edges point from larger to smaller."""
    both = edges.union(edges.select(F.col("b").alias("a"), F.col("a").alias("b")))
    lowest = both.groupBy("a").agg(F.least("a", F.min("b")).alias("lowest"))
    attached = both.where("b > a").join(lowest, on="a", how="inner")
    return attached.select(F.col("b").alias("a"), F.col("lowest").alias("b")).distinct()


def _small_star(edges: DataFrame) -> DataFrame:
    """Attach a node and its smaller neighbours to the smallest of them."""
    lowest = edges.groupBy("a").agg(F.min("b").alias("lowest"))
    attached = edges.join(lowest, on="a", how="inner").where("b != lowest")
    return attached.select(F.col("b").alias("a"), F.col("lowest").alias("b")).union(lowest).distinct()


def _equal(one: DataFrame, other: DataFrame) -> bool:
    """Whether two sets of edges are the same."""
    return one.join(other, on=["a", "b"], how="left_anti").isEmpty() and one.count() == other.count()


def _keep(df: DataFrame) -> DataFrame:
    """Compute once and forget how: the plan would grow with every round. Kept reliably where spark.checkpoint.dir says where."""
    reliable = df.sparkSession.sparkContext.getCheckpointDir() is not None
    return df.checkpoint() if reliable else df.localCheckpoint()
