"""Predictions: parameters to the last one, work and state by hand, and beside the hours that the paper reports."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from trainers import plan  # noqa: E402
from trainers.config import Sft, load  # noqa: E402
from trainers.plan import SHAPES, Shape  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
# As published with the models.
PARAMETERS = {"8B": 8_030_261_248, "70B": 70_553_706_496, "405B": 405_853_388_800}


@pytest.mark.parametrize("size", PARAMETERS)
def test_published_parameters(size):
    assert SHAPES[f"meta-llama/Llama-3.1-{size}"].parameters == PARAMETERS[size]


def test_parameters_and_work_are_those_of_the_model(tiny):
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    recipe = load(RECIPES / "tiny_sft.toml", Sft, [f"model.path={tiny}"])
    shape = plan.shape_of(recipe)
    model = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="eager")
    assert shape.parameters == model.num_parameters()
    tokens = torch.zeros(1, 64, dtype=torch.long)
    with FlopCounterMode(display=False) as counted:
        model(tokens, labels=tokens).loss.backward()
    # The counter takes attention for whole squares, not halved, and norms for nothing.
    ours = 64 * (shape.operations(64, False) + 6 * shape.layers * shape.queries * 64)
    assert counted.get_total_flops() == pytest.approx(ours, rel=0.005)


def test_state_by_hand():
    recipe = load(RECIPES / "tulu3_8b_sft.toml", Sft)
    shape, gpu = SHAPES["meta-llama/Llama-3.1-8B"], plan.GPUS["H100"]
    states = {}
    for zero in range(4):
        changed = load(RECIPES / "tulu3_8b_sft.toml", Sft, [f"engine.zero={zero}"])
        memory = plan.predict(changed, shape, gpu, 32, hardware=recipe.hardware).memory
        states[zero] = sum(memory[name] for name in ("weights", "gradients", "masters and moments")) / shape.parameters
    assert states == pytest.approx({0: 18, 1: 6 + 12 / 32, 2: 2 + 16 / 32, 3: 18 / 32})


@pytest.mark.parametrize(("size", "gpus", "hours"), [("8b", "32xH100", 6), ("70b", "64xH100", 50)])
def test_beside_the_published_hours(size, gpus, hours):
    """Within a factor of three of what was reported, one example at a time; packing predicts fewer hours."""
    recipe = load(RECIPES / f"tulu3_{size}_sft.toml", Sft)
    assert (recipe.hardware.gpus, recipe.hardware.hours) == (gpus, hours)
    gpu, count = plan.gpus(gpus)
    ways = [
        plan.predict(recipe, plan.shape_of(recipe), gpu, count, hardware=recipe.hardware, packing=p)
        for p in (True, False)
    ]
    assert hours / 3 < ways[1].hours < hours * 3
    assert ways[0].hours < ways[1].hours
    assert all(way.total < gpu.memory for way in ways)


def test_command(capsys):
    plan.main([str(RECIPES / "tulu3_405b_sft.toml"), "--gpus", "64xH100"])
    said = capsys.readouterr().out
    assert "405.85 billion parameters" in said and "It does not fit" in said
    with pytest.raises(CaravanError, match="COUNTxKIND, such as 8xH100, not '8H100'"):
        plan.main([str(RECIPES / "tulu3_8b_sft.toml"), "--gpus", "8H100"])
    with pytest.raises(CaravanError, match="The shape of nowhere cannot be had"):
        plan.main([str(RECIPES / "tiny_sft.toml"), "--set", "model.path=nowhere"])


def test_operations_by_hand():
    """A layer of width 2 with inner width 3 and a vocabulary of 5, tied: weights 2·2·(2+2) + 3·2·3 + 2·2, 5·2, 2."""
    shape = Shape(1, 2, 2, 2, 3, 5, tied=True)
    assert shape.parameters == 16 + 18 + 4 + 10 + 2
    assert shape.operations(10, False) == 3 * (2 * 50 + 2 * 2 * 10)
    assert shape.operations(10, True) == 4 * (2 * 50 + 2 * 2 * 10)
