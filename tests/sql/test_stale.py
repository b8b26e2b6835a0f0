"""Evidence and duplicates of other data than a run reads stop it. The tests share a warehouse that goes on, in this order."""

import json
import subprocess
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from tiny_project import Project

import warehouse
from pipelines import decontaminate, deduplicate
from warehouse import contracts, history, refs, releases
from warehouse.commit import Job, commit_arrow

CONTAMINATION, DUPLICATES = "decontamination_is_of_this_data", "deduplication_is_of_this_data"
THRESHOLD = "overlaps_were_sought_down_to_the_threshold"


def build(project: Project, **variables: Any) -> subprocess.CompletedProcess[str]:
    chosen = json.dumps({"mixtures": ["commercial"], **variables})
    return project.dbt("build", "--select", "+sft", "--exclude-resource-type", "unit_test", variables=chosen)


def refused(project: Project, *tests: str, **variables: Any) -> None:
    """Of the gates exactly these fail, and nothing is published."""
    before = refs.resolve(warehouse.open(project.root), "mixtures.sft")
    ran = build(project, **variables)
    assert ran.returncode != 0
    for test in (CONTAMINATION, DUPLICATES, THRESHOLD):
        assert f"{'FAIL 1' if test in tests else 'PASS'} {test}" in ran.stdout, ran.stdout
    assert "SKIP relation mixtures.sft" in ran.stdout
    assert refs.resolve(warehouse.open(project.root), "mixtures.sft") == before


def stored(project: Project, test: str) -> dict[str, Any]:
    with duckdb.connect(str(project.database), read_only=True) as con:
        (row,) = con.sql(f"from tests.{test}").to_arrow_table().to_pylist()
    return dict(row)


def grow(project: Project, table: str, **changes: Any) -> None:
    """Add a row to a table: the first one, changed."""
    w = warehouse.open(project.root)
    row = warehouse.read.arrow(w, refs.resolve(w, table)).slice(0, 1).to_pylist()[0] | changes
    commit_arrow(w, table, pa.Table.from_pylist([row], schema=contracts.load(table).arrow_schema()), Job("tests"))


def test_a_higher_overlap_threshold_needs_no_scan_and_a_lower_one_is_refused(project: Project) -> None:
    assert build(project, overlap_threshold=0.6).returncode == 0
    refused(project, THRESHOLD, overlap_threshold=0.499999)
    assert stored(project, THRESHOLD)["to_run"].endswith("decontaminate.py --threshold 0.499999")


def test_prompts_that_nobody_scanned_are_not_published(project: Project) -> None:
    w = warehouse.open(project.root)
    tables = [refs.resolve(w, name) for name in contracts.names() if name.startswith(("raw.", "attr."))]
    releases.create(w, "r1", [each for each in tables if each.snapshot_id])
    scanned = [str(refs.resolve(w, name)) for name in ("raw.prompts", "raw.eval_instances")]
    grow(project, "raw.prompts", file="late.jsonl")
    refused(project, CONTAMINATION, DUPLICATES)
    row = stored(project, CONTAMINATION)
    assert row["to_run"] == "spark-submit pipelines/decontaminate.py"
    assert row["was_found_in"] == scanned
    assert row["this_run_reads"] == sorted([str(refs.resolve(w, "raw.prompts")), scanned[1]])
    assert stored(project, DUPLICATES)["to_run"] == "spark-submit pipelines/deduplicate.py"


def test_a_release_is_held_against_its_own_snapshots(project: Project) -> None:
    ran = build(project, ref="@r1")
    assert ran.returncode == 0, ran.stdout


def test_going_on_knowingly_is_recorded(project: Project) -> None:
    ran = build(project, stale="warn", duplicates=False)  # as YAML reads `off`
    assert ran.returncode == 0, ran.stdout
    assert f"WARN 1 {CONTAMINATION}" in ran.stdout
    assert f"PASS {DUPLICATES}" in ran.stdout
    w = warehouse.open(project.root)
    made = history.entry(w, refs.resolve(w, "mixtures.sft"))
    assert made is not None
    assert (made.arguments["stale"], made.arguments["duplicates"]) == ("warn", "off")


def test_the_jobs_that_are_named_put_it_right(
    project: Project, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_WAREHOUSE", project.root)
    decontaminate.main(["--threshold", "0.3"])
    deduplicate.main([])
    ran = build(project, overlap_threshold=0.3)
    assert ran.returncode == 0, ran.stdout


def test_duplicates_of_some_sources_are_not_those_of_all(
    project: Project, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_WAREHOUSE", project.root)
    deduplicate.main(["--sources", "alpha,beta,closed,dirty,many"])
    refused(project, DUPLICATES)
    assert stored(project, DUPLICATES)["passed_over"] == ["me"]
    deduplicate.main(["--sources", "alpha,beta,closed,dirty,many,me"])
    ran = build(project)
    assert ran.returncode == 0, ran.stdout
    # Rows of an older release were looked at, and held against those of this run.
    deduplicate.main(["--train", "raw.prompts@r1", "--against", "raw.prompts"])
    refused(project, DUPLICATES)
    assert stored(project, DUPLICATES)["passed_over"] is None
    deduplicate.main([])


def test_an_evaluation_that_came_later_is_not_passed_over(project: Project) -> None:
    grow(project, "raw.eval_instances", file="late.jsonl", instance_id="late")
    refused(project, CONTAMINATION)


def test_a_mistyped_choice_of_duplicates_is_refused(project: Project) -> None:
    ran = build(project, duplicates="exakt")
    assert ran.returncode != 0
    assert "choose exact, near or off" in ran.stdout
