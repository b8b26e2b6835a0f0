"""Whether an answer to a MATH problem is the gold one, in two variants.

`paper`: as the reference implementations decide, mistakes included: both answers are normalised by Minerva's rules, and are the same if
Hendrycks' rules strip them to one string, or if `parse_latex` and `simplify` find no difference.

`fixed`: both are read as formulas by a parser that reads all or nothing and knows tuples, intervals, sets, matrices, mixed and repeating
numbers, ±, units and percent, and are the same if their values are. Where either is no formula, the strings of `paper` decide. What
`paper` takes for right and `fixed` does not: any equation for any other with the same right-hand side (`x + y = 0` for `2x = 0`), the
first of several answers (`3` for `3,-4`), `1` for `2\\frac{1}{2}`, digits in any grouping (`12` for `1,2`), words with the same letters.

Cases that strings, exact fractions or floats decide never leave the process; the rest goes to a worker, whose limits make an answer wrong
that takes too long.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tasks import workers
from tasks.math.latex import readings
from tasks.math.normalise import TooLongError, minerva, same_hendrycks
from tasks.math.tokens import LatexError, plain
from tasks.math.trees import same
from tasks.math.values import TooLargeError, UnknownError, approximate
from tasks.task import Variant


class Outcome(NamedTuple):
    """Whether two answers are the same, and how that was found."""

    equal: bool
    how: str


_DIGITS = r"(?:0|[1-9]\d{0,99})"  # without leading zeros, which `parse_latex` does not read
_NUMBER = re.compile(
    rf"(-?)(?:({_DIGITS}(?:\.\d{{1,100}})?)|\\[dt]?frac\{{(-?{_DIGITS})\}}\{{({_DIGITS})\}}|({_DIGITS})/({_DIGITS}))",
    re.ASCII,
)
_BESIDE_NO_DIGITS = re.compile(r"(?<!\d) | (?!\d)")
_NEARLY = Fraction(1, 10**9)


def paper(answer: str, gold: str) -> Outcome:
    """Compare as the reference does, but with the same verdict in any thread and process."""
    try:
        normal, wanted = minerva(answer), minerva(gold)
    except TooLongError as problem:
        return Outcome(False, str(problem))
    if normal == wanted or same_hendrycks(normal, wanted):
        return Outcome(True, "the same text")
    left, right = _rational(normal), _rational(wanted)
    if (
        left is not None
        and right is not None
        and (left == right or abs(left - right) > _NEARLY * max(abs(left), abs(right)))
    ):
        return Outcome(left == right, "the same value" if left == right else "another value")
    return _by_sympy(normal, wanted)


@lru_cache(maxsize=8192)
def _by_sympy(answer: str, gold: str) -> Outcome:
    try:
        _small(answer)
        equal = workers.call("tasks.math.worker_reference:equal", answer, gold)
    except (TooLargeError, workers.CallError) as problem:
        return Outcome(False, str(problem))
    return Outcome(equal, "the same to sympy" if equal else "not the same to sympy")


def _rational(answer: str) -> Fraction | None:
    """The value of a plain number, which `parse_latex` reads the same way."""
    hit = _NUMBER.fullmatch(answer)
    if hit is None:
        return None
    minus, number, above, below, over, under = hit.groups()
    if int(below or under or 1) == 0:
        return None
    value = Fraction(number or above or over) / int(below or under or 1)
    return -value if minus else value


def _small(answer: str) -> None:
    """Raises TooLargeError where the value of a formula has more digits than anyone computes."""
    for tree in readings(answer):
        try:
            approximate(tree, 0)
        except UnknownError:
            continue


def fixed(answer: str, gold: str) -> Outcome:
    """Compare what the answers say."""
    try:
        if _bare(answer) == _bare(gold):
            return Outcome(True, "the same text")
        answers, golds = readings(answer), readings(gold)
        for tree in answers:
            for wanted in golds:
                if same(tree, wanted):
                    return Outcome(True, "the same value")
        if answers and golds:
            return Outcome(False, "another value")
        normal, wanted_text = minerva(answer, last_side=False), minerva(gold, last_side=False)
    except (LatexError, TooLongError, TooLargeError, workers.CallError) as problem:
        return Outcome(False, str(problem))
    if normal == wanted_text or same_hendrycks(normal, wanted_text):
        return Outcome(True, "the same text")
    return Outcome(False, "another text")


def _bare(answer: str) -> str:
    return _BESIDE_NO_DIGITS.sub("", plain(answer))


VARIANTS: dict[Variant, Callable[[str, str], Outcome]] = {"paper": paper, "fixed": fixed}
