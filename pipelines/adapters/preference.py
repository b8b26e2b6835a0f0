"""Pairs of a better and a worse answer: chosen and rejected columns, and the transcripts of Anthropic's HH."""

import re
from collections.abc import Mapping
from typing import Any

from pipelines.adapters.base import (
    Fields,
    Prompt,
    Unreadable,
    as_number,
    as_text,
    divide,
    optional,
    required,
    single,
    turns,
    type_name,
)

SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def preference(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`chosen` and `rejected`: texts that answer `prompt` (a text or turns), or conversations that hold the prompt themselves.

    Optional: `score_chosen`, `score_rejected`, `chosen_model`, `rejected_model`, `model` for both, `system`.
    """
    sides = []
    for side in ("chosen", "rejected"):
        value = required(record, fields, side, side)
        messages = (
            turns([value] if isinstance(value, dict) else value, side) if isinstance(value, (list, dict)) else None
        )
        if messages is None or len(messages) == 1:
            answer = messages or [{"role": "assistant", "content": as_text(value, side)}]
            messages = _prompt(record, fields) + answer
        prompt = _answered(messages, side)
        completion = prompt.completions[0]
        completion.score = as_number(optional(record, fields, f"score_{side}", f"score_{side}"))
        model = optional(record, fields, f"{side}_model", f"{side}_model")
        completion.model = model if isinstance(model, str) and model else None
        sides.append(prompt)
    return _together(*sides)


def hh(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`chosen` and `rejected` transcripts of "Human:" and "Assistant:" turns; what they share is the prompt."""
    return _together(*(_answered(_transcript(required(record, fields, s, s), s), s) for s in ("chosen", "rejected")))


def _prompt(record: Mapping[str, Any], fields: Fields) -> list[dict[str, str]]:
    value = required(record, fields, "prompt", "prompt")
    messages = turns(value, "prompt") if isinstance(value, list) else single(value)
    system = optional(record, fields, "system", "system")
    return [{"role": "system", "content": as_text(system, "the system prompt")}, *messages] if system else messages


def _answered(messages: list[dict[str, str]], side: str) -> Prompt:
    prompt = divide(messages)
    if not prompt.completions:
        raise Unreadable(f"the {side} conversation does not end with an assistant turn")
    prompt.completions[0].preference = side
    return prompt


def _together(chosen: Prompt, rejected: Prompt) -> list[Prompt]:
    """One prompt with both answers; two prompts where the conversations part before the last user turn."""
    if chosen.messages == rejected.messages:
        return [Prompt(chosen.messages, chosen.completions + rejected.completions)]
    return [chosen, rejected]


def _transcript(text: Any, side: str) -> list[dict[str, str]]:
    if not isinstance(text, str):
        raise Unreadable(f"{side} is {type_name(text)}, not a transcript")
    _, *pieces = SPEAKER.split(text)
    if not pieces:
        raise Unreadable(f"{side} has no 'Human:' or 'Assistant:' turn")
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said.strip()} for who, said in zip(pieces[::2], pieces[1::2], strict=True)]
