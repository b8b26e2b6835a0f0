"""Supervised fine-tuning: a model learns the assistant's turns of a mixture, as the Tülu 3 recipe does it.

Run as: python -m trainers.sft recipes/tiny_sft.toml --data mixtures.sft@v1 [--output runs/tiny] [--set train.learning_rate=1e-5]
        torchrun --nproc-per-node 8 -m trainers.sft recipes/tulu3_8b_sft.toml --data mixtures.sft@tulu3-8b-v1
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainers import stage
from trainers.batches import Batch
from trainers.config import Sft, SftTrain
from trainers.engines import Engine
from trainers.loop import Numbers
from trainers.losses import Counts, reduce
from trainers.stage import Stage, Started
from warehouse.errors import run

EXAMPLES = """examples:
  a small real model on a laptop (`make engine` leaves it in .cache/smollm2), on a published mixture:
    python -m trainers.sft recipes/tiny_sft.toml --data mixtures.sft@v1
  the same on files of your own, each row with a list of messages:
    python -m trainers.sft recipes/tiny_sft.toml --data 'chats/*.jsonl' --output runs/mine
  other settings than the recipe's; a name that does not exist is an error that lists what there is:
    python -m trainers.sft recipes/tiny_sft.toml --data mixtures.sft@v1 --set train.learning_rate=1e-5 train.epochs=3 data.template=chatml
  adapters in the place of all weights:
    python -m trainers.sft recipes/tiny_sft.toml --data mixtures.sft@v1 --set lora.rank=16 train.learning_rate=2e-4
  Tülu 3 8B on four machines with eight GPUs each; on every one of them:
    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
      -m trainers.sft recipes/tulu3_8b_sft.toml --data mixtures.sft@tulu3-8b-v1 --output /shared/tulu3-8b-sft

Ctrl-C stops after the step with a checkpoint. The same command goes on from the last checkpoint, also after a crash or kill -9, and
refuses where data or recipe are others. The output folder: checkpoints/ to go on from, model/ for transformers and vLLM, metrics.jsonl,
tensorboard/, run.json. Rows are left in train.runs, train.metrics and train.checkpoints. Page: docs/train.md.
"""


class Likelihood:
    """Of each trained token its negative log-probability, reduced over the step as the recipe says."""

    names = ("loss",)

    def __init__(self, how: SftTrain) -> None:
        self.how = how

    def part(self, engine: Engine, batches: list[Batch], units: Numbers, counts: Counts) -> tuple[Tensor, Tensor]:
        (batch,) = batches
        losses = -engine.scorer(batch)
        share = reduce(losses, batch.mask, self.how.loss, counts, batch.sequence)
        return share, losses.detach().double().sum()[None]

    def metrics(self, sums: dict[str, float], counts: Counts) -> dict[str, float]:
        """The loss is that of a trained token."""
        return {"loss": sums["loss"] / counts.tokens}


def objective(started: Started) -> Likelihood:
    assert isinstance(started.recipe, Sft)
    return Likelihood(started.recipe.train)


STAGE = Stage("trainers.sft", __doc__, EXAMPLES, "mixtures.sft", Sft, objective)


def main(arguments: Sequence[str] | None = None) -> int:
    return stage.main(STAGE, arguments)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    run(main)
