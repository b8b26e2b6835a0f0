"""Constraints of IFEval for prompts: drawn so that they can stand together, and looked for in the words of a prompt that states them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from pipelines.synthesis.seeds import SEEDS, Seed
from tasks.constraints.compose import compatible, compose
from tasks.constraints.ifeval import IFEVAL
from tasks.constraints.ifeval.detectable import OPTIONS
from tasks.constraints.language import NAMES

VERIFIER = "ifeval"
MOST = 3  # constraints of a prompt
REPEAT = "combination:repeat_prompt"
LONGEST_TO_REPEAT = 500  # characters: to have more than that said again teaches nothing

Arguments = dict[str, Any]
Stated = list[tuple[str, Arguments]]
Words = tuple[str, ...]  # alternatives

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth")
_RELATIONS = {
    "at least": ("at least", "or more", "no fewer than", "no less than", "not less than", "minimum"),
    "less than": ("less than", "fewer than", "under", "below"),
}
_BAN = (
    "not",
    "avoid",
    "without",
    "never",
    "don't",
    "leave out",
    "free of",
    "banned",
    "forbidden",
    "no mention",
    "skip",
)
_CAPITALS = ("capital", "uppercase", "upper case", "upper-case", "all caps")


def draw(random: Random, prompt: str) -> list[tuple[str, Arguments, str]]:
    """One to MOST compatible constraints for a prompt: (id, arguments, the instruction in words).

    Raises ValueError where none can be found.
    """
    among = IFEVAL if len(prompt) <= LONGEST_TO_REPEAT else {id: one for id, one in IFEVAL.items() if id != REPEAT}
    return compose(random, prompt, random.randint(1, MOST), among)


def seed_of(random: Random, id: str) -> Seed:
    """One of the constraint's seed instructions."""
    return random.choice(_seeds()[id])


def ground_truth(stated: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What the verifier "ifeval" takes, as canonical JSON."""
    ids, arguments = [id for id, _ in stated], [dict(one) for _, one in stated]
    return json.dumps({"instruction_id_list": ids, "kwargs": arguments}, ensure_ascii=False, sort_keys=True)


def as_rows(stated: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """The column `constraints` of raw.prompts."""
    return [{"id": id, "arguments": json.dumps(dict(one), ensure_ascii=False, sort_keys=True)} for id, one in stated]


def from_rows(rows: Sequence[Mapping[str, str]]) -> Stated:
    return [(row["id"], json.loads(row["arguments"])) for row in rows]


def described(id: str, arguments: Mapping[str, Any]) -> str:
    """The constraint in words."""
    return IFEVAL[id].describe(**arguments)


def finished(request: str, stated: Stated) -> tuple[str, Stated, str | None]:
    """A prompt from the words in which a model states the constraints: (prompt, constraints, problem).

    The problem is what the words leave out: the prompt would then be verified by what it does not ask for. The constraint that
    has the request repeated knows it only now, and is stated here.
    """
    stated = [(id, {"prompt_to_repeat": request} if id == REPEAT else arguments) for id, arguments in stated]
    for id, arguments in stated:
        if left_out := unsaid(request, id, arguments):
            return request, stated, f"the prompt does not state {id}: it lacks {left_out!r}"
    if not compatible(stated):
        return request, stated, "the constraints do not fit together with this prompt"
    prompts = [described(id, arguments) for id, arguments in stated if id == REPEAT]
    return prompts[0] if prompts else request, stated, None


def unsaid(text: str, id: str, arguments: Mapping[str, Any]) -> str | None:
    """What a text that states this constraint would have in it and this one has not; None where all is there."""
    for alternatives in _EVIDENCE[id](arguments):
        if not any(_found(words, text) for words in alternatives):
            return alternatives[0]
    return None


@cache
def _seeds() -> dict[str, list[Seed]]:
    return {id: [seed for seed in SEEDS if seed.id == id] for id in IFEVAL}


def _found(words: str, text: str) -> bool:
    """In any case; what begins or ends with a letter or digit does so at the end of a word, but for an ending such as a plural's."""
    start = r"(?<!\w)" if words[0].isalnum() else ""
    end = r"(?!\w)" if words[-1].isdigit() or (len(words) == 1 and words.isalnum()) else ""
    return re.search(start + re.escape(words) + end, text, re.IGNORECASE) is not None


def _number(amount: int) -> Words:
    return (str(amount), _SMALL[amount]) if amount < len(_SMALL) else (str(amount),)


def _ordinal(place: int) -> Words:
    return (*_number(place), _ORDINALS[place])


def _counted(amount: str, relation: str, *thing: str) -> Callable[[Mapping[str, Any]], list[Words]]:
    return lambda a: [_number(a[amount]), _RELATIONS[a[relation]], thing]


_EVIDENCE: dict[str, Callable[[Mapping[str, Any]], list[Words]]] = {
    "keywords:existence": lambda a: [(word,) for word in a["keywords"]],
    "keywords:frequency": lambda a: [(a["keyword"],), *_counted("frequency", "relation", "word", "term", "mention")(a)],
    "keywords:forbidden_words": lambda a: [*((word,) for word in a["forbidden_words"]), _BAN],
    "keywords:letter_frequency": lambda a: [(a["letter"],), *_counted("let_frequency", "let_relation", "letter")(a)],
    "length_constraints:number_sentences": _counted("num_sentences", "relation", "sentence"),
    "length_constraints:number_words": _counted("num_words", "relation", "word"),
    "length_constraints:number_paragraphs": lambda a: [_number(a["num_paragraphs"]), ("paragraph",), ("***",)],
    "length_constraints:nth_paragraph_first_word": lambda a: [
        _number(a["num_paragraphs"]),
        ("paragraph",),
        _ordinal(a["nth_paragraph"]),
        (a["first_word"],),
    ],
    "detectable_content:number_placeholders": lambda a: [_number(a["num_placeholders"]), ("placeholder", "bracket")],
    "detectable_content:postscript": lambda a: [(a["postscript_marker"],)],
    "detectable_format:number_bullet_lists": lambda a: [_number(a["num_bullets"]), ("bullet",)],
    "detectable_format:constrained_response": lambda a: [(option,) for option in OPTIONS],
    "detectable_format:number_highlighted_sections": lambda a: [_number(a["num_highlights"]), ("highlight",)],
    "detectable_format:multiple_sections": lambda a: [_number(a["num_sections"]), (a["section_spliter"],)],
    "detectable_format:json_format": lambda a: [("JSON",)],
    "detectable_format:title": lambda a: [("<<",), ("title",)],
    "combination:two_responses": lambda a: [("******",)],
    REPEAT: lambda a: [],
    "startend:end_checker": lambda a: [(a["end_phrase"],)],
    "startend:quotation": lambda a: [("quotation mark", "double quote")],
    "change_case:capital_word_frequency": _counted("capital_frequency", "capital_relation", *_CAPITALS),
    "change_case:english_capital": lambda a: [("English",), _CAPITALS],
    "change_case:english_lowercase": lambda a: [("English",), ("lowercase", "lower case", "lower-case")],
    "punctuation:no_comma": lambda a: [("comma",)],
    "language:response_language": lambda a: [(_language(a["language"]),)],
}


def _language(code: str) -> str:
    """The language's own word: "Chinese" of "simplified Chinese"."""
    return NAMES[code].split()[-1]
