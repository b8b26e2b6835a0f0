"""One recipe with different settings: its runs one after the other, and a table of what came of them.

Run as: python -m trainers.sweep recipes/sweeps/tulu3_preference.toml --data mixtures.preference@v1 [--only NAME ...] [--nproc-per-node 8]

A sweep is a TOML file: `recipe` (a path from the file), `settings` of all runs, and `runs.NAME` with those of each. Every run is a process
of its own. The same command goes on where it was stopped.
"""

import argparse
import importlib
import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from trainers.checkpoints import flat, put
from trainers.config import Sweep, load
from trainers.loop import curve
from trainers.sources import pinned
from warehouse.errors import CaravanError, run
from warehouse.show import console

TORCHRUN = ("torch.distributed.run", "--standalone", "--shutdown-timeout", "600", "--nproc-per-node")
HELD_OUT = ("loss", "accuracy", "margin")


def commands(options: argparse.Namespace, output: Path) -> dict[str, list[str]]:
    """The command of each run. Raises CaravanError, before any of them begins, where a setting of one is wrong."""
    sweep = load(options.sweep, Sweep)
    if unknown := sorted({*(options.only or [])} - {*sweep.runs}):
        raise CaravanError(f"{options.sweep} has no run {unknown[0]!r}. Its runs: {', '.join(sweep.runs)}.")
    recipe = Path(options.sweep).parent / sweep.recipe
    try:
        module = f"trainers.{tomllib.loads(recipe.read_text(encoding='utf-8'))['stage']}"
        kind = importlib.import_module(module).STAGE.kind
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise CaravanError(f"{recipe}, named by {options.sweep}, is no recipe of a stage: {error}.") from error
    data, found = pinned(options.data), {}
    for name in options.only or sweep.runs:
        named = (*flat(sweep.settings), *flat(sweep.runs[name]))
        settings = [*(f"{key}={json.dumps(value)}" for key, value in named), *options.set]
        try:
            load(recipe, kind, settings)
        except CaravanError as error:
            raise CaravanError(f"{options.sweep}, run {name}: {error}") from error
        ranks = (*TORCHRUN, str(options.nproc_per_node), "-m") if options.nproc_per_node > 1 else ()
        arguments = ("--data", *data, "--output", str(output / name), "--set", *settings)
        found[name] = [sys.executable, "-m", *ranks, module, str(recipe), *arguments]
    return found


def report(output: Path, said: dict[str, str]) -> None:
    """Print what the metrics.jsonl of each run says."""
    table = Table("run", "", *(f"held-out {name}" for name in HELD_OUT), "steps", "hours", title=str(output))
    for name, state in said.items():
        lines = curve(output / name)
        last = next((line for line in reversed(lines) if "held_out_loss" in line), {})
        values = [f"{last[f'held_out_{key}']:.4f}" if f"held_out_{key}" in last else "" for key in HELD_OUT]
        hours = sum(line.get("seconds", 0.0) for line in lines) / 3600
        table.add_row(name, state, *values, f"{max((line['step'] for line in lines), default=0):,}", f"{hours:.2f}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    add = (made := argparse.ArgumentParser("python -m trainers.sweep", description=__doc__)).add_argument
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add("sweep", metavar="FILE", help="a TOML file, such as recipes/sweeps/tulu3_preference.toml")
    add("--data", nargs="+", required=True, metavar="REF|FILES|ID", help="as the stage's, the same for all runs")
    add("--only", nargs="+", metavar="NAME", help="these runs (default: all)")
    add("--output", metavar="FOLDER", help="folder of the runs' folders (default: runs/sweeps/NAME OF THE FILE)")
    add(
        "--nproc-per-node", type=int, default=1, metavar="N", help="ranks of each run, started by torchrun (default: 1)"
    )
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings over those of every run")
    options = made.parse_args(arguments)
    output = Path(options.output or Path("runs/sweeps") / Path(options.sweep).stem)
    todo, said = commands(options, output), {}
    processes: list[subprocess.Popen[bytes]] = []
    stop: list[int] = []

    def tell(number: int, frame: Any) -> None:
        stop.append(number)
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, tell)
    for i, (name, command) in enumerate(todo.items(), 1):
        # What ended well with this command is not started again; with another one it is, and says what has changed.
        ended, text, code = output / name / "command.json", json.dumps(command[2:]), 0
        if not ((output / name / "model").is_dir() and ended.exists() and ended.read_text() == text):
            print(f"run {i} of {len(todo)}: {name}", flush=True)
            processes.append(subprocess.Popen(command, start_new_session=True))  # or Ctrl-C would reach it twice
            for late in stop:  # that came just before
                processes[-1].send_signal(late)
            code = processes[-1].wait()
        if code == 0:
            put(ended, text)
        said[name] = "finished" if code == 0 else "stopped" if stop else f"failed ({code})"
        if stop:
            break
    report(output, said)
    if stop:
        print("stopped: the same command goes on")
        return 130
    if failed := ", ".join(name for name in said if said[name] != "finished"):
        raise CaravanError(f"{failed} failed, as said above: the same command tries only these again.")
    return 0


if __name__ == "__main__":
    run(main)
