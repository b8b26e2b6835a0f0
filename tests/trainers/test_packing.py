"""Steps and parts: the same examples whatever the packing and the number of ranks, and a place that is found again."""

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.packing import Cursor, Plan, best_fit, deal, shuffled
from warehouse.errors import CaravanError

GENERATOR = np.random.default_rng(0)
LENGTHS = GENERATOR.integers(5, 400, 1000)
TARGETS = GENERATOR.integers(1, 5, 1000)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(100, 300), st.integers(1, 5))
def test_every_sequence_lies_in_one_part(lengths, capacity, ranks):
    dealt = deal(lengths, capacity, ranks)
    assert len({len(parts) for parts in dealt}) == 1
    parts = [part for of_rank in dealt for part in of_rank]
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in part) <= capacity for part in parts)


def test_best_fit():
    assert best_fit([2, 6, 5, 3, 4], 10) == [[1, 4], [2, 3, 0]]
    with pytest.raises(CaravanError, match="11 tokens does not fit"):
        best_fit([11], 10)
    # No packing needs fewer parts than all tokens together fill.
    parts = best_fit(LENGTHS.tolist(), 4096)
    assert len(parts) <= -(-LENGTHS.sum() // 4096) + 1


def test_parts_of_ranks_are_equally_full():
    dealt = deal(LENGTHS[:128].tolist(), 4096, 8)
    fill = [sum(int(LENGTHS[i]) for i in part) for parts in dealt for part in parts]
    assert max(fill) < 1.1 * min(fill)


def test_the_order_is_of_seed_and_epoch():
    orders = {(seed, epoch): shuffled(1000, seed, epoch).tolist() for seed in (42, 123) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(1000)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    # It is what later versions must give as well: the definition, in Python's integers.
    keys = [splitmix(i + splitmix(splitmix(42) + 1)) for i in range(50)]
    assert shuffled(50, 42, 1).tolist() == sorted(range(50), key=keys.__getitem__)
    assert splitmix(0) == 0xE220A8397B1DCDAF  # published first output of the generator started at 0
    # No trace of the order of the examples: neighbours stay neighbours as often as chance has it.
    order = shuffled(100_000, 42, 0)
    assert abs(np.corrcoef(order, np.arange(100_000))[0, 1]) < 0.01
    assert (np.abs(np.diff(order)) == 1).sum() < 20


def splitmix(x):
    wide = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & wide
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & wide
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & wide
    return x ^ (x >> 31)


def plan(**change):
    return Plan(**{"lengths": LENGTHS, "targets": TARGETS, "batch": 128, "seed": 42, "capacity": 4096, **change})


@pytest.mark.parametrize("capacity", [None, 400, 4096])
def test_steps_hold_the_same_examples_on_any_number_of_ranks(capacity):
    alone = list(plan(capacity=capacity).steps(2))
    assert len(alone) == 2 * 8 and len(alone[7].examples) == 1000 - 7 * 128
    assert sorted(i for step in alone[:8] for i in step.examples) == list(range(1000))
    for ranks in (2, 3, 4):
        of_ranks = [list(plan(capacity=capacity, rank=rank, ranks=ranks).steps(2)) for rank in range(ranks)]
        for step, *parts in zip(alone, *of_ranks, strict=True):
            assert all(part.examples.tolist() == step.examples.tolist() for part in parts)
            assert {(part.counts.tokens, part.counts.sequences) for part in parts} == {
                (TARGETS[step.examples].sum(), len(step.examples))
            }
            computed = sorted(i for part in parts for each in part.parts for i in each)
            assert computed == sorted(step.examples.tolist())
            assert len({len(part.parts) for part in parts}) == 1


def test_a_place_is_found_again():
    steps = list(plan().steps(3))
    for i in (0, 5, 7, 8, 20):
        again = list(plan().steps(3, plan().after(steps[i].cursor)))
        assert [step.examples.tolist() for step in again] == [step.examples.tolist() for step in steps[i + 1 :]]
        assert [step.parts for step in again] == [step.parts for step in steps[i + 1 :]]
    assert plan().after(Cursor(0, 7)) == Cursor(1, 0)
