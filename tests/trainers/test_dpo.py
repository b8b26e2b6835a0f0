"""Stages over pairs by their command line: kills leave no trace, and log-probabilities of a reference are those of the right model."""

import fcntl
import json
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import warehouse  # noqa: E402
from tests.trainers.conftest import REPOSITORY, command, finished  # noqa: E402
from trainers.loop import curve  # noqa: E402
from warehouse.read import arrow  # noqa: E402
from warehouse.refs import resolve  # noqa: E402

TIMES = ("seconds", "tokens_per_second", "peak_gib", "time")


def told(output):
    """All that was measured, to the bit, but for times and memory."""
    return [{name: value for name, value in line.items() if name not in TIMES} for line in curve(output)]


def started(arguments, environment):
    return subprocess.Popen(
        arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY
    )


def ran(stage, recipe, rows, output, *settings):
    """A run in this process, which starts in no time."""
    from trainers import dpo, reward_model

    main = {"dpo": dpo, "reward_model": reward_model}[stage].main
    arguments = [str(recipe), "--data", str(rows), "--output", str(output)]
    assert main([*arguments, "--set", "log.tensorboard=false", *settings]) == 0
    return curve(output)


@pytest.fixture
def here(environment, monkeypatch, tmp_path):
    """Caches and a warehouse, which is not there, of a test's own."""
    monkeypatch.setenv("CARAVAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CARAVAN_WAREHOUSE", str(tmp_path / "lake"))
    return tmp_path


@pytest.fixture(scope="module")
def whole(pair_recipe, pairs_file, environment, tmp_path_factory):
    """A run that nothing disturbed."""
    output = tmp_path_factory.mktemp(pair_recipe.stem) / "run"
    finished(command(pair_recipe, pairs_file, output, stage=pair_recipe.stem), environment)
    return output


def test_what_is_measured(whole, pair_recipe):
    output = whole
    lines = told(output)
    steps, held = ([line for line in lines if name in line] for name in ("loss", "held_out_loss"))
    assert [line["step"] for line in steps] == list(range(1, 13)) and len(held) == 4
    assert all(0 <= line["accuracy"] <= 1 for line in steps)
    # In the third epoch pairs are known.
    assert np.mean([line["loss"] for line in steps[-3:]]) < 0.9 * steps[0]["loss"]
    assert any(name.startswith("held_out_accuracy/") for name in held[0])
    assert "a pair" in (output / "model/README.md").read_text()
    if pair_recipe.stem == "dpo":
        assert steps[0]["loss"] == pytest.approx(np.log(2), abs=1e-6) and steps[0]["accuracy"] == 0.5
        assert steps[0]["drift_chosen"] == pytest.approx(0, abs=1e-3)


def test_a_model_is_one_of_transformers(whole, pair_recipe):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    output = whole
    if pair_recipe.stem == "dpo":
        assert AutoModelForCausalLM.from_pretrained(output / "model").can_generate()
        return
    model, told = AutoModelForSequenceClassification.from_pretrained(output / "model", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and model.config.num_labels == 1
    asking = AutoTokenizer.from_pretrained(output / "model")
    turns = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": said}] for said in ("Hello!", "No.")]
    batch = asking.apply_chat_template(turns, return_tensors="pt", return_dict=True, padding=True)
    together = model(**batch).logits[:, 0]
    for turn, score in zip(turns, together, strict=True):
        alone = model(**asking.apply_chat_template([turn], return_tensors="pt", return_dict=True)).logits[0, 0]
        assert score.item() == pytest.approx(alone.item(), abs=0.02)  # bfloat16


def test_killed_and_gone_on(whole, pair_recipe, pairs_file, environment, tmp_path):
    """kill -9 while the reference is computed, in training and in writing a checkpoint: every figure is the unbroken run's, to the bit."""
    cache, output = tmp_path / "cache", tmp_path / "run"
    environment = {**environment, "CARAVAN_CACHE": str(cache)}
    arguments = command(pair_recipe, pairs_file, output, stage=pair_recipe.stem)
    computing = ["cache/reference/*"] if pair_recipe.stem == "dpo" else []
    for mark in (*computing, "run/checkpoints/step-00000004", "run/checkpoints/.step-00000008.part"):
        process = started(arguments, environment)
        while not list(tmp_path.glob(mark)):
            time.sleep(0.0005)
            if process.poll() is not None:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"it ended before {mark}"
        # Whoever goes on without the log-probabilities must not take its own for the reference's.
        shutil.rmtree(cache / "reference", ignore_errors=True)
    finished(arguments, environment)
    assert told(output) == told(whole)
    weights = [folder / "model/model.safetensors" for folder in (output, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.fixture(scope="module")
def dpo(tiny, tmp_path_factory):
    """A recipe whose reference has portions."""
    from tests.trainers.conftest import QUICK

    path = tmp_path_factory.mktemp("dpo") / "dpo.toml"
    path.write_text(QUICK.format(stage="dpo", model=tiny, epochs=1).replace("steps = 12", "steps = 1"))
    return path


@pytest.fixture
def many(pairs_file, tmp_path):
    """Portions of pairs."""
    path = tmp_path / "many.jsonl"
    lines = pairs_file.read_text().splitlines()
    path.write_text("".join(line + "\n" for line in lines * 16))
    return path


def test_a_killed_cache_goes_on(dpo, many, here, environment):
    killed, whole = here / "killed", here / "cache"
    arguments = command(dpo, many, here / "run", stage="dpo")
    process = started(arguments, {**environment, "CARAVAN_CACHE": str(killed)})
    while not list(killed.glob("reference/*/pairs-000000000.npy")):
        assert process.poll() is None
        time.sleep(0.0005)
    process.kill()
    process.wait()
    (first,) = killed.glob("reference/*/pairs-000000000.npy")
    before = first.stat().st_mtime_ns
    assert len(list(first.parent.glob("*.npy"))) < 3
    finished(arguments, {**environment, "CARAVAN_CACHE": str(killed)})
    assert first.stat().st_mtime_ns == before
    ran("dpo", dpo, many, here / "unbroken")
    logprobs = [[np.load(path) for path in sorted(cache.glob("reference/*/*.npy"))] for cache in (killed, whole)]
    assert len(logprobs[0]) > 2 and {len(part) for part in logprobs[0][:-1]} == {256}
    assert all(np.array_equal(a, b) for a, b in zip(*logprobs, strict=True))
    assert told(here / "run") == told(here / "unbroken")


def changed(tiny, folder):
    """The same folder with other weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= 1.5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_one_reference_for_all_that_share_it(dpo, tiny, pairs_file, here, capsys):
    """Another loss, β, seed or learning rate takes what is there; other weights at the same path, another template, length, type or other
    rows do not. Every response is in the table, with its key."""
    model = here / "model"
    w = warehouse.open(str(here / "lake"))
    shutil.copytree(tiny, model)
    count = iter(range(100))

    def run(*settings, file=pairs_file):
        lines = ran("dpo", dpo, file, here / f"run{next(count)}", f"model.path={model}", *settings)
        said = capsys.readouterr().out
        return said, said.count("wrote train.reference_logprobs@"), next(line for line in lines if "loss" in line)

    said, wrote, first = run()
    assert wrote == 1 and not [path for path in (here / "cache/reference").iterdir() if path.is_dir()]
    for settings in (["train.loss=dpo", "train.beta=0.1"], ["seed=7", "train.epochs=2"], ["train.learning_rate=1e-4"]):
        said, wrote, _ = run(*settings)
        assert wrote == 0 and "are there: train.reference_logprobs" in said
    assert run("train.loss=simpo", "train.beta=2")[1] == 0
    other = here / "other.jsonl"
    other.write_text("".join(line + "\n" for line in pairs_file.read_text().splitlines()[:-1]))
    assert run("data.template=tulu2")[1] == 1
    assert run("data.max_length=200")[1] == 1
    assert run("model.precision=fp64")[1] == 1
    assert run(file=other)[1] == 1
    changed(tiny, model)
    said, wrote, line = run()
    assert wrote == 1 and line["logprob_chosen"] != first["logprob_chosen"]
    assert line["drift_chosen"] == pytest.approx(0, abs=1e-3)

    rows = arrow(w, resolve(w, "train.reference_logprobs")).to_pylist()
    keys = {row["reference_key"] for row in rows}
    assert len(keys) == 6 and len({row["model_id"] for row in rows}) == 2
    assert {row["template"].partition("@")[0] for row in rows} == {"tulu", "tulu2"}
    key = rows[0]["reference_key"]
    of_key = [row for row in rows if row["reference_key"] == key]
    assert len(of_key) == 2 * len({row["pair"] for row in of_key})
    for row in of_key:
        assert row["logprob"] < 0 and row["tokens"] > 0 and row["row"] and row["file"] in ("pairs.jsonl", "other.jsonl")


def test_one_computes_and_the_other_waits(dpo, pairs_file, here, capsys):
    """Two runs of one reference at once, as two losses on two GPUs are."""
    ran("dpo", dpo, pairs_file, here / "first")
    (folder,) = (path for path in here.glob("cache/reference/*") if path.is_dir())
    lock = folder.with_suffix(".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(2, lock.close).start()
    capsys.readouterr()
    ran("dpo", dpo, pairs_file, here / "second", "train.loss=dpo", "train.beta=0.1")
    assert "waiting for it" in capsys.readouterr().out


def test_half_a_file_is_computed_again(dpo, pairs_file, here):
    first = ran("dpo", dpo, pairs_file, here / "first")
    (portion,) = here.glob("cache/reference/*/*.npy")
    whole = portion.read_bytes()
    for half in (whole[: len(whole) // 2], b""):
        portion.write_bytes(half)
        ran("dpo", dpo, pairs_file, here / f"run{len(half)}")
        assert portion.read_bytes() == whole
    assert told(here / "run0") == told(here / "first") and first


def test_adapters(dpo, pairs_file, here):
    """Before they have learnt anything the policy is the reference."""
    settings = ["lora.rank=4", "lora.dropout=0.1", "train.steps=6", "train.learning_rate=1e-2", "train.epochs=2"]
    steps = [line for line in ran("dpo", dpo, pairs_file, here / "run", *settings) if "loss" in line]
    assert steps[0]["loss"] == pytest.approx(np.log(2), abs=0.05) and steps[-1]["drift_chosen"] != 0
    assert (here / "run/model/adapter/adapter_config.json").exists()


def test_a_model_of_the_hub_is_one_commit(monkeypatch):
    from trainers import models
    from trainers.config import Model
    from warehouse.errors import CaravanError

    asked = Model(path="owner/name", revision="main")
    monkeypatch.setattr(
        models, "snapshot_download", lambda path, **how: f"/hub/{path}/snapshots/{how['revision']}-1a2b"
    )
    found = models.pinned(asked)
    assert found.revision == "main-1a2b" and models.identity(found, 42) == "owner/name@main-1a2b"

    def offline(path, **how):
        raise OSError("no network")

    monkeypatch.setattr(models, "snapshot_download", offline)
    with pytest.raises(CaravanError, match=r"owner/name is no folder, and as a model of the hub .*: no network"):
        models.pinned(asked)


def test_live_is_cached(dpo, pairs_file, here):
    """A reference in memory gives the run that a cached one gives; to the bit where every pair is computed by itself."""
    for reference in ("cached", "live"):
        settings = ["engine.packing=false", "train.steps=3", f"engine.reference={reference}"]
        ran("dpo", dpo, pairs_file, here / reference, *settings)
    assert told(here / "live") == told(here / "cached")


def test_rows_that_are_no_pairs(dpo, pairs_file, here):
    """Each is named with its reason, and costs no other."""
    good = json.loads(min(pairs_file.read_text().splitlines(), key=len))
    bad = [
        ({"prompt": "a", "chosen": "b"}, "there is no list of messages called rejected"),
        ({"chosen": "b", "rejected": "c"}, "chosen is no response"),
        (
            {**good, "rejected": [{"role": "user", "content": "Other?"}, *good["rejected"][1:]]},
            "different conversations",
        ),
        ({"prompt": "a", "chosen": [{"role": "user", "content": "a"}], "rejected": "c"}, "chosen is no response"),
    ]
    path = here / "mixed.jsonl"
    rows = [good, *(row for row, _ in bad), {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."}] * 8
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran("dpo", dpo, path, here / "run", "data.held_out=0")
    (listed,) = here.glob("cache/tokens/*/unreadable.txt")
    lines = listed.read_text().splitlines()
    assert len(lines) == 8 * len(bad)
    for i, (line, (_, why)) in enumerate(zip(lines, bad, strict=False)):
        assert line.startswith(f"mixed.jsonl, row {i + 2}: ") and why in line
    about = json.loads((listed.parent / "about.json").read_text())
    assert sum(numbers.get("examples", 0) for numbers in about["counts"].values()) == 2 * 16


def test_recipes_that_cannot_be(tiny, tmp_path):
    from trainers.config import Dpo, RewardModel, load
    from warehouse.errors import CaravanError

    for name, kind, change, why in (
        ("dpo", Dpo, "engine.tokens_per_part=300", "no room for a pair of examples"),
        ("dpo", Dpo, "train.margin=1", "is SimPO's"),
        ("dpo", Dpo, "train.loss=ipo", "say which β"),
        ("dpo", Dpo, "engine={kind='deepspeed', zero=3, recompute='cheap'}", "ZeRO-3 frees weights"),
        ("dpo", Dpo, "data.long=split", "data.long"),
        ("reward_model", RewardModel, "lora.rank=4", "trained whole"),
    ):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'stage = "{name}"\n[model]\npath = "{tiny}"\n[data]\nmax_length = 256\n')
        with pytest.raises(CaravanError, match=why):
            load(path, kind, [change])
    assert load(Path(REPOSITORY / "recipes/tulu3_8b_dpo.toml"), Dpo).train.beta == 5
