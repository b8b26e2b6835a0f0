"""Losses over pairs of responses to one prompt, a better one and a worse one: DPO, its length-normalised form, SimPO, IPO; and that of a
reward model, which is the same without a policy.

A response y to a prompt x is seen as log π(y|x), the sum over its trained tokens, and |y|, how many those are: never its padding nor its
prompt. From these comes its implicit reward, and from the rewards of a pair its loss:

    dpo        r = β (log π(y|x) − log π_ref(y|x))             Rafailov et al. 2023 (arXiv 2305.18290), eq. 7
    dpo_norm   r = β (log π(y|x) − log π_ref(y|x)) / |y|       Tülu 3 (arXiv 2411.15124), section 5.1; the recipe's
    simpo      r = β log π(y|x) / |y|, no reference            Meng et al. 2024 (arXiv 2405.14734), eq. 6
    ipo        r = (log π(y|x) − log π_ref(y|x)) / |y|         Azar et al. 2023 (arXiv 2310.12036), eq. 17, per token as its authors ran it

The first three are −log σ(r_c − r_r − γ), γ being SimPO's margin; IPO is (r_c − r_r − 1 / 2β)².
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainers.batches import Batch


@dataclass(frozen=True)
class Kind:
    """Whether a reward is one of a token, and whether it is held against a reference."""

    by_token: bool
    reference: bool


KINDS = {"dpo": Kind(False, True), "dpo_norm": Kind(True, True), "simpo": Kind(True, False), "ipo": Kind(True, True)}


@dataclass(frozen=True)
class Responses:
    """N responses: `logprob` and `reference` are sums of log-probabilities over the trained tokens (N,), `tokens` their counts (N,).

    `reference` is None where the loss has none.
    """

    logprob: Tensor
    tokens: Tensor
    reference: Tensor | None = None


def rewards(kind: str, responses: Responses, beta: float) -> Tensor:
    """Implicit rewards (N,) of responses, by a kind of KINDS; differentiable in `logprob`."""
    found = responses.logprob
    if KINDS[kind].reference:
        assert responses.reference is not None
        found = found - responses.reference
    if KINDS[kind].by_token:
        found = found / responses.tokens
    return found if kind == "ipo" else beta * found


def losses(
    kind: str, chosen: Tensor, rejected: Tensor, beta: float, margin: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """The loss (N,) of each pair from the rewards of its responses (N,). `smoothing`: the share of pairs taken to be the wrong way round."""
    if kind == "ipo":
        return (chosen - rejected - 1 / (2 * beta)).square()
    return bradley_terry(chosen, rejected, margin, smoothing)


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: float = 0.0, smoothing: float = 0.0) -> Tensor:
    """−log of the probability that the chosen one is preferred by more than the margin (N,): the loss of a reward model on its scores.

    With smoothing ε: −(1 − ε) log σ(d) − ε log σ(−d), d = r_c − r_r − γ (conservative DPO: Mitchell 2023).
    """
    distance = chosen - rejected - margin
    if smoothing == 0:
        return -logsigmoid(distance)
    return -(1 - smoothing) * logsigmoid(distance) - smoothing * logsigmoid(-distance)


def per_sequence(values: Tensor, sequence: Tensor, count: int) -> Tensor:
    """Sums (count,) of values over the sequences that they belong to, in float64; values and sequence have one shape."""
    sums = torch.zeros(
        max(count, 1), dtype=torch.float64, device=values.device
    )  # an empty part has one token of no sequence
    return sums.index_add(0, sequence.reshape(-1), values.reshape(-1).double())[:count]


def response_logprobs(scorer: Any, batch: Batch, count: int) -> Tensor:
    """log π(y|x) (count,) of the sequences of a batch: sums over their trained tokens, in float64."""
    return per_sequence(scorer(batch), batch.sequence, count)
