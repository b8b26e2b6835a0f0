"""What a real `dbt build` makes of responses, ratings and rankings. The tests share few runs of dbt, in this order."""

import json
import subprocess
from collections import Counter, defaultdict
from typing import Any

import duckdb
import preference_project as made
import pyarrow as pa
import pytest
from tiny_project import Project, copied

import warehouse
from warehouse import licences
from warehouse.commit import Job, commit_arrow

BUILT = [
    *("full", "other_seed", "p10", "p50", "own", "kind_judge", "on_policy", "off_policy", "reused", "unused"),
    *("verified", "three_pairs", "commercial"),
]
RLVR = ["maths", "half", "commercial"]
Rows = list[dict[str, Any]]


def build(project: Project, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    return project.dbt("build", "--select", *arguments, variables=json.dumps(variables))


def query(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(project.database), read_only=True) as con:
        return con.sql(sql).fetchall()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose preference and RLVR mixtures were published in one run."""
    project = copied(tmp_path_factory.mktemp("dbt"), **made.SEEDS)
    made.fill(warehouse.open(project.root))
    ran = build(project, "+preference", "+rlvr", preference_mixtures=BUILT, rlvr_mixtures=RLVR, tag="v1")
    assert ran.returncode == 0, ran.stdout
    assert "mixtures.preference@v1" in ran.stdout
    assert "mixtures.rlvr@v1" in ran.stdout
    return project


@pytest.fixture(scope="module")
def rows(built: Project) -> Rows:
    return built.published("mixtures.preference")[1]


def of(rows: Rows, mixture: str, part: str | None = None) -> Rows:
    found = [row for row in rows if row["mixture"] == mixture and part in (None, row["part"])]
    return sorted(found, key=lambda row: row["position"])


def pairs(rows: Rows) -> set[tuple[str, str, str]]:
    return {(row["part"], row["chosen_completion_id"], row["rejected_completion_id"]) for row in rows}


def means(judge: str, models: str = made.MODELS) -> dict[int, dict[str, float]]:
    """For each question of the pool that can be compared, the mean rating of each model that has all of its ratings."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for row in range(1, made.QUESTIONS + 1):
        for number, model in enumerate(made.MODELS):
            scores = [made.rating(judge, row, number, aspect) for aspect in range(4)]
            cut = row == made.CUT and number > 0
            if model in models and None not in scores and not cut and row not in (made.CONTAMINATED, made.CHANGED):
                found[row][model] = sum(score for score in scores if score is not None) / 4
    return found


def questions_with_pairs(judge: str, models: str = made.MODELS) -> set[int]:
    return {row for row, of_row in means(judge, models).items() if len(set(of_row.values())) > 1}


@pytest.mark.parametrize(("mixture", "judge"), [("full", "strict"), ("kind_judge", "kind")])
def test_the_best_mean_is_chosen_and_a_lower_one_rejected(rows: Rows, mixture: str, judge: str) -> None:
    by_row = means(judge)
    found = of(rows, mixture, "judged")
    # The two rows of the same question are one group: a campaign answers a prompt, wherever it stands.
    assert {row["row"] for row in found} - set(made.SAME) == questions_with_pairs(judge) - set(made.SAME)
    assert len([row for row in found if row["row"] in made.SAME]) == 1
    for row in found:
        if row["row"] in made.SAME:
            continue
        scores = by_row[row["row"]]
        assert row["chosen_score"] == max(scores.values()) == scores[row["chosen_model"]]
        assert row["rejected_score"] == scores[row["rejected_model"]] < row["chosen_score"]
        assert row["judge"] == judge
        assert row["chosen"].endswith(f"{row['row']} by {row['chosen_model']}") or row["row"] == made.IDENTITY
        assert row["messages"] == [{"role": "user", "content": made.question(row["row"])}]
        assert (row["source"], row["file"], row["completion_source"]) == ("prompts", "q.jsonl", "pool")
    ranks = [
        sorted(by_row[row["row"]].values()).index(row["rejected_score"]) for row in found if row["row"] not in made.SAME
    ]
    assert len(set(ranks)) > 1, "the worst one is not always the rejected one"


def test_what_gave_no_pair_says_why(built: Project) -> None:
    found = query(
        built,
        "select completion_source, row, reason, detail from intermediate.int_preference_removals where mixture = 'full'",
    )
    tied = {row for row, scores in means("strict").items() if len(scores) > 1} - questions_with_pairs("strict")
    assert made.TIE in tied
    assert {(row[0], row[1], row[2]) for row in found} == {
        ("pool", made.CONTAMINATED, "contaminated_row"),
        ("pool", made.CHANGED, "no_prompt"),
        ("pool", made.CUT, "truncated"),
        *(("pool", row, "tie") for row in tied),
        ("ranked", 2, "identical"),
        ("ranked", 3, "not_scored"),
        ("ranked", 4, "empty_response"),
        ("ranked", 5, "truncated"),
        ("ranked", 6, "speaks_of_model"),
    }
    assert ("pool", made.TIE, "tie", "4 responses at 3.0") in found


def test_a_missing_rating_is_no_rating(built: Project) -> None:
    rated = query(
        built,
        f"""select judge, count(*) from intermediate.int_ratings as ratings
            join raw.completions as completions using (completion_id) where completions.row = {made.MISSING} group by 1 order by 1""",
    )
    assert rated == [("kind", 4), ("strict", 3)]


def test_parts_have_their_rows(rows: Rows) -> None:
    assert Counter(row["part"] for row in of(rows, "own")) == {"ranked": 6, "scored": 6}
    assert [row["position"] for row in of(rows, "full")] == list(range(len(of(rows, "full"))))
    for row in of(rows, "own", "ranked"):
        assert (row["chosen"], row["rejected"]) == (f"chosen ranked {row['row']}", f"rejected ranked {row['row']}")
        assert (row["judge"], row["chosen_score"]) == (None, None)
    for row in of(rows, "own", "scored"):
        assert row["chosen"].startswith("rejected"), "the second has the higher score"
        assert row["chosen_score"] == row["rejected_score"] + 1


def test_smaller_strata_lie_in_larger_ones_and_another_seed_draws_others(rows: Rows) -> None:
    assert pairs(of(rows, "p10")) < pairs(of(rows, "p50")) < pairs(of(rows, "full"))
    assert pairs(of(rows, "other_seed")) != pairs(of(rows, "full"))
    assert len(of(rows, "other_seed")) == len(of(rows, "full"))


def test_on_policy_pairs_have_a_response_of_the_model_that_is_trained(rows: Rows) -> None:
    on, off = of(rows, "on_policy"), of(rows, "off_policy")
    assert on
    assert all("d" in (row["chosen_model"], row["rejected_model"]) for row in on)
    assert all("d" not in (row["chosen_model"], row["rejected_model"]) for row in off)
    alone = means("strict", "abc")
    for row in off:
        if row["row"] not in made.SAME:
            assert row["chosen_score"] == max(alone[row["row"]].values())
    assert {row["row"] for row in off} - set(made.SAME) == questions_with_pairs("strict", "abc") - set(made.SAME)


def test_prompts_that_sft_used_and_others_part_the_pool(rows: Rows) -> None:
    used, unused = ({row["row"] for row in of(rows, name)} for name in ("reused", "unused"))
    assert max(used) <= 20 < min(unused)
    assert used | unused == {row["row"] for row in of(rows, "full", "judged")}


def test_verified_pairs_are_right_by_their_verifier(rows: Rows) -> None:
    verified = {row["row"] for row in of(rows, "verified")}
    assert verified == {row["row"] for row in of(rows, "full", "judged") if row["row"] % 2 == 0} - {12}


def test_more_pairs_of_a_prompt_are_further_rejected_ones(rows: Rows) -> None:
    several = of(rows, "three_pairs")
    assert pairs(of(rows, "full", "judged")) < pairs(several)
    counts = Counter(row["prompt_id"] for row in several)
    assert max(counts.values()) == 3
    by_row = means("strict")
    for row in several:
        if row["row"] not in made.SAME:
            lower = [score for score in by_row[row["row"]].values() if score < row["chosen_score"]]
            assert counts[row["prompt_id"]] == len(lower)
    assert len({row["chosen_completion_id"] for row in several}) == len(counts)


def test_licences_of_all_that_made_a_pair_count(built: Project, rows: Rows) -> None:
    assert {row["licence"] for row in of(rows, "full", "judged")} == {f"{made.STRICT} AND MIT"}
    assert {row["licence"] for row in of(rows, "kind_judge")} == {"MIT"}
    assert {row["part"] for row in of(rows, "commercial")} == {"ranked"}
    for found in query(
        built,
        "select prompt_licence, chosen_licence, rejected_licence, licence, commercial from intermediate.int_pair_licences",
    ):
        assert found[3] == licences.combine(found[:3])
        assert found[4] == licences.permitted(found[3]).commercial


def test_the_snapshot_says_what_it_was_made_of(built: Project) -> None:
    w = warehouse.open(built.root)
    snapshot = w.table("mixtures.preference").snapshot_by_id(built.published("mixtures.preference")[0] or 0)
    assert snapshot is not None
    assert snapshot.summary is not None
    properties = snapshot.summary.additional_properties
    assert json.loads(properties["caravan.arguments"])["mixtures"] == BUILT
    made_of = [reference.partition("@")[0] for reference in json.loads(properties["caravan.inputs"])]
    assert {"raw.completions", "pref.judgments", "attr.contamination", "attr.verdicts", "mixtures.sft"} < set(made_of)


def test_rlvr_prompts_have_a_verifier_and_its_ground_truth(built: Project) -> None:
    published = built.published("mixtures.rlvr")[1]
    assert Counter(row["mixture"] for row in published) == {"maths": 8, "half": 4, "commercial": 8}
    places = {name: {row["row"] for row in published if row["mixture"] == name} for name in RLVR}
    assert places["half"] < places["maths"] <= {4, 5, 6, 7, 8, 9, 10, 11, 12}
    assert places["commercial"] == {5, 6, 7, 8, 9, 10, 11, 12}
    for row in published:
        assert (row["verifier"], row["ground_truth"]) == ("math", str(row["row"] + 1))
        assert row["messages"] == [{"role": "user", "content": f"What is {row['row']} + 1?"}]
    found = query(
        built, "select row, reason from intermediate.int_rlvr_removals where mixture = 'commercial' order by 1"
    )
    assert found == [(1, "no_verifier"), (2, "no_ground_truth"), (3, "contaminated_row"), (4, "licence")]


def test_a_shortfall_and_stale_evidence_stop_publishing(built: Project) -> None:
    before = built.published("mixtures.preference")
    ran = build(
        built,
        "+preference",
        "--exclude-resource-type",
        "unit_test",
        preference_mixtures=["full", "too_big"],
        sft_mixture="x",
    )
    assert ran.returncode != 0
    assert "FAIL 1 preference_mixtures_have_their_rows" in ran.stdout
    assert query(built, "select mixture, part, asked, found from tests.preference_mixtures_have_their_rows") == [
        ("too_big", "ranked", 100, 7)
    ]
    w = warehouse.open(built.root)
    (late,) = warehouse.read.arrow(w, warehouse.refs.resolve(w, "raw.prompts")).slice(0, 1).to_pylist()
    table = warehouse.contracts.load("raw.prompts").arrow_schema()
    grown = pa.Table.from_pylist([{**late, "file": "late.jsonl"}], schema=table)
    commit_arrow(w, "raw.prompts", grown, Job("tests"))
    ran = build(
        built, "+preference", "+rlvr", "--exclude-resource-type", "unit_test",
        preference_mixtures=["reused"], rlvr_mixtures=["unheard_of"], sft_mixture="x",
    )  # fmt: skip
    assert ran.returncode != 0
    for failed in ("decontamination_is_of_this_data", "deduplication_is_of_this_data", "rlvr_mixtures_are_known"):
        assert f"FAIL 1 {failed}" in ran.stdout, ran.stdout
    assert "SKIP relation mixtures.preference" in ran.stdout
    assert "SKIP relation mixtures.rlvr" in ran.stdout
    assert built.published("mixtures.preference") == before
