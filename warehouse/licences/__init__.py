"""What SPDX licence expressions allow: one row a licence in licences.csv, which is also a dbt seed.

An expression is kept in conjunctive normal form, `A AND (B OR C)`: every term binds, and of the alternatives in
brackets the reader takes the most permissive. So SQL needs two splits, first at AND and then at OR, to say what a row
allows.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product

from warehouse.errors import CaravanError

Clause = frozenset[str]


@dataclass(frozen=True)
class PermittedUse:
    """What may be done with text under an expression. `model_output_terms` names the vendors' terms that bind it."""

    commercial: bool
    attribution: bool
    share_alike: bool
    model_output_terms: tuple[str, ...]


@dataclass(frozen=True)
class Licence:
    """One row of licences.csv; a higher `strictness` is stricter."""

    id: str
    permits: PermittedUse
    strictness: int
    note: str


@cache
def table() -> dict[str, Licence]:
    """Every licence of licences.csv by its identifier in lower case."""
    with files(__name__).joinpath("licences.csv").open(encoding="utf-8") as file:
        return {row["licence"].lower(): _licence(row) for row in csv.DictReader(file)}


def combine(expressions: Iterable[str]) -> str:
    """The expression of a text made from texts under `expressions`: all their terms, the strictest first, each once.

    Raises CaravanError for a licence that licences.csv does not list, an expression that cannot be read, and for none.
    """
    clauses = {clause for expression in expressions for clause in _parse(expression)}
    if not clauses:
        raise CaravanError("no licence to combine: state one, or LicenseRef-Unstated where a data set states none.")
    ordered = sorted(clauses, key=lambda clause: (-_easiest(clause).strictness, sorted(clause)))
    return " AND ".join(_write(clause, alone=len(ordered) == 1) for clause in ordered)


def permitted(expression: str) -> PermittedUse:
    """What an SPDX expression allows. Raises as `combine`."""
    uses = [_easiest(clause).permits for clause in _parse(expression)]
    return PermittedUse(
        commercial=all(use.commercial for use in uses),
        attribution=any(use.attribution for use in uses),
        share_alike=any(use.share_alike for use in uses),
        model_output_terms=tuple(sorted({term for use in uses for term in use.model_output_terms})),
    )


def _licence(row: dict[str, str]) -> Licence:
    terms = (row["model_output_terms"],) if row["model_output_terms"] else ()
    permits = PermittedUse(row["commercial"] == "yes", row["attribution"] == "yes", row["share_alike"] == "yes", terms)
    return Licence(row["licence"], permits, int(row["strictness"]), row["note"])


def _easiest(clause: Clause) -> Licence:
    return min((table()[name.lower()] for name in clause), key=lambda licence: (licence.strictness, licence.id))


def _write(clause: Clause, alone: bool) -> str:
    text = " OR ".join(sorted(clause))
    return text if alone or len(clause) == 1 else f"({text})"


def _parse(expression: str) -> list[Clause]:
    """The clauses of an expression: AND binds tighter than OR, as SPDX says."""
    tokens = re.findall(r"[()]|[^\s()]+", expression)
    clauses, rest = _alternatives(tokens, expression)
    if rest:
        raise _unreadable(expression)
    return clauses


def _alternatives(tokens: list[str], expression: str) -> tuple[list[Clause], list[str]]:
    clauses, rest = _terms(tokens, expression)
    while rest and rest[0].upper() == "OR":
        others, rest = _terms(rest[1:], expression)
        clauses = [one | other for one, other in product(clauses, others)]
    return clauses, rest


def _terms(tokens: list[str], expression: str) -> tuple[list[Clause], list[str]]:
    clauses, rest = _term(tokens, expression)
    while rest and rest[0].upper() == "AND":
        more, rest = _term(rest[1:], expression)
        clauses = clauses + more
    return clauses, rest


def _term(tokens: list[str], expression: str) -> tuple[list[Clause], list[str]]:
    if not tokens or tokens[0].upper() in {"AND", "OR", "WITH", ")"}:
        raise _unreadable(expression)
    if tokens[0] == "(":
        clauses, rest = _alternatives(tokens[1:], expression)
        if rest[:1] != [")"]:
            raise _unreadable(expression)
        return clauses, rest[1:]
    if len(tokens) > 2 and tokens[1].upper() == "WITH":
        return [frozenset({_known(f"{tokens[0]} WITH {tokens[2]}", expression)})], tokens[3:]
    return [frozenset({_known(tokens[0], expression)})], tokens[1:]


def _known(name: str, expression: str) -> str:
    licence = table().get(name.lower())
    if licence is None:
        raise CaravanError(
            f"licence {name!r} (in {expression!r}) is not in warehouse/licences/licences.csv. Add a row for it, "
            f"'{name},yes|no,yes|no,yes|no,,strictness,note', or use LicenseRef-Unstated where a data set states none."
        )
    return licence.id


def _unreadable(expression: str) -> CaravanError:
    return CaravanError(
        f"{expression!r} is not an SPDX licence expression. Write identifiers joined by AND and OR, such as "
        f"'CC-BY-4.0 AND (MIT OR Apache-2.0)', or LicenseRef-Unstated where a data set states none."
    )
