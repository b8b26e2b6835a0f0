"""GSM8K (Cobbe et al. 2021): grade-school arithmetic, eight worked examples as turns of the conversation.

The answer is the last number. `paper` reads it as the reference does, which drops the sign of whole numbers, removes only every other
comma of 1,2,3 and compares strings. `fixed` keeps the sign, removes all commas between digits and compares values. A sign touches its
number, as that of a decimal does in the reference, or stands apart right behind an equals sign; any other in - 7 is an item of a list, a
dash or a subtraction.
The shots are of our own writing; `prompt` takes others with question and worked answer as `user` and `assistant`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from tasks.aggregate import micro
from tasks.rules import Rule
from tasks.task import Instance, Prompt, Sampling, Shot, Task, Variant, known_variant
from tasks.verdict import Verdict, decided
from tasks.verifier import Verifier

NUMBER = Rule("last number", re.compile(r"[-+]?\d*\.\d+|\d+"))
# A sign counts at the start of a number, before or after a dollar sign, not between two operands as in 10-3 or (10)-3.
SIGNED = Rule("last number", re.compile(r"(?:(?<![\w)\]}%])[-+−]\$?)?(?:\d+(?:\.\d+)?|\.\d+)"))
APART = re.compile(r"(?<==)([ \t]*[-+−])[ \t]+(?=\$?[\d.])")
PREFIX = "Answer:"

SHOTS = (
    Shot(
        "A baker takes 48 rolls to a market. She sells 31 of them in the morning and 9 in the afternoon. How many does she take home?",
        "In all she sells 31 + 9 = 40 rolls. Of 48 rolls, 48 - 40 = 8 are left. So the answer is 8.",
    ),
    Shot(
        "Tickets to a puppet show cost $7 for adults and $4 for children. What do two adults and five children pay together?",
        "The adults pay 2 * 7 = 14 dollars. The children pay 5 * 4 = 20 dollars. Together that is 14 + 20 = 34 dollars. "
        "So the answer is 34.",
    ),
    Shot(
        "Omar reads 15 pages a day. His book has 210 pages, and he has read for 6 days. How many more days does he need?",
        "In 6 days he has read 6 * 15 = 90 pages. There are 210 - 90 = 120 pages left. At 15 pages a day that takes 120 / 15 = 8 days. "
        "So the answer is 8.",
    ),
    Shot(
        "A tank holds 600 litres and is one quarter full. A pump adds 25 litres a minute. After how many minutes is it full?",
        "One quarter of 600 litres is 150 litres, so 600 - 150 = 450 litres are missing. The pump needs 450 / 25 = 18 minutes. "
        "So the answer is 18.",
    ),
    Shot(
        "Lina has three times as many stamps as Joss. Together they have 72. How many stamps does Lina have?",
        "Lina's and Joss's stamps make 3 + 1 = 4 equal parts. One part is 72 / 4 = 18 stamps. Lina has 3 * 18 = 54. So the answer is 54.",
    ),
    Shot(
        "A jacket that cost $80 is sold at 15% off, and a tax of $3 is added. What does the buyer pay?",
        "The discount is 80 * 0.15 = 12 dollars. The price becomes 80 - 12 = 68 dollars. With the tax it is 68 + 3 = 71 dollars. "
        "So the answer is 71.",
    ),
    Shot(
        "A bus starts with 22 passengers. At the first stop 9 get off and 5 get on, at the second 4 get off and 11 get on. "
        "How many are on it then?",
        "After the first stop there are 22 - 9 + 5 = 18 passengers. After the second there are 18 - 4 + 11 = 25. So the answer is 25.",
    ),
    Shot(
        "Each of 6 shelves has 14 jars. A quarter of all jars hold honey, the others jam. How many hold jam?",
        "There are 6 * 14 = 84 jars. A quarter of them is 84 / 4 = 21 jars of honey. The jam fills 84 - 21 = 63 jars. "
        "So the answer is 63.",
    ),
)


def prompt(instance: Instance, shots: Sequence[Shot] = SHOTS) -> Prompt:
    turns = [
        turn
        for shot in shots
        for turn in (("user", f"Question: {shot.user}"), ("assistant", f"{PREFIX} {shot.assistant}"))
    ]
    return Prompt(messages=(*turns, ("user", f"Question: {instance.record['question']}")), prefill=PREFIX)


def number(text: str, variant: Variant) -> tuple[str, str]:
    """(the last number of a text, or the whole text without one; the rule that says which)."""
    if variant == "paper":
        text = re.sub(r"(\d),(\d)", r"\1\2", text)
        found = NUMBER.find(text)
    else:
        found = SIGNED.find(APART.sub(r"\1", re.sub(r"(?<=\d),(?=\d)", "", text)))
    return (text, "whole text") if found is None else (found, NUMBER.name)


def normal(answer: str) -> str:
    """What exact match compares in the reference: lower case; no comma, no dollar sign, nothing up to "#### ", no full stop at the end."""
    return re.sub(r"\.$", "", answer.replace(",", "").replace("$", "").rpartition("#### ")[2]).lower()


def value(answer: str) -> Decimal:
    return Decimal(answer.replace("$", "").replace("−", "-"))


def check(response: str, ground_truth: str, variant: Variant = "fixed") -> Verdict:
    """Whether the last number of the response is that of `ground_truth`, a number or a worked solution that ends in it.

    Raises ValueError for a ground truth without a number and for an unknown variant.
    """
    known_variant(variant)
    gold, gold_rule = number(ground_truth, variant)
    if gold_rule != NUMBER.name:
        raise ValueError(f"ground_truth {ground_truth[:100]!r} holds no number")
    answer, rule = number(response, variant)
    if variant == "paper":
        return decided(normal(answer) == normal(gold), answer, rule)
    if rule != NUMBER.name:
        return decided(False, None, "none", "no number found")
    return decided(value(answer) == value(gold), answer, rule)


def verify(instance: Instance, response: str, variant: Variant) -> Verdict:
    return check(response, instance.record["answer"], variant)


PAPER = Task(
    name="gsm8k",
    version="1",
    suite="development",
    prompt=prompt,
    sampling=Sampling(max_tokens=512),
    metric="exact_match",
    aggregate=micro,
    verify=partial(verify, variant="paper"),
    shots=SHOTS,
)
TASKS = (PAPER, replace(PAPER, variant="fixed", verify=partial(verify, variant="fixed")))
VERIFIERS = (Verifier("gsm8k", "2", check, "The last number of the response equals that of the solution."),)
