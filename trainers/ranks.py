"""The processes of a run: how they find one another, and how a lost one is told from a slow one.

Alone, nothing is set up. Under `torchrun` (any number of machines) every process is a rank: NCCL carries GPUs' tensors, gloo the CPU's.
Each rank shows a sign of life in the store that they met at; rank 0 watches all of them and they watch rank 0. When one is silent for
the patience of the run, whoever notices says which one, at what step, on which machine, and ends, so that torchrun ends the rest. The
sign comes from a thread of its own: a process that lives but hangs ends with the time-out of what it is to answer, 30 minutes.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from warehouse.errors import CaravanError

BEAT = 2.0  # seconds between signs of life
T = TypeVar("T")
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

    def agree(self, find: Callable[[], T]) -> T:
        """What rank 0 finds, for all of them: ranks that look by themselves may see different things. Its CaravanError ends all."""
        if self.count == 1:
            return find()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told = [find(), None]
            except CaravanError as error:
                told = [None, error]
        dist.broadcast_object_list(told, src=0)
        if told[1]:
            self._refuse(told[1])
        found: T = told[0]
        return found

    def same(self, what: str, value: str) -> None:
        """Raise CaravanError, on all ranks, where this value is not the same on all of them."""
        if self.count == 1:
            return
        all_of: list[Any] = [None] * self.count
        dist.all_gather_object(all_of, value)
        other = next((rank for rank, each in enumerate(all_of) if each != all_of[0]), None)
        if other is not None:
            self._refuse(
                CaravanError(
                    f"{what} is not the same on all ranks: {all_of[0]} on rank 0, {all_of[other]} on rank {other}."
                )
            )

    def _refuse(self, error: CaravanError) -> None:
        """End with an error that all ranks know of; the first one says it."""
        raise error if self.first else SystemExit(2)


def start(patience: float) -> Ranks:
    """Join the other ranks, if torchrun started this process; what others than the first print on stdout is dropped.

    The device is this rank's GPU where there are GPUs, else the CPU.
    """
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
        if rank:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        signs = dist.PrefixStore("signs", store.clone())
        ranks.live = threading.Thread(target=_live, args=(ranks, signs, patience), daemon=True)
        ranks.live.start()
    _stop_at_signals(ranks)
    return ranks


def together(patience: float, work: Callable[[Ranks], int]) -> int:
    """Join the other ranks, do the work and leave when all are done. Raises CaravanError where another one is lost on the way."""
    joined = start(patience)
    try:
        code = work(joined)
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
        end(joined)


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
        print("\nstopping as soon as what is done is kept; once more ends at once", flush=True)

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
