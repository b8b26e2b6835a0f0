"""Checkpoints of a run: folders that are complete or not there, of which the last and the best ones stay.

    OUTPUT/checkpoints/step-00000120/   state-RANK-of-RANKS.safetensors, state.json

All ranks write into a folder whose name begins with a dot; when all have finished, it gets its name. What a kill left goes at the next
write.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainers.config import Save
from trainers.engines import Engine
from trainers.packing import Cursor
from trainers.ranks import Ranks
from warehouse.errors import CaravanError


@dataclass(frozen=True)
class State:
    """Where a run is after `step` steps: the place in the data that comes next, what has been seen, the loss on held-out rows."""

    step: int
    cursor: Cursor
    tokens: int
    targets: int
    seconds: float
    ranks: int
    held_out: float | None = None

    @classmethod
    def read(cls, folder: Path) -> "State":
        found = json.loads((folder / "state.json").read_text())
        return cls(**{**found, "cursor": Cursor(**found["cursor"])})


def all_of(root: Path) -> dict[int, Path]:
    """Complete checkpoints by step, ascending."""
    return {int(path.name.removeprefix("step-")): path for path in sorted(root.glob("step-*"))}


def write(root: Path, engine: Engine, state: State, ranks: Ranks, keep: Save) -> Path:
    """Write a checkpoint of all ranks, then remove those that are neither among the last nor the best."""
    folder = root / f"step-{state.step:08d}"
    part = root / f".{folder.name}.part"
    if ranks.first:
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(".step-*"):
            shutil.rmtree(left)
        part.mkdir()
    ranks.wait()
    engine.save(part)
    ranks.wait()
    if ranks.first:
        (part / "state.json").write_text(json.dumps(asdict(state), indent=1))
        settle(part, folder)
        for path in _spare(root, keep):
            gone = path.with_name(f".{path.name}.gone")
            path.rename(gone)
            shutil.rmtree(gone)
    ranks.wait()
    return folder


def _spare(root: Path, keep: Save) -> list[Path]:
    there = all_of(root)
    measured = {step: State.read(path).held_out for step, path in there.items()}
    kept = list(there)[-keep.keep_last :]
    kept += sorted((step for step in there if measured[step] is not None), key=lambda step: (measured[step], step))[
        : keep.keep_best
    ]
    return [path for step, path in there.items() if step not in kept]


def best(root: Path) -> Path:
    """The checkpoint with the least loss on held-out rows, of those where it was measured."""
    measured = [(State.read(path).held_out, path) for path in all_of(root).values()]
    return min((loss, path) for loss, path in measured if loss is not None)[1]


def last(root: Path) -> Path | None:
    return list(all_of(root).values())[-1] if root.is_dir() and all_of(root) else None


def settle(part: Path, folder: Path) -> None:
    """Give a finished folder its name, all of it on the disk before: what has the name is complete, whatever happens."""
    for path in (*part.rglob("*"), part):
        sync(path)
    part.rename(folder)
    sync(folder.parent)


def put(path: Path, text: str) -> None:
    """Write a file, complete or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Settings that may change between the two halves of a run: they change when it is written, not what.
FREE = ("save", "log", "hardware", "engine.patience")


def same_run(output: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What OUTPUT/run.json says, which is written if it is not there. Raises CaravanError where it is another run's than `about`."""
    path = output / "run.json"
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        put(path, json.dumps(about, indent=1, ensure_ascii=False))
        return about
    found = json.loads(path.read_text())
    before, now = dict(flat(found["fixed"])), dict(flat(about["fixed"]))
    changed = [
        f"{key} was {before.get(key)} and is {now.get(key)}"
        for key in {**before, **now}
        if before.get(key) != now.get(key) and not key.removeprefix("recipe.").startswith(FREE)
    ]
    if changed:
        raise CaravanError(
            f"{output} holds another run, which cannot be gone on with: {'; '.join(changed)}. Name another --output, or start it as it was."
        )
    return found


def flat(value: dict[str, Any], prefix: str = "") -> Any:
    """(key.key, value) of all values of nested dictionaries."""
    for key, each in value.items():
        if isinstance(each, dict):
            yield from flat(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each
