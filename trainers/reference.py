"""Log-probabilities of the reference model, computed once for all pairs and kept in train.reference_logprobs.

They are those of the model that training starts from, so they are computed before a run takes up a checkpoint. Their key is a hash of
the tokens' key (rows of a snapshot or contents of files, tokenizer, template, length), the weights themselves and what is computed in:
any loss, β, seed or number of ranks shares them, and nothing else does. Portions are kept in $CARAVAN_CACHE while they are computed, and
stay there where there is no warehouse.
"""

import fcntl
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import warehouse
from trainers.checkpoints import sync
from trainers.data import cache
from trainers.pairs import of_sides
from trainers.preference import response_logprobs
from trainers.ranks import Ranks
from trainers.sources import SIDES
from trainers.stage import Started
from warehouse.commit import Job, code_version, commit_arrow
from warehouse.errors import CaravanError
from warehouse.read import arrow
from warehouse.refs import resolve
from warehouse.settings import settings

TABLE = "train.reference_logprobs"
PORTION = 256  # pairs of a file, and so what a kill may lose a rank
FORMAT = 1  # of the key; a change computes all anew
Logprobs = npt.NDArray[np.float64]


def logprobs(started: Started) -> Logprobs:
    """Sums of log-probabilities (pairs, 2) of the trained tokens of both responses of every pair, better ones first.

    Raises CaravanError where the table holds other pairs under their key.
    """
    ranks, pairs = started.ranks, len(started.units.lengths)
    about = ranks.agree(lambda: _about(started))
    folder = cache() / "reference" / about["reference_key"]
    with _alone(ranks, folder):
        found: Logprobs | None = ranks.agree(lambda: _kept(about, pairs))
        if found is None:
            found = _compute(started, folder)
            ranks.agree(lambda: _keep(started, about, found))
        elif ranks.first:
            print(
                f"log-probabilities of the reference {about['model_id']} are there: {TABLE}, {about['reference_key']}"
            )
        if ranks.first and settings().there:
            shutil.rmtree(folder, ignore_errors=True)
    return found


@contextmanager
def _alone(ranks: Ranks, folder: Path) -> Iterator[None]:
    """While no other run computes the same: that one computes and this one waits."""
    lock = None
    if ranks.first:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_suffix(".lock").open("w")

    def locked() -> bool:
        assert lock is not None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    said = False
    while not ranks.agree(locked):
        if not said:
            print("another run computes log-probabilities of the same reference: waiting for it", flush=True)
        said = True
        time.sleep(1)
    try:
        yield
    finally:
        if lock:
            lock.close()


def _about(started: Started) -> dict[str, Any]:
    """What the log-probabilities depend on, as columns of the table."""
    recipe, examples = started.recipe, started.units.examples
    parts = [FORMAT, examples.fingerprint, started.weights, recipe.model.precision]
    return {
        "reference_key": hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32],
        "data": started.data.name,
        "snapshot_id": started.data.table.snapshot_id if started.data.table else None,
        "mixture": started.data.mixture,
        "tokens_key": examples.fingerprint,
        "model": recipe.model.path,
        "model_id": started.weights,
        "template": examples.about["template"],
        "max_length": recipe.data.max_length,
        "precision": recipe.model.precision,
        "code": code_version(),
    }


def _kept(about: dict[str, Any], pairs: int) -> Logprobs | None:
    if not settings().there:
        return None
    w = warehouse.open(create=False)
    wanted = pc.field("reference_key") == about["reference_key"]
    rows = arrow(w, resolve(w, TABLE), ["pair", "side", "logprob"], wanted)
    if not len(rows):
        return None
    # "chosen" sorts before "rejected".
    rows = rows.sort_by([("pair", "ascending"), ("side", "ascending")])
    if not np.array_equal(rows["pair"].to_numpy(), np.repeat(np.arange(pairs), 2)):
        raise CaravanError(
            f"{TABLE} holds {len(rows):,} rows of the key {about['reference_key']}, which are not both sides of each of the {pairs:,} pairs. "
            "Whoever changed them can take the table back to a snapshot of before: python -m warehouse log " + TABLE
        )
    return rows["logprob"].to_numpy().reshape(-1, 2)


def _keep(started: Started, about: dict[str, Any], found: Logprobs) -> None:
    if not settings().there:
        return
    examples, count = started.units.examples, len(found)
    origins = examples.origins()
    columns = {
        "pair": np.repeat(np.arange(count), 2),
        "side": list(SIDES) * count,
        "logprob": found.reshape(-1),
        "tokens": examples.targets,
        **{name: origins[name] for name in ("position", "prompt_id", "completion_id", "source", "file", "row")},
        **{name: pa.repeat(pa.scalar(value), 2 * count) for name, value in about.items()},
    }
    key = about["reference_key"]
    job = Job("trainers.reference", {"key": key}, [started.data.table] if started.data.table else [])
    made = commit_arrow(warehouse.open(create=False), TABLE, pa.table(columns), job, {"reference_key": [key]})
    print(f"wrote {TABLE}@{made}")


@torch.no_grad()
def _compute(started: Started, folder: Path) -> Logprobs:
    """All portions that the folder does not hold, as many at a time as there are ranks; every rank takes part in each."""
    units, ranks, scorer = started.units, started.ranks, started.engine.scorer
    pairs = len(units.lengths)
    portions = [np.arange(first, min(first + PORTION, pairs)) for first in range(0, pairs, PORTION)]
    known: dict[int, Logprobs] = ranks.agree(lambda: _found(folder, portions))
    missing = [i for i in range(len(portions)) if i not in known]
    columns = (TextColumn("log-probabilities of the reference"), MofNCompleteColumn(), TextColumn("portions"))
    scorer.eval()
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=sys.stderr), disable=not ranks.first
    ) as bar:
        task = bar.add_task("", total=len(portions), completed=len(known))
        for start in range(0, len(missing), ranks.count):
            turn = missing[start : start + ranks.count]
            chosen = np.concatenate([portions[i] for i in turn])
            found = np.zeros((len(chosen), 2))
            for part in next(units.plan(chosen, len(chosen), ranks).steps(1)).parts:
                of_part = chosen[part]
                sides = of_sides(
                    lambda batch, n: response_logprobs(scorer, batch, n), units.batches(of_part), len(of_part)
                )
                found[part] = torch.stack(sides, 1).cpu().numpy()
            # Every pair is on one rank and 0 on the others.
            whole = np.array(ranks.add(found.reshape(-1).tolist())).reshape(-1, 2)
            ends = np.cumsum([len(portions[i]) for i in turn])[:-1]
            for i, values in zip(turn, np.split(whole, ends), strict=True):
                known[i] = values
                if ranks.first:
                    _write(_path(folder, i), values)
            bar.advance(task, len(turn))
            if ranks.add([float(ranks.stopping)])[0]:
                print(
                    f"stopped: {len(known)} of {len(portions)} portions are kept in {folder}, and the same command goes on"
                )
                raise KeyboardInterrupt
    scorer.train()
    return np.concatenate([known[i] for i in range(len(portions))])


def _path(folder: Path, portion: int) -> Path:
    return folder / f"pairs-{portion * PORTION:09d}.npy"


def _found(folder: Path, portions: list[npt.NDArray[np.int64]]) -> dict[int, Logprobs]:
    """Portions that are there, whole."""
    folder.mkdir(exist_ok=True)
    found = {}
    for i, pairs in enumerate(portions):
        try:
            values = np.load(_path(folder, i))
        except (OSError, ValueError, EOFError):
            continue
        if values.shape == (len(pairs), 2):
            found[i] = values
    return found


def _write(path: Path, values: Logprobs) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.save(stream, values)
    sync(part)
    part.rename(path)
