"""Which examples make a step, and how they lie in memory.

A step of the optimiser takes a fixed number of examples, in an order that seed and epoch determine. Packing only decides in which
micro-batch of which rank each of them is computed: best-fit decreasing into parts of a number of tokens, sequences one after the other
with no padding. So the order of data, and with the loss as a sum the gradient, is the same for every number of ranks and every packing.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.losses import Counts
from warehouse.errors import CaravanError


def shuffled(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of `count` examples: examples sorted by a hash of seed, epoch and number, which no version of a library changes."""
    with np.errstate(over="ignore"):
        start = _mixed(_mixed(np.uint64(seed)) + np.uint64(epoch))
        return np.argsort(_mixed(np.arange(count, dtype=np.uint64) + start), kind="stable")


def _mixed(x: Any) -> Any:
    """SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64 bits."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Numbers of sequences in parts of at most `capacity` tokens: longest first, each into the fullest part that has room for it.

    Raises CaravanError where a sequence is longer than that.
    """
    parts: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, part), sorted
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = int(lengths[i])
        if length > capacity:
            raise CaravanError(
                f"An example of {length:,} tokens does not fit into a micro-batch of {capacity:,}: raise tokens_per_part."
            )
        at = bisect_left(room, (length, -1))
        if at == len(room):
            left, part = capacity, len(parts)
            parts.append([])
        else:
            left, part = room.pop(at)
        parts[part].append(i)
        insort(room, (left - length, part))
    return parts


def level(lengths: Sequence[int], capacity: int, parts: int) -> list[list[int]] | None:
    """The same in exactly this many parts, about equally full: longest first, each into the emptiest. None where one would be too full."""
    made: list[list[int]] = [[] for _ in range(parts)]
    fill = np.zeros(parts, dtype=np.int64)
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        part = int(fill.argmin())
        made[part].append(i)
        fill[part] += lengths[i]
    return made if fill.max() <= capacity else None


def deal(lengths: Sequence[int], capacity: int, ranks: int) -> list[list[list[int]]]:
    """Parts of every rank, the same number for each, as ranks that wait for one another need. A part may be empty."""
    packed = best_fit(lengths, capacity)
    count = -(-len(packed) // ranks) * ranks
    # Ranks wait for the slowest: equally full parts are better than full ones and a rest.
    packed = level(lengths, capacity, count) or packed + [[]] * (count - len(packed))
    packed.sort(key=lambda part: -sum(int(lengths[i]) ** 2 for i in part))
    dealt: list[list[list[int]]] = [[] for _ in range(ranks)]
    for turn in range(count // ranks):
        of_turn = packed[turn * ranks : (turn + 1) * ranks]
        for rank, part in enumerate(of_turn if turn % 2 == 0 else of_turn[::-1]):
            dealt[rank].append(part)
    return dealt


@dataclass(frozen=True)
class Cursor:
    """A place in the data: the next step of an epoch, both from 0."""

    epoch: int = 0
    step: int = 0


@dataclass(frozen=True)
class Step:
    """The examples of a step, `parts` of them that this rank computes, and what the whole step holds."""

    cursor: Cursor
    examples: npt.NDArray[np.int64]
    parts: list[list[int]]  # numbers of examples
    counts: Counts

    @property
    def tokens(self) -> int:
        return self.counts.tokens


@dataclass(frozen=True)
class Plan:
    """All steps of a run over examples with these lengths and numbers of targets.

    `batch` examples make a step; what is left over at the end of an epoch is a smaller one. `capacity` is the tokens of a part; None
    computes every example by itself.
    """

    lengths: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    batch: int
    seed: int
    capacity: int | None
    rank: int = 0
    ranks: int = 1

    @property
    def steps_of_epoch(self) -> int:
        return -(-len(self.lengths) // self.batch)

    def steps(self, epochs: int, start: Cursor = Cursor()) -> Iterator[Step]:
        """The steps from a place on."""
        for epoch in range(start.epoch, epochs):
            order = shuffled(len(self.lengths), self.seed, epoch)
            for i in range(start.step if epoch == start.epoch else 0, self.steps_of_epoch):
                yield self.step(Cursor(epoch, i), order[i * self.batch : (i + 1) * self.batch])

    def step(self, cursor: Cursor, examples: npt.NDArray[np.int64]) -> Step:
        lengths = self.lengths[examples].tolist()
        capacity = self.capacity or max(lengths)
        dealt = deal(lengths, capacity, self.ranks) if self.capacity else _each(len(lengths), self.ranks)
        parts = [[int(examples[i]) for i in part] for part in dealt[self.rank]]
        full = sum(bool(part) for of_rank in dealt for part in of_rank)
        counts = Counts(int(self.targets[examples].sum()), int((self.targets[examples] > 0).sum()), full)
        return Step(cursor, examples, parts, counts)

    def after(self, cursor: Cursor) -> Cursor:
        """The place after a step."""
        if cursor.step + 1 < self.steps_of_epoch:
            return Cursor(cursor.epoch, cursor.step + 1)
        return Cursor(cursor.epoch + 1, 0)


def _each(count: int, ranks: int) -> list[list[list[int]]]:
    """Every example a part of its own."""
    rounds = -(-count // ranks)
    return [[[i * ranks + rank] if i * ranks + rank < count else [] for i in range(rounds)] for rank in range(ranks)]
