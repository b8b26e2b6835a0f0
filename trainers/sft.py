"""Supervised fine-tuning: a model learns the assistant's turns of a mixture, as the Tülu 3 recipe does it.

Run as: python -m trainers.sft recipes/tiny_sft.toml --data mixtures.sft@v1 [--output runs/tiny] [--set train.learning_rate=1e-5]
        torchrun --nproc-per-node 8 -m trainers.sft recipes/tulu3_8b_sft.toml --data mixtures.sft@tulu3-8b-v1
"""

import argparse
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers import chat as chats
from trainers import checkpoints, data, engines, export, models, ranks, records, sources
from trainers.batches import Batch
from trainers.checkpoints import State
from trainers.config import Sft, load
from trainers.engines import Engine
from trainers.loop import Loop
from trainers.ranks import Ranks
from warehouse.errors import CaravanError, run

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


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    recipe = load(options.recipe, Sft, options.set)
    output = Path(options.output or Path("runs") / Path(options.recipe).stem)
    joined = ranks.start(recipe.engine.patience)
    try:
        code = train(recipe, options.data, output, joined)
        joined.wait()  # for the first one, which writes the records
        return code
    except RuntimeError as error:
        # What NCCL and gloo say when another's process is gone.
        if joined.count == 1 or "connection" not in str(error).lower():
            raise
        raise CaravanError(
            f"Rank {joined.rank} of {joined.count} lost another one at step {joined.step} ({str(error).splitlines()[0][:200]}). Start the "
            "same command again: it goes on from the last checkpoint."
        ) from error
    finally:
        ranks.end(joined)


def train(recipe: Sft, names: Sequence[str], output: Path, joined: Ranks) -> int:
    """Train, or go on, until the end of the recipe (returns 0) or until asked to stop (130)."""
    chat, tokenizer = chats.load(recipe.model.path, recipe.data.template, recipe.data.pad_token, recipe.model.revision)
    found = sources.find(joined.agree(lambda: sources.pinned(names)), recipe.data.mixture, output / "rows")
    how = data.How(chat, recipe.data.max_length, recipe.data.long)
    examples = data.tokens(found, how, quiet=not joined.first)
    joined.same("What --data names, as tokens,", examples.fingerprint)

    def about() -> dict[str, Any]:
        run = f"{output.name}-{uuid.uuid4().hex[:8]}"
        return checkpoints.same_run(output, {"run": run, **records.about(recipe, found, examples, joined.count)})

    told = joined.agree(about)
    engine = start(recipe, joined)
    models.check_tokens(engine.model, max(examples.largest, chat.pad_id, chat.stop_id))
    loop = Loop(told["run"], recipe, engine, examples, losses, joined, output, chat.pad_id)
    print(
        f"{len(loop.chosen):,} examples, {loop.steps:,} steps, {joined.count} ranks on {joined.device.type}; output {output}",
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


def start(recipe: Sft, joined: Ranks) -> Engine:
    """The engine of a recipe, with the model that it starts from. Raises CaravanError where that cannot be trained as it is asked."""
    engine: Engine
    if recipe.engine.kind == "deepspeed":
        from trainers.zero import DeepSpeed

        engine = DeepSpeed(recipe, joined)
    else:
        engine = engines.Torch(models.of(recipe), recipe.train, joined)
    models.probe(engine.scorer, engine.model, recipe.engine.packing, joined.device)
    if recipe.engine.compile:
        # What Scorer calls; the model around it, with its logits, never runs.
        models.bare(engine.model).get_decoder().compile(dynamic=True)
    return engine


def losses(engine: Engine, batch: Batch) -> Tensor:
    """Of each trained token its negative log-probability."""
    found: Tensor = engine.scorer(batch)
    return -found


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers.sft",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a TOML file, such as recipes/tiny_sft.toml")
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="REF|FILES|ID",
        help="a mixture of the warehouse (mixtures.sft@tag), files (.jsonl, .json, .csv, .parquet), or a data set of the Hugging Face hub",
    )
    add("--output", metavar="FOLDER", help="folder of the run, seen by all ranks (default: runs/NAME OF THE RECIPE)")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings over the recipe's")
    return parser


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    run(main)
