"""The definition of overlap, word for word, over strings: slow, without hashes or arrays, and independent of the kernels."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

Tokens = Callable[[str], list[str]]


def grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


class Oracle:
    """All pairs of a training row with the instances: {(instance, kind): (matched tokens, total tokens)}."""

    def __init__(
        self, instances: Sequence[Sequence[str]], tokens: Tokens, n: int = 8, threshold: Fraction = Fraction(1, 2)
    ) -> None:
        self.tokens, self.n, self.threshold = tokens, n, threshold
        self.places: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        self.short: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self.totals = []
        for e, fields in enumerate(instances):
            token = 0
            has_gram = False
            every: list[str] = []
            for text in fields:
                found = tokens(text)
                for i, gram in enumerate(grams(found, n)):
                    self.places[gram].append((e, token + i))
                    has_gram = True
                token += len(found)
                every += found
            if not has_gram and every:
                self.short[tuple(every)].append(e)
            self.totals.append(token)

    def pairs(self, turns: Iterable[str]) -> dict[tuple[int, str], tuple[int, int]]:
        held: set[tuple[str, ...]] = set()
        exact: set[int] = set()
        for turn in turns:
            found = self.tokens(turn)
            held.update(grams(found, self.n))
            exact.update(self.short.get(tuple(found), ()))
        matched: dict[int, set[int]] = defaultdict(set)
        for gram in held:
            for e, at in self.places.get(gram, ()):
                matched[e].update(range(at, at + self.n))
        pairs = {
            (e, "ngram"): (len(positions), self.totals[e])
            for e, positions in matched.items()
            if len(positions) > self.threshold * self.totals[e]
        }
        return pairs | {(e, "exact"): (self.totals[e], self.totals[e]) for e in exact}
