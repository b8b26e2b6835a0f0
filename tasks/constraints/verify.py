"""Which constraints a response follows, and the verifier "ifeval" over all that are known: IFEval, IFEval-OOD, IFBench."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Literal

from tasks.constraints import rlvr
from tasks.constraints.core import Constraint, validate
from tasks.constraints.ifbench import IFBENCH, IFEVAL_OOD
from tasks.constraints.ifeval import IFEVAL, IFEVAL_FIXED
from tasks.constraints.loose import variants
from tasks.task import Variant, known_variant
from tasks.verdict import Verdict, decided
from tasks.verifier import BrokenCheckError, Verifier

Mode = Literal["strict", "loose"]
Arguments = Mapping[str, Any] | None


@cache
def known(variant: Variant) -> dict[str, Constraint]:
    """All constraints by id, IFEval's as its official checkers judge or mended. Raises ValueError for another variant."""
    known_variant(variant)
    return {**IFEVAL_OOD, **IFBENCH, **(IFEVAL if variant == "paper" else IFEVAL_FIXED)}


def bind(id: str, arguments: Arguments, prompt: str, variant: Variant) -> tuple[Constraint, dict[str, Any]]:
    """The constraint with its valid arguments. Raises ValueError, naming what is wrong."""
    constraint = known(variant).get(id)
    if constraint is None:
        raise ValueError(f"unknown constraint {id!r}")
    given = dict(arguments or {})
    if "prompt" in constraint.arguments and given.get("prompt") is None:
        given["prompt"] = prompt
    return constraint, validate(constraint, given)


def followed(
    ids: Sequence[str],
    arguments: Sequence[Arguments],
    response: str,
    prompt: str = "",
    mode: Mode = "strict",
    variant: Variant = "paper",
) -> list[bool]:
    """Which of the constraints the response follows, in order: as it is, or loosely in one of its `variants`. A blank one follows none.

    Raises ValueError for an unknown id, bad arguments, lists of different length or an unknown mode; BrokenCheckError where a check fails,
    which is its fault and says nothing of the response.
    """
    if mode not in ("strict", "loose"):
        raise ValueError(f"mode is {mode!r}, not 'strict' or 'loose'")
    return [
        _held(id, given, response, prompt, variant, loosely=mode == "loose")[mode == "loose"]
        for id, given in _pairs(ids, arguments)
    ]


def both(
    ids: Sequence[str], arguments: Sequence[Arguments], response: str, prompt: str = "", variant: Variant = "paper"
) -> tuple[list[bool], list[bool]]:
    """`followed` strictly and loosely at the price of the latter: what is followed as it is needs no variant."""
    held = [_held(id, given, response, prompt, variant, loosely=True) for id, given in _pairs(ids, arguments)]
    return [strict for strict, _ in held], [loose for _, loose in held]


def _pairs(ids: Sequence[str], arguments: Sequence[Arguments]) -> Iterator[tuple[str, Arguments]]:
    if len(ids) != len(arguments):
        raise ValueError(f"kwargs has {len(arguments)} entries for {len(ids)} constraints")
    return zip(ids, arguments, strict=True)


def _held(
    id: str, arguments: Arguments, response: str, prompt: str, variant: Variant, loosely: bool
) -> tuple[bool, bool]:
    """Whether the constraint is followed strictly, and whether loosely; the latter is looked into only if asked for."""
    constraint, valid = bind(id, arguments, prompt, variant)
    try:
        strict = bool(response.strip()) and constraint.check(response, **valid)
        others = islice(variants(response), 1, None) if loosely and not strict else ()
        return strict, strict or any(constraint.check(text, **valid) for text in others)
    except Exception as fault:
        raise BrokenCheckError(f"the check of {id} failed: {fault!r}") from fault


def stated(ground_truth: Any) -> tuple[list[str], list[Arguments]]:
    """Ids and arguments that a ground truth states: {"instruction_id_list" (or "instruction_id"), "kwargs"}, or a list of such.

    Raises ValueError for another form, or one that states no constraint.
    """
    ids: list[str] = []
    arguments: list[Arguments] = []
    for entry in ground_truth if isinstance(ground_truth, list) else [ground_truth]:
        named = isinstance(entry, Mapping) and (entry.get("instruction_id_list") or entry.get("instruction_id"))
        if not named:
            raise ValueError("ground truth is not an object with instruction_id_list and kwargs, nor a list of such")
        named = [named] if isinstance(named, str) else named
        if not isinstance(named, Sequence) or not all(isinstance(id, str) for id in named):
            raise ValueError("instruction_id_list is not a list of texts")
        given = entry.get("kwargs") or [None] * len(named)
        given = [given] if isinstance(given, Mapping) else given
        if not isinstance(given, Sequence) or not all(one is None or isinstance(one, Mapping) for one in given):
            raise ValueError("kwargs is not a list of objects")
        if len(named) != len(given):
            raise ValueError(f"kwargs has {len(given)} entries for {len(named)} constraints")
        ids += named
        arguments += given
    if not ids:
        raise ValueError("ground truth states no constraint")
    return ids, arguments


def check(
    response: str, ground_truth: Any, mode: Mode = "strict", variant: Variant = "paper", prompt: str = ""
) -> Verdict:
    """Correct where all constraints are followed; the score is the share that is. The message names those that are not.

    A ground truth that names a function of RLVR-IFeval is decided by that function, whatever mode and variant.
    """
    if isinstance(ground_truth, Mapping) and "func_name" in ground_truth:
        correct = rlvr.holds(response, ground_truth)
        return decided(correct, None, "none", "" if correct else f"not followed: {ground_truth['func_name']}")
    ids, arguments = stated(ground_truth)
    held = followed(ids, arguments, response, prompt, mode, variant)
    missed = [id for id, one in zip(ids, held, strict=True) if not one]
    return Verdict(
        not missed, sum(held) / len(held), None, "none", f"not followed: {', '.join(missed)}" if missed else ""
    )


VERIFIERS = (
    Verifier(
        name="ifeval",
        version="1",
        check=check,
        meaning="share of the instruction constraints that the response follows; correct if all",
        structured=True,
    ),
)
