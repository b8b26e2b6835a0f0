"""What `run` makes of a reader that has enough and of a disk that is full."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from warehouse_rows import JOB, contents, prompts

import warehouse
from warehouse.commit import commit_arrow, staged
from warehouse.errors import run

REPOSITORY = Path(warehouse.__file__).parent.parent


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system can be mounted here: run as root to test a full disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_reader_that_has_enough_is_no_error(warehouse_root: Path) -> None:
    warehouse.open(str(warehouse_root))
    for rows in (3, 300_000):  # less than a buffer, and more than a pipe holds
        command = f"{sys.executable} -m warehouse sql 'select range from range({rows})' --csv"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{command} | (exec 0<&-; sleep 5)"],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_a_paragraph_and_the_last_snapshot_stays(
    small_disk: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    w = warehouse.open(str(small_disk / "lake"))
    commit_arrow(w, "raw.prompts", prompts("a", 3), JOB)
    before = contents(w, "raw.prompts")
    files = sorted(small_disk.rglob("*.parquet"))
    noise = secrets.token_hex(3 << 20)

    def arrow() -> None:
        commit_arrow(w, "raw.prompts", prompts("b", 1, text=noise), JOB)

    def database() -> None:
        with staged(w, "raw.prompts") as directory:
            rows = pa.table({"noise": [noise]})  # noqa: F841  DuckDB finds it by its name
            duckdb.sql(f"copy rows to '{directory}/x.parquet' (format parquet)")

    def cluster() -> None:
        with staged(w, "raw.prompts") as directory:
            frame = spark.range(0, 1_000_000, numPartitions=1).selectExpr("md5(cast(id as string)) as noise")
            warehouse.spark.write(frame, directory)

    writers: list[Callable[[], None]] = [arrow, database, cluster]
    for writer in writers:
        with pytest.raises(SystemExit) as stopped:
            run(writer)
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert stopped.value.code == 2
        assert error.startswith("error: the disk is full (") and "No space left on device" in error, writer.__name__
        assert contents(w, "raw.prompts") == before and sorted(small_disk.rglob("*.parquet")) == files
