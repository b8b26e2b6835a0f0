"""The loop of training over examples: steps in their order, metrics of each, checkpoints, stops, and the way back.

Where a stage differs is one function: losses of the tokens of a batch. All randomness of a step (dropout) comes from the seed, the step
and the rank, so nothing of it needs to be kept for a run to go on as if it had not been stopped.
"""

import json
import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers import checkpoints
from trainers.batches import Batch, packed, padded
from trainers.checkpoints import State
from trainers.config import Sft
from trainers.data import Examples
from trainers.engines import Engine
from trainers.losses import reduce
from trainers.packing import Cursor, Plan, Step, shuffled
from trainers.ranks import Ranks
from trainers.show import Show
from warehouse.errors import CaravanError

Losses = Callable[[Engine, Batch], Tensor]
HELD_OUT = 0x5EED  # epoch of the shuffle that chooses rows to hold out: none of training's


@dataclass
class Loop:
    """A run over examples. `losses` gives the loss of each token of a batch, (rows, length)."""

    run_name: str
    recipe: Sft
    engine: Engine
    examples: Examples
    losses: Losses
    ranks: Ranks
    output: Path
    pad: int

    def __post_init__(self) -> None:
        # Rows, not examples: the pieces of a row that was split stay on one side.
        rows = self.examples.rows
        order = shuffled(int(rows[-1]) + 1, self.recipe.seed, HELD_OUT)
        count = self.recipe.data.held_out
        if count and count >= len(order):
            raise CaravanError(
                f"All of the {len(order):,} rows would be held out: data.held_out is {count:,}. Hold out fewer."
            )
        apart = np.isin(rows, order[:count])
        self.held_out, self.chosen = np.flatnonzero(apart), np.flatnonzero(~apart)
        how, engine = self.recipe.train, self.recipe.engine
        self.plan = Plan(
            self.examples.lengths[self.chosen],
            self.examples.targets[self.chosen],
            how.batch,
            self.recipe.seed,
            engine.tokens_per_part if engine.packing else None,
            self.ranks.rank,
            self.ranks.count,
        )
        self.steps = min(how.steps or math.inf, how.epochs * self.plan.steps_of_epoch)
        self.root = self.output / "checkpoints"

    def run(self, wrote: Callable[[Path, State], None] = lambda folder, state: None) -> State:
        """Train to the end or until it is asked to stop; `wrote` hears of every checkpoint. Returns where it is then."""
        state = self.resume()
        with Show(self.recipe, self.run_name, self.output, self.ranks, int(self.steps), state) as show:
            began = time.monotonic() - state.seconds
            for step in self.plan.steps(self.recipe.train.epochs, state.cursor):
                if state.step >= self.steps:
                    break
                started = time.monotonic()
                loss, norm, rate, tokens = self.one(step, state.step)
                state = State(
                    state.step + 1,
                    self.plan.after(step.cursor),
                    state.tokens + tokens,
                    state.targets + step.counts.tokens,
                    time.monotonic() - began,
                    self.ranks.count,
                )
                self.ranks.step = state.step
                show.step(state, loss, norm, rate, tokens, time.monotonic() - started, peak_bytes(self.ranks.device))
                stop = bool(self.ranks.add([float(self.ranks.stopping)])[0])
                if stop or state.step == self.steps or state.step % self.recipe.save.every == 0:
                    if len(self.held_out):
                        state = State(**{**vars(state), "held_out": self.measure()})
                        show.held_out(state)
                    show.flush()
                    wrote(checkpoints.write(self.root, self.engine, state, self.ranks, self.recipe.save), state)
                if stop:
                    break
        return state

    def resume(self) -> State:
        """Take up the last checkpoint, if there is one."""
        folder = self.ranks.agree(lambda: checkpoints.last(self.root))
        if folder is None:
            return State(0, Cursor(), 0, 0, 0.0, self.ranks.count)
        self.engine.load(folder)
        state = State.read(folder)
        if state.step < self.steps:
            print(f"goes on after step {state.step:,} of {self.steps:,}, from {folder}", flush=True)
        return state

    def one(self, step: Step, number: int) -> tuple[float, float, float, int]:
        """A step. Returns the loss of a trained token, the norm of the gradient, the learning rate and the tokens of all ranks."""
        torch.manual_seed((self.recipe.seed << 40) ^ (number << 16) ^ self.ranks.rank)
        losses_seen, tokens = torch.zeros((), dtype=torch.float64, device=self.ranks.device), 0
        for i, part in enumerate(step.parts):
            batch = self.batch(self.chosen[part])
            losses = self.losses(self.engine, batch)
            share = reduce(losses, batch.mask, self.recipe.train.loss, step.counts, batch.sequence)
            self.engine.backward(share, last=i == len(step.parts) - 1)
            losses_seen += losses.detach().double().sum()
            tokens += sum(int(self.examples.lengths[self.chosen[example]]) for example in part)
        rate = learning_rate(self.recipe.train, number, int(self.steps))
        norm = self.engine.step(rate)
        total, seen = self.ranks.add([float(losses_seen), tokens])
        if not (math.isfinite(norm) and math.isfinite(total)):
            raise CaravanError(
                f"The loss or the gradient of step {number + 1} is not finite: {total / step.counts.tokens:.4g} a token, norm {norm:.4g}. The "
                "last checkpoint is from before it. Lower train.learning_rate, set train.clip, or look at its examples: "
                f"{self.examples.origin(int(self.chosen[step.examples[0]]))} and {len(step.examples) - 1} more."
            )
        return total / step.counts.tokens, norm, rate, int(seen)

    def batch(self, numbers: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """A part of these examples on the device; an empty one where this rank only keeps the others company."""
        found = [self.examples[int(i)] for i in numbers]
        made = packed(found) if self.recipe.engine.packing or not found else padded(found, self.pad)
        return made.to(self.ranks.device)

    @torch.no_grad()
    def measure(self) -> float:
        """The loss of a trained token of the held-out rows."""
        self.engine.scorer.eval()
        plan = Plan(
            self.examples.lengths[self.held_out],
            self.examples.targets[self.held_out],
            len(self.held_out),
            0,
            self.plan.capacity,
            self.ranks.rank,
            self.ranks.count,
        )
        step = next(plan.steps(1))
        total = sum(
            float(self.losses(self.engine, self.batch(self.held_out[part])).double().sum()) for part in step.parts
        )
        self.engine.scorer.train()
        return self.ranks.add([total])[0] / step.counts.tokens


def learning_rate(how: Any, step: int, steps: int) -> float:
    """Of step number `step`, from 0: rises over the warm-up from 0 and falls to 0 after the last step; constant stays where it rose to."""
    warm = math.ceil(how.warmup * steps)
    if step < warm:
        return float(how.learning_rate * step / warm)
    done = (step - warm) / max(1, steps - warm)
    left = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "constant": 1.0}[how.schedule]
    return float(how.learning_rate * left)


def peak_bytes(device: torch.device) -> int:
    """Most memory so far: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def curve(output: Path) -> list[dict[str, Any]]:
    """What was measured at each step of a run, from OUTPUT/metrics.jsonl."""
    path = output / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
