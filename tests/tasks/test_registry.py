"""The registry: everything is in it, what it refuses, mixes and batches."""

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import tasks
from pipelines import registry as sources
from tasks import registry
from tasks.registry import Request, task, verifier, verify, verify_batch, version
from tasks.task import Task
from tasks.verdict import Verdict
from tasks.verifier import Verifier

# The tasks of Tülu 3 Eval (paper, section 7), development and unseen.
DEVELOPMENT = (
    "mmlu popqa truthfulqa humaneval humanevalplus gsm8k math bbh drop ifeval alpaca_eval "
    "harmbench xstest wildguardtest jailbreaktrigger do_anything_now wildjailbreaktest"
)
UNSEEN = "agieval mmlu_pro gpqa deepmind_math bigcodebench_hard ifeval_ood href"
MENDED = {"bbh", "drop", "math", "gsm8k", "humanevalplus", "ifeval", "mmlu_pro", "agieval", "bigcodebench_hard"}
ASSERTS = ["assert double(2) == 4", "assert double('ab') == 'abab'"]
RIGHT, WRONG = "```python\ndef double(x):\n    return x * 2\n```", "```python\ndef double(x):\n    return x + 2\n```"


def exported(name):
    """What the modules of `tasks` export under a name."""
    for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
        if ".inside" not in module.name:
            yield from getattr(importlib.import_module(module.name), name, ())


def test_all_that_the_modules_export_is_there():
    verifiers = {one.name: one for one in exported("VERIFIERS") if isinstance(one, Verifier)}
    assert {one.name: one for one in registry.verifiers()} == {**verifiers, "mix": registry.MIX}
    variants = {(one.name, one.variant): one for one in exported("TASKS") if isinstance(one, Task)}
    found = [*registry.tasks("paper"), *registry.tasks("fixed")]
    assert {(one.name, one.variant): one for one in found} == variants


def test_every_task_of_the_suites_is_there():
    suites = {one.name: one.suite for one in registry.tasks()}
    assert [name for name, suite in suites.items() if suite == "development"] == list(suites)[
        : len(DEVELOPMENT.split())
    ]
    assert {name for name, suite in suites.items() if suite == "development"} == set(DEVELOPMENT.split())
    # IFBench is what IFEval-OOD was published as.
    assert {name for name, suite in suites.items() if suite == "unseen"} == {*UNSEEN.split(), "ifbench"}
    declared = sources.load()
    assert {name: declared.sources[name].suite for name in declared.names("evaluation")} == {
        name: suite for name, suite in suites.items() if name != "ifeval_ood"
    }


def test_a_task_without_difference_has_one_variant():
    assert {one.name for one in registry.tasks("fixed") if one.variant == "fixed"} == MENDED
    assert task("popqa", "fixed") is task("popqa", "paper")
    assert task("math", "fixed") is not task("math")


@pytest.mark.parametrize(("name", "variant", "words"), [("mnli", "paper", "mmlu, popqa"), ("mmlu", "mended", "mended")])
def test_a_task_that_is_not_there(name, variant, words):
    with pytest.raises(ValueError, match=words):
        task(name, variant)


def test_importing_the_registry_is_light():
    program = (
        "import sys, tasks.registry as r; r.verify('gsm8k', '5', '5')\n"
        "print(*sorted(m for m in sys.modules if m.startswith('tasks.') or m in ('sympy', 'numpy', 'langdetect')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = "aggregate gsm8k registry rules task verdict verifier"
    assert done.stdout.split() == [f"tasks.{name}" for name in names.split()]


# The three of the published RLVR data, as their rows have them.
RLVR = [
    ("gsm8k", "So 3 + 4 = 7.", "7", True),
    ("gsm8k", "So 3 + 4 = 8.", "7", False),
    ("MATH", "The answer is $\\boxed{\\frac12}$.", "0.5", True),
    ("ifeval", "no capitals here", '{"func_name": "validate_lowercase", "N": null}', True),
    ("ifeval", "Not so here", '{"func_name": "validate_lowercase", "N": null}', False),
    ("alias", "It was Ada Lovelace.", '["Lovelace", "Ada"]', True),
    ("f1", "the red fox", '[["red fox"]]', True),
    ("max_length", "one two three", 3, True),
    ("code_asserts", RIGHT, json.dumps(ASSERTS), True),
    ("code_asserts", WRONG, ASSERTS, False),
]


@pytest.mark.parametrize(("name", "response", "truth", "correct"), RLVR)
def test_verify(name, response, truth, correct):
    assert verify(name, response, truth).correct is correct


def test_the_published_rlvr_rows(shared_data):
    """Each published row names a verifier that takes its ground truth."""
    rows = [json.loads(line) for line in (shared_data / "train/tulu3_samples/rlvr_sample.jsonl").open()]
    assert {row["dataset"] for row in rows} <= {"gsm8k", "MATH", "ifeval"}
    assert len(rows) == 100
    for row in rows:
        verdict = verify(row["dataset"], "nothing", row["ground_truth"])
        assert isinstance(verdict, Verdict)
        if row["dataset"] != "ifeval":
            assert not verdict.correct
            assert verify(
                row["dataset"], f"The answer is $\\boxed{{{row['ground_truth']}}}$", row["ground_truth"]
            ).correct


@pytest.mark.parametrize(
    ("name", "truth", "arguments", "words"),
    [
        ("gsmk", "7", {}, "unknown verifier 'gsmk'; there are gsm8k, math"),
        ("gsm8k", "none at all", {}, "gsm8k: ground_truth 'none at all' holds no number"),
        ("gsm8k", ["7"], {}, "gsm8k: the ground truth must be text"),
        ("gsm8k", "7", {"variety": "paper"}, "arguments of gsm8k: .*variety"),
        ("gsm8k", "7", {"variant": "mended"}, "gsm8k: variant is 'mended'"),
        ("bbh", "(A)", {}, "arguments of bbh: .*subtask"),
        ("multiple_choice", "A", {"choices": "4"}, "arguments of multiple_choice have the wrong type"),
        ("ifeval", "{'a': 1}", {}, "ifeval: the ground truth .* is no JSON"),
        ("ifeval", "[" * 100_000, {}, "ifeval: the ground truth .* is no JSON"),
        (
            "ifeval",
            '{"instruction_id_list": ["keywords:none"], "kwargs": [{}]}',
            {},
            "unknown constraint 'keywords:none'",
        ),
        ("alias", "5", {}, "alias: ground_truth 5 is not a list"),
        ("mix", "[]", {}, "mix: the ground truth must be a list"),
        ("mix", '[{"verifier": "gsm8k"}]', {}, "mix: part 0 must be an object with verifier and ground_truth"),
        ("mix", '[{"verifier": "none", "ground_truth": "1"}]', {}, "unknown verifier 'none'"),
        ("mix", '[{"verifier": "mix", "ground_truth": []}]', {}, "part 0 is a mix itself"),
        ("mix", '[{"verifier": "gsm8k", "ground_truth": "1", "weight": 0}]', {}, "weight of part 0"),
        ("mix", '[{"verifier": "gsm8k", "ground_truth": "1", "weight": NaN}]', {}, "weight of part 0"),
        ("mix", '[{"verifier": "gsm8k", "ground_truth": "1", "arguments": [1]}]', {}, "arguments of part 0"),
    ],
)
def test_what_is_refused(name, truth, arguments, words):
    with pytest.raises(ValueError, match=words):
        verify(name, "some response 7", truth, **arguments)


def mix(*parts):
    return json.dumps(
        [dict(zip(("verifier", "ground_truth", "weight", "arguments"), part, strict=False)) for part in parts]
    )


def test_a_mix_is_right_where_all_its_parts_are():
    both = mix(("gsm8k", "7"), ("max_length", "4", 3))
    assert verify("mix", "It is 7.", both) == Verdict(True, 1.0, None, "none", "")
    wrong = verify("mix", "It is 8.", both)
    assert (wrong.correct, wrong.score, wrong.message) == (False, 0.75, "gsm8k: not correct")
    neither = verify("mix", "I believe it is 8.", both)
    assert (neither.score, neither.message) == (0.0, "gsm8k: not correct; max_length: 5 words of at most 4")
    assert not verify("mix", "yes (B)", mix(("bbh", "(A)", 1, {"subtask": "date_understanding"}))).correct
    partly = verify("mix", "fox", mix(("f1", [["red fox"]], 1), ("gsm8k", 7, 1)))
    assert partly.score == pytest.approx((0.67 + 0) / 2)


def test_versions():
    assert version("GSM8K", "7") == verifier("gsm8k").version
    parts = mix(("max_length", "4"), ("gsm8k", "7"), ("gsm8k", "8"))
    assert version("mix", parts) == "1 (gsm8k 2, max_length 1)"
    with pytest.raises(ValueError, match="unknown verifier"):
        version("none", "7")


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_a_batch_is_as_its_requests_one_by_one(workers):
    requests = [Request(name, response, truth) for name, response, truth, _ in RLVR]
    requests += [
        Request("gsm8k", "7", "no number"),
        Request("mix", RIGHT, mix(("code_asserts", ASSERTS), ("max_length", "2"))),
        Request("mix", RIGHT, "["),
        Request("gsm8k", "12", "1,2", {"variant": "paper"}),
        Request("none", "7", "7"),
    ]
    found = verify_batch(requests, workers)
    for request, outcome in zip(requests, found, strict=True):
        if isinstance(outcome, ValueError):
            with pytest.raises(ValueError) as raised:
                verify(request.name, request.response, request.ground_truth, **request.arguments)
            assert str(raised.value) == str(outcome)
        else:
            assert outcome == verify(request.name, request.response, request.ground_truth, **request.arguments)
    assert [number for number, one in enumerate(found) if isinstance(one, ValueError)] == [10, 12, 14]
    assert verify_batch([]) == []
