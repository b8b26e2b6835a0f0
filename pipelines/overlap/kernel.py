"""Compiled text kernels: from UTF-8 bytes to token hashes, and to the tokens themselves where hashes agree.

Hashes only find candidates; equality is always decided on the tokens' bytes.
"""

import os
from typing import NamedTuple

import numpy as np
from numba import njit, uint64

from pipelines.overlap.tokenizers import FoldTable

# Inside a wheel that was shipped to an executor there is no place for a cache.
compiled = njit(nogil=True, cache=os.path.exists(__file__))

BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_LEFT, _RIGHT = np.uint64(11), np.uint64(53)


class Fold(NamedTuple):
    """`tokenizers.FoldTable` for compiled code, and random 64-bit codes of its bytes; 0 is the code of a separator."""

    ascii: np.ndarray  # (256,) uint8
    offsets: np.ndarray
    text: np.ndarray
    ascii_codes: np.ndarray  # (256,) uint64: code of the folded byte of an ASCII character
    byte_codes: np.ndarray  # (256,) uint64: code of a folded byte

    @classmethod
    def of(cls, table: FoldTable) -> "Fold":
        """The arrays of a table."""
        codes = np.random.default_rng(3).integers(1, 1 << 63, 256, np.uint64)
        codes[0] = 0
        return cls(table.ascii, table.offsets, table.text, codes[table.ascii], codes)


@compiled
def _code_point(data, i):
    """The character beyond ASCII at byte i of valid UTF-8, and how many bytes it takes."""
    first = np.int64(data[i])
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (np.int64(data[i + 1]) & 0x3F), 2
    if first < 0xF0:
        return ((first & 0x0F) << 12) | ((np.int64(data[i + 1]) & 0x3F) << 6) | (np.int64(data[i + 2]) & 0x3F), 3
    high = ((first & 0x07) << 18) | ((np.int64(data[i + 1]) & 0x3F) << 12)
    return high | ((np.int64(data[i + 2]) & 0x3F) << 6) | (np.int64(data[i + 3]) & 0x3F), 4


@compiled
def _step(rolling, code):
    """Add a byte to the hash of a token (a cyclic polynomial)."""
    return ((rolling << _LEFT) | (rolling >> _RIGHT)) ^ code


@compiled
def hash_folded(byte_codes, folded, bounds):
    """Hash of each token folded[bounds[t]:bounds[t + 1]]; equal to what `hash_tokens` gives."""
    hashes = np.zeros(bounds.shape[0] - 1, np.uint64)
    for t in range(hashes.shape[0]):
        for i in range(bounds[t], bounds[t + 1]):
            hashes[t] = _step(hashes[t], byte_codes[folded[i]])
    return hashes


@compiled
def hash_tokens(ascii_codes, byte_codes, offsets, text, data, start, end, hashes):
    """Put the hash of each token of data[start:end] into `hashes`; returns how many there are.

    Every step writes, and the cursor moves only where a token ends: for ASCII text there is no branch to mispredict.
    """
    rolling = uint64(0)
    before = np.int64(0)
    cursor = 0
    i = start
    while i < end:
        byte = data[i]
        if byte < 0x80:
            code = ascii_codes[byte]
            inside = np.int64(code != 0)
            hashes[cursor] = rolling
            cursor += before & (inside ^ 1)
            rolling = _step(rolling, code) & (uint64(0) - uint64(inside))
            before = inside
            i += 1
            continue
        character, width = _code_point(data, i)
        known = character < offsets.shape[0] - 1
        low = offsets[character] if known else i
        high = offsets[character + 1] if known else i + width
        for j in range(low, high):
            code = byte_codes[text[j] if known else data[j]]
            inside = np.int64(code != 0)
            hashes[cursor] = rolling
            cursor += before & (inside ^ 1)
            rolling = _step(rolling, code) & (uint64(0) - uint64(inside))
            before = inside
        i += width
    hashes[cursor] = rolling
    return cursor + before


@compiled
def split(fold, data, start, end):
    """The folded bytes of data[start:end], and the (n + 1,) offsets of its n tokens in them, separators left out."""
    folded = np.empty(_folded_size(fold.offsets, data, start, end), np.uint8)
    bounds = np.empty(folded.shape[0] + 1, np.int64)
    written = 0
    count = 0
    bounds[0] = 0
    i = start
    while i < end:
        if data[i] < 0x80:
            folded[written] = fold.ascii[data[i]]
            width = added = 1
        else:
            character, width = _code_point(data, i)
            low, added = i, width
            if character < fold.offsets.shape[0] - 1:
                low, added = np.int64(fold.offsets[character]), fold.offsets[character + 1] - fold.offsets[character]
                folded[written : written + added] = fold.text[low : low + added]
            else:
                folded[written : written + added] = data[low : low + added]
        for j in range(written, written + added):
            if folded[j] != 0:
                folded[written] = folded[j]
                written += 1
            elif written > bounds[count]:
                count += 1
                bounds[count] = written
        i += width
    if written > bounds[count]:
        count += 1
        bounds[count] = written
    return folded[:written], bounds[: count + 1]


@compiled
def _folded_size(offsets, data, start, end):
    """Bytes that a text takes when folded, separators counted."""
    size = 0
    i = start
    while i < end:
        if data[i] < 0x80:
            size += 1
            i += 1
        else:
            character, width = _code_point(data, i)
            size += offsets[character + 1] - offsets[character] if character < offsets.shape[0] - 1 else width
            i += width
    return size


@compiled
def spread(mixed):
    """Final mixing: every bit of the result depends on every bit of the sum."""
    mixed ^= mixed >> uint64(32)
    mixed *= _MIX
    return mixed ^ (mixed >> uint64(32))


@compiled
def hash_run(hashes, start, count):
    """Hash of a run of tokens; equal to what the rolling n-gram hash gives for the same tokens."""
    rolling = uint64(0)
    for t in range(start, start + count):
        rolling = rolling * BASE + hashes[t]
    return spread(rolling)


@compiled
def same_run(left, left_start, right, right_start, count):
    """Whether two runs of `count` elements are equal."""
    for i in range(count):  # noqa: SIM110 (numba compiles no generator)
        if left[left_start + i] != right[right_start + i]:
            return False
    return True


@compiled
def grown(rows):
    """A copy with room for twice as many rows."""
    larger = np.empty((2 * rows.shape[0], *rows.shape[1:]), rows.dtype)
    larger[: rows.shape[0]] = rows
    return larger
