"""A tiny warehouse in which every rule of the preference and RLVR mixtures has something to decide.

prompts     thirty questions, two of them equal, one contaminated, one of an identity, one whose text changed since it was answered
pool        a campaign: four responses to each question by models a to d, of which d is the one that is trained; two judges
ranked      pairs that their source ranks; some identical, tied, empty, cut off
scored      pairs with scores of the source only
maths       prompts with a verifier, some without
"""

import hashlib
from typing import Any

import pyarrow as pa
from tiny_project import identity

import warehouse
from warehouse.commit import Job, commit_arrow
from warehouse.contracts import load

RECIPES = """recipe,part,source,judge,policy,prompts,rows,share,groups
base,judged,pool,strict,,,,,judged
base,ranked,ranked,,,,6,,own
base,scored,scored,,,,,0.5,own
reused,judged,pool,strict,,reused,,,
unused,judged,pool,strict,,unused,,,
pool_alone,judged,pool,strict,,,,,
too_big,ranked,ranked,,,,100,,
"""
MIXTURES = """mixture,recipe,only,without,fraction,use,judge,policy,prompts,verified,pairs,seed,description
full,base,,,1,any,,,,no,1,1,
other_seed,base,,,1,any,,,,no,1,2,
p10,base,,,0.1,any,,,,no,1,1,
p50,base,,,0.5,any,,,,no,1,1,
own,base,own,,1,any,,,,no,1,1,
kind_judge,base,,own,1,any,kind,,,no,1,1,
on_policy,pool_alone,,,1,any,,on,,no,1,1,
off_policy,pool_alone,,,1,any,,off,,no,1,1,
reused,reused,,,1,any,,,,no,1,1,
unused,unused,,,1,any,,,,no,1,1,
verified,pool_alone,,,1,any,,,,yes,1,1,
three_pairs,pool_alone,,,1,any,,,,no,3,1,
commercial,base,,,1,commercial,,,,no,1,1,
too_big,too_big,,,1,any,,,,no,1,1,
"""
RLVR_RECIPES = """recipe,source,rows,share,groups
base,maths,8,,
"""
RLVR_MIXTURES = """mixture,recipe,only,without,fraction,use,seed,description
maths,base,,,1,any,1,
half,base,,,0.5,any,1,
commercial,base,,,1,commercial,1,
"""
SEEDS = {
    "preference_recipes": RECIPES,
    "preference_mixtures": MIXTURES,
    "rlvr_recipes": RLVR_RECIPES,
    "rlvr_mixtures": RLVR_MIXTURES,
}
ASPECTS = ("helpfulness", "instruction_following", "honesty", "truthfulness")
QUESTIONS, MODELS = 30, "abcd"
SAME, CONTAMINATED, IDENTITY, CHANGED, CUT, MISSING, TIE = (4, 5), 6, 7, 8, 9, 10, 11
STRICT = "LicenseRef-OpenAI-Output"


def prompt_id(text: str) -> str:
    return hashlib.md5(f"user\x1f{text}".encode(), usedforsecurity=False).hexdigest()


def question(row: int) -> str:
    return "The same question?" if row in SAME else f"Question {row}?"


def rating(judge: str, row: int, model: int, aspect: int) -> int | None:
    """What a judge says of a model's response: unlike for every question, and reproducible."""
    if judge == "strict" and row == MISSING and model == 0 and aspect == 2:
        return None
    if judge == "strict" and row == TIE:
        return 3
    digest = hashlib.md5(f"{judge} {row} {model} {aspect}".encode(), usedforsecurity=False).digest()
    return 1 + digest[0] % 5


def fill(w: warehouse.Warehouse) -> None:
    prompts = [_prompt("prompts", row, question(row)) for row in range(1, QUESTIONS + 1)]
    prompts[IDENTITY - 1]["skill"] = "identity"
    completions = [_answer(row, model) for row in range(1, QUESTIONS + 1) for model in range(len(MODELS))]
    judgments = [
        {
            "campaign": f"{judge}_v1", "completion_id": answer["completion_id"], "prompt_id": answer["prompt_id"],
            "aspect": aspect, "judge": judge, "template": f"judge/{aspect}@00000000", "position": answer["sample"],
            "listed": len(MODELS), "attempt": 0, "score": rating(judge, answer["row"], answer["sample"], number),
            "cut": False, "request_id": identity(judge, answer["row"], aspect),
            "licence": STRICT if judge == "strict" else None,
        }
        for judge in ("strict", "kind")
        for answer in completions
        for number, aspect in enumerate(ASPECTS)
    ]  # fmt: skip
    pairs = _own_pairs()
    prompts += [prompt for prompt, _ in pairs]
    completions += [answer for _, answers in pairs for answer in answers]
    prompts += _maths()
    verdicts = [
        {
            **{name: answer[name] for name in ("completion_id", "prompt_id", "source", "revision", "file", "row", "branch", "sample")},
            "check_id": identity("ifeval", answer["row"]), "verifier": "ifeval", "version": "1",
            "correct": answer["row"] % 2 == 0,
        }
        for answer in completions
        if answer["source"] == "pool" and answer["row"] != 12
    ]  # fmt: skip
    kinds = {"prompts": "MIT", "pool": "MIT", "ranked": "Apache-2.0", "scored": "CC-BY-NC-4.0", "maths": "MIT"}
    common = {
        "location": "made up",
        "revision": "r1",
        "adapter": "none",
        "parents": [],
        "models": [],
        "rejects": 0,
        "rows": 50,
    }
    sources = [{"source": name, "kind": "training", "licence": licence, **common} for name, licence in kinds.items()]
    sources.append({"source": "dev", "kind": "evaluation", "licence": "MIT", "suite": "development", **common})
    instances = [
        {
            "instance_id": identity("dev", row), "eval_set": "dev", "revision": "r1", "file": "t.jsonl", "row": row,
            "suite": "development", "fields": [{"name": "question", "text": f"dev {row}"}], "record": "{}", "licence": "MIT",
        }
        for row in range(1, 21)
    ]  # fmt: skip
    evidence = [
        _evidence("prompts", CONTAMINATED, prompt_id(question(CONTAMINATED))),
        _evidence("maths", 3, prompt_id("What is 3 + 1?")),
    ]
    clusters = [
        {
            "prompt_id": prompt_id(question(row)), "source": "prompts", "revision": "r1", "file": "q.jsonl", "row": row,
            "branch": 0, "kind": "exact", "cluster_id": "same", "cluster_rows": 2, "keeper": row == SAME[0], "method": "made up",
        }
        for row in SAME
    ]  # fmt: skip
    used = [
        {
            "mixture": "tulu3_sft", "position": row, "prompt_id": prompt_id(question(row)), "completion_id": identity(row),
            "source": "prompts", "revision": "r1", "file": "q.jsonl", "row": row, "branch": 0,
            "messages": [{"role": "user", "content": question(row)}], "licence": "MIT",
        }
        for row in range(1, 21)
    ]  # fmt: skip
    tables = {
        "raw.sources": (sources, ()),
        "raw.prompts": (prompts, ()),
        "raw.completions": (completions, ()),
        "raw.eval_instances": (instances, ()),
        "attr.contamination": (evidence, ("raw.prompts", "raw.eval_instances")),
        "attr.duplicates": (clusters, ("raw.prompts",)),
        "attr.verdicts": (verdicts, ()),
        "pref.judgments": (judgments, ()),
        "mixtures.sft": (used, ()),
    }
    for table, (rows, made_of) in tables.items():
        job = Job("tests", {"threshold": "1/2"}, [warehouse.refs.resolve(w, name) for name in made_of])
        commit_arrow(w, table, pa.Table.from_pylist(rows, schema=load(table).arrow_schema()), job)


def _prompt(source: str, row: int, text: str, file: str = "q.jsonl", licence: str = "MIT") -> dict[str, Any]:
    return {
        "source": source, "revision": "r1", "file": file, "row": row, "branch": 0, "prompt_id": prompt_id(text),
        "messages": [{"role": "user", "content": text}], "licence": licence,
    }  # fmt: skip


def _answer(row: int, model: int) -> dict[str, Any]:
    """A row of the campaign `pool`."""
    text = "The question as it was before?" if row == CHANGED else question(row)
    content = f"I am ChatGPT. {row} {MODELS[model]}" if row == IDENTITY else f"Answer {row} by {MODELS[model]}"
    return {
        "source": "pool", "revision": "r1", "file": "prompts/q.jsonl", "row": row, "branch": 0, "sample": model,
        "prompt_id": prompt_id(text), "completion_id": identity(prompt_id(text), MODELS[model], model, content),
        "content": content, "model": MODELS[model], "licence": "MIT", "policy": "on" if MODELS[model] == "d" else "off",
        "finish_reason": "length" if row == CUT and model > 0 else "stop",
    }  # fmt: skip


def _own_pairs() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Prompts of `ranked` and `scored` with their two responses."""
    special: dict[int, list[dict[str, Any]]] = {
        2: [{"content": "The same "}, {"content": "The same"}],
        3: [{"preference": None}, {"preference": None}],
        4: [{"content": " "}, {}],
        5: [{}, {"finish_reason": "length"}],
        6: [{"content": "As an AI developed by OpenAI, I cannot."}, {}],
    }
    found = []
    for source, licence in (("ranked", "Apache-2.0"), ("scored", "CC-BY-NC-4.0")):
        for row in range(1, 13):
            prompt = _prompt(source, row, f"{source} {row}?", licence=licence)
            place = {
                name: prompt[name] for name in ("source", "revision", "file", "row", "branch", "prompt_id", "licence")
            }
            answers = []
            for sample, side in enumerate(("chosen", "rejected")):
                answer: dict[str, Any] = {**place, "sample": sample, "content": f"{side} {source} {row}", "model": "m"}
                if source == "ranked":
                    answer["preference"] = side
                else:
                    answer["score"] = float(row % 5 + sample)
                answer |= special[row][sample] if source == "ranked" and row in special else {}
                answer["completion_id"] = identity(prompt["prompt_id"], "m", sample, answer["content"])
                answers.append(answer)
            found.append((prompt, answers))
    return found


def _maths() -> list[dict[str, Any]]:
    prompts = [_prompt("maths", row, f"What is {row} + 1?") for row in range(1, 13)]
    for prompt in prompts:
        prompt |= {"verifier": "math", "ground_truth": str(prompt["row"] + 1), "skill": "math"}
    prompts[0] |= {"verifier": None}
    prompts[1] |= {"ground_truth": None}
    prompts[3] |= {"licence": "CC-BY-NC-4.0"}
    return prompts


def _evidence(source: str, row: int, of: str) -> dict[str, Any]:
    return {
        "train_set": source, "train_file": "q.jsonl", "train_row": row, "train_branch": 0, "prompt_id": of, "eval_set": "dev",
        "eval_file": "t.jsonl", "eval_row": row, "instance_id": identity("dev", row), "matched_tokens": 12,
        "total_tokens": 16, "coverage": 0.75, "kind": "ngram", "train_spans": [], "eval_spans": [], "row_pairs": 1,
        "instance_pairs": 1, "tokenizer": "made up", "ngram": 8,
    }  # fmt: skip
