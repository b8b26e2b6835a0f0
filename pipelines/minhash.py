"""Normalised text, shingles and MinHash signatures, over Arrow strings and numpy arrays.

A shingle is a run of five characters of the normalised text: that works for prompts of a few words and for languages without
spaces. Shingles are 64-bit hashes computed here, so they are the same on every machine and with every version of every library.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

SHINGLE = 5
PERMUTATIONS = 128
SEED = 1
RECALL = 0.999  # the probability that a pair right at the threshold shares a bucket
PIECE = 1 << 20  # characters hashed at a time, so that memory does not grow with the longest text

Hashes = npt.NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def normalise(text: str) -> str:
    """Unicode compatibility form NFKC, case folded, every run of white space one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shape(threshold: float) -> tuple[int, int]:
    """Bands and rows a band: the most rows (fewest false candidates) with which pairs at `threshold` are found with RECALL."""
    for rows in range(PERMUTATIONS, 0, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= RECALL:
            return bands, rows
    return PERMUTATIONS, 1


def method(threshold: float) -> str:
    """What decides the result, in one line."""
    bands, rows = shape(threshold)
    return (
        f"MinHash rensa {version('rensa')} (algorithm {RMinHash.ALGORITHM_VERSION}), seed {SEED}, {bands} bands of {rows}; "
        f"Jaccard of {SHINGLE}-character shingles >= {threshold:g}"
    )


def buckets(texts: Sequence[str], threshold: float) -> npt.NDArray[np.int64]:
    """(texts, bands): the bucket of each text in each band. Equal buckets make a candidate pair; bands have buckets of their own."""
    bands, rows = shape(threshold)
    values = signatures(texts)[:, : bands * rows].astype(np.uint64).reshape(len(texts), bands, rows)
    mixed = np.broadcast_to(np.arange(1, bands + 1, dtype=np.uint64), (len(texts), bands)).copy()
    for row in range(rows):
        mixed = _spread((mixed + values[:, :, row]) * _MULTIPLIER)
    return mixed.view(np.int64)


def signatures(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """(texts, PERMUTATIONS): MinHash signatures of normalised texts."""
    if not texts:
        return np.empty((0, PERMUTATIONS), np.uint32)
    pieces = [list(_pieces(text)) for text in texts]
    flat = [piece for own in pieces for piece in own]
    parts = []
    for start, end in _groups(flat):
        hashes, offsets = _windows(flat[start:end])
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, PERMUTATIONS, SEED)
        parts.append(np.array(matrix.to_rows(), dtype=np.uint32))
    firsts = np.cumsum([0, *(len(own) for own in pieces[:-1])])
    # The signature of a union is the minimum of the signatures.
    return np.minimum.reduceat(np.concatenate(parts), firsts, axis=0)


def jaccard(one: str, other: str, threshold: float = 0.0) -> float:
    """Share of the distinct shingles of two normalised texts that both have; 0 where lengths alone rule out the threshold."""
    a, b = _shingles(one), _shingles(other)
    if min(len(a), len(b)) < threshold * max(len(a), len(b)):
        return 0.0
    merged = np.concatenate([a, b])
    merged.sort()
    both = int(np.count_nonzero(merged[1:] == merged[:-1]))
    return both / (len(a) + len(b) - both)


@lru_cache(maxsize=8)
def _shingles(text: str) -> Hashes:
    return np.unique(np.concatenate([_windows([piece])[0] for piece in _pieces(text)]))


def _pieces(text: str) -> Iterator[str]:
    """Parts of a text of at most PIECE characters that hold each of its shingles."""
    for start in range(0, max(1, len(text) - SHINGLE + 1), PIECE):
        yield text[start : start + PIECE + SHINGLE - 1]


def _groups(pieces: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of pieces of at most about PIECE characters together."""
    start = size = 0
    for end, piece in enumerate(pieces):
        if size and size + len(piece) > PIECE:
            yield start, end
            start, size = end, 0
        size += len(piece)
    yield start, len(pieces)


def _windows(texts: Sequence[str]) -> tuple[Hashes, Hashes]:
    """Hashes of all shingles of some texts, one text after the other, and where each text's start (and the last's end).

    A text shorter than a shingle is one shingle: the zeros that follow every text fill it up.
    """
    filler = "\0" * SHINGLE
    points = np.frombuffer((filler.join(texts) + filler).encode("utf-32-le"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in texts], np.int64)
    counts = np.maximum(lengths - SHINGLE + 1, 1)
    rolled = np.zeros(len(points) - SHINGLE + 1, np.uint64)
    for place in range(SHINGLE):
        rolled = (rolled + points[place : place + len(rolled)]) * _MULTIPLIER
    starts = np.cumsum(lengths + SHINGLE) - (lengths + SHINGLE)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return _spread(rolled[np.repeat(starts, counts) + within]), offsets.astype(np.uint64)


def _spread(values: Hashes) -> Hashes:
    """Every bit of the input reaches every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))
