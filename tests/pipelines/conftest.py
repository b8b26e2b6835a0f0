"""The real data, ingested once for all the tests that read it."""

import tomllib
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import warehouse
from pipelines import registry
from pipelines.ingest import ingest

SHARED = Path(__file__).parent / "shared_sources.toml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that read the real data run in one worker, so that it is ingested once."""
    for item in items:
        if "shared_lake" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("shared_lake"))


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
