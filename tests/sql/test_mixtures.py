"""What a real `dbt build` makes of a tiny warehouse, and what it refuses. The tests share few runs of dbt, in this order."""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession
from tiny_project import REPOSITORY, Project

import warehouse
from pipelines import registry
from warehouse import licences
from warehouse import spark as warehouse_spark

BUILT = ["full", "other_seed", "without_beta", "p10", "p50", "p100", "commercial"]
IDS = ("position", "prompt_id", "completion_id", "source", "file", "row", "branch")


def build(project: Project, *mixtures: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return project.dbt("build", "--select", "+sft", variables=json.dumps({"mixtures": mixtures, **variables}))


def of(rows: list[dict[str, Any]], mixture: str) -> list[tuple[Any, ...]]:
    """The ids of a mixture's rows in its order."""
    chosen = sorted((row for row in rows if row["mixture"] == mixture), key=lambda row: row["position"])
    return [tuple(row[name] for name in IDS) for row in chosen]


def places(rows: list[dict[str, Any]], mixture: str) -> set[tuple[str, int]]:
    return {(row["source"], row["row"]) for row in rows if row["mixture"] == mixture}


@pytest.fixture(scope="module")
def built(project: Project) -> Project:
    """The project after one run that published seven mixtures under the tag v1."""
    ran = build(project, *BUILT, tag="v1")
    assert ran.returncode == 0, ran.stdout
    assert "mixtures.sft@v1" in ran.stdout
    return project


@pytest.fixture(scope="module")
def rows(built: Project) -> list[dict[str, Any]]:
    return built.published()[1]


def test_mixtures_have_the_rows_that_their_recipe_asks(rows: list[dict[str, Any]]) -> None:
    # beta: half of its 29 eligible rows (30, less one repeat of its own and one of alpha's), rounded.
    assert Counter(row["source"] for row in rows if row["mixture"] == "full") == {
        "alpha": 20, "beta": 14, "many": 5, "me": 4,
    }  # fmt: skip
    assert Counter(row["source"] for row in rows if row["mixture"] == "p10") == {"alpha": 2, "beta": 1, "many": 1}
    assert [row[0] for row in of(rows, "full")] == list(range(43))
    assert Counter(row["source"] for row in rows if row["mixture"] == "commercial") == {"alpha": 25}


def test_the_text_is_the_conversation_with_its_response(rows: list[dict[str, Any]]) -> None:
    (row,) = [row for row in rows if row["mixture"] == "commercial" and row["row"] == 7]
    assert row["messages"] == [
        {"role": "system", "content": "Être bref\n"},
        {"role": "user", "content": "Question 7 of alpha?"},
        {"role": "assistant", "content": "Answer 7 of alpha"},
    ]
    (row,) = [row for row in rows if row["mixture"] == "commercial" and row["row"] == 23]
    assert row["messages"][-1]["content"] == "better"
    (row,) = [row for row in rows if row["mixture"] == "commercial" and row["row"] == 24]
    assert row["licence"] == "(CC-BY-4.0 OR CC-BY-NC-4.0) AND MIT"


def test_smaller_strata_lie_in_larger_ones(rows: list[dict[str, Any]]) -> None:
    assert places(rows, "p10") < places(rows, "p50") < places(rows, "p100") == places(rows, "full")
    assert [row[1:] for row in of(rows, "p100")] == [row[1:] for row in of(rows, "full")]


def test_another_seed_draws_other_rows(rows: list[dict[str, Any]]) -> None:
    assert places(rows, "other_seed") != places(rows, "full")
    assert len(places(rows, "other_seed")) == len(places(rows, "full"))


def test_every_removal_has_its_reason(built: Project) -> None:
    with duckdb.connect(str(built.database), read_only=True) as con:
        found = con.sql(
            "select mixture, source, row, reason, detail from intermediate.int_removals "
            "where mixture in ('*', 'full', 'commercial', 'without_beta') and source != 'dirty' and source != 'closed'"
        ).fetchall()
    assert sorted(found, key=str) == sorted(
        [
            ("*", "alpha", 1, "contaminated_row", "dev"),
            ("*", "alpha", 2, "contaminated_row", "dev"),
            ("*", "alpha", 20, "empty_response", None),
            ("*", "alpha", 21, "speaks_of_model", "i_was_made_by"),
            ("*", "alpha", 22, "no_response", None),
            *(("*", "many", row, "other_model", "gpt-3.5-turbo") for row in range(1, 6)),
            *(("full", "beta", row, "exact_duplicate", _prompt_id(built, "alpha", 10)) for row in (10, 11)),
        ],
        key=str,
    )


def test_a_set_contaminated_by_an_unseen_evaluation_is_left_out(built: Project) -> None:
    with duckdb.connect(str(built.database), read_only=True) as con:
        removed = con.sql(
            "select reason, detail, count(*) from intermediate.int_removals where source = 'dirty' group by all"
        )
        assert removed.fetchall() == [("contaminated_set", "hidden: 2 of 50 instances", 10)]


def _prompt_id(project: Project, source: str, row: int) -> str:
    con = warehouse.connect(root=project.root)
    return str(
        con.execute("select prompt_id from raw.prompts where source = ? and row = ?", [source, row]).fetchall()[0][0]
    )


def test_python_and_sql_agree_on_licences(built: Project) -> None:
    with duckdb.connect(str(built.database), read_only=True) as con:
        found = con.sql("from intermediate.int_licences").to_arrow_table().to_pylist()
    assert len(found) == 6
    for row in found:
        assert row["licence"] == licences.combine([row["prompt_licence"], row["completion_licence"]])
        use = licences.permitted(row["licence"])
        assert (use.commercial, use.attribution, use.share_alike, list(use.model_output_terms)) == (
            row["commercial"], row["attribution"], row["share_alike"], row["model_output_terms"],
        )  # fmt: skip


def test_spark_and_duckdb_agree_row_by_row(built: Project, spark: SparkSession) -> None:
    """The identity of every prompt, and which training set contaminates which evaluation."""
    w = warehouse.open(built.root)
    for table in ("raw.prompts", "raw.eval_instances", "attr.contamination"):
        resolved = warehouse.refs.resolve(w, table)
        warehouse_spark.read(spark, resolved).createOrReplaceTempView(table.split(".")[1])
    turns = "array_join(transform(messages, m -> concat(m.role, char(31), m.content)), char(30))"
    in_spark = spark.sql(f"select source, row, md5({turns}) as id, prompt_id from prompts").collect()
    con = warehouse.connect(root=built.root)
    in_duckdb = con.sql(
        "select source, row, md5(array_to_string([m.role || chr(31) || m.content for m in messages], chr(30))) from raw.prompts"
    ).fetchall()
    assert all(row.id == row.prompt_id for row in in_spark)
    assert sorted((row.source, row.row, row.id) for row in in_spark) == sorted(in_duckdb)
    rule = """
        select train_set, eval_set, instances, count(distinct instance_id), count(distinct instance_id) * 100 > instances * 2
        from contamination
        join (select eval_set, count(*) as instances from eval_instances group by eval_set) using (eval_set)
        where 2 * matched_tokens > total_tokens and kind = 'ngram'
        group by train_set, eval_set, instances
    """
    with duckdb.connect(str(built.database), read_only=True) as database:
        judged = database.sql(
            "select source, eval_set, instances, overlapped_ngram, contaminated from intermediate.int_contaminated_sets"
        ).fetchall()
    assert sorted(tuple(row) for row in spark.sql(rule).collect()) == sorted(judged)
    assert {(row[0], row[4]) for row in judged} == {("alpha", True), ("beta", False), ("dirty", True)}


def test_the_snapshot_says_what_it_was_made_of(built: Project) -> None:
    w = warehouse.open(built.root)
    table = w.table("mixtures.sft")
    snapshot = table.snapshot_by_id(built.published()[0] or 0)
    assert snapshot is not None
    assert snapshot.summary is not None
    properties = snapshot.summary.additional_properties
    assert json.loads(properties["caravan.arguments"])["mixtures"] == BUILT
    recorded = json.loads(properties["caravan.inputs"])
    names = [
        "attr.contamination",
        "attr.duplicates",
        "raw.completions",
        "raw.eval_instances",
        "raw.prompts",
        "raw.sources",
    ]
    assert recorded == [str(warehouse.refs.resolve(w, name)) for name in names]
    assert warehouse.refs.resolve(w, "mixtures.sft@v1").snapshot_id == snapshot.snapshot_id
    assert set(table.metadata.refs) == {"main", "v1"}


def test_analyses_run(built: Project) -> None:
    ran = built.dbt("docs", "generate", variables=json.dumps({"mixtures": BUILT}))
    assert ran.returncode == 0, ran.stdout
    compiled = {path.stem: path.read_text() for path in built.folder.glob("target/compiled/caravan/sql/analyses/*.sql")}
    assert set(compiled) == {path.stem for path in (REPOSITORY / "sql/analyses").glob("*.sql")}
    with duckdb.connect(str(built.database), read_only=True) as con:
        for name, sql in compiled.items():
            assert con.sql(sql).fetchall(), name
        lineage = con.sql(compiled["lineage"]).to_arrow_table().to_pylist()
    assert len(lineage) == 1
    assert (lineage[0]["mixture"], lineage[0]["position"], lineage[0]["location"]) == ("full", 0, "made up")


def test_a_tag_that_exists_ends_the_run_before_anything_is_built(built: Project) -> None:
    before = built.published()[0]
    ran = build(built, "full", tag="v1")
    assert ran.returncode != 0
    assert "already has the tag 'v1'" in ran.stdout
    assert "OK created" not in ran.stdout
    assert built.published()[0] == before


def test_a_failing_test_stops_publishing(built: Project) -> None:
    before = built.published()
    ran = build(built, "full", "too_big", "conflict", "not_there")
    assert ran.returncode != 0
    assert "FAIL 5 mixtures_have_their_rows" in ran.stdout
    assert "SKIP relation mixtures.sft" in ran.stdout
    assert built.published() == before
    with duckdb.connect(str(built.database), read_only=True) as con:
        short = con.sql("select mixture, source, asked, found from tests.mixtures_have_their_rows").fetchall()
    assert set(short) == {
        ("too_big", "alpha", 1000, 25),
        ("conflict", "closed", 5, 0),
        ("conflict", "all", 1, 0),
        ("not_there", "half_ingested (not ingested)", 1, 0),
        ("not_there", "all", 1, 0),
    }


def test_an_unknown_mixture_stops_the_run(built: Project) -> None:
    ran = built.dbt("build", "--select", "mixtures+1", variables=json.dumps({"mixtures": ["full", "unheard_of"]}))
    assert ran.returncode != 0
    assert "FAIL 1 mixtures_are_known" in ran.stdout
    assert "SKIP relation intermediate.int_mixtures" in ran.stdout


@pytest.mark.parametrize(
    "arguments", [("run",), ("build", "--select", "sft"), ("build", "--exclude-resource-type", "test")], ids=" ".join
)
def test_publishing_without_all_tests_is_refused(built: Project, arguments: tuple[str, ...]) -> None:
    before = built.published()[0]
    ran = built.dbt(*arguments, variables=json.dumps({"mixtures": ["full"]}))
    assert ran.returncode != 0
    assert "Nothing was published" in ran.stdout
    assert built.published()[0] == before


def test_a_killed_build_leaves_the_last_snapshot(built: Project) -> None:
    before = built.published()
    random.seed(time.time_ns())
    for _ in range(3):
        variables = json.dumps({"mixtures": ["p50"]})
        with subprocess.Popen(
            built.command("build", "--select", "+sft", variables=variables),
            cwd=built.folder,
            env=built.environment,
            stdout=subprocess.DEVNULL,
        ) as process:
            time.sleep(random.uniform(3, 8))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        # What is visible is one of the two whole states: p50 is the same in both.
        snapshot, rows = built.published()
        assert sorted(map(str, rows)) == sorted(map(str, before[1])), snapshot


def test_same_seed_same_rows_and_an_empty_mixture_has_none(built: Project, rows: list[dict[str, Any]]) -> None:
    ran = build(built, "full", "none", shortfall="warn")
    assert ran.returncode == 0, ran.stdout
    assert "WARN 1 mixtures_have_their_rows" in ran.stdout
    again = built.published()[1]
    assert json.dumps(of(again, "full")).encode() == json.dumps(of(rows, "full")).encode()
    assert of(again, "none") == []
    published = {Path(path) for path in warehouse.refs.resolve(warehouse.open(built.root), "mixtures.sft").files}
    newest = max(path.parent for path in published)
    assert set(newest.iterdir()) <= published, "no file is left of a mixture without rows"
    assert all(row["prompt_id"] for row in again)
    assert of(again, "commercial") == of(rows, "commercial")


def test_the_recipe_is_the_registry_s() -> None:
    """Rows a source and the group of sources that forbid commerce agree with what the registry declares."""
    declared = registry.load()
    with (REPOSITORY / "sql/seeds/recipes.csv").open(encoding="utf-8") as file:
        recipe = duckdb.read_csv(file).filter("recipe = 'tulu3_sft'").fetchall()
    assert sum(row[2] for row in recipe) == 939_344
    for _, source, rows, _, groups in recipe:
        entry = declared.sources[source]
        assert entry.rows == rows
        forbidden = not licences.permitted(declared.licence(entry)).commercial
        assert forbidden == ("noncommercial" in (groups or "").split()), source
