"""Pairs of a better and a worse answer: chosen and rejected columns, and the transcripts of Anthropic's HH."""

import re
from collections.abc import Mapping
from typing import Any

from pipelines.adapters.base import (
    Completion,
    Fields,
    Prompt,
    Unreadable,
    as_number,
    as_text,
    checked,
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
    pair = []
    for side in ("chosen", "rejected"):
        value = required(record, fields, side, side)
        value = [value] if isinstance(value, dict) else value
        conversation = turns(value, side) if isinstance(value, list) else None
        if conversation and conversation[-1]["role"] != "assistant":
            raise Unreadable(f"the {side} conversation does not end with an assistant turn")
        completion = Completion(
            conversation[-1]["content"] if conversation else as_text(value, side),
            side,
            as_number(optional(record, fields, f"score_{side}", f"score_{side}")),
            optional(record, fields, f"{side}_model", f"{side}_model") or optional(record, fields, "model"),
        )
        pair.append(((conversation or [{}])[:-1] or _prompt(record, fields), completion))
    return _together(*pair)


def hh(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`chosen` and `rejected` transcripts of "Human:" and "Assistant:" turns; what they share is the prompt."""
    pair = []
    for side in ("chosen", "rejected"):
        conversation = _transcript(required(record, fields, side, side), side)
        if conversation[-1]["role"] != "assistant":
            raise Unreadable(f"the {side} transcript does not end with an Assistant turn")
        pair.append((conversation[:-1], Completion(conversation[-1]["content"], side)))
    return _together(*pair)


def _prompt(record: Mapping[str, Any], fields: Fields) -> list[dict[str, str]]:
    value = required(record, fields, "prompt", "prompt")
    messages = turns(value, "prompt") if isinstance(value, list) else single(value)
    system = optional(record, fields, "system", "system")
    return [{"role": "system", "content": as_text(system, "the system prompt")}, *messages] if system else messages


def _together(
    chosen: tuple[list[dict[str, str]], Completion], rejected: tuple[list[dict[str, str]], Completion]
) -> list[Prompt]:
    """One prompt with both answers; two prompts where the conversations part before the last turn."""
    if chosen[0] == rejected[0]:
        return [Prompt(_ends_with_user(chosen[0]), [chosen[1], rejected[1]])]
    return [Prompt(_ends_with_user(messages), [completion]) for messages, completion in (chosen, rejected)]


def _ends_with_user(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    if not messages or messages[-1]["role"] != "user":
        raise Unreadable("the turn before the last is not a user turn")
    return checked(messages)


def _transcript(text: Any, side: str) -> list[dict[str, str]]:
    if not isinstance(text, str):
        raise Unreadable(f"{side} is {type_name(text)}, not a transcript")
    _, *pieces = SPEAKER.split(text)
    if not pieces:
        raise Unreadable(f"{side} has no 'Human:' or 'Assistant:' turn")
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said.strip()} for who, said in zip(pieces[::2], pieces[1::2], strict=True)]
