"""Adapters: pure functions from a record, as a source has it, to prompts with their completions.

`adapt` is the one entry. An adapter is named in the registry or on the command line, with the columns of its roles; roles that
mean the same everywhere (`language`, `model`, `ground_truth`, `verifier`, `persona`, `skill`, `constraints`) work with all.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.adapters import chat, nested, pairs, preference, trees
from pipelines.adapters.base import Completion, Fields, Prompt, Unreadable, as_json, as_text, optional
from pipelines.adapters.clean import CLEAN
from pipelines.adapters.languages import tag

__all__ = ["ADAPTERS", "CLEAN", "ROLES", "VERSION", "Completion", "Prompt", "Unreadable", "adapt"]

VERSION = 3  # goes up when an adapter reads the same record differently, so that sources are read again

ADAPTERS: dict[str, Callable[[Mapping[str, Any], Fields], list[Prompt]]] = {
    "messages": chat.messages,
    "sharegpt": chat.sharegpt,
    "alpaca": pairs.alpaca,
    "prompt_completion": pairs.prompt_completion,
    "flan": pairs.flan,
    "text": pairs.text,
    "preference": preference.preference,
    "hh": preference.hh,
    "oasst_tree": trees.oasst_tree,
    "oasst_messages": trees.oasst_messages,
    "nested": nested.nested,
}

_COMMON = ("language", "model", "ground_truth", "verifier", "persona", "skill", "constraints")
ROLES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "system", *_COMMON),
    "sharegpt": ("messages", "system", *_COMMON),
    "alpaca": ("instruction", "input", "output", "history", "system", "instances", *_COMMON),
    "prompt_completion": ("prompt", "completion", "system", "score", "preferred", *_COMMON),
    "flan": ("question", "answer", "rationale", *_COMMON),
    "text": ("text", "pair", *_COMMON),
    "preference": (
        *("prompt", "chosen", "rejected", "system", "score_chosen", "score_rejected", "chosen_model", "rejected_model"),
        *_COMMON,
    ),
    "hh": ("chosen", "rejected", *_COMMON),
    "oasst_tree": _COMMON,
    "oasst_messages": _COMMON,
    "nested": ("constraint", *_COMMON),
}


def adapt(
    adapter: str, record: Mapping[str, Any], fields: Fields, constants: Mapping[str, str], clean: Sequence[str] = ()
) -> list[Prompt]:
    """The prompts of a record, at least one. Raises Unreadable with the reason why it holds none."""
    prompts = ADAPTERS[adapter](record, fields)
    for prompt in prompts:
        _complete(prompt, record, fields, constants)
        if clean:
            _clean(prompt, clean)
    return prompts


def _complete(prompt: Prompt, record: Mapping[str, Any], fields: Fields, constants: Mapping[str, str]) -> None:
    """What the common roles and the source's constants say, where the adapter left it open."""
    language = optional(record, fields, "language") or prompt.language or constants.get("language")
    prompt.language = tag(language if isinstance(language, str) else None)
    prompt.ground_truth = prompt.ground_truth or as_json(optional(record, fields, "ground_truth", "ground_truth"))
    verifier = optional(record, fields, "verifier") or constants.get("verifier")
    prompt.verifier = prompt.verifier or verifier
    prompt.skill = optional(record, fields, "skill") or constants.get("skill")
    persona = optional(record, fields, "persona")
    if persona:
        prompt.persona_id = hashlib.md5(as_text(persona, "the persona").encode()).hexdigest()
    stated = optional(record, fields, "constraints")
    if isinstance(stated, list):
        prompt.constraints = [_constraint(c) for c in stated]
    # several columns run parallel to the completions, and then the adapter has taken them
    model = optional(record, fields, "model") if isinstance(fields.get("model", ""), str) else None
    prompt.model = (model if isinstance(model, str) else None) or constants.get("model")
    for completion in prompt.completions:
        completion.model = completion.model or prompt.model


def _constraint(stated: Any) -> dict[str, str | None]:
    if isinstance(stated, str):
        return {"id": stated, "arguments": None}
    if isinstance(stated, dict) and isinstance(stated.get("id"), str):
        return {"id": stated["id"], "arguments": as_json(stated.get("arguments"))}
    raise Unreadable("a constraint is neither a name nor an object with id and arguments")


def _clean(prompt: Prompt, names: Sequence[str]) -> None:
    for name in names:
        repair = CLEAN[name]
        for message in prompt.messages:
            message["content"] = repair(message["content"])
        for completion in prompt.completions:
            completion.content = repair(completion.content)
        if prompt.ground_truth:
            prompt.ground_truth = repair(prompt.ground_truth)
