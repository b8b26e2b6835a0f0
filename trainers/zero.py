"""DeepSpeed as an engine: ZeRO shards the optimiser's state (1), gradients (2) and weights (3) over ranks, on demand in the host's memory.

DeepSpeed averages gradients over ranks and divides by a fixed number of parts a step; here shares add up and steps have as many parts
as their examples fill. So its own count of parts is 1, the end of a step is told to it, and a share is multiplied by the ranks.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor
from transformers.integrations import HfDeepSpeedConfig

from trainers.config import Recipe
from trainers.ranks import Ranks
from warehouse.errors import CaravanError

TAG = "zero"


class DeepSpeed:
    """An Engine. Masters and sums of gradients are float32; with bf16 the model computes in bfloat16."""

    def __init__(self, recipe: Recipe, make: Callable[[Recipe], Any], ranks: Ranks) -> None:
        self.stage, self.ranks = recipe.engine.zero, ranks
        os.environ.setdefault("LOCAL_RANK", "0")
        if not dist.is_initialized():
            backend = "nccl" if ranks.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        # Between CPUs gloo adds up; DeepSpeed would first compile an operator of its own, for minutes.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        how = settings(recipe, ranks)
        # While this lives, transformers spreads weights over ranks as it loads them.
        spreading = HfDeepSpeedConfig(how) if self.stage == 3 else None
        scorer = make(recipe)
        del spreading
        self.model = scorer.model
        if self.stage == 3:
            # It is used outside the module that owns it.
            deepspeed.zero.register_external_parameter(scorer, scorer.head)
        trained = [param for param in scorer.parameters() if param.requires_grad]
        train = recipe.train
        optimizer = torch.optim.AdamW(
            trained, train.learning_rate, train.betas, train.epsilon, train.weight_decay, fused=True
        )
        self.scorer, *_ = deepspeed.initialize(model=scorer, model_parameters=trained, optimizer=optimizer, config=how)

    def backward(self, share: Tensor, last: bool) -> None:
        self.scorer.set_gradient_accumulation_boundary(last)
        self.scorer.backward(share * self.ranks.count)

    def step(self, rate: float) -> float:
        optimizer = self.scorer.optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate
        if self.stage == 0:
            whole = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
            if whole.isfinite():
                self.scorer.step()
            return float(whole)
        self.scorer.step()
        norm = self.scorer.get_global_grad_norm()
        # Of a gradient that is not finite the stages say: overflow, with the norm of the step before or none; or a norm of -1.
        return math.nan if optimizer.overflow or norm is None or norm < 0 else float(norm)

    def save(self, folder: Path) -> None:
        self.scorer.save_checkpoint(str(folder), tag=TAG, save_latest=False)

    def load(self, folder: Path) -> None:
        ranks = json.loads((folder / "state.json").read_text())["ranks"]
        if ranks != self.ranks.count:
            raise CaravanError(
                f"{folder} was written by {ranks} ranks and DeepSpeed's shards are theirs alone; this run has {self.ranks.count}. Start it "
                f"with {ranks} ranks."
            )
        found, _ = self.scorer.load_checkpoint(str(folder), tag=TAG)
        if found is None:
            raise CaravanError(f"{folder} holds no state of DeepSpeed.")

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, param in self.model.named_parameters():
            master = safe_get_full_fp32_param(param) if param.requires_grad else None
            if master is not None:
                yield name, master
                continue
            with deepspeed.zero.GatheredParameters([param], enabled=self.stage == 3):
                yield name, param.detach()


def settings(recipe: Recipe, ranks: Ranks) -> dict[str, Any]:
    """What DeepSpeed is to be told."""
    zero: dict[str, Any] = {"stage": recipe.engine.zero, "overlap_comm": ranks.device.type == "cuda"}
    if recipe.engine.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": ranks.device.type == "cuda"}
        if recipe.engine.zero == 3:
            zero["offload_param"] = zero["offload_optimizer"]
    bf16 = recipe.model.precision == "bf16"
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.train.clip or 0.0,
        "zero_optimization": zero,
        "bf16": {"enabled": bf16},
        **({"data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32"} if bf16 else {}),
        "zero_allow_untested_optimizer": True,
        # The fused optimiser of torch on a CPU is as fast and need not be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1 << 40,
    }
