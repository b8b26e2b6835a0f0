"""Preference tuning: a model learns to prefer the better one of two responses, by length-normalised DPO as the Tülu 3 recipe does it, or by
DPO, SimPO or IPO.

Run as: python -m trainers.dpo recipes/tiny_dpo.toml --data mixtures.preference@v1 [--set model.path=runs/tiny_sft/model]
        torchrun --nproc-per-node 8 -m trainers.dpo recipes/tulu3_8b_dpo.toml --data mixtures.preference@tulu3-8b-v1
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainers import models, reference, stage
from trainers.batches import Batch
from trainers.config import Dpo, DpoTrain
from trainers.engines import Engine
from trainers.loop import Numbers, Units
from trainers.losses import Counts
from trainers.pairs import Told, of_sides
from trainers.preference import KINDS, Responses, losses, per_sequence, response_logprobs, rewards
from trainers.stage import Stage, Started
from warehouse.errors import run

EXAMPLES = """examples:
  a small real model on a laptop (`make engine` leaves it in .cache/smollm2), on a published mixture of preferences:
    python -m trainers.dpo recipes/tiny_dpo.toml --data mixtures.preference@v1
  from a model of your own; the model that training starts from is the reference:
    python -m trainers.dpo recipes/tiny_dpo.toml --data mixtures.preference@v1 --set model.path=runs/tiny_sft/model
  another loss; log-probabilities of the reference are taken from the run before:
    python -m trainers.dpo recipes/tiny_dpo.toml --data mixtures.preference@v1 --set train.loss=dpo train.beta=0.1 --output runs/dpo
  Tülu 3 8B on a machine with eight GPUs:
    torchrun --nproc-per-node 8 -m trainers.dpo recipes/tulu3_8b_dpo.toml --data mixtures.preference@tulu3-8b-v1
  all losses and settings that the paper compares, one after the other:
    python -m trainers.sweep recipes/sweeps/tulu3_preference.toml --data mixtures.preference@v1

Log-probabilities of the reference are computed once, before the first step, and kept in train.reference_logprobs. Ctrl-C stops after the
step with a checkpoint; the same command goes on. Page: docs/tune.md.
"""
DRIFT = ("drift_chosen", "drift_rejected")  # log π − log π_ref of a response
MORE = ("logprob_chosen", "logprob_rejected", "tokens_chosen", "tokens_rejected")

Reference = Callable[[list[Batch], Numbers], tuple[Tensor, Tensor]]


class Preference:
    """The mean over the pairs of a step of a loss of trainers.preference. `reference` gives its log-probabilities (pairs,) of the better and
    the worse responses of a part; None where the loss has none."""

    def __init__(self, how: DpoTrain, units: Units, reference: Reference | None) -> None:
        self.how, self.reference = how, reference
        self.told = Told(units, (*MORE, *(DRIFT if reference else ())))
        self.names = self.told.names

    def part(self, engine: Engine, batches: list[Batch], units: Numbers, counts: Counts) -> tuple[Tensor, Tensor]:
        how, pairs = self.how, len(units)
        logprobs = of_sides(lambda batch, count: response_logprobs(engine.scorer, batch, count), batches, pairs)
        tokens = of_sides(lambda batch, count: per_sequence(batch.mask, batch.sequence, count), batches, pairs)
        known = self.reference(batches, units) if self.reference else (None, None)
        sides = [Responses(*side) for side in zip(logprobs, tokens, known, strict=True)]
        chosen, rejected = (rewards(how.loss, side, how.beta) for side in sides)
        found = losses(how.loss, chosen, rejected, how.beta, how.margin, how.smoothing)
        drift = [side.logprob - side.reference for side in sides if side.reference is not None]
        told = self.told.sums(units, found, chosen, rejected, *logprobs, *tokens, *drift)
        return found.sum() / counts.sequences, told

    def metrics(self, sums: dict[str, float], counts: Counts) -> dict[str, float]:
        return self.told.metrics(sums, counts)


class Live:
    """A second model in memory, which nothing changes."""

    def __init__(self, recipe: Dpo, device: torch.device) -> None:
        model = models.load(recipe.model, recipe.seed, packing=recipe.engine.packing, trained=False)
        self.scorer: Any = models.Scorer(model.requires_grad_(False)).to(device)

    @torch.no_grad()
    def __call__(self, batches: list[Batch], units: Numbers) -> tuple[Tensor, Tensor]:
        return of_sides(lambda batch, count: response_logprobs(self.scorer, batch, count), batches, len(units))


class Cached:
    """Log-probabilities (pairs, 2) that are known."""

    def __init__(self, logprobs: Tensor) -> None:
        self.logprobs = logprobs

    def __call__(self, batches: list[Batch], units: Numbers) -> tuple[Tensor, Tensor]:
        chosen, rejected = self.logprobs[units].to(batches[0].tokens.device).unbind(1)
        return chosen, rejected


def objective(started: Started) -> Preference:
    recipe = started.recipe
    assert isinstance(recipe, Dpo)
    found: Reference | None = None
    if KINDS[recipe.train.loss].reference:
        live = recipe.engine.reference == "live"
        found = Live(recipe, started.ranks.device) if live else Cached(torch.from_numpy(reference.logprobs(started)))
    return Preference(recipe.train, started.units, found)


STAGE = Stage("trainers.dpo", __doc__, EXAMPLES, "mixtures.preference", Dpo, objective)


def main(arguments: Sequence[str] | None = None) -> int:
    return stage.main(STAGE, arguments)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    run(main)
