"""Preference tuning on one GPU: peak memory and pairs a second with the reference live or cached, both sides in a pass each or in one.

Run as: python -m benchmarks.gpu.dpo [--quick] [--json] [--record]

Responses are 2,048 tokens long, their prompt included, and the last 1,536 of them are trained. Models have random weights, in the shape of
Qwen3-0.6B and of 8 of the 32 layers of Llama 3.1 8B. Steps are those of trainers.dpo (bf16, float32 masters, AdamW, packed attention,
chunked loss, length-normalised DPO), four pairs each and a pair in each part. How long the reference takes for the pairs of a step is part
of every step where it is live, and where it is cached of the time before the first.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import record
from benchmarks.gpu.sft import CONFIG, clear
from trainers import dpo, ranks, stage
from trainers.chat import Encoded
from trainers.config import Dpo
from trainers.loop import Units
from trainers.losses import Counts
from trainers.pairs import of_sides
from trainers.preference import response_logprobs
from warehouse.errors import CaravanError, run

LENGTH, PROMPT = 2048, 512
PAIRS = 4  # of a step
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 8,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500_000,
    "tie_word_embeddings": False,
}
MODELS = {"Qwen3-0.6B": CONFIG, "8 layers of Llama 3.1 8B": LLAMA}
WAYS = [(reference, forward) for reference in ("live", "cached") for forward in ("concatenated", "separate")]


@dataclass(frozen=True)
class Row:
    """Pairs a second, bytes at the peak, and seconds that the reference takes for the pairs of a step."""

    model: str
    reference: str
    forward: str
    speed: float
    peak: int
    asked: float

    def __str__(self) -> str:
        peak, asked = f"{self.peak / 2**30:.1f}", f"{self.asked:.2f}"
        return f"| {self.model} | {self.reference} | {self.forward} | {self.speed:.2f} | {peak} | {asked} |"


def main() -> int:
    options = _options()
    if not torch.cuda.is_available():
        raise CaravanError("This benchmark needs a GPU that PyTorch sees. On a CPU: python -m benchmarks.dpo.")
    steps = 3 if options.quick else 10
    rows = [measure(model, reference, forward, steps) for model in MODELS for reference, forward in WAYS]
    said = [
        f"One {torch.cuda.get_device_name()}; {PAIRS} pairs a step, {LENGTH:,} tokens a response; medians of {steps} steps.",
        "",
        "| model | reference | forward | pairs a second | peak GiB | seconds of the reference a step |",
        "|---|---|---|---:|---:|---:|",
        *map(str, rows),
    ]
    print("\n".join(said))
    if options.record:
        title = f"Preference tuning on a GPU (`python -m benchmarks.gpu.dpo{' --quick' if options.quick else ''}`)"
        record(title, said, ["torch", "transformers"])
    if options.json:
        print(json.dumps({"rows": [vars(row) for row in rows]}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu.dpo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three steps counted, not ten")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/RESULTS.md")
    return parser.parse_args()


class Pairs:
    """Examples of random tokens, as many pairs as a step has, with what Units asks of them."""

    def __init__(self, vocabulary: int) -> None:
        random = np.random.default_rng(0)
        self.tokens = random.integers(vocabulary, size=(2 * PAIRS, LENGTH), dtype=np.uint32)
        self.trained = (np.arange(LENGTH) >= PROMPT).astype(np.uint8)
        self.lengths, self.targets = np.full(2 * PAIRS, LENGTH), np.full(2 * PAIRS, LENGTH - PROMPT)
        self.rows = np.repeat(np.arange(PAIRS), 2)
        self.sources = ["random"], np.zeros(2 * PAIRS, np.int64)

    def __getitem__(self, i: int) -> Encoded:
        return Encoded(self.tokens[i], self.trained, 0)


def measure(model: str, reference: str, forward: str, steps: int) -> Row:
    """Medians over steps, after two that warm up."""
    clear()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(MODELS[model]), encoding="utf-8")
        recipe = Dpo.model_validate(
            {
                "stage": "dpo",
                "model": {"path": folder, "random": True},
                "data": {"max_length": LENGTH},
                "engine": {"tokens_per_part": 2 * LENGTH, "reference": reference, "forward": forward},
            }
        )
        joined = ranks.start(recipe.engine.patience)
        engine = stage.start(dpo.STAGE, recipe, joined)
        live = dpo.Live(recipe, joined.device) if reference == "live" else None
    pairs: Any = Pairs(MODELS[model]["vocab_size"])
    units = Units(recipe, pairs, 0, joined.device)
    scorer = live.scorer if live else engine.scorer
    asked = min(timed(lambda: logprobs(scorer, units)) for _ in range(2))
    objective = dpo.Preference(recipe.train, units, live or dpo.Cached(logprobs(scorer, units)))
    torch.cuda.reset_peak_memory_stats()
    seconds = [timed(lambda: step(engine, objective, units)) for _ in range(2 + steps)][2:]
    return Row(model, reference, forward, PAIRS / median(seconds), torch.cuda.max_memory_allocated(), asked)


@torch.no_grad()
def logprobs(scorer: Any, units: Units) -> Tensor:
    """Log-probabilities (PAIRS, 2) of both sides of all pairs."""
    sides = [of_sides(partial(response_logprobs, scorer), units.batches([i]), 1) for i in range(PAIRS)]
    return torch.cat([torch.stack(each, 1) for each in sides])


def step(engine: Any, objective: dpo.Preference, units: Units) -> None:
    counts = Counts(int(units.targets.sum()), PAIRS, PAIRS)
    for i in range(PAIRS):
        share, _ = objective.part(engine, units.batches([i]), [i], counts)
        engine.backward(share, last=i == PAIRS - 1)
    engine.step(1e-6)


def timed(work: Callable[[], Any]) -> float:
    """Seconds of it, what the GPU does included."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    run(main)
