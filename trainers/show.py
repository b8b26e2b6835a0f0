"""What a run tells while it goes: a bar on a terminal, lines elsewhere, metrics.jsonl, TensorBoard, and wandb if it is asked for."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from trainers.checkpoints import State, put
from trainers.config import Recipe
from trainers.ranks import Ranks
from warehouse.errors import CaravanError


class Show:
    """Only rank 0 tells anything. Metrics after the step that a run goes on from are forgotten: they come again."""

    def __init__(self, recipe: Recipe, run: str, output: Path, ranks: Ranks, steps: int, start: State) -> None:
        self.recipe, self.first, self.steps = recipe, ranks.first, steps
        self.lines: list[str] = []
        if not self.first:
            return
        self.path = output / "metrics.jsonl"
        kept = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in kept if line.endswith("}") and json.loads(line)["step"] <= start.step and start.step]
        put(self.path, "".join(line + "\n" for line in kept))
        self.terminal = sys.stderr.isatty()
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=Console(file=sys.stderr), disable=not self.terminal)
        self.task = self.bar.add_task("", total=steps, completed=start.step)
        self.close: list[Any] = []  # what ends each of the boards
        self.boards = self._boards(run, output, start.step)

    def _boards(self, run: str, output: Path, step: int) -> list[Any]:
        found: list[Any] = []
        if self.recipe.log.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)
            found.append(writer.add_scalar)
            self.close.append(writer.close)
        if self.recipe.log.wandb:
            try:
                import wandb
            except ImportError as error:
                raise CaravanError(
                    "log.wandb is set and wandb is not installed: pip install wandb, or log.wandb=none."
                ) from error
            made = wandb.init(project=self.recipe.log.wandb, name=run, id=run, dir=str(output), resume="allow")
            found.append(lambda name, value, at: made.log({name: value}, step=at))
            self.close.append(made.finish)
        return found

    def __enter__(self) -> Self:
        if self.first:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.first:
            self.flush()
            self.bar.stop()
            for close in self.close:
                close()

    def step(self, state: State, metrics: dict[str, float], tokens: int, seconds: float, peak: int) -> None:
        """Tell of a step: `tokens` without padding, `peak` bytes of memory of this rank."""
        if not self.first:
            return
        self._write(
            state.step,
            metrics
            | {"tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds}
            | {"peak_gib": peak / 2**30, "targets_seen": state.targets},
        )
        said = f"{_said(metrics)}  {tokens / seconds:,.0f} tokens/s  {peak / 2**30:.1f} GiB"
        self.bar.update(self.task, completed=state.step, description=said)
        if not self.terminal and (state.step % self.recipe.log.every == 0 or state.step == self.steps):
            left = state.seconds / state.step * (self.steps - state.step)
            print(f"step {state.step:,}/{self.steps:,}  {said}  {left / 60:.0f} min left", file=sys.stderr, flush=True)

    def held_out(self, step: int, metrics: dict[str, float]) -> None:
        """Tell of the held-out rows."""
        if self.first:
            self._write(step, {f"held_out_{name}": value for name, value in metrics.items()})
            self.bar.console.print(f"step {step:,}: held-out rows: {_said(metrics)}")

    def _write(self, step: int, values: dict[str, float]) -> None:
        self.lines.append(json.dumps({"step": step, "time": time.time(), **values}))
        for board in self.boards:
            for name, value in values.items():
                board(name, value, step)

    def flush(self) -> None:
        """Put what was measured so far into the file."""
        if self.first and self.lines:
            with self.path.open("a") as stream:
                stream.write("".join(line + "\n" for line in self.lines))
            self.lines.clear()


def _said(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {metrics[name]:.4f}" for name in ("loss", "accuracy") if name in metrics)
