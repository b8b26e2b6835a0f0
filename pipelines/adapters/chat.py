"""Conversations as lists of turns: OpenAI style (role, content) and ShareGPT style (from, value)."""

import json
from collections.abc import Mapping
from typing import Any

from pipelines.adapters.base import Fields, Prompt, Unreadable, as_text, divide, optional, required, turns


def messages(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`messages`: turns with role and content. A `system` column, if named or present as text, becomes the first turn.

    RLVR records carry `ground_truth`, `dataset` (the verifier) and, for instruction constraints, a JSON object as ground truth.
    """
    prompt = _conversation(record, fields, "messages")
    verifier = optional(record, fields, "verifier", "dataset") if "ground_truth" in record else None
    if isinstance(verifier, str):
        prompt.verifier = verifier.lower()
        prompt.constraints = _constraints(record["ground_truth"])
    return [prompt]


def sharegpt(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`conversations`: turns with from (human, gpt, system) and value; a `system` column becomes the first turn."""
    return [_conversation(record, fields, "conversations")]


def _conversation(record: Mapping[str, Any], fields: Fields, default: str) -> Prompt:
    conversation = turns(required(record, fields, "messages", default), fields.get("messages", default))
    system = optional(record, fields, "system", "system")
    if system and conversation[0]["role"] != "system":
        conversation.insert(0, {"role": "system", "content": as_text(system, "the system prompt")})
    return divide(conversation)


def _constraints(ground_truth: Any) -> list[dict[str, str | None]] | None:
    """The constraint that an IFEval-like ground truth names: a JSON object with `func_name` and the function's arguments."""
    if not isinstance(ground_truth, str) or not ground_truth.startswith("{"):
        return None
    try:
        truth = json.loads(ground_truth)
    except ValueError:
        raise Unreadable("the ground truth starts with '{' and is not JSON") from None
    if "func_name" not in truth:
        return None
    arguments = {k: v for k, v in truth.items() if k != "func_name" and v is not None}
    return [{"id": truth["func_name"], "arguments": json.dumps(arguments, ensure_ascii=False)}]
