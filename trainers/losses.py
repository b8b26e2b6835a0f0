"""One reducer from losses of tokens to the loss of a step.

A step is made of parts: micro-batches, one after the other and on many ranks. Each part is reduced by itself and the results are added
up, so whatever is divided by must be counted over the whole step before the first part is seen: that is Counts. Dividing by what is in
one part instead, and averaging the parts, weights the tokens of short parts up. `tulu_microbatch_mean` does so, to compare with runs
that were made that way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from warehouse.errors import CaravanError


@dataclass(frozen=True)
class Counts:
    """What a whole step holds, over all its parts and ranks."""

    tokens: int  # that are trained
    sequences: int  # that have such tokens
    parts: int  # micro-batches


def _sum(losses: Tensor, mask: Tensor, sequence: Tensor, counts: Counts) -> Tensor:
    return (losses * mask).sum()


def _token_mean(losses: Tensor, mask: Tensor, sequence: Tensor, counts: Counts) -> Tensor:
    return (losses * mask).sum() / max(counts.tokens, 1)


def _seq_mean(losses: Tensor, mask: Tensor, sequence: Tensor, counts: Counts) -> Tensor:
    sums = losses.new_zeros(int(sequence.max()) + 1 if sequence.numel() else 0)
    sizes = torch.zeros_like(sums).index_add(0, sequence, mask).clamp(min=1)
    return (sums.index_add(0, sequence, losses * mask) / sizes).sum() / max(counts.sequences, 1)


def _tulu_microbatch_mean(losses: Tensor, mask: Tensor, sequence: Tensor, counts: Counts) -> Tensor:
    return (losses * mask).sum() / mask.sum().clamp(min=1) / max(counts.parts, 1)


MODES: dict[str, Callable[[Tensor, Tensor, Tensor, Counts], Tensor]] = {
    "sum": _sum,
    "token_mean": _token_mean,
    "seq_mean": _seq_mean,
    "tulu_microbatch_mean": _tulu_microbatch_mean,
}


def reduce(losses: Tensor, mask: Tensor, mode: str, counts: Counts, sequence: Tensor) -> Tensor:
    """The share of one part in the loss of the step; the shares of all parts and ranks add up to it.

    losses, mask, sequence have one shape: the loss of each token, whether it is trained, and the number of its sequence within this part,
    from 0. A sequence lies in one part. Raises CaravanError on an unknown mode.
    """
    if mode not in MODES:
        raise CaravanError(f"There is no way to reduce a loss called {mode!r}. There are: {', '.join(MODES)}.")
    flat = losses.reshape(-1)
    return MODES[mode](flat, mask.reshape(-1).to(flat.dtype), sequence.reshape(-1), counts)
