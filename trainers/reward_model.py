"""A reward model: a response becomes one number, by pairs of a better and a worse one.

Run as: python -m trainers.reward_model recipes/tiny_reward_model.toml --data mixtures.preference@v1 [--output runs/rm]
        torchrun --nproc-per-node 8 -m trainers.reward_model recipes/tulu3_8b_reward_model.toml --data mixtures.preference@tulu3-8b-v1
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainers import models, stage
from trainers.batches import Batch
from trainers.config import RewardModel
from trainers.engines import Engine
from trainers.loop import Numbers, Units
from trainers.losses import Counts
from trainers.pairs import Told, of_sides
from trainers.preference import bradley_terry
from trainers.stage import Stage, Started
from warehouse.errors import run

EXAMPLES = """examples:
  a small real model on a laptop (`make engine` leaves it in .cache/smollm2), on a published mixture of preferences:
    python -m trainers.reward_model recipes/tiny_reward_model.toml --data mixtures.preference@v1
  the same on files of your own, each row with chosen and rejected, as texts beside a prompt or as lists of messages:
    python -m trainers.reward_model recipes/tiny_reward_model.toml --data 'pairs/*.jsonl' --output runs/mine
  Tülu 3 8B's, on a machine with eight GPUs:
    torchrun --nproc-per-node 8 -m trainers.reward_model recipes/tulu3_8b_reward_model.toml --data mixtures.preference@tulu3-8b-v1

The model is one of transformers' AutoModelForSequenceClassification with one label; its score is read at the last token of a
conversation in the template. `python -m trainers.score OUTPUT/model` scores responses of the warehouse. Ctrl-C stops after the step with
a checkpoint; the same command goes on. Page: docs/tune.md.
"""


class Ranking:
    """−log of the probability that the better one of a pair is preferred, by the difference of their scores; the mean over the pairs of a
    step (Tülu 3, arXiv 2411.15124, on reward models)."""

    def __init__(self, units: Units) -> None:
        self.told = Told(units)
        self.names = self.told.names

    def part(self, engine: Engine, batches: list[Batch], units: Numbers, counts: Counts) -> tuple[Tensor, Tensor]:
        chosen, rejected = of_sides(lambda batch, count: engine.scorer(batch)[:count], batches, len(units))
        losses = bradley_terry(chosen, rejected)
        return losses.sum() / counts.sequences, self.told.sums(units, losses, chosen, rejected)

    def metrics(self, sums: dict[str, float], counts: Counts) -> dict[str, float]:
        return self.told.metrics(sums, counts)


def objective(started: Started) -> Ranking:
    return Ranking(started.units)


STAGE = Stage("trainers.reward_model", __doc__, EXAMPLES, "mixtures.preference", RewardModel, objective, models.rater)


def main(arguments: Sequence[str] | None = None) -> int:
    return stage.main(STAGE, arguments)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    run(main)
