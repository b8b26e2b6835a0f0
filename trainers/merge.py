"""Model soups: the weighted average of checkpoints of one architecture, weight by weight.

Run as: python -m trainers.merge runs/seed42/model runs/seed123/model --output soups/two [--weights 0.7 0.3]
        python -m trainers.merge A B --output soups/sweep --sweep 5
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from inference.vllm_server import checkpoint_name
from warehouse.commit import code_version
from warehouse.errors import CaravanError, run

EXAMPLES = """examples:
  the mean of three seeds:
    python -m trainers.merge runs/seed42/model runs/seed123/model runs/seed456/model --output soups/three
  three parts of one and one part of the other (weights are divided by their sum):
    python -m trainers.merge A B --weights 3 1 --output soups/mostly-a
  five soups between two checkpoints, 0.00, 0.25, 0.50, 0.75 and 1.00 of the second, in soups/sweep/0.00 and so on:
    python -m trainers.merge A B --sweep 5 --output soups/sweep
"""


class Checkpoint:
    """The tensors of a folder of safetensors, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise CaravanError(f"{folder} holds no weights in safetensors: name a folder such as runs/NAME/model.")
        self._files = [safe_open(path, "pt") for path in paths]
        self._where = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(file.get_slice(name).get_shape()) for name, file in self._where.items()}

    def __getitem__(self, name: str) -> Tensor:
        found: Tensor = self._where[name].get_tensor(name)
        return found


def average(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Sum of share times tensor in float32 (float64 of float64), in the type of the first. What is no float must be equal."""
    first = tensors[0]
    if not first.is_floating_point():
        if any(not torch.equal(first, other) for other in tensors[1:]):
            raise CaravanError("The checkpoints differ in a tensor of integers, of which there is no average.")
        return first
    total = torch.zeros_like(first, dtype=torch.promote_types(first.dtype, torch.float32))
    for tensor, share in zip(tensors, shares, strict=True):
        total.add_(tensor.to(total.dtype), alpha=share)
    return total.to(first.dtype)


def merge(folders: Sequence[Path], weights: Sequence[float], output: Path) -> None:
    """Write the soup of checkpoints, with the first one's tokenizer and settings. Raises CaravanError where they do not match."""
    if output.exists():
        raise CaravanError(f"{output} is there already. Name another --output, or remove it.")
    shares = [weight / sum(weights) for weight in weights]
    opened = [Checkpoint(folder) for folder in folders]
    shapes = opened[0].shapes()
    for other in opened[1:]:
        theirs = other.shapes()
        wrong = sorted(name for name in {*shapes, *theirs} if shapes.get(name) != theirs.get(name))
        if wrong:
            name = wrong[0]
            raise CaravanError(
                f"{folders[0]} and {other.folder} are of different architectures: {name} is {shapes.get(name, 'absent')} and "
                f"{theirs.get(name, 'absent')}, and so are {len(wrong) - 1} more."
            )
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    left_out = shutil.ignore_patterns("*.safetensors", "*.index.json", "README.md", "caravan.json", "adapter")
    shutil.copytree(folders[0], part, ignore=left_out)
    names = track(shapes, f"averaging {len(folders)} checkpoints", transient=True)
    save_file(
        {name: average([each[name] for each in opened], shares) for name in names},
        part / "model.safetensors",
        {"format": "pt"},
    )
    told: dict[str, Any] = {
        "soup": [
            {"checkpoint": checkpoint_name(folder), "path": str(folder.absolute()), "share": share}
            for folder, share in zip(folders, shares, strict=True)
        ],
        "code": code_version(),
    }
    (part / "soup.json").write_text(json.dumps(told, indent=1))
    rows = "\n".join(f"| {each['share']:.4f} | `{each['checkpoint']}` | {each['path']} |" for each in told["soup"])
    (part / "README.md").write_text(
        "---\nlibrary_name: transformers\ntags: [caravan, soup]\n---\n\n"
        f"# {output.name}\n\nThe weighted average of checkpoints (linear model soup, arXiv 2203.05482).\n\n"
        f"| share | checkpoint | folder |\n|---:|---|---|\n{rows}\n\nMade by code `{told['code']}`.\n"
    )
    part.rename(output)
    print(f"wrote {output}, {checkpoint_name(output)}")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    folders = [Path(folder) for folder in options.checkpoints]
    if options.sweep:
        if len(folders) != 2 or options.sweep < 2:
            raise CaravanError("A sweep is between two checkpoints and has at least two soups, which are its ends.")
        for i in range(options.sweep):
            share = i / (options.sweep - 1)
            merge(folders, [1 - share, share], Path(options.output) / f"{share:.2f}")
        return
    weights = options.weights or [1.0] * len(folders)
    if len(weights) != len(folders) or sum(weights) <= 0:
        raise CaravanError(
            f"There are {len(folders)} checkpoints and {len(weights)} weights: give one for each, more than 0 in sum."
        )
    merge(folders, weights, Path(options.output))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers.merge",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="FOLDER", help="folders with weights in safetensors, of one architecture")
    add("--output", required=True, metavar="FOLDER", help="a folder that is not there yet")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--weights", nargs="+", type=float, metavar="W", help="one for each (default: all the same)")
    chosen.add_argument("--sweep", type=int, metavar="N", help="N soups of two checkpoints, from one to the other")
    return parser


if __name__ == "__main__":
    run(main)
