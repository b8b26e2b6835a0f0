"""Prompts after worked examples, in the form of the evaluation task."""

from pathlib import Path
from typing import Any

import pytest

from pipelines import registry, shots
from tasks.registry import task
from tasks.task import Instance
from warehouse.errors import CaravanError

GSM8K = {"task": "gsm8k", "count": 8, "field": "question"}
MATH = {"task": "math", "count": 3, "field": "problem"}


@pytest.mark.parametrize(("wanted", "count"), [(GSM8K, 8), (MATH, 3)], ids=["gsm8k", "math"])
def test_one_user_turn_says_all_that_the_tasks_turns_say(wanted: dict[str, Any], count: int) -> None:
    before = [{"role": "system", "content": "Be brief"}]
    system, turn = shots.with_shots([*before, {"role": "user", "content": "How many?"}], wanted)
    assert (system, turn["role"]) == (before[0], "user")
    found = task(wanted["task"])
    instance = Instance(fields={}, record={"question": "How many?", "problem": "How many?"})
    asked = [content for _, content in found.prompt(instance, list(found.shots)[:count]).messages]  # type: ignore[arg-type]
    assert len(asked) == 2 * count + 1
    places = [turn["content"].index(content) for content in asked]
    assert places == sorted(places)
    assert turn["content"].replace("\n", "") == "".join(asked).replace("\n", "")
    assert turn["content"].endswith("\n\n" + asked[-1])


def test_fewer_examples_are_another_way_of_reading() -> None:
    assert len({shots.told(wanted) for wanted in (GSM8K, MATH, {**GSM8K, "count": 7})}) == 3
    known = registry.load()
    assert shots.told(GSM8K) in known.get("rlvr_gsm8k").how
    assert "shots" not in known.get("gsm8k_train").how


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"count": 9}, "asks for 9 shots of the task gsm8k, which has 8"),
        ({"count": 0}, "asks for 0 shots"),
        ({"task": "gsm"}, "unknown task 'gsm'; there are .*gsm8k"),
        ({"task": "mmlu"}, "which has 0"),
        ({"field": "problem"}, "makes its prompt from 'question'"),
        ({"n": 1}, "write { task = "),
    ],
    ids=str,
)
def test_shots_that_a_task_does_not_have_are_refused(changed: dict[str, Any], said: str) -> None:
    keys = {"input": "a.jsonl", "adapter": "prompt_completion", "licence": "MIT", "shots": {**GSM8K, **changed}}
    with pytest.raises(CaravanError, match=rf"mine\.toml: the source 'mine' .*{said}"):
        registry.declare("mine", "training", keys, Path(), "mine.toml")
