"""All verifiers and evaluation tasks by name, and several verifiers for one prompt.

Names of verifiers are those that the published RLVR data have in `dataset`, in any case of letters: gsm8k, MATH, ifeval. A module is
imported when one of its names is asked for.
"""

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tasks.task import Task, Variant, known_variant
from tasks.verdict import Verdict
from tasks.verifier import BrokenCheckError, Verifier

VERIFIERS = {
    "gsm8k": "gsm8k",
    "math": "math",
    "math-verify": "math",
    "deepmind_math": "deepmind_math",
    "multiple_choice": "choices",
    "bbh": "bbh",
    "f1": "f1",
    "alias": "alias",
    "string_match": "text_match",
    "max_length": "text_match",
    "ifeval": "constraints.verify",
    "code_asserts": "code",
    "code_stdio": "code",
    "mix": "registry",
}
TASKS = {
    "mmlu": "mmlu",
    "popqa": "popqa",
    "truthfulqa": "truthfulqa",
    "bbh": "bbh",
    "drop": "drop",
    "math": "math",
    "gsm8k": "gsm8k",
    "humaneval": "humaneval",
    "humanevalplus": "humaneval",
    "ifeval": "ifeval",
    "alpaca_eval": "alpaca_eval",
    "harmbench": "safety",
    "xstest": "safety",
    "wildguardtest": "safety",
    "jailbreaktrigger": "safety",
    "do_anything_now": "safety",
    "wildjailbreaktest": "safety",
    "mmlu_pro": "mmlu_pro",
    "gpqa": "gpqa",
    "agieval": "agieval",
    "deepmind_math": "deepmind_math",
    "bigcodebench_hard": "bigcodebench",
    "ifeval_ood": "ifbench",
    "ifbench": "ifbench",
    "href": "href",
}
Problem = ValueError | BrokenCheckError
# Their work is done in other processes, all or the hard cases, so that threads of this one share it out.
ELSEWHERE = frozenset({"code_asserts", "code_stdio", "math", "math-verify", "deepmind_math"})
HEAVIEST = 1e9


@dataclass(frozen=True)
class Request:
    """What `verify` takes."""

    name: str
    response: str
    ground_truth: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)


def verifier(name: str) -> Verifier:
    """The verifier of a name. Raises ValueError for an unknown one."""
    return _verifier(name.lower())


@cache
def _verifier(name: str) -> Verifier:
    if name not in VERIFIERS:
        raise ValueError(f"unknown verifier {name!r}; there are {', '.join(VERIFIERS)}")
    module = importlib.import_module(f"tasks.{VERIFIERS[name]}")
    return MIX if module.__name__ == __name__ else next(one for one in module.VERIFIERS if one.name == name)


@cache
def _signature(name: str) -> inspect.Signature:
    return inspect.signature(verifier(name).check)


def verify(name: str, response: str, ground_truth: Any, /, **arguments: Any) -> Verdict:
    """The verdict of a verifier on a response.

    `ground_truth` is text, as `raw.prompts.ground_truth` holds it; where the verifier is structured, JSON or what that says. A number
    counts as its text. Raises ValueError for an unknown verifier, a ground truth or arguments that it cannot use; whatever the
    response, nothing. BrokenCheckError is a check's own fault; another RuntimeError or an ImportError says that workers or the sandbox do
    not run here.
    """
    found = verifier(name)
    truth = _truth(found, ground_truth)
    try:
        _signature(name).bind(response, truth, **arguments)
    except TypeError as problem:
        raise ValueError(f"arguments of {found.name}: {problem}") from None
    try:
        return found.check(response, truth, **arguments)
    except ValueError as problem:
        raise ValueError(f"{found.name}: {problem}") from problem
    except TypeError as problem:
        if not arguments:
            raise
        raise ValueError(f"arguments of {found.name} have the wrong type: {problem}") from problem


def _truth(found: Verifier, ground_truth: Any) -> Any:
    """The ground truth as `found` takes it. Raises ValueError where it cannot be that."""
    if found.structured:
        if not isinstance(ground_truth, str):
            return ground_truth
        try:
            return json.loads(ground_truth)
        except (ValueError, RecursionError) as problem:
            raise ValueError(f"{found.name}: the ground truth {ground_truth[:80]!r} is no JSON: {problem}") from None
    if isinstance(ground_truth, bool) or not isinstance(ground_truth, (str, int, float)):
        raise ValueError(f"{found.name}: the ground truth must be text, not {str(ground_truth)[:80]}")
    return str(ground_truth)


def verify_batch(requests: Sequence[Request], workers: int | None = None) -> list[Verdict | Problem]:
    """What `verify` gives for each request, in order; the ValueError or BrokenCheckError itself where it raises one, so that it costs the
    others nothing.

    Requests whose work is done in other processes go to `workers` threads (the machine's processors).
    """
    outcomes: dict[int, Verdict | Problem] = {}
    apart = [number for number, request in enumerate(requests) if not _elsewhere(request).isdisjoint(ELSEWHERE)]
    if apart and workers != 1:
        from tasks.sandbox import parallel

        found = parallel(_outcome, [requests[number] for number in apart], workers)
        outcomes = dict(zip(apart, found, strict=True))
    return [outcomes[n] if n in outcomes else _outcome(request) for n, request in enumerate(requests)]


def _outcome(request: Request) -> Verdict | Problem:
    try:
        return verify(request.name, request.response, request.ground_truth, **request.arguments)
    except (ValueError, BrokenCheckError) as problem:
        return problem


def _elsewhere(request: Request) -> set[str]:
    """The names of the verifiers that a request takes."""
    if request.name.lower() != MIX.name:
        return {request.name.lower()}
    try:
        return {part.name.lower() for part in _parts(_truth(MIX, request.ground_truth))}
    except ValueError:
        return set()


def version(name: str, ground_truth: Any) -> str:
    """The version of what decides: of the verifier, in a mix also of its parts. Raises ValueError as `verify` does for these."""
    found = verifier(name)
    if found is not MIX:
        return found.version
    parts = (verifier(part.name) for part in _parts(_truth(MIX, ground_truth)))
    return f"{MIX.version} ({', '.join(sorted({f'{part.name} {part.version}' for part in parts}))})"


# ---------------------------------------------------------------------------------------------------------------------
# Several verifiers for one prompt


@dataclass(frozen=True)
class _Part:
    name: str
    ground_truth: Any
    arguments: Mapping[str, Any]
    weight: float


def _parts(ground_truth: Any) -> Iterator[_Part]:
    if not isinstance(ground_truth, list) or not ground_truth:
        raise ValueError("mix: the ground truth must be a list of objects with verifier and ground_truth")
    for number, entry in enumerate(ground_truth):
        match entry:
            case {"verifier": str(name), "ground_truth": truth}:
                pass
            case _:
                raise ValueError(f"mix: part {number} must be an object with verifier and ground_truth")
        arguments, weight = entry.get("arguments") or {}, entry.get("weight", 1)
        if name.lower() == MIX.name:
            raise ValueError(f"mix: part {number} is a mix itself")
        if not isinstance(arguments, Mapping):
            raise ValueError(f"mix: arguments of part {number} must be an object, not {str(arguments)[:80]}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= HEAVIEST:
            raise ValueError(
                f"mix: weight of part {number} must be above 0 and at most {HEAVIEST:g}, not {weight!r:.80}"
            )
        yield _Part(name, truth, arguments, weight)


def check_mix(response: str, ground_truth: Any) -> Verdict:
    """Correct where all parts are; the score is the mean of theirs by weight. The message names the parts that are not correct.

    `ground_truth` is a list of {"verifier", "ground_truth"} with, if wanted, "arguments" (an object) and "weight" (1 if not given).
    """
    parts = list(_parts(ground_truth))
    verdicts = [verify(part.name, response, part.ground_truth, **part.arguments) for part in parts]
    score = sum(part.weight * verdict.score for part, verdict in zip(parts, verdicts, strict=True))
    failed = [(part, verdict) for part, verdict in zip(parts, verdicts, strict=True) if not verdict.correct]
    message = "; ".join(f"{part.name}: {verdict.message or 'not correct'}" for part, verdict in failed)
    return Verdict(not failed, score / sum(part.weight for part in parts), None, "none", message)


MIX = Verifier("mix", "1", check_mix, "Several verifiers; correct if all are, the score their weighted mean.", True)


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation tasks


def task(name: str, variant: Variant = "paper") -> Task:
    """A task in a variant; a task that knows no difference has one for both. Raises ValueError for an unknown name or variant."""
    known_variant(variant)
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    module = importlib.import_module(f"tasks.{TASKS[name]}")
    of_variant = {one.variant: one for one in module.TASKS if one.name == name}
    return of_variant.get(variant, of_variant["paper"])


def tasks(variant: Variant = "paper") -> list[Task]:
    """All tasks in a variant, development before unseen."""
    return [task(name, variant) for name in TASKS]


def verifiers() -> list[Verifier]:
    """All verifiers."""
    return [verifier(name) for name in VERIFIERS]
