"""`python -m warehouse`: what it prints and how it fails."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from warehouse_rows import JOB, prompts

import warehouse
from warehouse.__main__ import main
from warehouse.catalogue import Warehouse
from warehouse.commit import commit_arrow, stage
from warehouse.errors import CaravanError

TABLE = "raw.prompts"


@pytest.fixture
def filled(w: Warehouse) -> Warehouse:
    first = commit_arrow(w, TABLE, prompts("a", 3), JOB)
    warehouse.tags.create(w, TABLE, "v1", first)
    commit_arrow(w, TABLE, prompts("b", 60), JOB)
    return w


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert not main(list(arguments))
    return capsys.readouterr().out


def test_init_and_tables(warehouse_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(name in said(capsys, "init") for name in warehouse.contracts.names())
    assert said(capsys, "init", "--root", str(warehouse_root)).count("never") == len(warehouse.contracts.names())


def test_log_and_show(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    log = said(capsys, "log", TABLE)
    newest, oldest = (line for line in log.splitlines() if line[:1].isdigit())
    assert "main" in newest and "60" in newest and "v1" in oldest and "tests.warehouse purpose=test" in oldest
    assert "1 older snapshots" in said(capsys, "log", TABLE, "--limit", "1")
    shown = said(capsys, "show", f"{TABLE}@v1", "--rows", "2")
    assert "3 rows in 1 files" in shown and "row 2" in shown and "row 3" not in shown
    assert "key, required, partition" in shown and "SPDX expression" in shown


def test_diff(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "diff", f"{TABLE}@v1", TABLE, "--examples", "2")
    assert "added       60" in shown and shown.count("source=b") == 2


def test_tag_and_release(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    assert "raw.prompts@v2 = raw.prompts@" in said(capsys, "tag", TABLE, "v2")
    with pytest.raises(CaravanError, match="never moves"):
        main(["tag", TABLE, "v1"])
    assert TABLE in said(capsys, "release", "r1", "--note", "our first")
    assert "our first" in said(capsys, "release")
    commit_arrow(filled, TABLE, prompts("c", 1), JOB)
    # The name alone means the release as it was made.
    assert "63" in said(capsys, "release", "r1")
    with pytest.raises(CaravanError, match="never changes"):
        main(["release", "r1", TABLE])
    assert "3" in said(capsys, "release", "r0", f"{TABLE}@v1")


def test_publish(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot_id = commit_arrow(filled, TABLE, prompts("c", 1), JOB, branch="audit-1")
    assert str(snapshot_id) in said(capsys, "publish", TABLE, "audit-1")


def test_sql(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    query = "select source, count(*) as n from raw.prompts group by 1 order by 1"
    assert [json.loads(line) for line in said(capsys, "sql", query, "--json").splitlines()] == [
        {"source": "a", "n": 3},
        {"source": "b", "n": 60},
    ]
    assert list(csv.reader(io.StringIO(said(capsys, "sql", query, "--ref", "@v1", "--csv")))) == [
        ["source", "n"],
        ["a", "3"],
    ]
    shown = said(capsys, "sql", "from raw.prompts", "--rows", "7")
    assert "The first 7 rows" in shown and f"read {TABLE}@" in shown
    with pytest.raises(CaravanError, match=r"(?s)The query failed.*raw\.sources"):
        main(["sql", "select * from raw.prompt"])
    with pytest.raises(CaravanError, match="tags there are: v1"):
        main(["sql", query, "--ref", "@v7"])


def test_expire_and_doctor(filled: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    commit_arrow(filled, TABLE, prompts("b", 1), JOB, replace={"source": ["b"]})
    assert " 1 " in said(capsys, "expire", TABLE, "--older-than", "0m", "--dry-run")
    assert " 1 " in said(capsys, "expire", "--older-than", "0m")
    Path(stage(filled, TABLE), "x.parquet").write_bytes(b"")
    assert main(["doctor", "--grace", "0m"]) == 1
    assert "orphan files" in capsys.readouterr().out
    assert main(["doctor", "--grace", "0m", "--fix"]) == 1  # raw.sources knows nothing of these rows
    assert "put right" in capsys.readouterr().out


def test_a_sound_warehouse_is_in_order(warehouse_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "init")
    assert "is in order" in said(capsys, "doctor", "--grace", "0m")


def test_errors_are_a_paragraph_and_an_exit_code(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "warehouse", *arguments]
        cwd = Path(warehouse.__file__).parent.parent
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    missing = call("log", "raw.prompts", "--root", str(tmp_path / "none"))
    assert missing.returncode == 2 and missing.stderr.startswith("error: There is no warehouse at ")
    assert "Traceback" not in missing.stderr and not (tmp_path / "none").exists()
    assert call("expire", "--older-than", "soon").returncode == 2
    assert "examples:" in call("--help").stdout
