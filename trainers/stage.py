"""What every stage of training does around its objective: reads data, starts an engine, trains, records the run, writes the model.

A stage is a Stage: its recipe, what model it trains, and its Objective. `trainers.sft` is the shortest one.
"""

import argparse
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import chat as chats
from trainers import checkpoints, data, engines, export, models, ranks, records, sources
from trainers.checkpoints import State
from trainers.config import Recipe, load
from trainers.engines import Engine
from trainers.loop import Loop, Objective, Units
from trainers.ranks import Ranks
from trainers.sources import Data
from warehouse.errors import CaravanError


@dataclass(frozen=True)
class Started:
    """A run whose engine holds the model that it starts from, whose name is `weights`."""

    recipe: Recipe
    weights: str
    engine: Engine
    units: Units
    data: Data
    ranks: Ranks


@dataclass(frozen=True)
class Stage:
    """`module` is the command's name, `about` and `examples` what its --help says, `table` the one that `--data` names, `kind` its recipe,
    `model` makes what is trained, and `objective` says what of. Both raise CaravanError."""

    module: str
    about: str
    examples: str
    table: str
    kind: type[Recipe]
    objective: Callable[[Started], Objective]
    model: Callable[[Recipe], Any] = models.of


def main(stage: Stage, arguments: Sequence[str] | None = None) -> int:
    options = parser(stage).parse_args(arguments)
    recipe = load(options.recipe, stage.kind, options.set)
    output = Path(options.output or Path("runs") / Path(options.recipe).stem)
    return ranks.together(recipe.engine.patience, lambda joined: train(stage, recipe, options.data, output, joined))


def train(stage: Stage, recipe: Recipe, names: Sequence[str], output: Path, joined: Ranks) -> int:
    """Train, or go on, until the end of the recipe (returns 0) or until asked to stop (130)."""
    recipe = recipe.model_copy(update={"model": joined.agree(lambda: models.pinned(recipe.model))})
    chat, tokenizer = chats.load(recipe.model.path, recipe.data.template, recipe.data.pad_token, recipe.model.revision)
    found = sources.find(joined.agree(lambda: sources.pinned(names)), recipe.data.mixture, output / "rows")
    how = data.How(chat, recipe.data.max_length, recipe.data.long, pairs=recipe.sides == 2)
    examples = data.tokens(found, how, quiet=not joined.first)
    joined.same("What --data names, as tokens,", examples.fingerprint)

    def about() -> dict[str, Any]:
        run = f"{output.name}-{uuid.uuid4().hex[:8]}"
        return checkpoints.same_run(output, {"run": run, **records.about(recipe, found, examples, joined.count)})

    told = joined.agree(about)
    engine = start(stage, recipe, joined)
    models.check_tokens(engine.model, max(examples.largest, chat.pad_id, chat.stop_id))
    units = Units(recipe, examples, chat.pad_id, joined.device)
    objective = stage.objective(Started(recipe, told["fixed"]["weights"], engine, units, found, joined))
    loop = Loop(told["run"], recipe, engine, units, objective, joined, output)
    print(
        f"{len(loop.chosen):,} {'pairs' if how.pairs else 'examples'}, {loop.steps:,} steps, {joined.count} ranks on {joined.device.type}; "
        f"output {output}",
        flush=True,
    )

    def record(state: State, status: str) -> None:
        try:
            if joined.first:
                records.write(output, told, found, state, status, len(loop.chosen))
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if status != "running":
                raise CaravanError(
                    f"The run is {status} in {output}, but its rows could not be written ({said}): the same command writes them."
                ) from error
            # What is missing is written with the next checkpoint, and training need not wait for it.
            print(f"warning: step {state.step:,} is not recorded in the warehouse yet ({said})", file=sys.stderr)

    state = loop.run(lambda folder, state: record(state, "running"))
    if state.step < loop.steps:
        record(state, "stopped")
        print(f"stopped after step {state.step:,} of {loop.steps:,}: the same command goes on", flush=True)
        return 130
    model = output / "model"
    if not joined.agree(model.is_dir):
        made = best(loop) if recipe.save.model == "best" else state
        card = export.card(recipe, found, examples, told, made) if joined.first else ""
        export.write(model, engine, chat, tokenizer, recipe, card, made, joined)
    record(state, "finished")
    print(f"finished: {model}", flush=True)
    return 0


def best(loop: Loop) -> State:
    """Take up the checkpoint with the least loss on held-out rows."""
    folder = loop.ranks.agree(lambda: checkpoints.best(loop.root))
    loop.engine.load(folder)
    return State.read(folder)


def start(stage: Stage, recipe: Recipe, joined: Ranks) -> Engine:
    """The engine of a recipe, with the model that it starts from. Raises CaravanError where that cannot be trained as it is asked."""
    engine: Engine
    if recipe.engine.kind == "deepspeed":
        from trainers.zero import DeepSpeed

        engine = DeepSpeed(recipe, stage.model, joined)
    else:
        engine = engines.Torch(stage.model(recipe), recipe.train, joined)
    models.probe(engine.scorer, engine.model, recipe.engine.packing, joined.device)
    if recipe.engine.compile:
        # What the scorer calls; the model around it, with its logits, never runs.
        models.decoder(engine.model).compile(dynamic=True)
    return engine


def parser(stage: Stage) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=f"python -m {stage.module}",
        description=stage.about,
        epilog=stage.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("recipe", metavar="RECIPE", help=f"a TOML file, such as recipes/tiny_{stage.module.rpartition('.')[2]}.toml")
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="REF|FILES|ID",
        help=f"a mixture of the warehouse ({stage.table}@tag), files (.jsonl, .json, .csv, .parquet), or a data set of the Hugging Face hub",
    )
    add("--output", metavar="FOLDER", help="folder of the run, seen by all ranks (default: runs/NAME OF THE RECIPE)")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings over the recipe's")
    return made
