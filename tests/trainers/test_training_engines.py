"""Engines and ranks agree: losses over steps that build on one another, and the gradient of every weight; what is not finite is seen."""

import json
import math
import shutil
import sys
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from tests.trainers.conftest import REPOSITORY, TORCHRUN, finished, losses  # noqa: E402
from trainers import checkpoints  # noqa: E402
from trainers.ranks import Ranks  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402


def zero(stage, *settings):
    return ["engine.kind=deepspeed", f"engine.zero={stage}", *settings]


# `other` is a model with a window and a matrix of the vocabulary of its own; {other} its folder.
EXACT = {
    "exact-torch": [],
    "exact-zero0": zero(0),
    "exact-zero1": zero(1),
    "exact-zero2": zero(2),
    "exact-zero3": zero(3),
    "exact-zero2-cheap": zero(2, "engine.recompute=cheap"),
    "exact-zero3-all": zero(3, "engine.recompute=all"),
    "exact-other-torch": ["model.path={other}"],
    "exact-other-zero2": zero(2, "model.path={other}"),
    "exact-other-zero3": zero(3, "model.path={other}"),
    # A rank has nothing to do in the last part of a step of seven.
    "exact-seven": ["train.batch=7", "engine.packing=false"],
}
ROUNDED = {
    "float32-torch": [],
    "float32-zero1-offload": zero(1, "engine.offload=true"),
    "float32-zero2-offload": zero(2, "engine.offload=true"),
    "float32-zero3-offload": zero(3, "engine.offload=true"),
    "bfloat16-torch": ["model.precision=bf16", "save.export=fp32"],
    "bfloat16-zero1": zero(1, "model.precision=bf16", "save.export=fp32"),
    "bfloat16-zero2": zero(2, "model.precision=bf16", "save.export=fp32"),
    "bfloat16-zero3": zero(3, "model.precision=bf16", "save.export=fp32"),
}
BROKEN = {
    "broken-torch": [],
    **{f"broken-zero{stage}": zero(stage) for stage in range(4)},
    **{f"broken-bfloat16-zero{stage}": zero(stage, "model.precision=bf16") for stage in (1, 2, 3)},
}
TWICE = {"twice-zero3": zero(3, "save.every=2"), "twice-torch": ["save.every=2"]}
SHORT = ["train.steps=3", "train.warmup=0", "train.epsilon=1e-3", "log.tensorboard=false", "data.held_out=8"]


@pytest.fixture(scope="module")
def runs(recipe, rows_file, other, environment, tmp_path_factory):
    """Folders of all ways, on two ranks and on one."""
    root = tmp_path_factory.mktemp("ways")
    ways = {**EXACT, **ROUNDED, **BROKEN, **TWICE}
    ways = {name: [*SHORT, *(each.format(other=other) for each in settings)] for name, settings in ways.items()}
    script = [str(REPOSITORY / "tests/trainers/ways.py"), str(recipe), str(rows_file)]
    finished([*TORCHRUN, *script, str(root / "two"), json.dumps(ways)], environment)
    # What two ranks began, one goes on with.
    shutil.copytree(root / "two/twice-torch-unbroken", root / "one/resumed")
    shutil.rmtree(max((root / "one/resumed/checkpoints").iterdir()))
    shutil.rmtree(root / "one/resumed/model")
    names = ("exact-torch", "exact-other-torch", "exact-zero3", "float32-torch", "bfloat16-torch")
    alone = {name: ways[name] for name in names} | {"resumed": ways["twice-torch"]}
    alone["exact-seven"] = [*SHORT, "train.batch=7"]  # packed
    finished([sys.executable, *script, str(root / "one"), json.dumps(alone)], environment)
    return root


PAIRS = {
    "exact-torch": [],
    "exact-zero2": zero(2),
    "exact-zero3": zero(3),
    "exact-other-zero3": zero(3, "model.path={other}"),
}


@pytest.fixture(scope="module")
def pair_runs(pair_recipe, pairs_file, other, environment, tmp_path_factory):
    """The same of a stage over pairs."""
    root = tmp_path_factory.mktemp("pairs")
    ways = {name: [*SHORT, *(each.format(other=other) for each in settings)] for name, settings in PAIRS.items()}
    script = [str(REPOSITORY / "tests/trainers/ways.py"), str(pair_recipe), str(pairs_file)]
    finished([*TORCHRUN, *script, str(root / "two"), json.dumps(ways)], environment)
    alone = {name: ways["exact-torch"] for name in ("exact-torch", "exact-concatenated")}
    alone["exact-concatenated"] = [*alone["exact-concatenated"], "engine.forward=concatenated", "engine.packing=false"]
    alone["exact-other-torch"] = [*SHORT, f"model.path={other}"]
    finished([sys.executable, *script, str(root / "one"), json.dumps(alone)], environment)
    return root


def assert_same(found, expected, near, near_norm):
    for line, right in zip(losses(found), losses(expected), strict=True):
        for name, value in right.items():
            assert line[name] == pytest.approx(value, rel=near_norm if name == "gradient_norm" else near), (found, name)
    gradient, right = (load_file(folder / "gradient.safetensors") for folder in (found, expected))
    assert gradient.keys() == right.keys()
    whole = torch.cat([each.flatten() for each in right.values()]).double().norm()
    assert whole > 0.1
    for name, value in right.items():
        off = (gradient[name].double() - value.double()).norm()
        assert off <= near * (value.double().norm() + 1e-3 * whole), (found, name, float(off), float(value.norm()))


@pytest.mark.parametrize("name", EXACT)
def test_to_ten_digits(runs, name):
    right = "exact-seven" if name == "exact-seven" else "exact-other-torch" if "other" in name else "exact-torch"
    # DeepSpeed gives the norm in float32.
    assert_same(runs / "two" / name, runs / "one" / right, 1e-10, 1e-6 if "zero" in name else 1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_to_ten_digits(pair_runs, name):
    """On two ranks, reference and all; on one, each pair by itself and both of its sides in one pass."""
    right = "exact-other-torch" if "other" in name else "exact-torch"
    assert_same(pair_runs / "two" / name, pair_runs / "one" / right, 1e-10, 1e-6 if "zero" in name else 1e-10)
    if name == "exact-torch":
        assert_same(pair_runs / "one/exact-concatenated", pair_runs / "one" / right, 1e-10, 1e-10)


def test_one_rank_of_deepspeed(runs):
    assert_same(runs / "one/exact-zero3", runs / "one/exact-torch", 1e-10, 1e-6)


@pytest.mark.parametrize("name", ROUNDED)
def test_to_what_the_type_holds(runs, name):
    kind = name.partition("-")[0]
    near = 2e-5 if kind == "float32" else 2e-2
    assert_same(runs / "two" / name, runs / "one" / f"{kind}-torch", near, near)


@pytest.mark.parametrize("name", [name for name in ROUNDED if name.startswith("bfloat16")])
def test_float32_masters_are_what_is_exported(runs, name):
    weights = load_file(runs / "two" / name / "model/model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    moved = weights["model.embed_tokens.weight"]
    assert (moved.bfloat16().float() != moved).float().mean() > 0.5


@pytest.mark.parametrize("name", BROKEN)
def test_no_number_on_one_rank_is_seen_by_all(runs, name):
    norms = json.loads((runs / "two" / f"{name}.json").read_text())
    assert len(norms) == 2 and not any(map(math.isfinite, norms))


@pytest.mark.parametrize("name", TWICE)
def test_goes_on_from_shards(runs, name):
    assert losses(runs / "two" / name) == losses(runs / "two" / f"{name}-unbroken")


def test_goes_on_with_another_number_of_ranks(runs):
    found, right = losses(runs / "one/resumed"), losses(runs / "two/twice-torch-unbroken")
    assert len(found) == len(right)
    for line, expected in zip(found, right, strict=True):
        assert line == pytest.approx(expected, rel=1e-5)


def test_shards_of_deepspeed_belong_to_their_ranks(runs):
    from trainers.zero import DeepSpeed

    folder = checkpoints.last(runs / "two/twice-zero3/checkpoints")
    with pytest.raises(CaravanError, match="was written by 2 ranks"):
        DeepSpeed.load(SimpleNamespace(ranks=Ranks()), folder)
