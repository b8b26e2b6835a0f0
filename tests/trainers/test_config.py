"""Recipes: every one loads and says what TULU3 says; settings over them; what is wrong is named."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from trainers.config import Sft, keys, load
from trainers.loop import learning_rate
from warehouse.errors import CaravanError

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
# arXiv 2411.15124: learning rate, batch.
PUBLISHED = {"8b": (5e-6, 128), "70b": (2e-6, 128), "405b": (2e-6, 256)}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*sft.toml")), ids=lambda path: path.stem)
def test_every_recipe_loads(path):
    assert load(path, Sft).stage == "sft"


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_values(size):
    recipe = load(RECIPES / f"tulu3_{size}_sft.toml", Sft)
    train = recipe.train
    assert (train.learning_rate, train.batch) == PUBLISHED[size]
    assert (train.schedule, train.warmup, train.epochs, train.loss) == ("linear", 0.03, 2, "sum")
    assert (recipe.data.max_length, recipe.data.template, recipe.seed) == (4096, "tulu", 42)


def test_settings_over_a_recipe():
    changes = ["train.learning_rate=1e-5", "model.path=here/there", "lora.rank=8", "data.pad_token=none", "seed=7"]
    recipe = load(RECIPES / "tiny_sft.toml", Sft, changes)
    assert (recipe.train.learning_rate, recipe.model.path, recipe.seed) == (1e-5, "here/there", 7)
    assert recipe.lora and recipe.lora.rank == 8 and recipe.data.pad_token is None
    assert {"train.learning_rate", "lora.alpha", "hardware.gpus"} <= set(keys(Sft))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["train.learningrate=1"], "there is no 'train.learningrate', but 'train.learning_rate'"),
        (["trian.epochs=1"], "there is no 'trian'"),
        (["train.epochs=0"], "train.epochs: Input should be greater than 0"),
        (["train.loss=mean"], "train.loss: Input should be 'sum', 'token_mean'"),
        (["train.epochs"], "A setting is key=value"),
        (["seed.x=1"], "seed is a value"),
        (["engine.zero=2"], "need engine.kind = 'deepspeed'"),
        (["engine.kind=deepspeed"], "set engine.zero to 1, 2 or 3, or engine.kind = 'torch'"),
        (["engine.kind=deepspeed", "engine.offload=true"], "engine.offload needs engine.zero"),
        (["engine.kind=deepspeed", "engine.zero=3", "model.precision=fp64"], "DeepSpeed has no float64"),
        (["save.model=best"], "set data.held_out"),
        (["seed=-1"], "seed: Input should be greater than or equal to 0"),
        (["seed=16777216"], "seed: Input should be less than 16777216"),
        (["data.max_length=100000"], "has no room for an example"),
        (["stage=dpo"], "stage: Input should be 'sft'"),
    ],
)
def test_what_is_wrong_is_named(changes, said):
    with pytest.raises(CaravanError, match=said):
        load(RECIPES / "tulu3_8b_sft.toml", Sft, ["engine.kind=torch", "engine.zero=0", *changes])


def test_a_file_that_is_no_recipe(tmp_path):
    with pytest.raises(CaravanError, match="cannot be read"):
        load(tmp_path / "absent.toml", Sft)
    (tmp_path / "bad.toml").write_text("stage = sft")
    with pytest.raises(CaravanError, match="is no TOML"):
        load(tmp_path / "bad.toml", Sft)
    (tmp_path / "empty.toml").write_text('stage = "sft"')
    with pytest.raises(CaravanError, match="'model' is missing"):
        load(tmp_path / "empty.toml", Sft)


def test_schedules_are_those_of_transformers():
    import torch
    from transformers import get_scheduler

    for name in ("linear", "cosine"):
        how = load(RECIPES / "tiny_sft.toml", Sft, [f"train.schedule={name}", "train.warmup=0.1"]).train
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=how.learning_rate)
        theirs = get_scheduler(name, optimizer, num_warmup_steps=5, num_training_steps=50)
        for step in range(50):
            assert learning_rate(how, step, 50) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
            optimizer.step()
            theirs.step()
