"""Engines: a model whose weights follow the gradient of a loss, spread over the ranks of a run.

Parts of a step are computed one after the other. The shares of the loss that they give add up, over parts and over ranks, and so do
gradients: no engine averages anything, `losses.reduce` has divided by what there is to divide by.

    for i, part in enumerate(parts):
        share = reduce(-engine.scorer(part), ...)
        engine.backward(share, last=i == len(parts) - 1)
    norm = engine.step(rate=5e-6)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.config import Train
from trainers.ranks import Ranks
from warehouse.errors import CaravanError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


class Engine(Protocol):
    """What a loop needs of a way to train."""

    scorer: Any  # the model's Scorer, or what calls it
    model: Any  # of transformers, perhaps with adapters

    def backward(self, share: Tensor, last: bool) -> None:
        """Add the gradient of a part's share; `last`: of this step."""

    def step(self, rate: float) -> float:
        """Change the weights at a learning rate, if the gradient is finite. Returns its norm before clipping; inf or nan if it is not."""

    def save(self, folder: Path) -> None:
        """Write this rank's share of the state into a folder that all ranks see."""

    def load(self, folder: Path) -> None:
        """Take up the state of a folder. Raises CaravanError where it is not this engine's."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters of the model, whole, each once, those that are trained in the type of their masters. Every rank must ask for all,
        one after the other."""


class Torch:
    """Whole weights and a whole state on every rank: a CPU, a GPU, or several with the gradient added up between them.

    Masters of the trained weights are float32 (or float64), and so are sums of gradients, whatever the model computes in; where that is
    float32 as well, weights are their own masters. Sums over ranks begin while the last part's backward pass is still going on.
    """

    def __init__(self, scorer: Any, how: Train, ranks: Ranks) -> None:
        self.scorer, self.model, self.how, self.ranks = scorer.to(ranks.device), scorer.model, how, ranks
        self.names, self.params = zip(*((n, p) for n, p in scorer.named_parameters() if p.requires_grad), strict=True)
        self.masters = [p if p.dtype in (torch.float32, torch.float64) else p.detach().float() for p in self.params]
        self._sums: list[Any] = []  # of gradients over ranks, under way
        self._last = False
        for param, master in zip(self.params, self.masters, strict=True):
            param.register_post_accumulate_grad_hook(lambda param, master=master: self._arrived(param, master))
        self.optimizer = torch.optim.AdamW(
            self.masters, how.learning_rate, how.betas, how.epsilon, how.weight_decay, fused=True
        )

    def _arrived(self, param: Tensor, master: Tensor) -> None:
        if master is not param:
            assert param.grad is not None
            if master.grad is None:
                master.grad = param.grad.to(master.dtype)
            else:
                master.grad += param.grad
            param.grad = None
        if self._last and self.ranks.count > 1:
            self._sums.append(torch.distributed.all_reduce(master.grad, async_op=True))

    def backward(self, share: Tensor, last: bool) -> None:
        self._last = last
        share.backward()
        self._last = False

    def step(self, rate: float) -> float:
        for work in self._sums:
            work.wait()
        self._sums.clear()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.masters if p.grad is not None])
        if norm.isfinite():
            if self.how.clip is not None:
                torch.nn.utils.clip_grads_with_norm_(self.masters, self.how.clip, norm)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            with torch.no_grad():
                for param, master in zip(self.params, self.masters, strict=True):
                    if param is not master:
                        param.copy_(master)
        self.optimizer.zero_grad()
        return float(norm)

    def _state(self) -> list[tuple[str, Tensor]]:
        """Every tensor that makes the next step what it is, by name. What never had a gradient has no moments."""
        found = []
        for name, master in zip(self.names, self.masters, strict=True):
            found.append((f"weight/{name}", master.detach()))
            found += [(f"{key}/{name}", moment) for key, moment in self.optimizer.state[master].items()]
        return found

    def save(self, folder: Path) -> None:
        mine: dict[str, Tensor] = {}
        fill = [0] * self.ranks.count
        for name, tensor in sorted(self._state(), key=lambda each: (-each[1].nbytes, each[0])):
            rank = fill.index(min(fill))
            fill[rank] += tensor.nbytes
            if rank == self.ranks.rank:
                mine[name] = tensor.contiguous()
        save_file(mine, folder / f"state-{self.ranks.rank:05d}-of-{self.ranks.count:05d}.safetensors")

    def load(self, folder: Path) -> None:
        files = [safe_open(path, "pt") for path in sorted(folder.glob("state-*.safetensors"))]
        where = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        if {name.partition("/")[2] for name in where} != set(self.names):
            raise CaravanError(f"{folder} holds the state of other weights than those that are trained here.")

        def take(name: str) -> Tensor:
            # One at a time: all ranks of a machine together would not fit into its memory.
            tensor: Tensor = where[name].get_tensor(name)
            return tensor.to(self.ranks.device)

        state = self.optimizer.state_dict()
        state["state"] = {}
        with torch.no_grad():
            for i, (name, param, master) in enumerate(zip(self.names, self.params, self.masters, strict=True)):
                master.copy_(take(f"weight/{name}"))
                param.copy_(master)
                moments = {key: take(f"{key}/{name}") for key in MOMENTS if f"{key}/{name}" in where}
                if moments:
                    state["state"][i] = moments
        self.optimizer.load_state_dict(state)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        masters = {id(param): master for param, master in zip(self.params, self.masters, strict=True)}
        for name, param in self.model.named_parameters():
            yield name, masters.get(id(param), param).detach()
