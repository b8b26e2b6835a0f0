"""The loop of training: steps in their order, metrics of each, checkpoints, stops, and the way back.

Where a stage differs is its Objective. It is computed of units: an example, or a pair of them, which are always in one part. All
randomness of a step (dropout) comes from the seed, the step and the rank, so nothing of it needs to be kept for a run to go on as if it
had not been stopped.
"""

import json
import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers import checkpoints
from trainers.batches import Batch, packed, padded
from trainers.checkpoints import State
from trainers.config import Recipe
from trainers.data import Examples
from trainers.engines import Engine
from trainers.losses import Counts
from trainers.packing import Cursor, Plan, Step, shuffled
from trainers.ranks import Ranks
from trainers.show import Show
from warehouse.errors import CaravanError

Numbers = Sequence[int] | npt.NDArray[np.int64]
HELD_OUT = 0x5EED  # epoch of the shuffle that chooses rows to hold out: none of training's


class Objective(Protocol):
    """What a stage makes of its units."""

    @property
    def names(self) -> Sequence[str]:
        """Of the sums of a part."""

    def part(self, engine: Engine, batches: list[Batch], units: Numbers, counts: Counts) -> tuple[Tensor, Tensor]:
        """The share of a part in the loss of a step of so many, and its sums (names,) in float64, without a graph."""

    def metrics(self, sums: dict[str, float], counts: Counts) -> dict[str, float]:
        """What is told of a step, "loss" among it, from the sums of all its parts and ranks."""


@dataclass
class Units:
    """Examples as a stage computes them: each by itself, or with its other side. One int64 a unit: `lengths`, `targets`, and `rows`, the
    number of the row that it is (a piece of)."""

    recipe: Recipe
    examples: Examples
    pad: int
    device: torch.device

    def __post_init__(self) -> None:
        self.sides = self.recipe.sides
        self.lengths = self.examples.lengths.reshape(-1, self.sides).sum(1)
        self.targets = self.examples.targets.reshape(-1, self.sides).sum(1)
        self.rows = self.examples.rows[:: self.sides]

    def batches(self, units: Numbers) -> list[Batch]:
        """A part of these units on the device: a batch a side, or one of all sides; empty where this rank only keeps the others company."""
        found = [[self.examples[int(unit) * self.sides + side] for unit in units] for side in range(self.sides)]
        if self.recipe.passes == 1:
            found = [[example for side in found for example in side]]
        packing = self.recipe.engine.packing
        made = [packed(side) if packing or not side else padded(side, self.pad) for side in found]
        return [batch.to(self.device) for batch in made]

    def apart(self, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Units of `count` rows to hold out, chosen by the seed, or a few more: none whose prompt, or another piece of whose row, is among
        the units to train on, which come second. Raises CaravanError where that leaves none."""
        if not count:
            return np.arange(0), np.arange(len(self.rows))
        prompts = self.examples.prompts[:: self.sides][np.flatnonzero(np.diff(self.rows, prepend=-1))]
        order = shuffled(int(prompts.max()) + 1, self.recipe.seed, HELD_OUT)
        sizes = np.bincount(prompts)[order].cumsum()
        kept = order[: int(np.searchsorted(sizes, count)) + 1]
        if len(kept) == len(order):
            raise CaravanError(
                f"All of the {len(prompts):,} rows would be held out: data.held_out is {count:,}. Hold out fewer."
            )
        apart = np.isin(prompts[self.rows], kept)
        return np.flatnonzero(apart), np.flatnonzero(~apart)

    def plan(self, chosen: npt.NDArray[np.int64], batch: int, ranks: Ranks) -> Plan:
        """Steps over some of them."""
        engine = self.recipe.engine
        capacity = engine.tokens_per_part if engine.packing else None
        lengths, targets = self.lengths[chosen], self.targets[chosen]
        return Plan(lengths, targets, batch, self.recipe.seed, capacity, ranks.rank, ranks.count)

    def origin(self, unit: int) -> dict[str, Any]:
        return self.examples.origin(unit * self.sides)


@dataclass
class Loop:
    """A run over units."""

    run_name: str
    recipe: Recipe
    engine: Engine
    units: Units
    objective: Objective
    ranks: Ranks
    output: Path

    def __post_init__(self) -> None:
        self.held_out, self.chosen = self.units.apart(self.recipe.data.held_out)
        how = self.recipe.train
        self.plan = self.units.plan(self.chosen, how.batch, self.ranks)
        self.steps = min(how.steps or math.inf, how.epochs * self.plan.steps_of_epoch)
        self.root = self.output / "checkpoints"

    def run(self, wrote: Callable[[Path, State], None] = lambda folder, state: None) -> State:
        """Train to the end or until it is asked to stop; `wrote` hears of every checkpoint. Returns where it is then."""
        state = self.resume()
        with Show(self.recipe, self.run_name, self.output, self.ranks, int(self.steps), state) as show:
            began = time.monotonic() - state.seconds
            if len(self.held_out) and state.step == 0:
                show.held_out(0, self.measure())
            for step in self.plan.steps(self.recipe.train.epochs, state.cursor):
                if state.step >= self.steps:
                    break
                started = time.monotonic()
                found, tokens = self.one(step, state.step)
                state = State(
                    state.step + 1,
                    self.plan.after(step.cursor),
                    state.tokens + tokens,
                    state.targets + step.counts.tokens,
                    time.monotonic() - began,
                    self.ranks.count,
                )
                self.ranks.step = state.step
                show.step(state, found, tokens, time.monotonic() - started, peak_bytes(self.ranks.device))
                stop = bool(self.ranks.add([float(self.ranks.stopping)])[0])
                if stop or state.step == self.steps or state.step % self.recipe.save.every == 0:
                    # Who stops a run gives it seconds.
                    if len(self.held_out) and (not stop or state.step == self.steps):
                        measured = self.measure()
                        state = State(**{**vars(state), "held_out": measured["loss"]})
                        show.held_out(state.step, measured)
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

    def one(self, step: Step, number: int) -> tuple[dict[str, float], int]:
        """A step. Returns what is told of it and the tokens of all ranks."""
        torch.manual_seed((self.recipe.seed << 40) ^ (number << 16) ^ self.ranks.rank)
        sums, tokens = self._zeros(), 0
        for i, part in enumerate(step.parts):
            units = self.chosen[part]
            share, found = self.objective.part(self.engine, self.units.batches(units), units, step.counts)
            self.engine.backward(share, last=i == len(step.parts) - 1)
            sums += found
            tokens += int(self.units.lengths[units].sum())
        rate = learning_rate(self.recipe.train, number, int(self.steps))
        norm = self.engine.step(rate)
        metrics, seen = self._told(sums, tokens, step.counts)
        if not (math.isfinite(norm) and math.isfinite(metrics["loss"])):
            raise CaravanError(
                f"The loss or the gradient of step {number + 1} is not finite: loss {metrics['loss']:.4g}, norm {norm:.4g}. The "
                "last checkpoint is from before it. Lower train.learning_rate, set train.clip, or look at its examples: "
                f"{self.units.origin(int(self.chosen[step.examples[0]]))} and {len(step.examples) - 1} more."
            )
        return {**metrics, "gradient_norm": norm, "learning_rate": rate}, seen

    def _zeros(self) -> Tensor:
        return torch.zeros(len(self.objective.names), dtype=torch.float64, device=self.ranks.device)

    def _told(self, sums: Tensor, tokens: int, counts: Counts) -> tuple[dict[str, float], int]:
        *total, seen = self.ranks.add([*sums.tolist(), tokens])
        return self.objective.metrics(dict(zip(self.objective.names, total, strict=True)), counts), int(seen)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The metrics of the held-out rows."""
        self.engine.scorer.eval()
        step = next(self.units.plan(self.held_out, len(self.held_out), self.ranks).steps(1))
        sums = self._zeros()
        for part in step.parts:
            units = self.held_out[part]
            sums += self.objective.part(self.engine, self.units.batches(units), units, step.counts)[1]
        self.engine.scorer.train()
        return self._told(sums, 0, step.counts)[0]


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
