"""SFT beside TRL's SFTTrainer: useful tokens a second, peak memory, and the same loss on the same batch; on a CPU.

Run as: python -m benchmarks.sft [--quick] [--json] [--record]

Both train SmolLM2-135M (.cache/smollm2, a vocabulary of 49,152) in float32 on the same 16 rows of the Tülu 3 SFT mixture, of 49 to 2,519
tokens cut to 2,048, all of them at every step, with the same template and masks. Useful tokens are those of the rows, without padding.
Each run is a process of its own, in turns; the first step warms up and does not count. TRL runs with a row a part, with two of like
lengths, and packed; the fastest is what ours is held against. Its default, 8 rows a part, and 4 would need more than the 24 GiB that
there are (of rows of at most 719 tokens they took 16.5 and 10). Memory is the peak of the process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.common import record
from benchmarks.corpus import REPOSITORY
from warehouse.errors import CaravanError, run

MODEL = REPOSITORY / ".cache" / "smollm2"
VENV = REPOSITORY / ".cache" / "peers-trl"
PACKAGES = ("trl==1.16.0", "accelerate==1.15.0", "datasets==5.2.0")
BATCH, LENGTH = 16, 2048
RATE = 1e-12  # so small that the weights are the same at every step
TRL = {
    "1 a part": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16},
    "2 a part, of like lengths": {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "train_sampling_strategy": "group_by_length",
    },
    "packed": {
        "packing": True,
        "packing_strategy": "bfd",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16,
    },
}
PART = f"engine.tokens_per_part={LENGTH}"
OURS = {
    "nothing recomputed": [PART],
    "cheap results recomputed": [PART, "engine.recompute=cheap"],
    "all recomputed": [PART, "engine.recompute=all"],
}
WANTED = {"speed": 1.3, "memory": 0.7}


@dataclass(frozen=True)
class Run:
    """Useful tokens a second, bytes at the peak, mean loss of a trained token."""

    speed: float
    peak: float
    loss: float


def main() -> int:
    options = _options()
    steps, rounds = (2, 1) if options.quick else (3, 3)
    python = install()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows, tokens, targets = prepare(folder)
        found: dict[str, list[Run]] = {}
        for _ in range(rounds):
            for name, settings in OURS.items():
                found.setdefault(f"ours, {name}", []).append(ours(folder, rows, steps, settings, tokens))
                print(f"ours, {name}:", found[f"ours, {name}"][-1], file=sys.stderr, flush=True)
            for name, how in TRL.items():
                found.setdefault(f"TRL, {name}", []).append(trl(python, folder, rows, steps, how, tokens))
                print(f"TRL, {name}:", found[f"TRL, {name}"][-1], file=sys.stderr, flush=True)
    middle = {
        name: Run(*(median(column) for column in zip(*map(_figures, runs), strict=True)))
        for name, runs in found.items()
    }
    fastest = max((name for name in middle if name.startswith("TRL")), key=lambda name: middle[name].speed)
    theirs = middle[fastest]
    ratios = {
        name: {
            "speed": middle[f"ours, {name}"].speed / theirs.speed,
            "memory": middle[f"ours, {name}"].peak / theirs.peak,
        }
        for name in OURS
    }
    apart = max(abs(run.loss - theirs.loss) for run in middle.values())
    said = [
        f"{tokens:,} tokens ({targets:,} trained) in {BATCH} rows a step, {steps - 1} steps counted, medians of {rounds} rounds.",
        "",
        "| run | tokens a second | peak GiB | loss |",
        "|---|---:|---:|---:|",
        *(f"| {n} | {r.speed:,.0f} | {r.peak / 2**30:.2f} | {r.loss:.6f} |" for n, r in middle.items()),
        "",
        f"To {fastest}, its fastest (wanted: {WANTED['speed']:g} times the tokens a second in {WANTED['memory']:g} of the memory):",
        "",
        *(
            f"- ours, {n}: {r['speed']:.2f} times the tokens a second, {r['memory']:.2f} of the memory"
            for n, r in ratios.items()
        ),
        f"- losses differ by at most {apart:.1e} nats a token (allowed 1e-4)",
    ]
    print("\n".join(said))
    if options.record:
        title = f"SFT on a CPU (`python -m benchmarks.sft{' --quick' if options.quick else ''}`)"
        record(title, said, ["torch", "transformers"])
    if options.json:
        print(json.dumps({name: vars(each) for name, each in middle.items()} | {"ratios": ratios}))
    return 0 if apart < 1e-4 else 1


def _figures(run: Run) -> tuple[float, float, float]:
    return run.speed, run.peak, run.loss


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.sft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round, one step counted")
    parser.add_argument("--json", action="store_true", help="also print the figures as JSON")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/RESULTS.md")
    return parser.parse_args()


def install() -> Path:
    """The Python of an environment with TRL, made at first use."""
    python = VENV / "bin" / "python"
    if not (VENV / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        wanted = ["torch==2.13.0", "transformers==5.19.0", *PACKAGES]
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "-c", REPOSITORY / "constraints.txt", *wanted], check=True
        )
        (VENV / ".installed").touch()
    return python


def done(command: list[str], environment: dict[str, str]) -> str:
    """What a command printed. Raises CaravanError with its last words where it failed."""
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    if ended.returncode:
        raise CaravanError(f"{' '.join(command[:3])} failed: {ended.stderr[-2000:]}")
    return ended.stdout


def prepare(folder: Path) -> tuple[Path, int, int]:
    """Rows that leave something to train within LENGTH tokens, a model folder with the template, and their tokens, all and trained."""
    from trainers import chat, data, sources

    mixture = (
        Path(os.environ.get("CARAVAN_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
        / "train/tulu3_samples/sft_sample.jsonl"
    )
    if not mixture.exists() or not MODEL.is_dir():
        raise CaravanError(f"The benchmark needs {mixture} (CARAVAN_TEST_DATA) and {MODEL} (`make engine`).")
    bound, tokenizer = chat.load(str(MODEL), "tulu", "<|endoftext|>")
    examples = data.tokens(sources.find([str(mixture)]), data.How(bound, LENGTH), folder / "cache", 1, quiet=True)
    lines = mixture.read_text(encoding="utf-8").splitlines()
    chosen = list(range(len(examples)))[:BATCH]
    kept = [lines[examples.origin(i)["row"] - 1] for i in chosen]
    rows = folder / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"messages": json.loads(line)["messages"]}) + "\n" for line in kept), encoding="utf-8"
    )
    model = folder / "model"
    model.mkdir()
    for path in MODEL.iterdir():
        if path.suffix == ".safetensors" or path.name in ("config.json", "generation_config.json"):
            (model / path.name).symlink_to(path)
    tokenizer.save_pretrained(model)
    return rows, int(examples.lengths[chosen].sum()), int(examples.targets[chosen].sum())


def ours(folder: Path, rows: Path, steps: int, settings: list[str], tokens: int) -> Run:
    from trainers.loop import curve

    recipe, output = folder / "recipe.toml", Path(tempfile.mkdtemp(dir=folder))
    recipe.write_text(
        f'stage = "sft"\n[model]\npath = "{folder / "model"}"\nprecision = "fp32"\n[data]\npad_token = "<|endoftext|>"\n'
        f'max_length = {LENGTH}\n[train]\nepochs = {steps}\nbatch = {BATCH}\nlearning_rate = {RATE}\nschedule = "constant"\n'
        "warmup = 0\n[save]\nevery = 1000\n[log]\ntensorboard = false\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "trainers.sft",
        str(recipe),
        "--data",
        str(rows),
        "--output",
        str(output),
        "--set",
        *settings,
    ]
    done(command, {"CARAVAN_CACHE": str(folder / "cache"), "CARAVAN_WAREHOUSE": str(folder / "none")})
    lines = curve(output)
    shutil.rmtree(output)
    seconds = [line["seconds"] for line in lines]
    assert lines[0]["tokens"] == tokens
    return Run(tokens / mean(seconds[1:]), lines[-1]["peak_gib"] * 2**30, lines[0]["loss"])


def trl(python: Path, folder: Path, rows: Path, steps: int, how: dict[str, Any], tokens: int) -> Run:
    settings = {"max_length": LENGTH, "learning_rate": RATE, "num_train_epochs": steps, **how}
    command = [
        str(python),
        str(REPOSITORY / "benchmarks/sft_run.py"),
        str(folder / "model"),
        str(rows),
        json.dumps(settings),
    ]
    told = json.loads(done(command, {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}).splitlines()[-1])
    return Run(tokens / mean(told["seconds"][1:]), told["peak"], told["losses"][0])


if __name__ == "__main__":
    run(main)
