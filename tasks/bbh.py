"""BIG-Bench Hard (Suzgun et al. 2022): 27 subtasks, three worked examples each as turns of the conversation.

The answer is the last hit of the first pattern that hits; what an answer looks like ($ANS$) differs by subtask. A record is an example
of the benchmark's JSON files or a row of `lukaemon/bbh`; the subtask is the instance's subset. Exact match ignores case.
Where the answers are choices, a letter that stands alone is looked for before a choice in any case, as ports of the reference do.
`paper` reads answers as the reference does, where
- punctuation is ignored but for dyck_languages, and with it the sign of numbers;
- words of word_sorting end at the first apostrophe or ampersand, which 15 right answers hold;
- three answers that are texts, not letters, can never be right;
- brackets of dyck_languages must be parted as in the answer.
`fixed` mends these four, and reads commas in numbers.
The shots are of our own writing; `prompt` takes others, such as `published_shots` of the benchmark's own files.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

from tasks.aggregate import micro
from tasks.bbh_shots import SHOTS
from tasks.rules import Rule, extract
from tasks.task import Instance, Prompt, Sampling, Shot, Task, Variant, known_variant
from tasks.text_match import PUNCTUATION
from tasks.verdict import Verdict, decided
from tasks.verifier import Verifier

CHOICE, YES_NO = r"\([A-Z]\)", "[yY]es|[nN]o"
# Where a subtask is not named, its answers are choices.
ANSWERS = {
    "boolean_expressions": "[tT]rue|[fF]alse",
    "causal_judgement": YES_NO,
    "dyck_languages": r"[\]\)\}\> ]+",
    "formal_fallacies": "[iI]nvalid|[vV]alid",
    "multistep_arithmetic_two": r"-?\d+",
    "navigate": YES_NO,
    "object_counting": r"\d+",
    "sports_understanding": YES_NO,
    "web_of_lies": YES_NO,
    "word_sorting": "[a-z ]+",
}
FIXED = {
    "multistep_arithmetic_two": r"[-−]?\d+(?:,\d{3})*",
    "object_counting": r"\d+(?:,\d{3})*",
    "word_sorting": r"[a-z][a-z'’& ]*",
}
SUBTASKS = tuple(SHOTS)
ASKED = "A: Let's think step by step."


def prompt(instance: Instance, shots: Sequence[Shot] | None = None) -> Prompt:
    """Shots hold the input as `user`, and the worked answer as `assistant`; without any given, those of the subtask."""
    chosen = SHOTS[subtask_of(instance)] if shots is None else shots
    turns = [turn for shot in chosen for turn in (("user", asked(shot.user)), ("assistant", shot.assistant))]
    return Prompt(messages=(*turns, ("user", asked(instance.record["input"]))))


def asked(question: str) -> str:
    return f"Q: {question}\n{ASKED}"


def published_shots(text: str) -> tuple[Shot, ...]:
    """The shots in the text of one of the benchmark's `cot-prompts` files."""
    blocks = re.split(r"(?m)^Q: ", text)[1:]
    return tuple(
        Shot(question.strip(), answer.strip()) for question, answer in (block.split(ASKED) for block in blocks)
    )


def subtask_of(instance: Instance) -> str:
    """Raises ValueError where the subset is no subtask."""
    if instance.subset not in SHOTS:
        raise ValueError(f"subset {instance.subset!r} is none of {', '.join(SUBTASKS)}")
    return instance.subset


@cache
def rules(answer: str) -> tuple[Rule, ...]:
    """The patterns in order, for answers that match `answer`."""
    any_case = re.compile(f"(?i)({answer})")
    found = [
        Rule("so the answer is", re.compile(rf"(?i)So the answer is ({answer})\.?")),
        Rule("answer is", re.compile(f"(?i)answer is ({answer})")),
        Rule("answer:", any_case, lead=re.compile("(?i)answer:")),
        Rule("answer", any_case, lead=re.compile(r"(?i)answer\b")),
        Rule("bare", re.compile(f"({answer})")),
        Rule("any case", any_case),
    ]
    if answer == CHOICE:
        found.insert(-1, Rule("letter", re.compile(r"\b([A-Z])\b")))
    return tuple(found)


def comparable(answer: str, subtask: str, variant: Variant) -> str:
    """What exact match compares."""
    answer = answer.strip().lower()
    if variant == "paper":
        return answer if subtask == "dyck_languages" else answer.translate(PUNCTUATION)
    if subtask == "dyck_languages":
        return "".join(answer.split())
    if subtask in ("multistep_arithmetic_two", "object_counting"):
        return answer.replace(",", "").replace("−", "-")
    return " ".join(answer.replace("’", "'").split())


def check(response: str, ground_truth: str, subtask: str, variant: Variant = "fixed") -> Verdict:
    """Whether the answer of the response is the ground truth, by the rules of the subtask.

    Raises ValueError for an unknown subtask or variant and for a blank ground truth.
    """
    if subtask not in SHOTS:
        raise ValueError(f"subtask is {subtask!r}, none of {', '.join(SUBTASKS)}")
    known_variant(variant)
    if not ground_truth.strip():
        raise ValueError("ground_truth is blank")
    pattern = ANSWERS.get(subtask, CHOICE)
    if variant == "fixed":
        pattern = FIXED.get(subtask, pattern)
    if pattern == CHOICE and variant == "fixed" and not re.fullmatch(CHOICE, ground_truth.strip()):
        # The options of these questions were torn apart at commas; the answer is the text of one as it was meant.
        answer, rule = extract(response, rules(re.escape(ground_truth.strip()))[:2])
    else:
        answer, rule = extract(response, rules(pattern))
    if answer is None:
        return decided(False, None, "none", "no answer found")
    # Of the delimiters that the reference strips here ($, **, quotes and the like), no answer that matches its pattern holds any.
    answer = f"({answer})" if rule == "letter" else answer.strip()
    return decided(comparable(answer, subtask, variant) == comparable(ground_truth, subtask, variant), answer, rule)


def verify(instance: Instance, response: str, variant: Variant) -> Verdict:
    return check(response, instance.record["target"], subtask_of(instance), variant)


PAPER = Task(
    name="bbh",
    version="1",
    suite="development",
    prompt=prompt,
    sampling=Sampling(max_tokens=512),
    metric="exact_match",
    aggregate=micro,
    verify=partial(verify, variant="paper"),
    shots=lambda instance: SHOTS[subtask_of(instance)],
)
TASKS = (PAPER, replace(PAPER, variant="fixed", verify=partial(verify, variant="fixed")))
VERIFIERS = (
    Verifier("bbh", "1", check, "The answer of a subtask of BIG-Bench Hard, as its form demands (argument: subtask)."),
)
