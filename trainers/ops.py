"""Log-probabilities of tokens from hidden states, without the logits of a whole batch ever being in memory.

A batch of 16,384 tokens over a vocabulary of 128,256 has logits of 8 GB in float32, and as much again for their gradient. Here a chunk
of tokens at a time is multiplied with the matrix of the vocabulary, reduced, and forgotten; the backward pass multiplies again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100  # target of positions that are not trained
# Logits of a chunk: 64 MiB in float32. A GPU needs more rows to multiply at full speed: 512 MiB.
CHUNK = {"cpu": 1 << 24, "cuda": 1 << 27}


def chunk_of(vocabulary: int, device: str = "cpu") -> int:
    """Tokens whose logits are in memory at once."""
    return max(1, CHUNK[device] // vocabulary)


class _LinearLogProb(torch.autograd.Function):
    """Of N hidden states (N, D) and a matrix (V, D): log-probabilities of N targets, and the entropies (N,) of the distributions."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, chunk: int, entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        kind = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.empty(len(hidden), dtype=kind, device=hidden.device)  # log of the sum of exponentials
        logprob, entropies = torch.empty_like(total), torch.empty_like(total) if entropy else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = _logits(hidden[part], weight, temperature, kind)
            logprob[part] = logits.gather(-1, targets[part, None])[:, 0]
            if entropies is None:
                top = logits.amax(-1)
                total[part] = logits.sub_(top[:, None]).exp_().sum(-1).log_().add_(top)
            else:
                total[part] = logits.logsumexp(-1)
                # H = log Z - E[z], z the logits.
                shares = (logits - total[part, None]).exp_()
                entropies[part] = total[part] - shares.mul_(logits).sum(-1)
            logprob[part] -= total[part]
        ctx.save_for_backward(hidden, weight, targets, total, entropies)
        ctx.temperature, ctx.chunk, ctx.kind = temperature, chunk, kind
        return logprob, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logprob: Tensor, of_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, total, entropies = ctx.saved_tensors
        to_hidden, to_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if to_hidden else None
        # Chunks are summed in float32; the sum is given in the type of the matrix.
        grad_weight = torch.zeros(weight.shape, dtype=ctx.kind, device=weight.device) if to_weight else None
        for start in range(0, len(hidden), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = _logits(hidden[part], weight, ctx.temperature, ctx.kind)
            logs = logits.sub_(total[part, None])
            # d log p_t / dz = 1[t] - p;  dH / dz = -p (log p + H).
            scale = of_logprob[part, None]
            if entropies is None or of_entropy is None:
                grad = logs.exp_().mul_(-scale)
            else:
                shares = logs.exp()
                grad = logs.add_(entropies[part, None]).mul_(of_entropy[part, None]).add_(scale).mul_(shares).neg_()
            grad.scatter_add_(-1, targets[part, None], scale)
            if ctx.temperature != 1:
                grad = grad.div_(ctx.temperature)
            rounded = grad.to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(rounded, weight, out=grad_hidden[part])
            if grad_weight is None:
                continue
            if rounded.is_cuda and rounded.dtype != ctx.kind:
                torch.addmm(grad_weight, rounded.T, hidden[part], out_dtype=ctx.kind, out=grad_weight)
            else:
                grad_weight.addmm_(grad.T, hidden[part].to(ctx.kind))
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None, None


def _mm(a: Tensor, b: Tensor, kind: torch.dtype) -> Tensor:
    """A product in the type of its factors whose sums are kept in `kind`, where the device can give them."""
    if a.dtype != kind and a.is_cuda:
        return torch.mm(a, b, out_dtype=kind)
    return torch.mm(a, b)


def _logits(hidden: Tensor, weight: Tensor, temperature: float, kind: torch.dtype) -> Tensor:
    logits = _mm(hidden, weight.T, kind).to(kind)
    return logits if temperature == 1 else logits.div_(temperature)


def linear_log_prob(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each target under softmax(hidden @ weight.T / temperature), and the entropy if it is asked for.

    hidden (…, D), weight (V, D), targets (…) of token ids, IGNORED where nothing is trained: there both results are 0 and nothing is
    computed. The product is in the type of `hidden`, all else in float32 (float64 of float64). `chunk`: tokens at a time.
    """
    flat, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    kept = (wanted != IGNORED).nonzero()[:, 0]
    weight = weight.to(hidden.dtype)
    chosen = flat.index_select(0, kept)
    logprob, entropies = _LinearLogProb.apply(
        chosen, weight, wanted[kept], temperature, chunk or chunk_of(len(weight), weight.device.type), entropy
    )
    return _spread(logprob, kept, targets), None if entropies is None else _spread(entropies, kept, targets)


def _spread(values: Tensor, kept: Tensor, like: Tensor) -> Tensor:
    whole = values.new_zeros(like.numel()).index_copy(0, kept, values)
    return whole.view(like.shape)
