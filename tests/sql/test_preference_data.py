"""Real preference data through ingestion and dbt: pairs are those of the files, removals explain the rest, licences carry over."""

import csv
import io
import json
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard
from pyspark.sql import SparkSession
from tiny_project import REPOSITORY, Project, copied

import warehouse
from pipelines import registry
from pipelines.ingest import ingest

SHARED = REPOSITORY / "tests/pipelines/shared_sources.toml"
NAMES = ["alpaca_eval_pool", "alpaca_eval_pairs", "tulu3_preference", "tulu3_rlvr"]
RECIPES = """recipe,part,source,judge,policy,prompts,rows,share,groups
real,gpt4,alpaca_eval_pairs,,,,,,
real,ultrafeedback,uf_clean,,,,,,
real,reused_if,tulu3_preference,,,,100,,
"""
MIXTURES = """mixture,recipe,only,without,fraction,use,judge,policy,prompts,verified,pairs,seed,description
real,real,,,1,any,,,,no,1,1,
commercial,real,,,1,commercial,,,,no,1,1,
"""
RLVR_RECIPES = "recipe,source,rows,share,groups\nreal,tulu3_rlvr,100,,\n"
RLVR_MIXTURES = "mixture,recipe,only,without,fraction,use,seed,description\nreal,real,,,1,any,1,\n"
SEEDS = {
    "preference_recipes": RECIPES,
    "preference_mixtures": MIXTURES,
    "rlvr_recipes": RLVR_RECIPES,
    "rlvr_mixtures": RLVR_MIXTURES,
}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def records(shared_data: Path) -> Callable[[str], Rows]:
    def read(name: str) -> Rows:
        path = shared_data / "train" / name
        if path.suffix == ".zst":
            stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"))
            return [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8")]
        return [json.loads(line) for line in path.open(encoding="utf-8")]

    return read


@pytest.fixture(scope="module")
def built(spark: SparkSession, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project over the real sets, its mixtures and the agreement of raters."""
    project = copied(tmp_path_factory.mktemp("dbt"), **SEEDS)
    shared = tomllib.loads(SHARED.read_text())["training"]
    both = shared["ultrafeedback_1k"]
    sources = {name: shared[name] for name in NAMES}
    for name, file in (("uf_clean", "clean"), ("uf_flipped", "label_flip_10")):
        sources[name] = {**both, "input": f"{both['input']}/{file}.jsonl.zst"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARAVAN_TEST_DATA", str(shared_data))
        declared = [registry.declare(name, "training", keys, Path(), SHARED.name) for name, keys in sources.items()]
        ingest(spark, warehouse.open(project.root), declared)
    told = {"preference_mixtures": ["real", "commercial"], "rlvr_mixtures": ["real"], "duplicates": "off"}
    chosen = ["--select", "+preference", "+rlvr", "+mart_judge_agreement", "--exclude-resource-type", "unit_test"]
    ran = project.dbt("build", *chosen, variables=json.dumps(told))
    assert ran.returncode == 0, ran.stdout
    return project


@pytest.fixture(scope="module")
def pairs(built: Project) -> Rows:
    return built.published("mixtures.preference")[1]


def of(rows: Rows, mixture: str, part: str) -> Rows:
    return [row for row in rows if (row["mixture"], row["part"]) == (mixture, part)]


def query(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(project.database), read_only=True) as con:
        return con.sql(sql).fetchall()


def blank(text: str) -> bool:
    """Nothing to see: one response is a zero-width space."""
    return not any(sign.isprintable() and sign != " " for sign in text)


def removed(project: Project, part: str) -> Counter[str]:
    told = "select reason, count(*) from intermediate.int_preference_removals where mixture = 'real' and part = "
    return Counter(dict(query(project, f"{told}'{part}' group by all")))


def test_gpt4s_preferences(built: Project, pairs: Rows, records: Callable[[str], Rows]) -> None:
    """7,245 judgements of nine models' responses beside text-davinci-003's: each is a pair or says why it is none."""
    found, why = of(pairs, "real", "gpt4"), removed(built, "gpt4")
    lines = records("alpaca_eval_pool/gpt4_pairwise.jsonl.zst")
    assert len(found) + why.total() == len(lines) == 7_245
    by_row = {number: line for number, line in enumerate(lines, 1)}
    for row in found:
        line = by_row[row["row"]]
        best = int(line["preference"])
        assert (row["chosen"], row["rejected"]) == (line[f"output_{best}"], line[f"output_{3 - best}"])
        assert (row["chosen_model"], row["rejected_model"]) == (
            line[f"generator_{best}"],
            line[f"generator_{3 - best}"],
        )
        assert row["messages"] == [{"role": "user", "content": line["instruction"]}]
    outputs = [(line["output_1"], line["output_2"]) for line in lines]
    assert why["empty_response"] == sum(blank(one) or blank(other) for one, other in outputs)
    assert why["not_scored"] == sum(line["preference"] not in (1, 2) for line in lines)
    assert set(why) <= {"empty_response", "identical", "not_scored", "speaks_of_model"}


def test_scores_and_rankings_agree_but_where_labels_were_turned(built: Project, records: Callable[[str], Rows]) -> None:
    clean, turned = (records(f"ultrafeedback_1k/{name}.jsonl.zst") for name in ("clean", "label_flip_10"))
    unlike = [n for n, line in enumerate(clean) if line["chosen"] != line["rejected"]]
    kept = sum(clean[n]["chosen"] == turned[n]["chosen"] for n in unlike)
    found = {
        (one, other): (pairs, same)
        for one, other, pairs, same in query(
            built, "select rater, other_rater, pairs_without_tie, same_order from marts.mart_judge_agreement"
        )
    }
    assert (len(unlike), kept) == (996, 896)
    assert found["ranking of uf_clean", "ranking of uf_flipped"] == (996, pytest.approx(896 / 996))
    decided, same = found["ranking of uf_clean", "scores of uf_clean"]
    assert (decided, same) == (
        sum(clean[n]["metadata"]["score_chosen"] != clean[n]["metadata"]["score_rejected"] for n in unlike),
        1,
    )


def test_rankings_of_ultrafeedback_become_pairs(built: Project, pairs: Rows, records: Callable[[str], Rows]) -> None:
    found, why = of(pairs, "real", "ultrafeedback"), removed(built, "ultrafeedback")
    lines = records("ultrafeedback_1k/clean.jsonl.zst")
    assert len(found) + why.total() == len(lines) == 1_000
    empty = sum(blank(line["chosen"]) or blank(line["rejected"]) for line in lines)
    assert (why["empty_response"], why["identical"]) == (empty, 4)
    for row in found:
        line = lines[row["row"] - 1]
        assert (row["chosen"], row["rejected"]) == (line["chosen"], line["rejected"])
        assert (row["chosen_score"], row["rejected_score"]) == tuple(
            line["metadata"][f"score_{side}"] for side in ("chosen", "rejected")
        )


def test_published_tulu3_rows_keep_their_texts(pairs: Rows, records: Callable[[str], Rows]) -> None:
    found = of(pairs, "real", "reused_if")
    lines = records("tulu3_samples/preference_sample.jsonl")
    assert len(found) == len(lines) == 100
    for row in found:
        line = lines[row["row"] - 1]
        assert [*row["messages"], {"role": "assistant", "content": row["chosen"]}] == line["chosen"]
        assert [*row["messages"], {"role": "assistant", "content": row["rejected"]}] == line["rejected"]


def test_licences_bind_the_pairs(pairs: Rows) -> None:
    openai = "CC-BY-NC-4.0 AND LicenseRef-OpenAI-Output"
    assert {(row["part"], row["licence"]) for row in pairs if row["mixture"] == "real"} == {
        ("gpt4", openai),
        ("gpt4", f"{openai} AND LicenseRef-Llama-2-Community"),
        ("ultrafeedback", "MIT"),
        ("reused_if", "ODC-By-1.0"),
    }
    # Each pair has a response of text-davinci-003, and what binds the text of either model binds the pair.
    for row in of(pairs, "real", "gpt4"):
        llama = any(row[f"{side}_model"].startswith("llama-2") for side in ("chosen", "rejected"))
        assert ("Llama-2" in row["licence"]) == llama
    assert {row["part"] for row in pairs if row["mixture"] == "commercial"} == {"ultrafeedback", "reused_if"}


def test_rlvr_prompts_of_the_release(built: Project, records: Callable[[str], Rows]) -> None:
    found = built.published("mixtures.rlvr")[1]
    lines = records("tulu3_samples/rlvr_sample.jsonl")
    assert len(found) == len(lines) == 100
    for row in found:
        line = lines[row["row"] - 1]
        assert (row["messages"], row["ground_truth"]) == (line["messages"], line["ground_truth"])
        assert row["verifier"].lower() == line["dataset"].lower()


def test_the_mixtures_of_the_paper_add_up() -> None:
    """The rows that each mixture asks of its parts: what they find less of stops the build."""

    def seed(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((REPOSITORY / f"sql/seeds/{name}.csv").open()))

    def asked(mixture: str, kind: str) -> int:
        (row,) = [row for row in seed(f"{kind}_mixtures") if row["mixture"] == mixture]
        parts = [
            (part, set(part["groups"].split())) for part in seed(f"{kind}_recipes") if part["recipe"] == row["recipe"]
        ]
        only, without = set(row["only"].split()), set(row["without"].split())
        taken = [part for part, groups in parts if (not only or only & groups) and not without & groups]
        return sum(round(int(part["rows"]) * float(row["fraction"])) for part in taken)

    totals = {"tulu3_preference": 354_192, "tulu3_8b_preference": 271_409, "tulu3_70b_preference": 334_302}
    totals |= {"own_8b_preference": 271_409, "own_70b_preference": 334_302}
    totals |= {"tulu3_preference_on_policy": 19_444, "tulu3_preference_off_policy": 19_444}
    totals |= {"tulu3_preference_reused": 17_207, "tulu3_preference_unused": 17_207}
    assert {mixture: asked(mixture, "preference") for mixture in totals} == totals
    assert {name: asked(name, "rlvr") for name in ("tulu3_rlvr", "tulu3_rlvr_gsm8k", "tulu3_rlvr_math", "tulu3_rlvr_if")} == {
        "tulu3_rlvr": 29_973,
        "tulu3_rlvr_gsm8k": 7_473,
        "tulu3_rlvr_math": 7_500,
        "tulu3_rlvr_if": 15_000,
    }  # fmt: skip
