"""Train by several engines, one after the other, on the ranks that torchrun started: ways.py RECIPE DATA OUTPUT {"name": [settings]}.

OUTPUT/NAME holds the run and gradient.safetensors, the gradient of its first step. A way whose name begins with `exact` is computed in
float64, `broken` meets a gradient that is no number on its last rank alone (OUTPUT/NAME.json has the norms that its ranks see), and
`twice` is taken back to its first checkpoint and started again.
"""

import contextlib
import json
import shutil
import sys
import tomllib
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime import base_optimizer
from deepspeed.runtime import engine as deepspeed_engine
from deepspeed.runtime.zero import partition_parameters
from deepspeed.utils import safe_get_full_optimizer_state
from safetensors.torch import save_file

from trainers import batches, dpo, ranks, reward_model, sft, stage, zero
from trainers.config import load
from trainers.data import Encoded

start, settings = stage.start, zero.settings
STAGES = {"sft": sft.STAGE, "reward_model": reward_model.STAGE, "dpo": dpo.STAGE}


def read(recipe, of, changes, exact):
    made = load(recipe, of.kind, changes)
    # A recipe refuses float64 with DeepSpeed, which has none but below.
    return made.model_copy(update={"model": made.model.model_copy(update={"precision": "fp64"})}) if exact else made


@contextlib.contextmanager
def in_float64():
    """DeepSpeed with float64 in the place of each float32 that is written in it: sums, messages, masters, and ZeRO-3's weights."""
    accelerator = get_accelerator()
    engine, init = deepspeed_engine.DeepSpeedEngine, partition_parameters.Init
    types, enter = engine.get_data_types, init.__enter__

    def entered(self):
        self.dtype = torch.float64
        return enter(self)

    with contextlib.ExitStack() as changes:
        for owner, name, value in (
            (engine, "get_data_types", lambda self: (torch.float64,) * 2 if self.zero_optimization() else types(self)),
            (engine, "communication_data_type", property(lambda self: torch.float64)),
            (base_optimizer.ZeROOptimizer, "_configure_master_weights", lambda self, **how: torch.float64),
            (init, "__enter__", entered),
            (accelerator, "supported_dtypes", lambda: [torch.float64, torch.float32]),
            (zero, "settings", lambda *of: merged(settings(*of), {"reduce_scatter": False})),
        ):
            changes.enter_context(mock.patch.object(owner, name, value))
        yield


def merged(how, more):
    return {**how, "zero_optimization": {**how["zero_optimization"], **more}}


def moment(engine, param):
    """Adam's first moment of a weight, whole, in the type that it is kept in."""
    if not isinstance(engine, zero.DeepSpeed):
        return engine.optimizer.state[dict(zip(map(id, engine.params), engine.masters, strict=True))[id(param)]][
            "exp_avg"
        ]
    if engine.stage == 0:
        return engine.scorer.optimizer.state[param]["exp_avg"]
    if engine.stage == 3:
        return safe_get_full_optimizer_state(param, "exp_avg")
    whole = torch.zeros(param.numel(), dtype=torch.float64)
    if param._hp_mapping is not None:
        where = param._hp_mapping.lp_fragment_address
        whole[where.start : where.start + where.numel] = param._hp_mapping.get_hp_fragment("exp_avg").double()
    if dist.get_world_size() > 1:
        dist.all_reduce(whole)
    return whole.view(param.shape)


def watched(output):
    """stage.start whose engine writes the gradient of its first step, which is what Adam's first moment is made of."""

    def started(of, recipe, joined):
        engine = start(of, recipe, joined)
        step = engine.step

        def first(rate):
            norm, engine.step = step(rate), step
            share = 1 - recipe.train.betas[0]
            found = {
                name: (moment(engine, p) / share).contiguous().clone() for name, p in engine.model.named_parameters()
            }
            if joined.first:
                save_file(found, output / "gradient.safetensors")
            return norm

        engine.step = first
        return engine

    return started


def broken(of, recipe, joined, output):
    engine = start(of, recipe, joined)
    tokens = torch.arange(8).numpy().astype("uint32")
    batch = batches.packed([Encoded(tokens, (tokens >= 0).astype("uint8"), 0)])
    share = engine.scorer(batch).sum() * (float("nan") if joined.rank == joined.count - 1 else 1)
    engine.backward(share, last=True)
    norms = [None] * joined.count
    dist.all_gather_object(norms, engine.step(1e-3))
    if joined.first:
        output.with_suffix(".json").write_text(json.dumps(norms))


def main():
    recipe, data, output, ways = sys.argv[1:]
    of = STAGES[tomllib.loads(Path(recipe).read_text())["stage"]]
    joined = ranks.start(120)
    for name, changes in json.loads(ways).items():
        folder = Path(output) / name
        exact = name.startswith("exact")
        made = read(recipe, of, changes, exact)
        if name.startswith("broken"):
            broken(of, made, joined, folder)
            continue
        with in_float64() if exact else contextlib.nullcontext(), mock.patch.object(stage, "start", watched(folder)):
            stage.train(of, made, [data], folder, joined)
        if name.startswith("twice"):
            if joined.first:
                shutil.copytree(folder, folder.with_name(f"{name}-unbroken"))
                shutil.rmtree(max((folder / "checkpoints").iterdir()))
                shutil.rmtree(folder / "model")
            joined.wait()
            stage.train(of, made, [data], folder, joined)
    joined.wait()
    ranks.end(joined)


if __name__ == "__main__":
    main()
