"""SFT on one GPU: tokens a second, share of the peak (MFU), peak memory, of a model with random weights in the shape of Qwen3-0.6B.

Run as: python -m benchmarks.gpu.sft [--quick] [--json] [--record]

Examples are as long as the context, 8,192 and 16,384 tokens, and every token is trained: the case with most work in attention. Steps are
those of trainers.sft (bf16, float32 masters, AdamW, packed attention, chunked loss), four examples each. Operations are counted as
trainers.plan does, attention by half because a token sees only those before it; the peak is the data sheet's for dense bf16. For
comparison: prime-rl reports 26.0k tokens a second and 16.8 % at 8k, 25.5k and 23.7 % at 16k, for this model on one H100.
"""

import argparse
import gc
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.common import record
from trainers import batches, losses, plan, ranks, sft, stage
from trainers.chat import Encoded
from trainers.config import Sft
from warehouse.errors import CaravanError, run

LENGTHS = (8192, 16384)
PARTS = 4  # examples of a step
SHAPE = plan.Shape(28, 1024, 2048, 1024, 3072, 151936, tied=True)
CONFIG = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": SHAPE.hidden,
    "num_hidden_layers": SHAPE.layers,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": SHAPE.inner,
    "vocab_size": SHAPE.vocabulary,
    "max_position_embeddings": 40960,
    "rope_theta": 1_000_000,
    "tie_word_embeddings": True,
}
WANTED = {"tokens a second": 26_000, "MFU": 0.25}


@dataclass(frozen=True)
class Row:
    """Tokens a second, share of the peak, bytes at the peak."""

    length: int
    compiled: bool
    speed: float
    share: float
    peak: int

    def __str__(self) -> str:
        compiled = "yes" if self.compiled else "no"
        return f"| {self.length:,} | {compiled} | {self.speed:,.0f} | {self.share:.1%} | {self.peak / 2**30:.1f} |"


def main() -> int:
    options = _options()
    if not torch.cuda.is_available():
        raise CaravanError("This benchmark needs a GPU that PyTorch sees. On a CPU: python -m benchmarks.sft.")
    name = torch.cuda.get_device_name()
    kind = next((kind for kind in plan.GPUS if kind in name), None)
    if kind is None:
        raise CaravanError(f"The peak of {name} is not known: add its figures to GPUS in trainers/plan.py.")
    rows = [
        measure(length, compiled, 3 if options.quick else 10, plan.GPUS[kind].operations)
        for length in LENGTHS
        for compiled in (False, True)
    ]
    best = {length: max((row for row in rows if row.length == length), key=lambda row: row.speed) for length in LENGTHS}
    said = [
        f"One {name}; Qwen3-0.6B's shape ({SHAPE.parameters / 1e6:,.0f} million parameters), bf16, {PARTS} examples a step.",
        "",
        "| tokens of an example | compiled | tokens a second | MFU | peak GiB |",
        "|---:|---|---:|---:|---:|",
        *map(str, rows),
        "",
        *(
            f"- {length:,}: {row.speed / WANTED['tokens a second']:.2f} of the wanted {WANTED['tokens a second']:,} tokens a second, "
            f"{row.share:.1%} of the peak (wanted {WANTED['MFU']:.0%})"
            for length, row in best.items()
        ),
    ]
    print("\n".join(said))
    if options.record:
        title = f"SFT on a GPU (`python -m benchmarks.gpu.sft{' --quick' if options.quick else ''}`)"
        record(title, said, ["torch", "transformers"])
    if options.json:
        ratios = {str(length): row.speed / WANTED["tokens a second"] for length, row in best.items()}
        print(json.dumps({"rows": [vars(row) for row in rows], "ratios": ratios}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu.sft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three steps counted, not ten")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/RESULTS.md")
    return parser.parse_args()


def measure(length: int, compiled: bool, steps: int, peak: float) -> Row:
    """Medians over steps, after two that warm up."""
    clear()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        recipe = Sft.model_validate(
            {
                "stage": "sft",
                "model": {"path": folder, "random": True},
                "data": {"max_length": length},
                "engine": {"tokens_per_part": length, "compile": compiled},
            }
        )
        joined = ranks.start(recipe.engine.patience)
        engine = stage.start(sft.STAGE, recipe, joined)
    torch.cuda.reset_peak_memory_stats()
    random = np.random.default_rng(0)
    seconds = [step(engine, [example(random, length) for _ in range(PARTS)], joined) for _ in range(2 + steps)][2:]
    speed = PARTS * length / median(seconds)
    share = speed * SHAPE.operations(length, "nothing") / peak
    return Row(length, compiled, speed, share, torch.cuda.max_memory_allocated())


def clear() -> None:
    """Give back the memory of the model before, which its hooks refer to in circles."""
    gc.collect()
    torch.cuda.empty_cache()


def example(random: np.random.Generator, length: int) -> Encoded:
    return Encoded(random.integers(SHAPE.vocabulary, size=length, dtype=np.uint32), np.ones(length, np.uint8), 0)


def step(engine: Any, examples: list[Encoded], joined: ranks.Ranks) -> float:
    """Seconds of one step, its batches made and moved included."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    counts = losses.Counts(PARTS * (len(examples[0].tokens) - 1), len(examples), len(examples))
    for number, each in enumerate(examples):
        batch = batches.packed([each]).to(joined.device)
        share = losses.reduce(-engine.scorer(batch), batch.mask, "token_mean", counts, batch.sequence)
        engine.backward(share, last=number == len(examples) - 1)
    engine.step(1e-6)
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    run(main)
