"""What a checkable instruction is, and the validation of its arguments."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from random import Random
from typing import Any, Literal

Kind = Literal["integer", "number", "text", "texts"]


@dataclass(frozen=True)
class Argument:
    """One argument of a constraint.

    `kind` is the type: integer, number, text, or texts (a list). `choices`, where given, are the only values (of a list: the only
    items). `minimum` and `maximum`, inclusive, bound a number, or the length of a list. An `optional` argument may be absent.
    """

    kind: Kind
    meaning: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False


@dataclass(frozen=True)
class Constraint:
    """An instruction about the form of a response, which a program can check. `id` and argument names are those of published data.

    `check(response, **arguments)` says whether the response follows it, and does not raise for any response.
    `describe(**arguments)` is the instruction in our own words, as a prompt states it.
    `sample(rng, prompt)` draws sensible arguments for a prompt, the same ones for the same state of `rng`.
    `conflicts` are the ids that cannot stand beside it, whatever the arguments; one side of a pair is enough.
    `disagreement(**arguments)` says what is wrong with arguments that are valid one by one, beginning with a name; None if nothing.
    An argument named `prompt` is filled with the prompt being answered where the data leave it out.
    """

    id: str
    check: Callable[..., bool]
    describe: Callable[..., str]
    sample: Callable[[Random, str], dict[str, Any]]
    arguments: Mapping[str, Argument]
    conflicts: frozenset[str] = frozenset()
    disagreement: Callable[..., str | None] = lambda **arguments: None


def by_id(*groups: Iterable[Constraint]) -> dict[str, Constraint]:
    """The constraints of several modules by id. Raises ValueError for an id that occurs twice."""
    found: dict[str, Constraint] = {}
    for constraint in (one for group in groups for one in group):
        if constraint.id in found:
            raise ValueError(f"two constraints are called {constraint.id}")
        found[constraint.id] = constraint
    return found


def validate(constraint: Constraint, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are set, with whole floats made integers where an integer is meant (3.0, as tables carry it).

    None counts as absent, as published data carry every argument of every constraint, null where it does not apply; empty lists and
    zeros are values. Raises ValueError naming constraint and argument: unknown, missing, of another type, out of bounds, or at odds
    with another.
    """
    given = values(constraint.id, constraint.arguments, arguments)
    disagreement = constraint.disagreement(**given)
    if disagreement:
        raise ValueError(f"{constraint.id}: argument {disagreement}")
    return given


def values(id: str, expected: Mapping[str, Argument], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`validate` for each argument by itself."""
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given.keys() - expected.keys():
        raise ValueError(f"{id}: unknown argument {name!r}")
    for name, argument in expected.items():
        if name in given:
            try:
                given[name] = _value(argument, given[name])
            except ValueError as wrong:
                raise ValueError(f"{id}: argument {name!r} {wrong}") from None
        elif not argument.optional:
            raise ValueError(f"{id}: argument {name!r} is missing")
    return given


def _value(argument: Argument, value: Any) -> Any:
    """The value as its kind has it. Raises ValueError with the rest of a sentence that begins with the argument's name."""
    if argument.kind in ("integer", "number"):
        value = _number(argument.kind, value)
        size, what = value, "is"
    elif argument.kind == "text":
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {value!r}")
        size, what = len(value), "has length"
    else:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"must be a list of text, not {value!r}")
        value = list(value)
        size, what = len(value), "has length"
    if argument.minimum is not None and size < argument.minimum:
        raise ValueError(f"{what} {size}, less than {argument.minimum}")
    if argument.maximum is not None and size > argument.maximum:
        raise ValueError(f"{what} {size}, more than {argument.maximum}")
    for item in value if argument.kind == "texts" else [value]:
        if argument.choices and item not in argument.choices:
            raise ValueError(f"is {item!r}, not one of {', '.join(argument.choices)}")
    return value


def _number(kind: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {value!r}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"must be finite, not {value!r}")
    if kind == "integer" and isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"must be a whole number, not {value!r}")
        return int(value)
    return value
