"""Log-probabilities of the reference model, computed once for all pairs and kept in train.reference_logprobs.

They are those of the model that training starts from, so they are computed before a run takes up a checkpoint. Their key is a hash of
the tokens' key (rows of a snapshot or contents of files, tokenizer, template, length), the weights themselves and what is computed in:
any loss, β, seed or number of ranks shares them, and nothing else does. Portions are kept in $CARAVAN_CACHE while they are computed, and
stay there where there is no warehouse.
"""

import hashlib
import json
import os
import shutil
import sys
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
from trainers import models
from trainers.data import cache
from trainers.pairs import of_sides
from trainers.preference import response_logprobs
from trainers.sources import SIDES
from trainers.stage import Started
from warehouse.commit import Job, code_version, commit_arrow
from warehouse.read import arrow
from warehouse.refs import resolve
from warehouse.settings import settings

TABLE = "train.reference_logprobs"
PORTION = 256  # pairs; those of a portion are packed together, and lost together where a run is killed
FORMAT = 1
Logprobs = npt.NDArray[np.float64]


def logprobs(started: Started) -> Logprobs:
    """Sums of log-probabilities (pairs, 2) of the trained tokens of both responses of every pair, better ones first."""
    ranks = started.ranks
    about = ranks.agree(lambda: _about(started))
    found: Logprobs | None = ranks.agree(lambda: _kept(about))
    if found is None:
        folder = cache() / "reference" / about["reference_key"]
        found = _compute(started, folder)
        ranks.agree(lambda: _keep(started, about, found, folder))
    elif ranks.first:
        print(f"log-probabilities of the reference {about['model_id']} are there: {TABLE}, {about['reference_key']}")
    return found


def _about(started: Started) -> dict[str, Any]:
    """What the log-probabilities depend on, as columns of the table."""
    recipe, examples = started.recipe, started.units.examples
    model_id = models.identity(recipe.model, recipe.seed)
    parts = [FORMAT, examples.fingerprint, model_id, recipe.model.precision]
    return {
        "reference_key": hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32],
        "data": started.data.name,
        "snapshot_id": started.data.table.snapshot_id if started.data.table else None,
        "mixture": started.data.mixture,
        "tokens_key": examples.fingerprint,
        "model": recipe.model.path,
        "model_id": model_id,
        "template": examples.about["template"],
        "max_length": recipe.data.max_length,
        "precision": recipe.model.precision,
        "code": code_version(),
    }


def _there() -> bool:
    place = settings()
    return not place.local or Path(place.root).is_dir()


def _kept(about: dict[str, Any]) -> Logprobs | None:
    if not _there():
        return None
    w = warehouse.open(create=False)
    wanted = pc.field("reference_key") == about["reference_key"]
    rows = arrow(w, resolve(w, TABLE), ["pair", "side", "logprob"], wanted).sort_by(
        [("pair", "ascending"), ("side", "ascending")]
    )
    # One snapshot has all pairs of a key or none; "chosen" sorts before "rejected".
    return rows["logprob"].to_numpy().reshape(-1, 2) if len(rows) else None


def _keep(started: Started, about: dict[str, Any], found: Logprobs, folder: Path) -> None:
    if not _there():
        return
    examples, targets = started.units.examples, started.units.examples.targets
    origins = examples.origins()
    count = len(found)
    columns = {
        "pair": np.repeat(np.arange(count), 2),
        "side": list(SIDES) * count,
        "logprob": found.reshape(-1),
        "tokens": targets,
        **{name: origins[name] for name in ("position", "prompt_id", "completion_id", "source", "file", "row")},
        **{name: pa.repeat(pa.scalar(value), 2 * count) for name, value in about.items()},
    }
    w = warehouse.open(create=False)
    inputs = [started.data.table] if started.data.table else []
    key = about["reference_key"]
    snapshot = commit_arrow(
        w, TABLE, pa.table(columns), Job("trainers.reference", {"key": key}, inputs), {"reference_key": [key]}
    )
    print(f"wrote {TABLE}@{snapshot}")
    shutil.rmtree(folder)


@torch.no_grad()
def _compute(started: Started, folder: Path) -> Logprobs:
    """All portions that the folder does not hold; every rank takes part in each."""
    units, ranks, scorer = started.units, started.ranks, started.engine.scorer
    portions = range(0, len(units.lengths), PORTION)
    if ranks.first:
        folder.mkdir(parents=True, exist_ok=True)
    known = ranks.agree(lambda: {first: np.load(path) for first in portions if (path := _path(folder, first)).exists()})
    columns = (TextColumn("log-probabilities of the reference"), MofNCompleteColumn(), TextColumn("portions"))
    scorer.eval()
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=sys.stderr), disable=not ranks.first
    ) as bar:
        task = bar.add_task("", total=len(portions), completed=len(known))
        for first in portions:
            if first in known:
                continue
            chosen = np.arange(first, min(first + PORTION, len(units.lengths)))
            found = np.zeros((len(chosen), 2))
            step = next(units.plan(chosen, len(chosen), ranks).steps(1))
            for part in step.parts:
                pairs = chosen[part]
                sides = of_sides(lambda batch, n: response_logprobs(scorer, batch, n), units.batches(pairs), len(pairs))
                found[part] = torch.stack(sides, 1).cpu().numpy()
            # Every pair is on one rank and 0 on the others.
            known[first] = np.array(ranks.add(found.reshape(-1).tolist())).reshape(-1, 2)
            if ranks.first:
                _write(_path(folder, first), known[first])
            bar.advance(task)
            if ranks.add([float(ranks.stopping)])[0]:
                raise KeyboardInterrupt
    scorer.train()
    return np.concatenate([known[first] for first in portions])


def _path(folder: Path, first: int) -> Path:
    return folder / f"pairs-{first:09d}.npy"


def _write(path: Path, values: Logprobs) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as stream:
        np.save(stream, values)
    part.rename(path)
