"""Runs, metrics and checkpoints as rows of the warehouse: train.runs, train.metrics, train.checkpoints.

A run's rows are replaced by newer ones of the same run whenever it writes a checkpoint, from the files in its output folder, so they
are what the files say. Where there is no warehouse the files alone remain.
"""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

import warehouse
from inference.vllm_server import checkpoint_name
from trainers import checkpoints, models
from trainers.checkpoints import State
from trainers.config import Recipe
from trainers.data import Examples
from trainers.loop import curve
from trainers.sources import Data
from warehouse.commit import Job, code_version, commit_arrow
from warehouse.settings import settings

PACKAGES = ("torch", "transformers", "tokenizers", "deepspeed", "peft", "numpy")


def about(recipe: Recipe, data: Data, examples: Examples, ranks: int) -> dict[str, Any]:
    """What OUTPUT/run.json keeps: `fixed` is all that a run must be started with again to go on."""
    return {
        "fixed": {
            "recipe": recipe.model_dump(mode="json"),
            "data": data.identity,
            "tokens": examples.fingerprint,
            "weights": models.identity(recipe.model, recipe.seed),
        },
        "data": data.name,
        "snapshot_id": data.table.snapshot_id if data.table else None,
        "mixture": data.mixture,
        "template": examples.about["template"],
        "code": code_version(),
        "environment": environment(),
        "ranks": ranks,
        "started_at": datetime.now(UTC).isoformat(),
    }


def environment() -> dict[str, str]:
    """Versions of what computes, and the device."""
    found = {"python": platform.python_version(), "device": "cpu"}
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write(output: Path, told: dict[str, Any], data: Data, state: State, status: str, examples: int) -> None:
    """Bring the rows of a run up to date. Says so where there is no warehouse; raises what keeps one that is there from being written."""
    if not settings().there:
        if status != "running":
            print(f"There is no warehouse here, so the run is recorded in {output} alone.")
        return
    w = warehouse.open(create=False)
    now, run = datetime.now(UTC), told["run"]
    measured = {line["step"]: line["held_out_loss"] for line in curve(output) if line.get("held_out_loss") is not None}
    row = {
        "run": run,
        "stage": told["fixed"]["recipe"]["stage"],
        "status": status,
        "model": told["fixed"]["recipe"]["model"]["path"],
        "model_id": told["fixed"]["weights"],
        "tokens_key": told["fixed"]["tokens"],
        "recipe": json.dumps(told["fixed"]["recipe"], ensure_ascii=False),
        "environment": json.dumps(told["environment"]),
        "ranks": state.ranks,
        "examples": examples,
        "steps": state.step,
        "held_out_loss": measured[max(measured)] if measured else None,
        "output": str(output.absolute()),
        "started_at": datetime.fromisoformat(told["started_at"]),
        "updated_at": now,
        **{name: told[name] for name in ("data", "snapshot_id", "mixture", "template", "code")},
        **{name: getattr(state, name) for name in ("tokens", "targets", "seconds")},
    }
    metrics = [
        {
            "run": run,
            "step": line["step"],
            "name": name,
            "value": float(value),
            "at": datetime.fromtimestamp(line["time"], UTC),
        }
        for line in curve(output)
        for name, value in line.items()
        if name not in ("step", "time")
    ]
    job = Job(f"trainers.{row['stage']}", {"run": run}, [data.table] if data.table else [])
    for table, rows in (
        ("train.runs", [row]),
        ("train.metrics", metrics),
        ("train.checkpoints", _folders(output, run, now)),
    ):
        if rows:
            snapshot = commit_arrow(w, table, pa.Table.from_pylist(rows), job, {"run": [run]})
            if status != "running":
                print(f"wrote {table}@{snapshot}")


def _folders(output: Path, run: str, now: datetime) -> list[dict[str, Any]]:
    """All checkpoints that were written, those that are gone as well."""
    known = output / "checkpoints.json"
    rows: dict[str, dict[str, Any]] = json.loads(known.read_text()) if known.exists() else {}
    for step, path in checkpoints.all_of(output / "checkpoints").items():
        state = State.read(path)
        rows.setdefault(
            f"state {step}",
            {
                "step": step,
                "kind": "state",
                "path": str(path.absolute()),
                "tokens": state.tokens,
                "held_out_loss": state.held_out,
                "written_at": now.isoformat(),
            },
        )
    model = output / "model"
    if model.is_dir():
        told = json.loads((model / "caravan.json").read_text())
        rows[f"model {told['step']}"] = {
            "step": told["step"],
            "kind": "model",
            "path": str(model.absolute()),
            "checkpoint_id": checkpoint_name(model),
            "tokens": told["tokens"],
            "held_out_loss": told["held_out"],
            "written_at": now.isoformat(),
        }
    checkpoints.put(known, json.dumps(rows, indent=1))
    return [
        {
            **row,
            "run": run,
            "kept": Path(row["path"]).is_dir(),
            "checkpoint_id": row.get("checkpoint_id"),
            "written_at": datetime.fromisoformat(row["written_at"]),
        }
        for row in rows.values()
    ]
