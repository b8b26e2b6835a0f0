"""Machines that fail: a check is tried twice, costs its own verdict alone, and is looked at again by the next run."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from test_verify import CODE, fill, table

import warehouse
from pipelines import verdicts
from tasks.sandbox import chosen, obstacle

STDIO = json.dumps([{"input": "3", "output": "3"}])
ECHO = "```python\nprint(input())\n```"
# Stands before the real bwrap on PATH. It fails where the file `broken` says so, and once for each name in `failures`.
BWRAP = """#!/bin/sh
[ -e {folder}/broken ] && exit 1
for name in $(cat {folder}/failures); do mkdir {folder}/$name 2>/dev/null && exit 1; done
mkdir {folder}/started 2>/dev/null && [ -e {folder}/once ] && touch {folder}/broken
exec {real} "$@"
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder that decides which sandboxes fail."""
    if why := obstacle("bubblewrap"):
        pytest.skip(f"bubblewrap does not work here: {why}")
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "bwrap").write_text(BWRAP.format(folder=folder, real=shutil.which("bwrap")))
    (folder / "bwrap").chmod(0o755)
    (folder / "failures").touch()
    monkeypatch.setenv("CARAVAN_SANDBOX", "bubblewrap")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def found(count):
    return verdicts.verdicts(["code_stdio"] * count, [ECHO] * count, [STDIO] * count)


def test_a_check_is_tried_twice(machine):
    assert chosen().mechanism == "bubblewrap"
    (machine / "failures").write_text("first")
    assert [row["correct"] for row in found(2)] == [True, True]
    assert (machine / "first").exists()
    (machine / "failures").write_text("second third")
    lost, right = found(2)
    assert lost == {"problem": f"{verdicts.FAILED}the sandbox failed: no reason given"}
    assert right["correct"]


def test_a_broken_machine_ends_the_batch(machine):
    (machine / "broken").touch()
    assert len(found(verdicts.MOST_FAILED)) == verdicts.MOST_FAILED
    with pytest.raises(RuntimeError, match="the sandbox failed"):
        found(verdicts.MOST_FAILED + 1)


def job():
    # One task at a time, so that the sandbox that is tried first is the first.
    environment = {
        **os.environ,
        "PYSPARK_SUBMIT_ARGS": os.environ["PYSPARK_SUBMIT_ARGS"].replace("local[2]", "local[1]"),
    }
    command = [sys.executable, "-m", "pipelines.verify"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_next_run_looks_again(machine, warehouse_root):
    """The machine lets the sandbox be chosen, then fails all; what needs none is decided all the same."""
    fill(
        warehouse.open(),
        [("alpha", 1, "Echo", "code_stdio", STDIO, [ECHO, CODE]), ("alpha", 2, "3 + 4?", "gsm8k", "7", ["It is 7."])],
    )
    (machine / "once").touch()
    columns = "row, sample, version, correct"
    done = job()
    assert done.returncode == 2, done.stdout + done.stderr
    assert table(columns) == [(1, 0, "", None), (1, 1, "", None), (2, 0, "2", True)]
    assert "2 checks could not be run on this machine" in done.stdout
    assert "error: alpha, code_stdio: the machine failed 2 of 2 checks" in done.stderr

    (machine / "once").unlink()
    (machine / "broken").unlink()
    done = job()
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(columns) == [(1, 0, "1", True), (1, 1, "1", False), (2, 0, "2", True)]
    assert re.search("alpha, 2 completions verified", done.stdout)
