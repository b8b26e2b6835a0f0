"""The constraints of IFBench and IFEval-OOD: witnesses, arguments, and the verdicts of the benchmark's own checkers."""

import io
import itertools
import json
import math
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tasks.constraints.core import validate
from tasks.constraints.ifbench import IFBENCH, IFEVAL_OOD
from tasks.ifbench import TASKS
from tasks.ifeval import judge
from tasks.task import Instance
from tests.tasks.ifbench_witnesses import EDGES, JOINT, WITNESSES

ALL = IFBENCH | IFEVAL_OOD
PROMPTS = [
    "Write a poem about the sea, please.",
    "Why?",
    "",
    "List three facts.\n\nBe brief; cite sources (2 at most).",
]
OFFICIAL = json.loads(Path(__file__).with_name("ifbench_official.json").read_text())


def test_there_are_58_and_52_of_them() -> None:
    assert (len(IFBENCH), len(IFEVAL_OOD), len(IFBENCH.keys() & IFEVAL_OOD.keys())) == (58, 52, 48)
    assert WITNESSES.keys() == ALL.keys()


@pytest.mark.parametrize("id", WITNESSES)
def test_witnesses(id: str) -> None:
    arguments, followed, broken = WITNESSES[id]
    arguments = validate(ALL[id], arguments)
    assert ALL[id].check(followed, **arguments) is True
    assert ALL[id].check(broken, **arguments) is False


@pytest.mark.parametrize("id", WITNESSES)
def test_no_response_makes_a_check_fail(id: str) -> None:
    arguments = validate(ALL[id], WITNESSES[id][0])
    others = [text for _, followed, broken in WITNESSES.values() for text in (followed, broken)]
    for response in [*EDGES, *others]:
        assert ALL[id].check(response, **arguments) in (True, False)


@pytest.mark.parametrize("id", WITNESSES)
def test_sampled_arguments_are_valid_and_described(id: str) -> None:
    constraint = ALL[id]
    for seed, prompt in itertools.product(range(20), PROMPTS[: 2 if id.startswith("repeat:") else 4]):
        arguments = constraint.sample(random.Random(seed), prompt)
        assert arguments == constraint.sample(random.Random(seed), prompt)
        text = constraint.describe(**validate(constraint, arguments))
        for value in arguments.values():
            shown = value + 1 if id == "repeat:repeat_span" and value == arguments["n_start"] else value
            assert str(shown) in text or id == "repeat:repeat_span"
        assert constraint.check("Some words.", **arguments) in (True, False)


def test_described_span_counts_from_one() -> None:
    text = IFBENCH["repeat:repeat_span"].describe(prompt_to_repeat="a b c", n_start=0, n_end=2)
    assert "number 1 to number 2" in text


@pytest.mark.parametrize(
    ("id", "arguments", "named"),
    [
        ("count:numbers", {}, "N"),
        ("count:numbers", {"N": "3"}, "N"),
        ("count:words_japanese", {"N": 0}, "N"),
        ("count:person_names", {"N": 51}, "N"),
        ("sentence:keyword", {"word": "", "N": 1}, "word"),
        ("ratio:stop_words", {"percentage": 101}, "percentage"),
        ("ratio:stop_words", {"percentage": math.nan}, "percentage"),
        ("format:options", {"options": "yes/no", "sep": "-"}, "sep"),
        ("repeat:repeat_span", {"prompt_to_repeat": "a", "n_start": 0.5, "n_end": 1}, "n_start"),
    ],
)
def test_bad_arguments_are_named(id: str, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"{id}.*'{named}'"):
        validate(ALL[id], arguments)


def test_conflicts_are_known_ids_and_leave_pairs_that_one_response_follows() -> None:
    """Each pair that may stand together has a witness: one of each side's, a joint one, or both after one another."""
    pool = [*JOINT, *(followed for _, followed, _ in WITNESSES.values())]
    pairs = [
        (one, other)
        for one, other in itertools.combinations(sorted(ALL), 2)
        if other not in ALL[one].conflicts and one not in ALL[other].conflicts
    ]
    assert len(pairs) > 300
    for one, other in pairs:
        (given, left, _), (others, right, _) = WITNESSES[one], WITNESSES[other]
        texts = [first + gap + second for gap in ("\n", " ") for first, second in ((left, right), (right, left))]
        texts += [
            joined for text in pool for side in (left, right) for joined in (text, f"{text} {side}", f"{side} {text}")
        ]
        assert any(ALL[one].check(text, **given) and ALL[other].check(text, **others) for text in texts), (one, other)


def _published(shared_data: Path) -> list[dict[str, Any]]:
    lines = (shared_data / "evals/ifbench/IFBench_test.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _arguments(shared_data: Path) -> dict[str, list[dict[str, Any]]]:
    """The different arguments of each constraint in the published prompts, in their order, without those that are null."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _published(shared_data):
        for id, given in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            stated = {name: value for name, value in given.items() if value is not None}
            if stated not in found.setdefault(id, []):
                found[id].append(stated)
    return found


def test_published_arguments_are_valid(shared_data: Path) -> None:
    rows = _published(shared_data)
    pairs = [pair for row in rows for pair in zip(row["instruction_id_list"], row["kwargs"], strict=True)]
    assert (len(rows), len(pairs)) == (300, 344)
    assert {id for id, _ in pairs} == IFBENCH.keys()
    for id, arguments in pairs:
        assert IFBENCH[id].describe(**validate(IFBENCH[id], arguments))


def _responses(shared_data: Path, name: str, count: int) -> list[str]:
    if name.endswith(".zst"):
        with (shared_data / name).open("rb") as raw:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
            return [json.loads(line)["output"] for line in itertools.islice(lines, 0, 29 * count, 29)]
    with (shared_data / name).open(encoding="utf-8") as lines:
        return [json.loads(line)["response"] for line in itertools.islice(lines, count)]


def test_agreement_with_the_official_checkers(shared_data: Path) -> None:
    """594 real responses by all 58 constraints: the same verdict wherever the official checker gives one and no model is needed."""
    arguments = _arguments(shared_data)
    compared, followed, raised, tagged = 0, 0, Counter[tuple[str, bool]](), Counter[bool]()
    departures = set()
    for name, coded in OFFICIAL["followed"].items():
        verdicts = [int(bits, 16) for bits in coded.split()]
        for row, (response, bits) in enumerate(
            zip(_responses(shared_data, name, len(verdicts)), verdicts, strict=True)
        ):
            for place, id in enumerate(OFFICIAL["ids"]):
                given = arguments[id][row % len(arguments[id])]
                ours = IFBENCH[id].check(response, **validate(IFBENCH[id], given))
                official = bool(bits >> place & 1)
                if id in OFFICIAL["raised"][name].get(str(row), []):
                    raised[id, ours] += 1
                elif id == "words:start_verb":
                    tagged[ours == official] += 1
                else:
                    compared += 1
                    followed += official
                    if ours != official:
                        departures.add((id, name, row))
    assert compared == 33_847
    assert followed > 2_000
    assert not departures
    # The official checkers take the last of no words, the last character of none, or divide by no trigrams.
    assert raised == {("words:last_first", False): 6, ("format:quote_unquote", True): 2, ("ratio:overlap", False): 3}
    # A trained tagger against a list of verbs.
    assert tagged[True] / tagged.total() > 0.96


def test_agreement_strict_and_loose_on_its_own_prompts(shared_data: Path) -> None:
    instances = {" ".join(row["prompt"].split()): row for row in _published(shared_data)}
    lines = (shared_data / "evals/ifbench/sample_output.jsonl").read_text().splitlines()
    judged = 0
    for line, strict, loose in zip(lines, OFFICIAL["strict"].split(), OFFICIAL["loose"].split(), strict=True):
        sample = json.loads(line)
        record = instances.get(" ".join(sample["prompt"].split()))
        if record is None:  # The samples answer an earlier state of one prompt.
            assert strict == "-"
            continue
        held = judge(Instance(fields={}, record=record), sample["response"])
        if "words:start_verb" in record["instruction_id_list"]:
            continue
        assert [[str(int(one)) for one in mode] for mode in held] == [list(strict), list(loose)], record["key"]
        verdict = TASKS[1].verify(Instance(fields={}, record=record), sample["response"])
        assert verdict.correct == ("0" not in loose)
        judged += 1
    assert judged == 287


def test_tasks() -> None:
    assert [(task.name, task.suite, task.sampling.max_tokens) for task in TASKS] == [
        ("ifeval_ood", "unseen", 2048),
        ("ifbench", "unseen", 2048),
    ]
    record = {"prompt": "Say hi.", "instruction_id_list": ["format:camel_case"], "kwargs": [{"N": None}]}
    instance = Instance(fields={"prompt": "Say hi."}, record=record)
    assert TASKS[0].prompt(instance, ()).messages == (("user", "Say hi."),)
    assert TASKS[0].verify is not None
    assert TASKS[0].verify(instance, "**helloThere**\nThat Was It").correct
    assert not TASKS[0].verify(instance, "Hello There").correct


@pytest.mark.parametrize(
    "response",
    [
        *(
            "a" * 200_000,
            "(" * 200_000,
            "?" * 200_000,
            "\x00" * 200_000,
            "1," * 100_000,
            "'\"" * 100_000,
            "<i>" * 100_000,
        ),
        *("\n" * 200_000 + "x", " " * 200_000 + "x", "a. " * 60_000, "a.\n" * 60_000, ". " * 60_000 + "x"),
        *("Zimbabwe\n" * 30_000, "Question 1:\n" * 20_000, "\ud800e\u0301😀. " * 40_000),
        'ProductID,Category,Brand,Price,Stock\n"' + "&" * 100_000,
    ],
    ids=lambda text: repr(text[:5]),
)
def test_long_responses_take_linear_time(response: str) -> None:
    started = time.process_time()
    for id, (arguments, *_) in WITNESSES.items():
        ALL[id].check(response, **arguments)
    assert time.process_time() - started < 30
