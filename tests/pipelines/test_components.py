"""Connected components, against a union-find in plain Python."""

import random

import pytest

from pipelines.components import components


def expected(edges):
    parent = {}

    def find(node):
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in edges:
        if a != b:
            parent[max(find(a), find(b))] = min(find(a), find(b))
    return {node: find(node) for node in parent}


RANDOM = random.Random(5)
GRAPHS = {
    "nothing": [],
    "itself": [(1, 1)],
    "chain": [(i, i + 1) for i in RANDOM.sample(range(100), 100)],
    "star": [(50, i) for i in range(100)],
    "several": [(RANDOM.randrange(300), RANDOM.randrange(300)) for _ in range(200)],
}


@pytest.mark.parametrize("name", GRAPHS)
def test_components(spark, name):
    edges = GRAPHS[name]
    found = components(spark.createDataFrame(edges, "a long, b long").repartition(3)).collect()
    assert {row.node: row.root for row in found} == expected(edges)
    assert len(found) == len(expected(edges))


def test_reliable_checkpoints_where_a_folder_is_set(spark, tmp_path):
    try:
        spark.sparkContext.setCheckpointDir(str(tmp_path))
        found = components(spark.createDataFrame([(1, 2), (2, 3)], "a long, b long")).collect()
        assert {(row.node, row.root) for row in found} == {(1, 1), (2, 1), (3, 1)}
        assert list(tmp_path.rglob("part-*"))
    finally:
        # Spark has no way to unset it, and other tests share the session.
        getattr(spark.sparkContext._jsc.sc(), "checkpointDir_$eq")(spark._jvm.scala.Option.empty())
