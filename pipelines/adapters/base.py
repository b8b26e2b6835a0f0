"""What adapters share: the prompts that they return, access to a record's columns, and how a conversation is divided."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, Any]  # role of a value (prompt, completion, …) -> column that holds it, or list of columns

ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "prompt": "user",
    "question": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
}


class Unreadable(Exception):
    """Why a record cannot become a prompt, in words that help its owner."""


class _Missing:
    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


@dataclass
class Completion:
    """A response; the fields are those of raw.completions."""

    content: str
    preference: str | None = None
    score: float | None = None
    model: str | None = None


@dataclass
class Prompt:
    """A prompt with its responses; the fields are those of raw.prompts. `messages` hold role and content.

    `model` is the one that the record names, which wrote the assistant's turns within the prompt too.
    """

    messages: list[dict[str, str]]
    completions: list[Completion] = field(default_factory=list)
    skill: str | None = None
    language: str | None = None
    persona_id: str | None = None
    constraints: list[dict[str, str | None]] | None = None
    verifier: str | None = None
    ground_truth: str | None = None
    model: str | None = None


def lookup(record: Mapping[str, Any], path: str) -> Any:
    """The value of a column; MISSING where there is none.

    `metadata.score` and `instances.0.input` are paths into a column, `a|b` is the first of two that is not empty.
    """
    if path in record:
        return record[path]
    if "|" in path:
        values = [lookup(record, alternative) for alternative in path.split("|")]
        there = [value for value in values if value is not MISSING]
        return next((value for value in there if value not in (None, "")), there[0] if there else MISSING)
    value: Any = record
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, Sequence) and not isinstance(value, str) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def optional(record: Mapping[str, Any], fields: Fields, role: str, default: str | None = None) -> Any:
    """The value of a role, None where it has no column or the record lacks it."""
    path = fields.get(role, default)
    if path is None:
        return None
    value = lookup(record, path)
    return None if value is MISSING else value


def required(record: Mapping[str, Any], fields: Fields, role: str, default: str) -> Any:
    """The value of a role; Unreadable where the record lacks its column or holds null."""
    path = fields.get(role, default)
    value = lookup(record, path)
    if value is MISSING:
        columns = ", ".join(map(str, record))[:300]
        raise Unreadable(f"no column '{path}' for the {role}; the columns are: {columns}")
    if value is None:
        raise Unreadable(f"the column '{path}' ({role}) is null")
    return value


def as_text(value: Any, what: str) -> str:
    """A string as it is, a number as text; Unreadable for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise Unreadable(f"{what} is {type_name(value)}, not text")


def as_json(value: Any) -> str | None:
    """A string as it is, None and "" as None, anything else as JSON."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def as_number(value: Any) -> float | None:
    """A score, None where the source left it empty."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Unreadable(f"the score {str(value)[:40]!r} is not a number") from None


def type_name(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return "text" if isinstance(value, str) else names.get(type(value), type(value).__name__)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def single(text: Any, what: str = "the prompt") -> list[dict[str, str]]:
    """The messages of a prompt of one user turn."""
    if not isinstance(text, str):
        raise Unreadable(f"{what} is {type_name(text)}, not text")
    return checked([user(text)])


def checked(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The messages, if a user says anything in them."""
    if not any(m["role"] == "user" and m["content"].strip() for m in messages):
        raise Unreadable("no user turn with any text")
    return messages


def turns(value: Any, what: str) -> list[dict[str, str]]:
    """Messages with our roles from a list of {role, content} or {from, value} turns."""
    if not isinstance(value, list) or not value:
        raise Unreadable(f"{what} is {type_name(value) if value != [] else 'empty'}; a list of turns was expected")
    return [_turn(turn, number) for number, turn in enumerate(value, 1)]


def _turn(turn: Any, number: int) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise Unreadable(f"turn {number} is {type_name(turn)}, not an object")
    role = turn.get("role", turn.get("from", turn.get("user")))
    content = turn.get("content", turn.get("value", turn.get("text")))
    known = ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise Unreadable(f"turn {number} has the role {role!r}; known are: {', '.join(sorted(ROLES))}")
    if isinstance(content, list):
        content = _parts(content, number)
    if not isinstance(content, str):
        raise Unreadable(f"the content of turn {number} ({role}) is {type_name(content)}, not text")
    return {"role": known, "content": content}


def _parts(parts: list[Any], number: int) -> str:
    """The text of content that comes in parts, as for models that see images."""
    if not all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in parts):
        raise Unreadable(f"turn {number} holds something other than text (an image, a file or a tool call)")
    return "".join(p["text"] for p in parts)


def divide(messages: list[dict[str, str]], model: str | None = None) -> Prompt:
    """A conversation as a prompt, all up to and with the last user turn, and the assistant's answer to it if there is one."""
    checked(messages)
    last = max(i for i, m in enumerate(messages) if m["role"] == "user")
    answer = messages[last + 1 :]
    if any(m["role"] != "assistant" for m in answer):
        raise Unreadable("a system turn stands between the last user turn and the answer to it")
    # an answer that was cut into several turns is one answer
    completions = [Completion("\n\n".join(m["content"] for m in answer), model=model)] if answer else []
    return Prompt(messages[: last + 1], completions)
