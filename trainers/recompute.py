"""Which results of a layer are kept for its backward pass, and which are computed a second time there: `engine.recompute`.

nothing    all are kept
cheap      products of matrices and attention are kept; norms, rotary embedding, activation function and element-wise products, which
           are little work and much memory, are computed again (selective recomputation: Korthikanti et al. 2022, arXiv 2205.05198)
all        the input of each layer is kept, all else is computed again (Chen et al. 2016, arXiv 1604.06174)
"""

from functools import partial
from typing import Any

import torch
from torch.nn.attention import varlen  # noqa: F401  # registers its operator
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from trainers.config import Recompute

aten = torch.ops.aten
ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.torch_attn._varlen_attn.default,
}
# Products of matrices, and which argument is the left one.
PRODUCTS = {
    aten.mm.default: 0,
    aten.bmm.default: 0,
    aten._grouped_mm.default: 0,
    aten.addmm.default: 1,
    aten.baddbmm.default: 1,
}
# Sums of fewer terms are cheap as well: an adapter's second product would take as much memory as the product that it is added to.
LONG = 256


def keep_less(model: Any, recompute: Recompute) -> None:
    """Have the layers of a model of transformers keep what is not computed again."""
    if recompute == "nothing":
        return
    how: dict[str, Any] = {"use_reentrant": False}
    if recompute == "cheap":
        how["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    model.gradient_checkpointing_enable(how)


def _policy(context: Any, operator: Any, *arguments: Any, **more: Any) -> CheckpointPolicy:
    dear = operator in ATTENTION or (operator in PRODUCTS and arguments[PRODUCTS[operator]].shape[-1] >= LONG)
    return CheckpointPolicy.MUST_SAVE if dear else CheckpointPolicy.PREFER_RECOMPUTE
