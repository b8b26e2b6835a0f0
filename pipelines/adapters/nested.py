"""Prompts listed under topics: {topic: {subtopic: [prompt, …]}}, as deep as it comes."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.adapters.base import Fields, Prompt, Unreadable, single, type_name


def nested(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """Every text in the object is a prompt, in order. With `constraint = "$key"` the innermost key is the constraint that it states."""
    prompts = []
    for key, text in _leaves(record, ""):
        prompt = Prompt(single(text, f"the prompt under '{key}'"))
        if fields.get("constraint") == "$key":
            prompt.constraints = [{"id": key.strip(), "arguments": None}]
        prompts.append(prompt)
    if not prompts:
        raise Unreadable("no text in the object")
    return prompts


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        raise Unreadable(f"under '{key}' is {type_name(value)}; only objects, lists and texts were expected")
