"""Examples as tensors: sequences one after the other without padding, or each in a row of its own with padding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainers.chat import Encoded
from trainers.ops import IGNORED


@dataclass(frozen=True)
class Batch:
    """What a model and a loss need of one part of a step.

    tokens, positions, targets, sequence are (rows, length): ids, places within their sequence, the id that follows where it is trained
    (else IGNORED), and the number of the sequence in the part. Packed (one row): starts (S + 1) are where sequences begin and the last
    one ends, `longest` the longest one. Padded: `attention` is 1 where there is a token; starts is None.
    """

    tokens: Tensor
    positions: Tensor
    targets: Tensor
    sequence: Tensor
    starts: Tensor | None = None
    longest: int = 0
    attention: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        return self.targets != IGNORED

    @property
    def ends(self) -> Tensor:
        """Places of the last token of each sequence (S,), counted over all rows of the batch."""
        if self.starts is not None:
            return self.starts[1:].long() - 1
        assert self.attention is not None
        rows, length = self.attention.shape
        last = self.attention.cumsum(1).argmax(1)
        return torch.arange(rows, device=last.device) * length + last

    def to(self, device: torch.device) -> "Batch":
        if device.type == "cpu":
            return self
        # From pinned memory the GPU fetches by itself, while it computes what it was given before.
        moved: dict[str, Any] = {
            name: value.pin_memory().to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def packed(examples: Sequence[Encoded]) -> Batch:
    """Sequences one after the other in one row. No example at all makes one token that nothing is predicted from."""
    lengths = [len(example.tokens) for example in examples] or [1]
    starts = np.cumsum([0, *lengths])
    tokens = np.concatenate([example.tokens for example in examples] or [np.zeros(1, np.uint32)])
    targets = np.concatenate([_targets(example) for example in examples] or [np.full(1, IGNORED)])
    positions = np.concatenate([np.arange(length) for length in lengths])
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    t, p, g, s = (torch.from_numpy(part.astype(np.int64))[None] for part in (tokens, positions, targets, sequence))
    return Batch(t, p, g, s, starts=torch.from_numpy(starts.astype(np.int32)), longest=max(lengths))


def padded(examples: Sequence[Encoded], pad: int, side: Literal["left", "right"] = "right") -> Batch:
    """Each sequence in a row of its own, padded on a side to the longest one."""
    shape = (len(examples), max(len(example.tokens) for example in examples))
    tokens, targets = np.full(shape, pad, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
    positions, attention = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for i, example in enumerate(examples):
        length = len(example.tokens)
        where = slice(0, length) if side == "right" else slice(shape[1] - length, None)
        tokens[i, where], targets[i, where] = example.tokens, _targets(example)
        positions[i, where], attention[i, where] = np.arange(length), 1
    sequence = np.broadcast_to(np.arange(shape[0])[:, None], shape).copy()
    t, p, g, s = (torch.from_numpy(part) for part in (tokens, positions, targets, sequence))
    return Batch(t, p, g, s, attention=torch.from_numpy(attention))


def _targets(example: Encoded) -> np.ndarray:
    """At each place the id of the next token if that one is trained."""
    targets = np.full(len(example.tokens), IGNORED, dtype=np.int64)
    targets[:-1] = np.where(example.trained[1:] == 1, example.tokens[1:].astype(np.int64), IGNORED)
    return targets
