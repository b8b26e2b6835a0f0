"""Requests from Spark through the providers' batch APIs: stopped while batches are under way, and fetched by the next run."""

import argparse
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import warehouse
from inference import models
from inference.batches import waiting
from pipelines import asking
from pipelines.errands import MARKER
from tests.inference.conftest import Server
from tests.inference.loopback_batches import start
from warehouse.commit import Job
from warehouse.refs import resolve

DOLLARS = 1000  # for a million tokens, of the question and of the answer
COUNT = 15  # requests to each of the two models


@pytest.fixture
def provider() -> Iterator[Server]:
    """Speaks both batch APIs; batches stay under way until `faults` says otherwise."""
    server = start(polls=1_000_000)
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def cards(provider: Server, tmp_path: Path) -> Path:
    both = {"prices": [{"since": date(2025, 1, 1), "input": DOLLARS, "output": DOLLARS}], "batch_discount": 0.5}
    provider.cards(tmp_path, gpt=both, claude={"provider": "anthropic", **both})
    return tmp_path / "models.toml"


def requests(spark: SparkSession, cards: Path) -> DataFrame:
    rows = spark.range(COUNT).select(F.concat(F.lit("Question "), F.col("id").cast("string")).alias("text"))
    known, messages = models.cards(cards), asking.chat(F.col("text"))
    gpt, claude = (
        asking.with_requests(rows, known, model=model, messages=messages, parameters={"max_tokens": 50})
        for model in ("gpt", "claude")
    )
    return gpt.unionByName(claude)


def ask(spark: SparkSession, rows: DataFrame, cards: Path, journal: Path) -> DataFrame:
    parser = argparse.ArgumentParser()
    asking.add_options(parser)
    options = parser.parse_args(["--models", str(cards), "--batch", "--journal", str(journal)])
    answers = asking.ask(spark, warehouse.open(), rows, options, Job("tests"))
    assert answers is not None
    return answers


def seen(provider: Server) -> dict[str, Any]:
    """Batch -> ids of its requests."""
    return provider.get("seen")


def interrupt(provider: Server) -> None:
    """Ctrl-C once both providers have a batch."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if len(seen(provider)) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            return
        time.sleep(0.05)


def staged(root: Path) -> list[Path]:
    """The requests that wait beside the tables."""
    return list((root / ".asking").rglob("*.parquet"))


def test_a_job_that_was_stopped_fetches_its_batches(
    spark: SparkSession, warehouse_root: Path, provider: Server, cards: Path, tmp_path: Path
):
    rows, journal = requests(spark, cards), tmp_path / "journal"
    stop = threading.Thread(target=interrupt, args=[provider])
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        ask(spark, rows, cards, journal)
    stop.join()
    batches = seen(provider)
    assert len(batches) == 2 and len(waiting(journal)) == 2 * COUNT
    assert (journal / MARKER).exists() and staged(warehouse_root)
    assert resolve(warehouse.open(), "llm.responses").rows == 0

    provider.faults()
    answers = ask(spark, rows, cards, journal).collect()
    assert {row.request_id for row in answers} == {row.request_id for row in rows.collect()}
    assert {row.batch_id for row in answers} == set(batches)
    for row in answers:
        assert row.status == "ok"
        assert row.request_id in batches[row.batch_id]
        assert row.cost == pytest.approx((row.input_tokens + row.output_tokens) * DOLLARS / 1e6 / 2)
    assert seen(provider) == batches and provider.get("calls")["POST /v1/files"] == 1
    assert list(provider.paid().values()) == [1] * 2 * COUNT
    assert not waiting(journal) and not (journal / MARKER).exists() and not staged(warehouse_root)
