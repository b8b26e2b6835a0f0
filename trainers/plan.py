"""What a run will need, before it is started: memory of a GPU, tokens a second, hours, cost.

Run as: python -m trainers.plan recipes/tulu3_8b_sft.toml [--gpus 32xH100] [--price 2.5] [--set engine.zero=2]

It is arithmetic on the model's shape, the recipe and the hardware's figures; nothing is downloaded but, for models that are not listed
in SHAPES, their config.json. Where the formulas come from:

    parameters     counted, weight by weight
    work           6 N + 6 L h s operations a token, s the tokens of an example: Kaplan et al. 2020 (arXiv 2001.08361, section 2.1), with
                   attention as in PaLM (arXiv 2204.02311, appendix B) halved because a token sees only those before it; activations that
                   are all recomputed cost another forward pass, a third of that, and cheap ones nothing that counts (Korthikanti et al.
                   2022, arXiv 2205.05198); adapters save the gradients of all other weights, another third (Hu et al. 2021, arXiv 2106.09685)
    state          2 + 4 + 12 bytes a parameter: bf16 weights, fp32 sums of gradients, fp32 masters and two moments; ZeRO-1 shards the last,
                   ZeRO-2 also the second, ZeRO-3 all (Rajbhandari et al. 2019, arXiv 1910.02054, section 3). In fp32 weights take 4, and
                   are their own masters where nothing is sharded; of adapters all but the first is for theirs alone
    head           the gradient of the matrix of the vocabulary, whole, in fp32 and as it is handed on (trainers.ops)
    activations    every layer whole; or one whole layer and of each its input, or its input, products and attention, as engine.recompute
                   says (arXiv 2205.05198, without the square of attention, which its kernel does not keep)
    traffic        of ZeRO-3 weights once for the forward and once for the backward pass, and gradients once, at every part of a step;
                   otherwise gradients twice a step (arXiv 1910.02054, section 7). It goes on beside work: the longer of the two counts
    waiting        packed parts are equally full. One example at a time, all ranks wait for the longest of as many as there are ranks, whose
                   mean is the integral of 1 - F(x)^ranks from 0 to the maximal length; F, of the lengths of rows, is taken as log-normal
    offload        2 bytes a parameter to the host and 2 back, each rank its share, and Adam at the speed of the host's memory, 28 bytes a
                   parameter; none of it beside work (Ren et al. 2021, arXiv 2101.06840, section 4). Weights in the host come at every pass

EFFICIENCY, NETWORK and HOST are what large runs reach of the data sheet's figures; they are assumptions, and so is every hour that follows.
"""

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from trainers.config import Hardware, Recompute, Sft, load
from trainers.ops import CHUNK
from warehouse.errors import CaravanError, run
from warehouse.show import console

EFFICIENCY = 0.4  # of the peak: Llama 3 reports 38 to 43 % on up to 16,384 H100 (arXiv 2407.21783, table 4)
NETWORK = 0.7  # of the wires' rate, for large messages
HOST = 40e9  # bytes a second of the host's memory, for each of its GPUs
GPUS_A_NODE = 8
LOGITS = 6 * CHUNK["cuda"]  # in float32, and their gradient in bf16
FIXED = 2 << 30  # CUDA, NCCL, and what the allocator cannot use


@dataclass(frozen=True)
class Gpu:
    """Dense bf16 operations a second (TF32: half), bytes of memory, bytes a second to other GPUs of the node, to other nodes and to the host
    (one direction)."""

    operations: float
    memory: float
    nvlink: float
    network: float
    host: float


# Data sheets of the SXM variants; memory: what PyTorch finds; network: one adapter of 400 (A100: 200) Gbit/s a GPU; host: PCIe 5 (A100: 4) of 16 lanes.
GPUS = {
    "A100": Gpu(312e12, 79 << 30, 300e9, 25e9, 32e9),
    "H100": Gpu(989e12, 79 << 30, 450e9, 50e9, 64e9),
    "H200": Gpu(989e12, 139 << 30, 450e9, 50e9, 64e9),
    "B200": Gpu(2250e12, 178 << 30, 900e9, 50e9, 64e9),
}


@dataclass(frozen=True)
class Shape:
    """A Llama-like model: layers, width, widths of queries and of keys, of the feed-forward part, and the vocabulary."""

    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    tied: bool = False

    @property
    def layer(self) -> int:
        attention = 2 * self.hidden * (self.queries + self.keys)
        return attention + 3 * self.hidden * self.inner + 2 * self.hidden

    @property
    def parameters(self) -> int:
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return tables + self.layers * self.layer + self.hidden

    def adapters(self, rank: int) -> int:
        """Parameters of adapters of all matrices of the layers."""
        return self.layers * rank * (7 * self.hidden + 2 * self.queries + 2 * self.keys + 3 * self.inner)

    def operations(self, tokens: float, recompute: Recompute, adapters: bool = False) -> float:
        """Operations a token of an example of so many tokens, forward and backward. Looking an embedding up costs none."""
        used = self.parameters - (0 if self.tied else self.vocabulary * self.hidden)
        once = 2 * used + 2 * self.layers * self.queries * tokens
        return once * (3 + (recompute == "all") - adapters)

    def activations(self, recompute: Recompute) -> int:
        """Bytes a token in bf16."""
        attention = 2 * self.queries + 2 * self.keys  # queries, keys, values, and what comes of them
        # Of each norm its input in float32, the input divided, and the result; of the feed-forward part its two products, the activation
        # of one, and that times the other.
        whole = 2 * (8 * self.hidden + attention + 4 * self.inner)
        # The input of the layer, and the products that go into its two sums.
        cheap = 2 * (3 * self.hidden + attention + 2 * self.inner)
        kept = {"nothing": whole, "cheap": cheap, "all": 2 * self.hidden}[recompute]
        return self.layers * kept + (0 if recompute == "nothing" else whole)


# From the models' config.json.
SHAPES = {
    "meta-llama/Llama-3.1-8B": Shape(32, 4096, 4096, 1024, 14336, 128256),
    "meta-llama/Llama-3.1-70B": Shape(80, 8192, 8192, 1024, 28672, 128256),
    "meta-llama/Llama-3.1-405B": Shape(126, 16384, 16384, 1024, 53248, 128256),
}


@dataclass(frozen=True)
class Prediction:
    """Bytes a GPU, by what they are for; tokens a second of all GPUs; hours; share of the peak; what it waits for."""

    memory: dict[str, float]
    tokens_per_second: float
    hours: float
    utilisation: float
    waits_for: str

    @property
    def total(self) -> float:
        return sum(self.memory.values())


def longest(count: int, mean: float, spread: float, limit: int) -> float:
    """Mean length of the longest of `count` rows; `spread` is the standard deviation of the logarithm of a length."""
    middle, steps = math.log(mean) - spread**2 / 2, 1000
    lengths = (limit * (i + 0.5) / steps for i in range(steps))
    shorter = (0.5 + 0.5 * math.erf((math.log(x) - middle) / (spread * math.sqrt(2))) for x in lengths)
    return sum(1 - share**count for share in shorter) * limit / steps


def memory_of(recipe: Sft, shape: Shape, count: int, tokens: int) -> dict[str, float]:
    """Bytes a GPU, by what they are for; `tokens` are computed at once."""
    engine, size = recipe.engine, shape.parameters
    stage = engine.zero if engine.kind == "deepspeed" else 0
    width = 2 if recipe.model.precision == "bf16" else 4
    trained = shape.adapters(recipe.lora.rank) if recipe.lora else size
    state = 8 if width == 4 and stage == 0 else 12
    table = shape.vocabulary * shape.hidden
    memory = {
        "weights": width * size / (count if stage == 3 else 1),
        "gradients": 4 * trained / (count if stage >= 2 else 1),
        "masters and moments": state * trained / (count if stage >= 1 else 1),
        "layers in use": width * (2 * shape.layer + table) if stage == 3 else 0,
        "activations": width / 2 * shape.activations(engine.recompute) * tokens,
        "head": 0 if recipe.lora else (6 if width == 2 else 4) * table,
        "logits": LOGITS,
        "other": FIXED,
    }
    if engine.offload:
        in_host = ["gradients", "masters and moments", *(["weights"] if stage == 3 else [])]
        memory |= dict.fromkeys(in_host, 0)
    return memory


def predict(recipe: Sft, shape: Shape, gpu: Gpu, count: int, *, hardware: Hardware, packing: bool = True) -> Prediction:
    """`packing` off: every example a part of its own, as runs without packing do it."""
    assert hardware.examples and hardware.mean_tokens and hardware.spread
    engine, mean, lora = recipe.engine, hardware.mean_tokens, recipe.lora is not None
    stage = engine.zero if engine.kind == "deepspeed" else 0
    size, width = shape.parameters, 2 if recipe.model.precision == "bf16" else 4
    trained = shape.adapters(recipe.lora.rank) if recipe.lora else size
    peak = gpu.operations * 2 / width
    of_rank = recipe.train.batch * mean / count  # tokens in a step
    if packing:
        part = min(of_rank, engine.tokens_per_part)
        parts, work = max(1.0, of_rank / part), shape.operations(mean, engine.recompute, lora) * part
    else:
        part = longest(count, mean, hardware.spread, recipe.data.max_length)
        parts, work = math.ceil(recipe.train.batch / count), shape.operations(part, engine.recompute, lora) * part
    work /= peak * EFFICIENCY
    # Between nodes the adapters of all GPUs of a node carry one copy; within a node NVLink does.
    rate = gpu.nvlink if count <= GPUS_A_NODE else min(gpu.nvlink, gpu.network * GPUS_A_NODE)
    others = (count - 1) / count / (rate * NETWORK)
    if stage == 3:
        traffic, after = (2 * width + 4) * size * others, 0.0
    else:
        traffic, after = 0.0, 2 * 4 * trained * others
    host = 0.0
    if engine.offload:
        host = trained / count * (4 / gpu.host + 28 / HOST)
        traffic += 2 * width * size / count / gpu.host if stage == 3 else 0.0
    step = parts * max(work, traffic) + after + host
    tokens = recipe.train.batch * mean
    steps = recipe.train.epochs * hardware.examples / recipe.train.batch
    useful = shape.operations(mean, "nothing", lora) * tokens / (step * count * peak)
    waits = {"work": parts * work, "the network": parts * traffic + after, "the host": host}
    memory = memory_of(recipe, shape, count, engine.tokens_per_part if packing else recipe.data.max_length)
    return Prediction(memory, tokens / step, steps * step / 3600, useful, max(waits, key=lambda name: waits[name]))


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    recipe = load(options.recipe, Sft, options.set)
    told = recipe.hardware or Hardware(gpus="1xH100")
    examples = options.examples or told.examples or 100_000
    mean = options.mean_tokens or told.mean_tokens or 566
    gpus_named, spread = options.gpus or told.gpus, told.spread or 0.96
    hardware = Hardware(gpus=gpus_named, examples=examples, mean_tokens=mean, spread=spread)
    gpu, count = gpus(hardware.gpus)
    shape = shape_of(recipe)
    packed = predict(recipe, shape, gpu, count, hardware=hardware)
    single = predict(recipe, shape, gpu, count, hardware=hardware, packing=False)
    tokens = recipe.train.epochs * examples * mean
    print(
        f"{recipe.model.path}: {shape.parameters / 1e9:.2f} billion parameters; {tokens / 1e6:,.0f} million tokens on {hardware.gpus}, "
        f"ZeRO-{recipe.engine.zero}"
    )
    shares = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in packed.memory.items())
    print(f"memory of a GPU: {packed.total / 1e9:.1f} of {gpu.memory / 1e9:.0f} GB ({shares})")
    table = Table("way", "tokens/s", "peak", "hours", "GPU hours", "dollars", "waits for")
    for name, each in (("packed", packed), ("one by one", single)):
        table.add_row(
            name,
            f"{each.tokens_per_second:,.0f}",
            f"{each.utilisation:.0%}",
            f"{each.hours:.1f}",
            f"{each.hours * count:,.0f}",
            f"{each.hours * count * options.price:,.0f}",
            each.waits_for,
        )
    console.print(table)
    if packed.total > gpu.memory:
        print(
            f"It does not fit: {packed.total / 1e9:.0f} GB of {gpu.memory / 1e9:.0f}. More GPUs, a higher engine.zero, engine.offload or engine.recompute."
        )
    if told.hours and hardware.gpus == told.gpus:
        print(
            f"The published run took {told.hours:g} hours: {packed.hours / told.hours:.2f} of that is predicted with packing, "
            f"{single.hours / told.hours:.2f} with one example at a time, as it was made."
        )


def gpus(text: str) -> tuple[Gpu, int]:
    """`32xH100` -> its figures and 32. Raises CaravanError."""
    found = re.fullmatch(r"(\d+)x(\w+)", text)
    if not found or found[2] not in GPUS or int(found[1]) < 1:
        raise CaravanError(f"GPUs are given as COUNTxKIND, such as 8xH100, not {text!r}. Kinds: {', '.join(GPUS)}.")
    return GPUS[found[2]], int(found[1])


def shape_of(recipe: Sft) -> Shape:
    """The shape of a recipe's model, from the list above or its config.json. Raises CaravanError."""
    if recipe.model.path in SHAPES:
        return SHAPES[recipe.model.path]
    from transformers import AutoConfig

    try:
        c = AutoConfig.from_pretrained(recipe.model.path, revision=recipe.model.revision)
        head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        keys = getattr(c, "num_key_value_heads", c.num_attention_heads) * head
        queries = c.num_attention_heads * head
        return Shape(
            c.num_hidden_layers, c.hidden_size, queries, keys, c.intermediate_size, c.vocab_size, c.tie_word_embeddings
        )
    except (OSError, ValueError, AttributeError) as error:
        said = str(error).splitlines()[0][:200]
        raise CaravanError(f"The shape of {recipe.model.path} cannot be had: {said}") from error


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers.plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recipe", metavar="RECIPE", help="a TOML file")
    add("--gpus", metavar="NxKIND", help=f"such as 32xH100; kinds: {', '.join(GPUS)} (default: the recipe's)")
    add("--price", type=float, default=2.5, metavar="DOLLARS", help="of an hour of a GPU (default: 2.5, an assumption)")
    add("--examples", type=int, metavar="N", help="rows that are trained on (default: the recipe's, else 100,000)")
    add("--mean-tokens", type=float, metavar="N", help="of a row (default: the recipe's, else 566)")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="settings over the recipe's")
    return parser


if __name__ == "__main__":
    run(main)
