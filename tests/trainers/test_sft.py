"""Training by its command line: engines and ranks agree, kills leave no trace in the loss curve, and what a run leaves behind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import warehouse  # noqa: E402
from trainers.loop import curve  # noqa: E402
from warehouse.read import arrow  # noqa: E402
from warehouse.refs import resolve  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    return {
        **os.environ,
        "CARAVAN_CACHE": str(folder),
        "CARAVAN_WAREHOUSE": str(folder / "nowhere"),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def command(recipe, rows_file, output, *settings):
    return [
        sys.executable, "-m", "trainers.sft", str(recipe), "--data", str(rows_file), "--output", str(output),
        "--set", "log.tensorboard=false", *settings,
    ]  # fmt: skip


def finished(arguments, environment, code=0, cwd=REPOSITORY):
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def losses(output):
    """Loss, norm of the gradient and learning rate of each step, and the held-out losses, to the bit."""
    lines = curve(output)
    kept = ("step", "loss", "gradient_norm", "learning_rate", "held_out_loss")
    return [{name: line[name] for name in kept if name in line} for line in lines]


@pytest.fixture(scope="module")
def whole(recipe, rows_file, environment, tmp_path_factory):
    """A run that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole") / "run"
    said = finished(command(recipe, rows_file, output), environment)
    return output, said


def test_the_loss_falls_and_the_model_is_there(whole, tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    output, said = whole
    found = losses(output)
    steps = [line for line in found if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    held = [line["held_out_loss"] for line in found if "held_out_loss" in line]
    assert len(held) == 3 and held[0] > held[1] > held[2]
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == ["step-00000008", "step-00000012"]
    model = AutoModelForCausalLM.from_pretrained(output / "model")
    assert model.dtype == torch.bfloat16
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    asked = AutoTokenizer.from_pretrained(output / "model").apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert asked == "<s><|user|>\nHi\n<|assistant|>\n"
    card = (output / "model/README.md").read_text()
    assert "| real |" in card and '"learning_rate": 0.001' in card
    assert "There is no warehouse here" in said and f"finished: {output}/model" in said


def test_the_command_of_a_finished_run_says_so(whole, recipe, rows_file, environment):
    before = losses(whole[0])
    assert f"finished: {whole[0]}/model" in finished(command(recipe, rows_file, whole[0]), environment)
    assert losses(whole[0]) == before


def test_another_recipe_or_data_is_refused(whole, recipe, rows_file, environment, tmp_path):
    said = finished(command(recipe, rows_file, whole[0], "train.learning_rate=2e-3", "save.every=5"), environment, 2)
    assert re.search(r"another run.*: recipe\.train\.learning_rate was 0\.001 and is 0\.002\. Name another", said)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(rows_file.read_text().splitlines(keepends=True)[:50]))
    said = finished(command(recipe, other, whole[0]), environment, 2)
    assert "data was" in said and "tokens was" in said


@pytest.mark.parametrize("moment", ["training", "checkpointing"])
def test_killed_and_gone_on(whole, recipe, rows_file, environment, tmp_path, moment):
    """kill -9 again and again: the curve is the unbroken run's, to the bit, and so are the weights."""
    output = tmp_path / "run"
    arguments = command(recipe, rows_file, output)
    marks = {
        "training": ("step-00000004", "step-00000008"),
        "checkpointing": (".step-00000004.part", ".step-00000008.part"),
    }
    for mark in marks[moment]:
        process = subprocess.Popen(
            arguments, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY
        )
        while not (output / "checkpoints" / mark).exists():
            time.sleep(0.0005)
            if process.poll() is not None:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
    said = finished(arguments, environment)
    assert "goes on after step" in said or moment == "checkpointing"
    assert losses(output) == losses(whole[0])
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (output / "model" / name).read_bytes() == (whole[0] / "model" / name).read_bytes(), name
    assert not list((output / "checkpoints").glob(".*"))


def test_ctrl_c_stops_with_a_checkpoint(whole, recipe, rows_file, environment, tmp_path):
    output = tmp_path / "run"
    arguments = command(recipe, rows_file, output, "save.every=100")
    process = subprocess.Popen(
        arguments, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    for line in process.stderr:
        if line.startswith("step 2/12"):
            process.send_signal(signal.SIGINT)
            break
    out, _ = process.communicate()
    assert process.returncode == 130 and "the same command goes on" in out
    finished(arguments, environment)
    steps = [line for line in losses(output) if "loss" in line]
    assert steps == [line for line in losses(whole[0]) if "loss" in line]


EXACT = {"torch": ["model.precision=fp64"]}
# DeepSpeed adds up gradients in float32 at most.
ROUNDED = {
    "single": [],
    "zero0": ["engine.kind=deepspeed"],
    "zero1": ["engine.kind=deepspeed", "engine.zero=1"],
    "zero2": ["engine.kind=deepspeed", "engine.zero=2"],
    "zero3": ["engine.kind=deepspeed", "engine.zero=3"],
    "offloaded": ["engine.kind=deepspeed", "engine.zero=3", "engine.offload=true"],
}


def test_engines_and_ranks_agree(recipe, rows_file, environment, tmp_path):
    """One rank and two, torch and DeepSpeed: losses and norms of gradients over steps that build on one another."""
    short = ["train.steps=4", "train.warmup=0", "train.epsilon=1e-3", "log.tensorboard=false", "data.held_out=8"]
    ways = {name: [*short, *settings] for name, settings in {**EXACT, **ROUNDED}.items()}
    script = [str(REPOSITORY / "tests/trainers/ways.py"), str(recipe), str(rows_file)]
    finished([*TORCHRUN, *script, str(tmp_path / "two"), json.dumps(ways)], environment)
    alone = {name: ways[name] for name in ("torch", "zero0", "single", "zero3")}
    finished([sys.executable, *script, str(tmp_path / "one"), json.dumps(alone)], environment)
    found = {path: losses(path) for count in ("one", "two") for path in (tmp_path / count).iterdir()}
    assert len(found) == len(ways) + len(alone)
    for path, lines in found.items():
        exact = path.name in EXACT
        right = found[tmp_path / "one" / ("torch" if exact else "single")]
        for line, expected in zip(lines, right, strict=True):
            for name, value in expected.items():
                assert line[name] == pytest.approx(value, rel=1e-10 if exact else 2e-5), (path, name, line, expected)


def test_rows_of_the_warehouse(recipe, rows_file, environment, tmp_path):
    lake = tmp_path / "lake"
    warehouse.open(str(lake))
    arguments = command(recipe, rows_file, tmp_path / "run", "train.steps=2", "save.every=1")
    said = finished(arguments, {**environment, "CARAVAN_WAREHOUSE": str(lake)})
    w = warehouse.open(str(lake))
    rows = {name: arrow(w, resolve(w, f"train.{name}")).to_pylist() for name in ("runs", "metrics", "checkpoints")}
    assert "wrote train.runs@" in said
    (run,) = rows["runs"]
    assert (run["status"], run["steps"], run["stage"], run["ranks"]) == ("finished", 2, "sft", 1)
    assert json.loads(run["recipe"])["train"]["steps"] == 2 and run["model_id"].startswith("checkpoint/")
    measured = {(row["step"], row["name"]): row["value"] for row in rows["metrics"]}
    for line in losses(tmp_path / "run"):
        assert all(measured[line["step"], name] == value for name, value in line.items() if name != "step")
    kinds = [
        (row["step"], row["kind"], row["kept"])
        for row in sorted(rows["checkpoints"], key=lambda r: (r["step"], r["kind"]))
    ]
    assert kinds == [(1, "state", True), (2, "model", True), (2, "state", True)]


def test_adapters(recipe, rows_file, environment, tmp_path):
    """The merged model scores as the one with adapters did, and is not the one it started from."""
    from safetensors.torch import load_file

    output = tmp_path / "run"
    settings = [
        "lora.rank=4",
        "lora.dropout=0.1",
        "save.export=fp32",
        "engine.recompute=true",
        "train.learning_rate=1e-2",
    ]
    finished(command(recipe, rows_file, output, *settings), environment)
    found = [line["held_out_loss"] for line in losses(output) if "held_out_loss" in line]
    assert found[0] > found[-1]
    assert (output / "model/adapter/adapter_config.json").exists()
    weights = load_file(output / "model/model.safetensors")
    start = load_file(recipe_model(recipe) / "model.safetensors")
    assert weights.keys() == start.keys()
    changed = {name for name, weight in weights.items() if not torch.equal(weight, start[name])}
    assert changed == {name for name in start if "_proj" in name}
    # The same held-out rows, scored by the merged model: a run of no consequence from it.
    again = tmp_path / "again"
    finished(
        command(recipe, rows_file, again, f"model.path={output}/model", "train.steps=1", "train.learning_rate=1e-20"),
        environment,
    )
    assert losses(again)[-1]["held_out_loss"] == pytest.approx(found[-1], rel=1e-5)


def recipe_model(recipe):
    return Path(re.search('path = "(.*)"', recipe.read_text())[1])


SILENT = r"error: rank 0 of 2 ends at step \d+: rank 1 has shown no sign of life for \d+ s, last at step \d+ on "
GONE = r"error: Rank 0 of 2 lost another one at step \d+ \("


@pytest.mark.parametrize(("how", "code", "words"), [(signal.SIGSTOP, 75, SILENT), (signal.SIGKILL, 2, GONE)])
def test_a_lost_rank_is_named(recipe, rows_file, environment, tmp_path, how, code, words):
    """Two ranks without torchrun, which would notice first: one hangs or is killed, the other says so and ends."""
    arguments = command(
        recipe, rows_file, tmp_path / "run", "engine.patience=4", "train.epochs=1000", "train.steps=100000"
    )
    both = []
    for rank in range(2):
        meeting = {
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(PORT),
        }
        both.append(
            subprocess.Popen(
                arguments,
                env={**environment, **meeting},
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                cwd=REPOSITORY,
            )
        )
    for line in both[0].stderr:
        if line.startswith("step 3/"):
            both[1].send_signal(how)
            break
    _, said = both[0].communicate(timeout=120)
    both[1].kill()
    both[1].communicate()
    assert both[0].returncode == code, said
    assert re.search(words, said), said
    assert "goes on from the last checkpoint" in said


def test_deepspeed_goes_on(recipe, rows_file, environment, tmp_path):
    """ZeRO-3 on two ranks from its shards, to the bit; another number of ranks is refused."""
    output = tmp_path / "run"
    settings = ["engine.kind=deepspeed", "engine.zero=3", "train.steps=4", "save.every=2"]
    alone = command(recipe, rows_file, output, *settings)
    both = [*TORCHRUN, *alone[1:]]
    finished(both, environment)
    unbroken = losses(output)
    shutil.rmtree(output / "checkpoints/step-00000004")
    shutil.rmtree(output / "model")
    assert "was written by 2 ranks" in finished(alone, environment, 2)
    assert "goes on after step 2" in finished(both, environment)
    assert losses(output) == unbroken
