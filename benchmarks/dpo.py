"""Length-normalised DPO beside TRL's DPOTrainer: pairs a second, peak memory, and the same losses over two steps; on a CPU.

Run as: python -m benchmarks.dpo [--quick] [--json] [--record]

Both tune SmolLM2-135M (.cache/smollm2) in float32 on the same 8 real pairs of UltraFeedback, cut to 512 tokens a side, all of them at
every step, with the same template, β of 5 and AdamW at a rate of 1e-5: after the first step the policy is no longer the reference, so the
second loss tells whether both compute the same thing. Each run is a process of its own, in turns; the first step warms up and does not
count. TRL runs with its default, a live reference and 8 pairs a part, with log-probabilities of the reference computed beforehand, and
with those and a pair a part. Ours has them beforehand. Memory is the peak of the process.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.common import record
from benchmarks.corpus import REPOSITORY
from benchmarks.sft import MODEL, done, install
from warehouse.errors import CaravanError, run

BATCH, LENGTH, RATE = 8, 512, 1e-5
PRECOMPUTED = {"precompute_ref_log_probs": True}
TRL: dict[str, dict[str, Any]] = {
    "default": {"per_device_train_batch_size": 8},
    "precomputed": {"per_device_train_batch_size": 8, **PRECOMPUTED},
    "precomputed, 1 a part": {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        **PRECOMPUTED,
    },
}
OURS = {"separate": [], "concatenated": ["engine.forward=concatenated"]}
WANTED = {"speed": 1.3, "memory": 0.6}
CLOSE = 1e-4


@dataclass(frozen=True)
class Run:
    """Pairs a second, bytes at the peak, losses of the first two steps."""

    speed: float
    peak: float
    first: float
    second: float


def main() -> int:
    options = _options()
    steps, rounds = (2, 1) if options.quick else (3, 3)
    python = install()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows, tokens = prepare(folder)
        found: dict[str, list[Run]] = {}
        for _ in range(rounds):
            for name, settings in OURS.items():
                found.setdefault(f"ours, {name}", []).append(ours(folder, rows, steps, settings))
                print(f"ours, {name}:", found[f"ours, {name}"][-1], file=sys.stderr, flush=True)
            for name, how in TRL.items():
                found.setdefault(f"TRL, {name}", []).append(trl(python, folder, rows, steps, how))
                print(f"TRL, {name}:", found[f"TRL, {name}"][-1], file=sys.stderr, flush=True)
    middle = {
        name: Run(*(median(column) for column in zip(*(vars(run).values() for run in runs), strict=True)))
        for name, runs in found.items()
    }
    mine, default = middle["ours, separate"], middle["TRL, default"]
    fastest = max(run.speed for name, run in middle.items() if name.startswith("TRL"))
    ratios = {
        "speed": mine.speed / default.speed,
        "speed to the fastest": mine.speed / fastest,
        "memory": mine.peak / default.peak,
    }
    apart = max(abs(each.second - mine.second) for each in middle.values())
    said = [
        f"{BATCH} pairs of {tokens:,} tokens a step, {steps - 1} steps counted, medians of {rounds} rounds.",
        "",
        "| run | pairs a second | peak GiB | loss of step 1 | of step 2 |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {n} | {r.speed:.3f} | {r.peak / 2**30:.2f} | {r.first:.6f} | {r.second:.6f} |"
            for n, r in middle.items()
        ),
        "",
        f"- ours, separate, to TRL's default: {ratios['speed']:.2f} times the pairs a second (wanted {WANTED['speed']:g}), "
        f"{ratios['memory']:.2f} of the memory (wanted {WANTED['memory']:g}); {ratios['speed to the fastest']:.2f} times its fastest",
        f"- losses of the second step differ by at most {apart:.1e} (allowed {CLOSE:g})",
    ]
    print("\n".join(said))
    if options.record:
        title = f"Preference tuning on a CPU (`python -m benchmarks.dpo{' --quick' if options.quick else ''}`)"
        record(title, said, ["torch", "transformers"])
    if options.json:
        print(json.dumps({name: vars(each) for name, each in middle.items()} | {"ratios": ratios}))
    return 0 if apart < CLOSE else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.dpo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round, one step counted")
    parser.add_argument("--json", action="store_true", help="also print the figures as JSON")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/RESULTS.md")
    return parser.parse_args()


def prepare(folder: Path) -> tuple[Path, int]:
    """Pairs whose responses begin at the same token for both, a model folder with the template, and the tokens of a step."""
    import zstandard

    from trainers import chat, data, sources

    shared = Path(os.environ.get("CARAVAN_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    pairs = shared / "train/ultrafeedback_1k/clean.jsonl.zst"
    if not pairs.exists() or not MODEL.is_dir():
        raise CaravanError(f"The benchmark needs {pairs} (CARAVAN_TEST_DATA) and {MODEL} (`make engine`).")
    with zstandard.open(pairs, "rt", encoding="utf-8") as stream:
        known = [json.loads(line) for _, line in zip(range(50), stream, strict=False)]
    bound, tokenizer = chat.load(str(MODEL), "tulu", "<|endoftext|>")
    kept = []
    for row in known:
        prompt = [{"role": "user", "content": row["prompt"]}]
        asked = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"])
        conversations = sources.pair(row)
        begins = [int(each.trained.argmax()) for each in bound.encode(conversations, only_last=True)]
        if begins == [asked, asked] and asked < LENGTH:
            kept.append({"prompt": prompt, "chosen": conversations[0][-1:], "rejected": conversations[1][-1:]})
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in kept[:BATCH]), encoding="utf-8")
    how = data.How(bound, LENGTH, pairs=True)
    examples = data.tokens(sources.find([str(rows)]), how, folder / "cache" / "tokens", 1, quiet=True)
    model = folder / "model"
    model.mkdir()
    for path in MODEL.iterdir():
        if path.suffix == ".safetensors" or path.name in ("config.json", "generation_config.json"):
            (model / path.name).symlink_to(path)
    tokenizer.save_pretrained(model)
    return rows, int(examples.lengths.sum())


def ours(folder: Path, rows: Path, steps: int, settings: list[str]) -> Run:
    from trainers.loop import curve

    recipe, output = folder / "recipe.toml", Path(tempfile.mkdtemp(dir=folder))
    recipe.write_text(
        f'stage = "dpo"\n[model]\npath = "{folder / "model"}"\nprecision = "fp32"\n[data]\npad_token = "<|endoftext|>"\n'
        f'max_length = {LENGTH}\n[train]\nepochs = {steps}\nbatch = {BATCH}\nlearning_rate = {RATE}\nschedule = "constant"\n'
        f"warmup = 0\n[engine]\ntokens_per_part = {2 * LENGTH}\n[save]\nevery = 1000\n[log]\ntensorboard = false\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "trainers.dpo", str(recipe), "--data", str(rows), "--output", str(output)]
    environment = {"CARAVAN_CACHE": str(folder / "cache"), "CARAVAN_WAREHOUSE": str(folder / "none")}
    done([*command, *(["--set", *settings] if settings else [])], environment)
    lines = curve(output)
    shutil.rmtree(output)
    seconds = [line["seconds"] for line in lines]
    return Run(BATCH / mean(seconds[1:]), lines[-1]["peak_gib"] * 2**30, lines[0]["loss"], lines[1]["loss"])


def trl(python: Path, folder: Path, rows: Path, steps: int, how: dict[str, Any]) -> Run:
    settings = {"max_length": LENGTH, "learning_rate": RATE, "num_train_epochs": steps, **how}
    command = [str(python), str(REPOSITORY / "benchmarks/dpo_run.py"), str(folder / "model"), str(rows)]
    environment = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    told = json.loads(done([*command, json.dumps(settings)], environment).splitlines()[-1])
    return Run(BATCH / mean(told["seconds"][1:]), told["peak"], *told["losses"][:2])


if __name__ == "__main__":
    run(main)
