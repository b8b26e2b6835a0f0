"""Rejection sampling held to a plain implementation of its rules, row by row, and to what it must refuse or say."""

import hashlib
import random

import pyarrow as pa
import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

import warehouse
from trainers.rejection_sample import main
from warehouse.commit import Job, commit_arrow
from warehouse.errors import CaravanError
from warehouse.licences import combine
from warehouse.read import arrow
from warehouse.refs import resolve

MODEL = "checkpoint/0123456789abcdef"
PLACE = {"revision": "r", "file": "f", "branch": 0}
LICENCES = ("MIT", "CC-BY-4.0", "MIT OR Apache-2.0", "CC-BY-NC-4.0", "LicenseRef-Unstated")
SAMPLES = ("pool_a", "pool_b")


def md5(*parts):
    return hashlib.md5("\x1f".join(map(str, parts)).encode()).hexdigest()


def made():
    """Rows of all tables, odd ones among them: ties, missing scores, texts that are equal, blank or cut, prompts that are gone."""
    draw = random.Random(7)
    rows = {"raw.prompts": [], "raw.completions": [], "mixtures.sft": [], "pref.rewards": []}

    def respond(prompt_id, source, row, sample, content, licence, finish="stop"):
        completion_id = md5(prompt_id, source, sample, content)
        rows["raw.completions"].append(
            {
                **PLACE, "source": source, "row": row, "sample": sample, "content": content, "prompt_id": prompt_id,
                "completion_id": completion_id, "licence": licence, "model": f"model of {source}", "finish_reason": finish,
            }
        )  # fmt: skip
        # Few values, so that ties are common.
        if draw.random() > 0.15:
            rows["pref.rewards"].append(reward(completion_id, prompt_id, source, draw.choice([-0.5, 0.0, 0.25, 1.5])))
        return completion_id

    for row in range(120):
        source = "maths" if row % 3 else "chat"
        messages = [{"role": "user", "content": f"Question {row}"}]
        if row % 5 == 0:
            messages = [*messages, {"role": "assistant", "content": "Which?"}, {"role": "user", "content": f"{row}"}]
        prompt_id, licence = md5(*messages), draw.choice(LICENCES)
        prompt = {**PLACE, "source": source, "row": row, "prompt_id": prompt_id, "messages": messages}
        if row % 11:
            rows["raw.prompts"].append({**prompt, "licence": licence})
        own = draw.choice(LICENCES)
        completion_id = respond(prompt_id, source, row, 0, f"original {row}", own)
        if row % 7:
            answer = {"role": "assistant", "content": f"original {row}"}
            rows["mixtures.sft"].append(
                {
                    **prompt, "mixture": "mix", "position": 1000 - row, "completion_id": completion_id, "skill": "s",
                    "messages": [*messages, answer], "licence": combine([licence, own]), "model": f"model of {source}",
                }
            )  # fmt: skip
        for sample in range(draw.randrange(5)):
            text = draw.choice([f"sample {sample} of {row}", f"sample 0 of {row} ", f"original {row}\n", " \n", "good"])
            finish = draw.choice(["stop", "stop", "stop", "length"])
            respond(prompt_id, draw.choice(SAMPLES), row, sample, text, draw.choice(LICENCES), finish)
    rows["mixtures.sft"].append({**rows["mixtures.sft"][0], "mixture": "another"})
    return rows


def reward(completion_id, prompt_id, source, value):
    about = {"tokens": 9, "cut": False, "template": "t", "max_length": 9, "precision": "fp32", "code": "c"}
    found = {"completion_id": completion_id, "prompt_id": prompt_id, "source": source, "score": value, **about}
    return {**found, "model_id": MODEL}


def brute(rows, scores, seed=42, judged_by=MODEL, terms=()):
    """{position of the old mixture: (best, rejected or None)}, each a dictionary with text, licences and score."""
    prompts = {(row["source"], row["row"]): row for row in rows["raw.prompts"]}
    found = {}
    for row in rows["mixtures.sft"]:
        if row["mixture"] != "mix":
            continue
        prompt = prompts.get((row["source"], row["row"]), row)
        samples = [
            {**c, "terms": [prompt["licence"], c["licence"]]}
            for c in rows["raw.completions"]
            if c["prompt_id"] == row["prompt_id"] and c["source"] in SAMPLES
            if c["finish_reason"] != "length" and c["content"].strip()
        ]
        original = {**row, "content": row["messages"][-1]["content"], "terms": [row["licence"]]}
        by_text = {original["content"].strip(): original}
        for sample in sorted(samples, key=lambda c: md5("chosen", seed, c["completion_id"])):
            by_text.setdefault(sample["content"].strip(), sample)
        candidates = [
            {**c, "score": scores[c["completion_id"]], "original": c is original, "terms": [*c["terms"], *terms]}
            for c in by_text.values()
            if c["completion_id"] in scores
        ]
        if len(candidates) < 2 or not candidates[0]["original"]:
            continue
        best = min(candidates, key=lambda c: (-c["score"], not c["original"], md5("chosen", seed, c["completion_id"])))
        worse = [c for c in candidates if c["score"] < best["score"]]
        rejected = min(worse, key=lambda c: md5("rejected", seed, c["completion_id"]), default=None)
        found[row["position"]] = (row, best, rejected)
    return found


def expected(found, name, judge):
    sft, preference = [], []
    for row, best, rejected in (found[position] for position in sorted(found)):
        kept = {key: row[key] for key in ("source", "revision", "file", "row", "branch", "prompt_id", "skill")}
        kept |= {"mixture": name, "language": None}
        sft.append(
            {
                **kept, "position": len(sft), "completion_id": best["completion_id"], "model": best["model"],
                "messages": [*row["messages"][:-1], {"role": "assistant", "content": best["content"]}],
                "licence": combine(best["terms"]),
            }
        )  # fmt: skip
        if rejected:
            sides = {
                f"{side}{suffix}": each[key]
                for side, each in (("chosen", best), ("rejected", rejected))
                for suffix, key in (
                    ("", "content"),
                    ("_completion_id", "completion_id"),
                    ("_model", "model"),
                    ("_score", "score"),
                )
            }
            sources = ", ".join(dict.fromkeys([best["source"], rejected["source"]]))
            preference.append(
                {
                    **kept, **sides, "position": len(preference), "part": row["source"], "messages": row["messages"][:-1],
                    "completion_source": sources, "judge": judge, "licence": combine([*best["terms"], *rejected["terms"]]),
                }
            )  # fmt: skip
    return sft, preference


@pytest.fixture
def lake(warehouse_root):
    w = warehouse.open()
    rows = made()
    for table, of_table in rows.items():
        commit_arrow(w, table, pa.Table.from_pylist(of_table), Job("test"))
    return w, rows


def ask(*more, by=f"pref.rewards:{MODEL}", name="best"):
    arguments = ["--prompts", "mixtures.sft", "--mixture", "mix", "--samples", *SAMPLES, "--by", by, "--name", name]
    return main([*arguments, *more])


def mixture(w, table, name="best"):
    rows = arrow(w, resolve(w, table)).to_pylist()
    return sorted((row for row in rows if row["mixture"] == name), key=lambda row: row["position"])


@pytest.mark.parametrize("seed", [42, 7])
def test_choices_are_those_of_the_rules(lake, seed, capsys):
    w, rows = lake
    scores = {row["completion_id"]: row["score"] for row in rows["pref.rewards"]}
    found = brute(rows, scores, seed)
    sft, preference = expected(found, "best", MODEL)
    before = mixture(w, "mixtures.sft", "mix")
    assert ask("--seed", str(seed)) == 0
    assert mixture(w, "mixtures.sft") == sft
    assert mixture(w, "mixtures.preference") == preference
    assert mixture(w, "mixtures.sft", "mix") == before
    assert len(sft) > 40 and 25 < len(preference) < len(sft)
    # Of each rule the data hold a case: ties that the original wins, ties by lot, samples and originals that win.
    won = [best["original"] for _, best, _ in found.values()]
    assert 5 < sum(won) < len(won) - 5
    said = capsys.readouterr().out
    assert (
        "original responses and" in said and "python -m trainers.score MODEL --sources chat maths pool_a pool_b" in said
    )
    assert f"{len(sft):,} rows of best" in said
    assert "all" in said and f" {sum(won)} " in said


def test_ties_go_to_the_original(lake):
    w, rows = lake
    commit_arrow(w, "pref.rewards", all_alike(rows), Job("test"), {"model_id": [MODEL]})
    assert ask() == 0
    originals = {row["prompt_id"]: row for row in rows["mixtures.sft"]}
    found = mixture(w, "mixtures.sft")
    assert len(found) > 40
    for row in found:
        before = originals[row["prompt_id"]]
        assert all(row[key] == before[key] for key in ("completion_id", "messages", "licence"))
    assert mixture(w, "mixtures.preference") == []


def all_alike(rows):
    ids = {(c["completion_id"], c["prompt_id"]) for c in rows["raw.completions"]}
    return pa.Table.from_pylist([reward(*each, "any", 1.0) for each in sorted(ids)])


def test_only_the_mixture_of_that_name_is_replaced(lake):
    w, _ = lake
    for name in ("best", "other", "best"):
        assert ask("--seed", "3" if name == "other" else "42", name=name) == 0
    assert [row["completion_id"] for row in mixture(w, "mixtures.sft")] != [
        row["completion_id"] for row in mixture(w, "mixtures.sft", "other")
    ]
    assert len(mixture(w, "mixtures.preference", "other")) > 25
    snapshot = w.load("mixtures.preference").current_snapshot().summary.additional_properties
    inputs = snapshot["caravan.inputs"]
    assert all(table in inputs for table in ("mixtures.sft@", "raw.prompts@", "raw.completions@", "pref.rewards@"))
    assert '"by": "pref.rewards:checkpoint/0123456789abcdef"' in snapshot["caravan.arguments"]


def test_a_judge_in_the_place_of_a_model(lake):
    """Means over aspects, those of a judge's two templates being one voice; a missing aspect is no score; its terms bind."""
    w, rows = lake
    draw, judged, scores = random.Random(3), [], {}
    for c in rows["raw.completions"]:
        values = {}
        for aspect in ("helpfulness", "honesty"):
            for template in ("a", "b") if aspect == "honesty" else ("a",):
                value = draw.choice([1, 2, 4, 5, None] if template == "a" else [3, 4])
                values.setdefault(aspect, []).append(value)
                about = {"campaign": "c", "judge": "j", "template": template, "position": 0, "listed": 1, "attempt": 0}
                ids = {
                    "completion_id": c["completion_id"],
                    "prompt_id": c["prompt_id"],
                    "request_id": "q",
                    "cut": False,
                }
                judged.append({**about, **ids, "aspect": aspect, "score": value, "licence": "LicenseRef-OpenAI-Output"})
        means = [[v for v in of if v is not None] for of in values.values()]
        if all(means):
            scores[c["completion_id"]] = round(sum(sum(of) / len(of) for of in means) / len(means), 9)
    judged.append({**judged[0], "campaign": "another", "score": 5})
    commit_arrow(w, "pref.judgments", pa.Table.from_pylist(judged), Job("test"))
    assert ask(by="pref.judgments@latest:c") == 0
    sft, preference = expected(brute(rows, scores, terms=["LicenseRef-OpenAI-Output"]), "best", "j")
    assert mixture(w, "mixtures.sft") == sft
    assert mixture(w, "mixtures.preference") == preference
    assert len(preference) > 25 and all("LicenseRef-OpenAI-Output" in row["licence"] for row in sft)


def test_licences_by_hand(warehouse_root):
    """A sample wins: what bound the original response does not bind it; the pair is bound by all three."""
    w = warehouse.open()
    messages = [{"role": "user", "content": "Q"}]
    prompt = {**PLACE, "source": "s", "row": 1, "prompt_id": "p", "messages": messages, "licence": "CC-BY-4.0"}
    row = {**prompt, "mixture": "mix", "position": 0, "completion_id": "o", "licence": "CC-BY-NC-4.0 AND CC-BY-4.0"}
    sample = {
        **PLACE,
        "source": "pool_a",
        "row": 1,
        "sample": 0,
        "prompt_id": "p",
        "completion_id": "a",
        "content": "A",
    }
    for table, of_table in {
        "raw.prompts": [prompt],
        "mixtures.sft": [{**row, "messages": [*messages, {"role": "assistant", "content": "O"}]}],
        "raw.completions": [{**sample, "licence": "MIT OR Apache-2.0"}, {**sample, "source": "pool_b", "sample": 1, "content": "A ", "licence": "MIT"}],
        "pref.rewards": [reward("o", "p", "s", 0.0), reward("a", "p", "pool_a", 1.0)],
    }.items():  # fmt: skip
        commit_arrow(w, table, pa.Table.from_pylist(of_table), Job("test"))
    assert ask() == 0
    (best,), (pair,) = mixture(w, "mixtures.sft"), mixture(w, "mixtures.preference")
    assert best["licence"] == "CC-BY-4.0 AND (Apache-2.0 OR MIT)"
    assert pair["licence"] == "CC-BY-NC-4.0 AND CC-BY-4.0 AND (Apache-2.0 OR MIT)"


def test_what_cannot_be_decided_is_said(lake):
    w, rows = lake
    with pytest.raises(CaravanError, match=r"pref\.rewards has no model_id 'checkpoint/0'\. It has: checkpoint/0123"):
        ask(by="pref.rewards:checkpoint/0")
    with pytest.raises(CaravanError, match=r"--by is pref\.rewards\[@tag\]:MODEL_ID"):
        ask(by="pref.rewards")
    with pytest.raises(CaravanError, match="no responses of nobody"):
        ask("--samples", "nobody")
    with pytest.raises(CaravanError, match="give the new mixtures another name"):
        ask(name="mix")
    with pytest.raises(CaravanError, match=r"holds 2 mixtures: another, mix\. Say which one: --mixture another"):
        main(["--prompts", "mixtures.sft", "--samples", "pool_a", "--by", f"pref.rewards:{MODEL}", "--name", "x"])
    samples = {c["completion_id"] for c in rows["raw.completions"] if c["source"] in SAMPLES}
    only = [row for row in rows["pref.rewards"] if row["completion_id"] in samples]
    commit_arrow(w, "pref.rewards", pa.Table.from_pylist(only), Job("test"), {"model_id": [MODEL]})
    with pytest.raises(CaravanError, match=r"No prompt has scores of both.*trainers\.score MODEL --sources chat maths"):
        ask()
    assert mixture(w, "mixtures.sft") == []
