"""MATH: prompt, "flex" extraction and equality (EVALS: 4 shots as chat turns, macro average over 7 subjects), and its verifiers."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tasks import workers
from tasks.aggregate import macro
from tasks.math.equality import VARIANTS
from tasks.math.extraction import candidates, gold
from tasks.math.normalise import LONGEST
from tasks.math.shots import SHOTS, question
from tasks.task import Instance, Prompt, Sampling, Shot, Task, Variant, known_variant
from tasks.verdict import Verdict, decided
from tasks.verifier import Verifier

VERSION = "1"
TAIL = 20_000  # characters at the end of a response that math-verify reads: its patterns take long on more


def check(response: str, ground_truth: str, variant: Variant = "fixed") -> Verdict:
    """Whether any candidate answer of a response is the ground truth: an answer, or a solution whose last `\\boxed` holds it.

    `variant` is "fixed" or "paper" (see `tasks.math.equality`). Raises ValueError for another one, and ImportError or RuntimeError
    where the workers cannot run, which must not pass for a wrong answer.
    """
    known_variant(variant)
    wanted = gold(ground_truth)
    found = list(dict(reversed(candidates(response))).items())[::-1]
    said = []
    for answer, rule in found:
        outcome = VARIANTS[variant](answer, wanted)
        if outcome.equal:
            return decided(True, answer[:LONGEST], rule, outcome.how)
        said.append(outcome.how)
    answer, rule = found[0]
    return decided(False, answer[:LONGEST], rule, "; ".join(dict.fromkeys(said)))


def second_opinion(response: str, ground_truth: str) -> Verdict:
    """What the package math-verify says, by its own extraction and equality, in a worker with the same limits."""
    try:
        right, extracted = workers.call("tasks.math.worker_math_verify:verify", response[-TAIL:], gold(ground_truth))
    except workers.CallError as problem:
        return decided(False, None, "none", str(problem))
    return decided(right, extracted, "math-verify" if extracted is not None else "none")


def prompt(instance: Instance, shots: Sequence[Shot] = SHOTS) -> Prompt:
    """Shots as turns, then the problem."""
    turns = [turn for shot in shots for turn in (("user", shot.user), ("assistant", shot.assistant))]
    return Prompt(messages=(*turns, ("user", question(instance.record["problem"]))))


def _verify(variant: Variant, instance: Instance, response: str) -> Verdict:
    return check(response, instance.record["solution"], variant)


PAPER = Task(
    name="math",
    version=VERSION,
    suite="development",
    prompt=prompt,
    sampling=Sampling(max_tokens=1024),
    metric="exact_match_flex",
    aggregate=macro,
    verify=partial(_verify, "paper"),
    shots=SHOTS,
)
TASKS = (PAPER, replace(PAPER, variant="fixed", verify=partial(_verify, "fixed")))
VERIFIERS = (
    Verifier("math", VERSION, check, "a formula that is the ground truth, as text, number or symbolically"),
    Verifier(
        "math-verify",
        VERSION,
        second_opinion,
        "the package math-verify's opinion whether the answer is the ground truth",
    ),
)
