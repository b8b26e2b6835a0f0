"""The real data, ingested once a worker for all the tests that read it."""

import tomllib
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import warehouse
from pipelines import registry
from pipelines.ingest import ingest

SHARED = Path(__file__).parent / "shared_sources.toml"


@pytest.fixture(scope="session")
def shared_lake(shared_data: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a warehouse with all of the real data, ingested by one call."""
    root = tmp_path_factory.mktemp("shared") / "lake"
    declared = tomllib.loads(SHARED.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARAVAN_TEST_DATA", str(shared_data))
        names = [*declared["training"], *declared["evaluation"]]
        ingest(spark, warehouse.open(str(root)), names, registry.load(SHARED))
    return root
