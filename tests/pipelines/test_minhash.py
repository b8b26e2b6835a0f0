"""Normalisation, signatures and similarity, against their definitions in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import minhash

GOLDEN = [2484875490, 92773323, 2470589167, 3302408295]  # of "the quick brown fox", seed 1


def shingles(text: str) -> set[str]:
    return {text[i : i + minhash.SHINGLE] for i in range(max(1, len(text) - minhash.SHINGLE + 1))}


def similarity(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def test_normalise():
    assert minhash.normalise("  Ｗｈａｔ\n is\t\u00a0STRASSE, Straße or ﬁne?") == "what is strasse, strasse or fine?"
    assert minhash.normalise(" \n ") == ""


@settings(deadline=None)
@given(st.text("abc é数", max_size=40), st.text("abc é数", max_size=40))
def test_jaccard_is_that_of_the_shingles(one, other):
    assert minhash.jaccard(one, other) == pytest.approx(similarity(one, other))
    assert minhash.jaccard(one, other, 0.7) in (0.0, pytest.approx(similarity(one, other)))
    if similarity(one, other) >= 0.7:
        assert minhash.jaccard(one, other, 0.7) >= 0.7


def test_a_signature_never_changes():
    """Stored clusters stay comparable: not with another version of a library, nor on another machine."""
    one, short, empty = minhash.signatures(["the quick brown fox", "fox", ""])
    assert one[:4].tolist() == GOLDEN
    assert len({tuple(one), tuple(short), tuple(empty)}) == 3


def test_a_signature_does_not_depend_on_its_neighbours_or_its_length(monkeypatch):
    texts = ["some words here, " * 300, "", "x", "a second text, which is also here"]
    together = minhash.signatures(texts)
    assert np.array_equal(together, np.concatenate([minhash.signatures([text]) for text in texts]))
    monkeypatch.setattr(minhash, "PIECE", 7)
    assert np.array_equal(together, minhash.signatures(texts))


def test_signatures_estimate_similarity():
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(300):
        letters = rng.choice(list("abcdefghijklmnop"), 400)
        other = letters.copy()
        other[: rng.integers(1, 200)] = "q"
        one, two = "".join(letters), "".join(other)
        a, b = minhash.signatures([one, two])
        errors.append(np.mean(a == b) - similarity(one, two))
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.06  # sqrt(J (1 - J) / 128) is at most 0.044


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_pairs_at_the_threshold(threshold):
    bands, rows = minhash.shape(threshold)
    assert bands * rows <= minhash.PERMUTATIONS
    assert 1 - (1 - threshold**rows) ** bands >= minhash.RECALL


def test_buckets_of_equal_signatures_are_equal_and_bands_have_their_own():
    texts = ["one and the same text", "one and the same text", "quite another thing"]
    own = minhash.buckets(texts, 0.8)
    assert own.shape == (3, minhash.shape(0.8)[0])
    assert np.array_equal(own[0], own[1])
    assert not set(own[0]) & set(own[2])
    assert len(set(own[0])) == own.shape[1]
