"""Sweeps: every setting of the paper's is what its table says, runs go on where they were stopped, and the table is what they measured."""

import argparse
import json
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from tests.trainers.conftest import REPOSITORY, losses
from trainers import sweep
from trainers.config import Dpo, load
from warehouse.errors import CaravanError

PAPER = REPOSITORY / "recipes/sweeps/tulu3_preference.toml"
# Table 18: algorithm, learning rate, γ / β, β, epochs, batch.
TABLE = {
    "simpo_beta_2": ("simpo", 5e-7, 0.5, 2, 1, 128),
    "simpo_beta_10": ("simpo", 5e-7, 0.3, 10, 1, 128),
    "dpo": ("dpo", 5e-7, 0, 0.1, 3, 32),
    "dpo_norm_beta_5_slow": ("dpo_norm", 1e-7, 0, 5, 3, 32),
    "dpo_norm_beta_10": ("dpo_norm", 5e-7, 0, 10, 3, 32),
    "dpo_norm_beta_15": ("dpo_norm", 5e-7, 0, 15, 3, 32),
    "dpo_norm_beta_2": ("dpo_norm", 5e-7, 0, 2, 3, 32),
    "dpo_norm_beta_5": ("dpo_norm", 5e-7, 0, 5, 1, 32),
}


def options(file, *more, only=None, ranks=1):
    return argparse.Namespace(sweep=str(file), data=["rows.jsonl"], only=only, set=list(more), nproc_per_node=ranks)


def test_the_papers_settings(tmp_path):
    found = {}
    for name, command in sweep.commands(options(PAPER), tmp_path).items():
        settings = command[command.index("--set") + 1 :]
        assert command[1:4] == ["-m", "trainers.dpo", str(PAPER.parent / "../tulu3_8b_dpo.toml")]
        assert command[command.index("--output") + 1] == str(tmp_path / name)
        how = load(command[3], Dpo, settings).train
        ratio = pytest.approx(how.margin / how.beta)
        found[name] = (how.loss, how.learning_rate, ratio, how.beta, how.epochs, how.batch)
        assert (how.warmup, how.schedule) == (0.1, "linear")
    assert found == TABLE


def test_commands(tmp_path):
    one = sweep.commands(options(PAPER, "train.steps=3", only=["dpo"], ranks=8), tmp_path)
    assert list(one) == ["dpo"] and one["dpo"][-1] == "train.steps=3"
    assert one["dpo"][2] == "torch.distributed.run" and one["dpo"][7:9] == ["8", "-m"]
    with pytest.raises(CaravanError, match=r"has no run 'ppo'\. Its runs: simpo_beta_2, "):
        sweep.commands(options(PAPER, only=["dpo", "ppo"]), tmp_path)
    with pytest.raises(CaravanError, match=r"run simpo_beta_2: .* there is no 'train\.bta', but 'train\.beta'"):
        sweep.commands(options(PAPER, "train.bta=1"), tmp_path)
    file = tmp_path / "lost.toml"
    file.write_text('recipe = "nowhere.toml"\n[runs.a]\n')
    with pytest.raises(CaravanError, match=r"nowhere\.toml, named by .*lost\.toml, is no recipe of a stage"):
        sweep.commands(options(file), tmp_path)


@pytest.fixture
def here(environment, monkeypatch):
    """This process as a sweep's, and its handlers of signals as they were."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(REPOSITORY)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_stopped_and_gone_on(recipe, rows_file, environment, here, tmp_path, capfd):
    """Ctrl-C in the first of two runs of SFT; the same command goes on with it, and fails with the second alone, which no data could be
    right for; a third time it starts nothing that is finished."""
    file, output = tmp_path / "sweep.toml", tmp_path / "runs"
    file.write_text(
        f'recipe = "{recipe}"\n[settings]\nsave.every = 100\n[runs.slow]\ntrain.steps = 11\n[runs.wrong]\ndata.held_out = 100000\n'
    )
    arguments = [str(file), "--data", str(rows_file), "--output", str(output), "--set", "log.tensorboard=false"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers.sweep", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
    )
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("step 2/11"):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert "run 1 of 2: slow" in said and "run 2" not in said and "stopped: the same command goes on" in said
    steps = len([line for line in losses(output / "slow") if "loss" in line])
    assert 2 <= steps < 11 and re.search(rf"slow .* stopped .* {steps} ", said)

    with pytest.raises(CaravanError, match=r"^wrong failed, as said above"):
        sweep.main(arguments)
    said = "".join(capfd.readouterr())
    assert f"goes on after step {steps} of 11" in said and "would be held out" in said
    assert re.search(r"slow .* finished .* 11 ", said) and re.search(r"wrong .* failed \(2\) ", said)

    assert sweep.main([*arguments, "--only", "slow"]) == 0
    said = "".join(capfd.readouterr())
    assert "run 1" not in said and re.search(r"slow .* finished .* 11 ", said)


def test_the_table(tmp_path, capsys):
    """The last measurement on held-out rows, steps, and hours of steps; an unmeasured run has none."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lines = [{"step": step, "loss": 0.5, "seconds": 900.0} for step in (1, 2)]
        if name == "a":
            lines[1:1] = [{"step": 1, "held_out_loss": 0.7, "held_out_accuracy": 0.5, "held_out_margin": 0.0}]
            lines += [{"step": 2, "held_out_loss": 0.61, "held_out_accuracy": 0.75, "held_out_margin": 0.125}]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sweep.report(tmp_path, {"a": "finished", "b": "failed (2)", "c": "stopped"})
    rows = [line.split() for line in capsys.readouterr().out.replace("│", " ").splitlines()]
    assert ["a", "finished", "0.6100", "0.7500", "0.1250", "2", "0.50"] in rows
    assert ["b", "failed", "(2)", "2", "0.50"] in rows and ["c", "stopped", "0", "0.00"] in rows
