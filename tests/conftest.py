"""Fixtures that every test may use: the shared real data, one Spark session a worker, an empty warehouse."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.machine import DATA, SMOLLM2, absent, no_engine

# What takes a minute or more: these files go first, so that no worker is left alone with one at the end.
LONG = [
    "tests/test_ask_models",
    "tests/test_wheel",
    "tests/trainers/test_sft",
    "tests/trainers/test_training_engines",
    "tests/trainers/test_score",
    "tests/trainers/test_sweep",
    "tests/pipelines/test_deduplicate",
    "tests/pipelines/test_judge",
    "tests/pipelines/test_personas",
    "tests/pipelines/test_quickstart",
    "tests/test_kills",
    "tests/pipelines/test_verify_failures",
    "tests/sql/test_stale",
    "tests/warehouse/test_concurrency",
    "tests/warehouse/test_kill",
    "tests/sql/test_preference",
]
# Through the environment, so that it holds for the session of `warehouse.spark` and for jobs started as processes.
SUBMIT = [
    "--master local[2]",
    "--driver-memory 1g",
    # Java that compiles lightly and collects with one thread needs a quarter less of the processors for jobs as short as these.
    "--driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'",
    "--conf spark.ui.enabled=false",
    "--conf spark.sql.shuffle.partitions=2",
    "--conf spark.default.parallelism=2",
    "--conf spark.driver.host=127.0.0.1",
    "--conf spark.driver.bindAddress=127.0.0.1",
]
os.environ.setdefault("PYSPARK_SUBMIT_ARGS", " ".join([*SUBMIT, "pyspark-shell"]))
# Executors have the environment of the JVM, which starts once a worker.
os.environ["PLANTED_KEY"] = "sk-planted-3f1c9a7e5d"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what in absent():
        terminalreporter.write_line(f"absent, so the tests that need it skip: {what}", yellow=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real public data."""
    if not (DATA / "train").is_dir():
        pytest.skip(f"no real data at {DATA}: set CARAVAN_TEST_DATA to its folder")
    return DATA


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of a small real model that the vLLM of this machine can serve."""
    if why := no_engine():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return SMOLLM2


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One small Spark session for all the tests of a worker."""
    from warehouse.spark import session

    started = session("tests")
    yield started
    started.stop()


@pytest.fixture
def warehouse_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands and `warehouse.open()` take for the warehouse."""
    root = tmp_path / "lake"
    monkeypatch.setenv("CARAVAN_WAREHOUSE", str(root))
    monkeypatch.delenv("CARAVAN_CATALOGUE", raising=False)
    return root
