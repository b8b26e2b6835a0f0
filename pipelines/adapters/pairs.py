"""A prompt in some columns and its answer in others: Alpaca, prompt and completion, FLAN, lines of text."""

from collections.abc import Mapping
from typing import Any

from pipelines.adapters.base import (
    MISSING,
    Completion,
    Fields,
    Prompt,
    Unreadable,
    as_number,
    as_text,
    checked,
    lookup,
    optional,
    required,
    single,
    turns,
    type_name,
    user,
)


def alpaca(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`instruction`, `input` and `output` or `response`; `history` holds earlier [user, assistant] pairs, `system` a system prompt.

    Several `instances` of one instruction (each with input and output) become as many conversations.
    """
    instruction = required(record, fields, "instruction", "instruction")
    if not isinstance(instruction, str):
        raise Unreadable(f"the instruction is {type_name(instruction)}, not text")
    instances = optional(record, fields, "instances", "instances")
    if isinstance(instances, list) and instances:
        return [_alpaca(instruction, [], i.get("input"), i.get("output")) for i in instances]
    before = _history(optional(record, fields, "history", "history"))
    system = optional(record, fields, "system", "system")
    if system:
        before.insert(0, {"role": "system", "content": as_text(system, "the system prompt")})
    default = "output" if "output" in record else "response"
    return [
        _alpaca(
            instruction, before, optional(record, fields, "input", "input"), optional(record, fields, "output", default)
        )
    ]


def _alpaca(instruction: str, before: list[dict[str, str]], given: Any, output: Any) -> Prompt:
    text = instruction + ("\n" + as_text(given, "the input") if given else "")
    completions = [] if output is None else [Completion(as_text(output, "the output"))]
    return Prompt(checked([*before, user(text)]), completions)


def _history(history: Any) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for pair in history or []:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise Unreadable("the history is not a list of [user, assistant] pairs of texts")
        messages += [user(pair[0]), {"role": "assistant", "content": pair[1]}]
    return messages


def prompt_completion(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`prompt` and `completion`, each a column or a list of columns; a column may hold a list of answers, a prompt a list of turns.

    Several prompt columns are joined by an empty line; several completions are samples. `model` and `score` run parallel to
    the completions; `preferred` holds the number, from 1, of the better of two; 0 or 1.5 is a tie.
    """
    prompt = fields.get("prompt", "prompt")
    if isinstance(prompt, list):
        texts = [_text(record, column) for column in prompt]
        messages = single("\n\n".join(t for t in texts if t))
    else:
        value = required(record, fields, "prompt", "prompt")
        messages = checked(turns(value, prompt)) if isinstance(value, list) else single(value)
    system = optional(record, fields, "system")
    if system:
        messages = [{"role": "system", "content": as_text(system, "the system prompt")}, *messages]
    contents = _many(record, fields.get("completion", "completion"))
    models = _many(record, fields.get("model"))
    scores = _many(record, fields.get("score"))
    completions = [
        Completion(
            as_text(content, "the completion"), model=_parallel(models, i), score=as_number(_parallel(scores, i))
        )
        for i, content in enumerate(contents)
        if content is not None
    ]
    _prefer(completions, optional(record, fields, "preferred"))
    return [Prompt(messages, completions)]


def flan(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """`question`, `answer` and, where there is one, `rationale`, which goes before the answer. The answer is the ground truth."""
    messages = single(required(record, fields, "question", "question"))
    answer = as_text(required(record, fields, "answer", "answer"), "the answer")
    rationale = optional(record, fields, "rationale", "rationale")
    content = f"{as_text(rationale, 'the rationale')}\nSo the answer is {answer}" if rationale else answer
    return [Prompt(messages, [Completion(content)], ground_truth=answer)]


def text(record: Mapping[str, Any], fields: Fields) -> list[Prompt]:
    """Each line is a prompt; the same line of a second file (`pair`) is its completion."""
    pair = optional(record, fields, "pair", "pair")
    return [Prompt(single(required(record, fields, "text", "text")), [Completion(pair)] if pair is not None else [])]


def _text(record: Mapping[str, Any], column: str) -> str:
    value = lookup(record, column)
    if value is MISSING:
        raise Unreadable(f"no column '{column}' for the prompt; the columns are: {', '.join(map(str, record))[:300]}")
    return "" if value is None else as_text(value, f"the column '{column}'")


def _many(record: Mapping[str, Any], columns: Any) -> list[Any]:
    """The values of several columns, or of one, which may hold a list of them; None for what is missing."""
    names = columns if isinstance(columns, list) else [columns] if columns else []
    values = [lookup(record, name) for name in names]
    if len(values) == 1 and isinstance(values[0], list):
        return values[0]
    return [None if value is MISSING else value for value in values]


def _parallel(values: list[Any], i: int) -> Any:
    """Value i, or the only one, which then belongs to all."""
    if not values:
        return None
    return values[i] if len(values) > 1 and i < len(values) else values[0]


def _prefer(completions: list[Completion], preferred: Any) -> None:
    number = as_number(preferred)
    if (
        number is None or number in (0, 1.5) or len(completions) != 2
    ):  # neither of the two, or half-way between them: a tie
        return
    best = 0 if number < 1.5 else 1
    completions[best].preference, completions[1 - best].preference = "chosen", "rejected"
