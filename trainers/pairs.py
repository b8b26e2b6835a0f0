"""What the stages over pairs share: values of both sides of a part, and what is told of a step, over all and by source.

A pair is a better and a worse response to one prompt. Their rewards are a reward model's scores or, without one, the implicit rewards of
trainers.preference.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.batches import Batch
from trainers.loop import Numbers, Units
from trainers.losses import Counts

SUMS = ("loss", "accuracy", "reward_chosen", "reward_rejected")
OF_SOURCE = ("pairs", "accuracy", "margin")


def of_sides(values: Callable[[Batch, int], Tensor], batches: list[Batch], pairs: int) -> tuple[Tensor, Tensor]:
    """What `values` gives (S, …) of the S sequences of a batch, for the better (pairs, …) and the worse (pairs, …) ones: of two batches,
    one a side, or of one with both."""
    whole = torch.cat([values(batch, 2 * pairs // len(batches)) for batch in batches])
    return whole[:pairs], whole[pairs:]


class Told:
    """Means over the pairs of a step: loss, accuracy (share of pairs whose better response has the higher reward, ties half), rewards, their
    distance as `margin`, `more`; accuracy and margin also by source."""

    def __init__(self, units: Units, more: tuple[str, ...] = ()) -> None:
        self.sources, number = units.examples.sources
        self.source = torch.from_numpy(number[::2].copy())
        self.means = (*SUMS, *more)
        self.names = (*self.means, *(f"{name}/{source}" for name in OF_SOURCE for source in self.sources))

    @torch.no_grad()
    def sums(self, units: Numbers, losses: Tensor, chosen: Tensor, rejected: Tensor, *more: Tensor) -> Tensor:
        """Of a part: losses, rewards of both sides and `more`, each (pairs,)."""
        margin = (chosen - rejected).double()
        right = (margin.sign() + 1) / 2
        means = torch.stack([value.double().sum() for value in (losses, right, chosen, rejected, *more)])
        source = self.source[units].to(margin.device)
        by_source = [
            margin.new_zeros(len(self.sources)).index_add(0, source, value)
            for value in (torch.ones_like(margin), right, margin)
        ]
        return torch.cat([means, *by_source])

    def metrics(self, sums: dict[str, float], counts: Counts) -> dict[str, float]:
        pairs = counts.sequences
        found = {name: sums[name] / pairs for name in self.means}
        found["margin"] = found["reward_chosen"] - found["reward_rejected"]
        for source in self.sources:
            if here := sums[f"pairs/{source}"]:
                found |= {f"{name}/{source}": sums[f"{name}/{source}"] / here for name in OF_SOURCE[1:]}
        return found
