"""The processes of a run: how they find one another, and how a lost one is told from a slow one.

Alone, nothing is set up. Under `torchrun` (any number of machines) every process is a rank: NCCL carries GPUs' tensors, gloo the CPU's.
Each rank shows a sign of life in the store that they met at; rank 0 watches all of them and they watch rank 0. When one is silent for
the patience of the run, whoever notices says which one, at what step, on which machine, and ends, so that torchrun ends the rest.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

BEAT = 2.0  # seconds between signs of life
LOST = 75  # exit status where a rank is missing: trying again may help (EX_TEMPFAIL)


@dataclass
class Ranks:
    """This process among `count` of them. `step` is shown to the others with every sign of life."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    step: int = 0
    stopping: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    live: threading.Thread | None = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def add(self, values: Sequence[float]) -> list[float]:
        """Sums over all ranks, in float64."""
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.count > 1:
            dist.barrier()

    def say(self, *words: Any) -> None:
        """Print once, not once a rank."""
        if self.first:
            print(*words, flush=True)


def start(patience: float) -> Ranks:
    """Join the other ranks, if torchrun started this process. The device is this rank's GPU where there are GPUs, else the CPU."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        ranks = Ranks(device=device)
    else:
        store, rank, count = next(rendezvous("env://", timeout=timedelta(seconds=1800)))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, store=dist.PrefixStore("run", store), rank=rank, world_size=count, timeout=timedelta(minutes=30)
        )
        ranks = Ranks(rank, count, device)
        signs = dist.PrefixStore("signs", store.clone())
        ranks.live = threading.Thread(target=_live, args=(ranks, signs, patience), daemon=True)
        ranks.live.start()
    _stop_at_signals(ranks)
    return ranks


def end(ranks: Ranks) -> None:
    """Leave the others; they have to be done as well, or they take this rank for lost."""
    ranks.ended.set()
    if ranks.live:
        ranks.live.join(5 * BEAT)  # a thread that is in the store while Python ends would abort the process
    if dist.is_initialized():
        dist.destroy_process_group()


def _stop_at_signals(ranks: Ranks) -> None:
    """The first Ctrl-C or SIGTERM asks for an end after this step, with a checkpoint; the second ends at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if ranks.stopping:
            raise KeyboardInterrupt
        ranks.stopping = True
        ranks.say("\nstopping after this step, with a checkpoint; once more ends at once")

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)


def _live(ranks: Ranks, store: dist.Store, patience: float) -> None:
    """Show a sign of life, and look for those of the others."""
    watched = range(1, ranks.count) if ranks.first else [0]
    heard = {rank: ("", time.monotonic()) for rank in watched}
    count = 0
    while not ranks.ended.wait(min(BEAT, patience / 4) if count else 0):
        count += 1
        try:
            store.set(str(ranks.rank), f"{count} {ranks.step} {socket.gethostname()}")
            for rank in watched:
                said = store.get(str(rank)).decode() if store.check([str(rank)]) else ""
                if said != heard[rank][0]:
                    heard[rank] = (said, time.monotonic())
        except (RuntimeError, dist.DistError) as error:
            if ranks.ended.is_set():
                return
            _leave(ranks, f"the store where ranks meet cannot be reached ({str(error).splitlines()[0][:120]})")
        for rank, (said, moment) in heard.items():
            silent = time.monotonic() - moment
            if silent > patience:
                where = f", last at step {said.split()[1]} on {said.split()[2]}" if said else ", which never began"
                _leave(ranks, f"rank {rank} has shown no sign of life for {silent:.0f} s{where}")


def _leave(ranks: Ranks, why: str) -> None:
    print(
        f"error: rank {ranks.rank} of {ranks.count} ends at step {ranks.step}: {why}. Its process or machine is gone or hangs. "
        "Start the same command again: it goes on from the last checkpoint.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(LOST)
