"""From evidence to the matrix of training sets and evaluations, and to what is removed (Tülu 3, section 3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipelines.output import query


@dataclass(frozen=True)
class Policy:
    """What is removed of a contaminated training set.

    A training set is contaminated by an evaluation if it overlaps more than `set_threshold` of the evaluation's instances,
    by n-grams, or exactly: the two kinds are counted apart. `action`: 'rows' removes the rows that overlap, 'set' the whole
    training set, 'suite' the set for an unseen evaluation and the rows for any other, 'none' nothing.
    """

    set_threshold: Fraction
    action: str

    def for_suite(self, suite: str | None) -> str:
        """The action for an evaluation of a suite."""
        return ("set" if suite == "unseen" else "rows") if self.action == "suite" else self.action


@dataclass
class Cell:
    """One training set against one evaluation."""

    train_set: str
    eval_set: str
    instances: int  # of the evaluation
    overlapped: int  # instances overlapped by n-grams
    exact: int  # instances without n-grams that are equal to a turn
    rows: int  # training rows that overlap
    contaminated: bool
    action: str
    removed: int = 0  # training rows

    @property
    def share(self) -> float:
        """Share of the evaluation's instances that are overlapped by n-grams."""
        return self.overlapped / self.instances


def matrix(
    files: Sequence[str],
    instances: Mapping[str, int],
    suites: Mapping[str, str | None],
    rows: Mapping[str, int],
    policy: Policy,
) -> list[Cell]:
    """Cells with any overlap, out of the files of the evidence.

    `instances` and `suites` are by evaluation, `rows` (those of the whole set) by training set.
    """
    if not files:
        return []
    found = query(
        files,
        """
        select
            train_set,
            eval_set,
            count(distinct (eval_file, eval_row)) filter (kind = 'ngram'),
            count(distinct (eval_file, eval_row)) filter (kind = 'exact'),
            count(distinct (train_file, train_row, train_branch))
        from pairs
        group by all
        order by all
        """,
    ).fetchall()
    cells = []
    for train_set, eval_set, overlapped, exact, overlapping_rows in found:
        limit = policy.set_threshold * instances[eval_set]
        contaminated = overlapped > limit or exact > limit
        action = policy.for_suite(suites[eval_set]) if contaminated else "none"
        removed = {"none": 0, "rows": overlapping_rows, "set": rows[train_set]}[action]
        cells.append(
            Cell(
                train_set,
                eval_set,
                instances[eval_set],
                overlapped,
                exact,
                overlapping_rows,
                contaminated,
                action,
                removed,
            )
        )
    return cells


def removed_rows(files: Sequence[str], cells: Sequence[Cell], rows: Mapping[str, int]) -> dict[str, int]:
    """Distinct rows that are removed of each training set."""
    removed = {name: 0 for name in rows}
    removed |= {cell.train_set: rows[cell.train_set] for cell in cells if cell.action == "set"}
    by_rows = [(cell.train_set, cell.eval_set) for cell in cells if cell.action == "rows"]
    if by_rows:
        for name, count in query(
            files,
            """
            select train_set, count(distinct (train_file, train_row, train_branch))
            from pairs
            where (train_set, eval_set) in (select unnest($1), unnest($2))
            group by all
            """,
            [[train for train, _ in by_rows], [evaluation for _, evaluation in by_rows]],
        ).fetchall():
            removed[name] = max(removed[name], count)
    return removed
