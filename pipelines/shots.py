"""Worked examples before a prompt, all as one user turn: the prompts of RLVR.

The examples and their form are those of the evaluation task (`tasks`), so that a model is trained on what it is asked later.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.registry import task
from tasks.task import Instance, Task

KEYS = {"task", "count", "field"}


def problem(shots: Mapping[str, Any]) -> str | None:
    """What is wrong with a registry's `shots`: the task, how many examples, and the field of its instances that a prompt becomes."""
    if set(shots) != KEYS:
        return f"has shots with the keys {', '.join(shots)}: write {{ task = …, count = …, field = … }}."
    try:
        found = task(shots["task"])
    except ValueError as error:
        return f"has shots of an {error}."
    most = len(found.shots) if isinstance(found.shots, Sequence) else 0
    if not isinstance(shots["count"], int) or not 1 <= shots["count"] <= most:
        return f"asks for {shots['count']!r} shots of the task {found.name}, which has {most} that are the same for every prompt."
    try:
        _turns(found, shots, "")
    except KeyError as error:
        return f"has shots with the field {shots['field']!r}: the task {found.name} makes its prompt from {error}."
    return None


def with_shots(messages: Sequence[Mapping[str, str]], shots: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages, with the last turn in the form of the task and after the first `count` of its examples."""
    *before, last = messages
    *turns, asked = _turns(task(shots["task"]), shots, last["content"])
    examples = [f"{user}\n{assistant}" for user, assistant in zip(turns[::2], turns[1::2], strict=True)]
    return [*map(dict, before), {"role": "user", "content": "\n\n".join([*examples, asked])}]


def told(shots: Mapping[str, Any]) -> str:
    """The examples in words, which change whenever their text does."""
    (turn,) = with_shots([{"role": "user", "content": ""}], shots)
    digest = hashlib.md5(turn["content"].encode(), usedforsecurity=False).hexdigest()
    return f"{shots['count']} of {shots['task']} as {shots['field']} {digest[:8]}"


def _turns(found: Task, shots: Mapping[str, Any], text: str) -> list[str]:
    assert isinstance(found.shots, Sequence)
    field = {shots["field"]: text}
    prompt = found.prompt(Instance(fields=field, record=field), found.shots[: shots["count"]])
    return [content for _, content in prompt.messages]
