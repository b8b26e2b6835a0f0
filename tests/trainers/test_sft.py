"""Training by its command line: kills leave no trace in the loss curve, lost ranks are named, and what a run leaves behind."""

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import warehouse  # noqa: E402
from tests.trainers.conftest import REPOSITORY, command, finished, losses  # noqa: E402
from warehouse.read import arrow  # noqa: E402
from warehouse.refs import resolve  # noqa: E402

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]


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
    assert len(held) == 4 and held[0] > held[1] > held[2] > held[3]
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
    other = tmp_path / "other.jsonl"
    other.write_text("".join(rows_file.read_text().splitlines(keepends=True)[:50]))
    said = finished(command(recipe, other, whole[0], "train.learning_rate=2e-3", "save.every=5"), environment, 2)
    assert re.search(r"another run.*: recipe\.train\.learning_rate was 0\.001 and is 0\.002; data was", said)
    assert "tokens was" in said and "recipe.save" not in said


def test_killed_and_gone_on(whole, recipe, rows_file, environment, tmp_path):
    """kill -9 in training, in writing a checkpoint and in writing the model: the curve is the unbroken run's, to the bit, and so are the
    weights."""
    output = tmp_path / "run"
    arguments = command(recipe, rows_file, output)
    for mark in ("checkpoints/step-00000004", "checkpoints/.step-00000008.part", ".model.part"):
        process = subprocess.Popen(
            arguments, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY
        )
        while not (output / mark).exists():
            time.sleep(0.0005)
            if process.poll() is not None:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"it ended before {mark}"
    assert "finished" in finished(arguments, environment)
    assert losses(output) == losses(whole[0])
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (output / "model" / name).read_bytes() == (whole[0] / "model" / name).read_bytes(), name
    assert not list((output / "checkpoints").glob(".*")) and not (output / ".model.part").exists()


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


def test_rows_of_the_warehouse(recipe, rows_file, environment, tmp_path):
    """A warehouse that cannot be used costs no step; the rows come when it can be."""
    lake = tmp_path / "lake"
    warehouse.open(str(lake))
    (catalogue,) = lake.glob("*.db")
    whole_catalogue = catalogue.read_bytes()
    catalogue.write_bytes(b"no catalogue" * 1000)
    arguments = command(recipe, rows_file, tmp_path / "run", "train.steps=2", "save.every=1", "save.model=best")
    environment = {**environment, "CARAVAN_WAREHOUSE": str(lake)}
    said = finished(arguments, environment, 2)
    assert "warning: step 1 is not recorded in the warehouse yet" in said and "the same command writes them" in said
    assert (tmp_path / "run/model/model.safetensors").exists()
    catalogue.write_bytes(whole_catalogue)
    said = finished(arguments, environment)
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
        "engine.recompute=all",
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
