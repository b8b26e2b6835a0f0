"""Judges for the loopback server: they read the question as a model does, and rate a response by the [quality N] that it carries."""

import json
import re
from typing import Any

SECTION = re.compile(r"^=== ([0-9a-f]{8}) response (\d+) ===\n(.*?)(?=^=== \1 )", re.MULTILINE | re.DOTALL)


def qualities(body: dict[str, Any]) -> list[int]:
    """The quality of each response, in the order shown."""
    question = body["messages"][-1]["content"]
    found = [(int(number), text) for _, number, text in SECTION.findall(question)]
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert f"There are {len(found)} responses" in question
    return [int(re.findall(r"\[quality (\d)\]", text)[-1]) for _, text in found]


def reply(scores: dict[int, Any]) -> str:
    ratings = [{"response": n, "rationale": f"It is worth {score}.", "rating": score} for n, score in scores.items()]
    return json.dumps({"ratings": ratings})


def fair(body: dict[str, Any], times: int) -> str:
    return reply(dict(enumerate(qualities(body), 1)))


def harsh(body: dict[str, Any], times: int) -> str:
    return reply({number: max(1, score - 1) for number, score in enumerate(qualities(body), 1)})


def garbled_at_first(body: dict[str, Any], times: int) -> str:
    return fair(body, times) if times else fair(body, times)[:-9]


def silent_on_the_last(body: dict[str, Any], times: int) -> str:
    """Never says anything of the last response; at first nothing at all."""
    scores = dict(enumerate(qualities(body), 1))
    return reply(dict(list(scores.items())[:-1])) if times else "I would rather not say."


def counting_from_zero(body: dict[str, Any], times: int) -> str:
    return reply(dict(enumerate(qualities(body))))
