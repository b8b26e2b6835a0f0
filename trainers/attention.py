"""Attention within each sequence of a packed row, for any model of transformers: `attn_implementation="packed"`.

A model is called with where sequences begin and how long the longest is, by the names that transformers has for them; they reach this
function as keyword arguments, and other parts of a model that go along a sequence as well. On a GPU it is the kernel for sequences of
different lengths; on a CPU each sequence by itself, so no work is done between sequences. A mask over the whole row, which is what the
definition says, costs the square of the row; `block_mask` makes it for comparison.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from warehouse.errors import CaravanError

NAME = "packed"
KERNEL_TYPES = (torch.bfloat16, torch.float16)
# What models hand on to attention that changes nothing of it.
WITHOUT_EFFECT = {
    "position_ids",
    "use_cache",
    "cache_position",
    "past_key_values",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
}


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    cu_seq_lens_q: Tensor,
    cu_seq_lens_k: Tensor,
    max_length_q: int,
    max_length_k: int,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """query (1, heads, T, d), key and value (1, key heads, T, d), cu_seq_lens (S + 1) int32 -> (1, T, heads, d).

    Raises CaravanError where a model asks for more than this: sinks, soft-capping, a mask of its own.
    """
    unknown = [name for name, value in others.items() if value is not None and name not in WITHOUT_EFFECT]
    if unknown or attention_mask is not None:
        raise CaravanError(
            f"The attention of {type(module).__name__} takes {', '.join(unknown) or 'a mask'}, which is not computed of packed sequences: set "
            "engine.packing=false."
        )
    if query.is_cuda and query.dtype in KERNEL_TYPES and dropout == 0:
        window = (-1 if sliding_window is None else sliding_window - 1, 0)
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        grouped = query.shape[1] != key.shape[1]
        made = varlen_attn(
            q,
            k,
            v,
            cu_seq_lens_q,
            cu_seq_lens_k,
            max_length_q,
            max_length_k,
            scale=scaling,
            window_size=window,
            enable_gqa=grouped,
        )
        assert isinstance(made, Tensor)
        return made[None], None
    sizes = cu_seq_lens_q.diff().tolist()
    found = []
    for q, k, v in zip(*(part.split(sizes, dim=2) for part in (query, key, value)), strict=True):
        near = _window(q.shape[2], sliding_window, q.device) if sliding_window and q.shape[2] > sliding_window else None
        found.append(
            scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=near,
                dropout_p=dropout,
                is_causal=near is None,
                scale=scaling,
                enable_gqa=q.shape[1] != k.shape[1],
            )
        )
    return torch.cat(found, dim=2).transpose(1, 2), None


def _window(length: int, window: int, device: torch.device) -> Tensor:
    """(length, length), true where a token sees another: itself and the `window` - 1 before it."""
    whole = torch.ones(length, length, dtype=torch.bool, device=device)
    return whole.tril().triu(1 - window)


def block_mask(starts: Tensor) -> Tensor:
    """(1, 1, T, T), true where a token of a packed row sees another: none of another sequence, none after itself."""
    sequence = torch.repeat_interleave(torch.arange(len(starts) - 1), starts.diff())
    return ((sequence[:, None] == sequence[None]) & torch.ones(len(sequence), len(sequence)).tril().bool())[None, None]


AttentionInterface.register(NAME, packed_attention)
