"""Scores of a reward model as rows of the warehouse: what transformers' own model gives each conversation alone, whatever is killed."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")

import warehouse  # noqa: E402
from inference.vllm_server import checkpoint_name  # noqa: E402
from tests.trainers.conftest import QUICK, REPOSITORY, TORCHRUN, command, finished  # noqa: E402
from trainers import score  # noqa: E402
from trainers.ranks import Ranks  # noqa: E402
from warehouse.commit import Job, commit_arrow  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402
from warehouse.read import arrow  # noqa: E402
from warehouse.refs import resolve  # noqa: E402


@pytest.fixture(scope="module")
def model(tiny, pairs_file, environment, tmp_path_factory) -> Path:
    """A reward model of three steps, as its stage exports it."""
    folder = tmp_path_factory.mktemp("rm")
    recipe = folder / "recipe.toml"
    recipe.write_text(QUICK.format(stage="reward_model", model=tiny, epochs=1))
    finished(command(recipe, pairs_file, folder / "run", "train.steps=3", stage="reward_model"), environment)
    return folder / "run" / "model"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def rows_of(conversations):
    """Prompts and responses of real conversations; what is odd about some is said by their source."""
    prompts, completions = [], []

    def add(source, row, messages, content):
        prompt_id = md5(json.dumps(messages))
        place = {"source": source, "revision": "r", "file": "f", "row": row, "branch": 0, "licence": "MIT"}
        completion = {
            "completion_id": md5(prompt_id + content),
            "prompt_id": prompt_id,
            "sample": 0,
            "content": content,
        }
        prompts.append({**place, "prompt_id": prompt_id, "messages": messages})
        completions.append({**place, **completion})

    for row, turns in enumerate(conversations[:40]):
        add("real" if row % 2 else "more", row, turns[:-1], turns[-1]["content"])
    add("real", 40, conversations[0][:-1], conversations[0][-1]["content"])  # stands in `more` as well
    add("blank", 1, conversations[1][:-1], "")
    add("tools", 1, [{"role": "tool", "content": "42"}], "The tool says 42.")
    add("lone", 1, [{"role": "user", "content": "Whose prompt is gone?"}], "Mine.")
    return [row for row in prompts if row["source"] != "lone"], completions


@pytest.fixture
def lake(warehouse_root, conversations):
    w = warehouse.open()
    prompts, completions = rows_of(conversations)
    commit_arrow(w, "raw.prompts", pa.Table.from_pylist(prompts), Job("test"))
    commit_arrow(w, "raw.completions", pa.Table.from_pylist(completions), Job("test"))
    return w


def scored(w, model=None):
    rows = arrow(w, resolve(w, "pref.rewards")).to_pylist()
    return {row["completion_id"]: row for row in rows if model is None or row["model_id"] == checkpoint_name(model)}


def ask(model, sources=None, joined=None, completions="raw.completions"):
    return score.score(model, score.trained(model), completions, sources, joined or Ranks())


@torch.no_grad()
def by_transformers(model, conversations):
    """Scores and numbers of tokens of each conversation alone, in the template of the tokenizer."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    own = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32)
    found = {}
    for completion_id, messages in conversations.items():
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        found[completion_id] = (float(own(torch.tensor([tokens[:256]])).logits[0, 0]), len(tokens))
    return found


def test_scores_are_those_of_transformers(lake, model, conversations, capsys):
    prompts, completions = rows_of(conversations)
    messages = {row["prompt_id"]: row["messages"] for row in prompts}
    expected = by_transformers(
        model,
        {
            row["completion_id"]: [*messages[row["prompt_id"]], {"role": "assistant", "content": row["content"]}]
            for row in completions
            if row["source"] not in ("lone", "tools")
        },
    )
    assert ask(model) == 0
    said = capsys.readouterr()
    assert "43 responses, 0 scored already, 1 without their prompt" in said.out and "42 to score" in said.out
    assert "of tools: a message has the role 'tool'" in said.err and "1 responses cannot be scored" in said.err
    rows = scored(lake)
    assert rows.keys() == expected.keys()
    for completion_id, (value, tokens) in expected.items():
        row = rows[completion_id]
        assert row["score"] == pytest.approx(value, abs=2e-5)
        assert (row["tokens"], row["cut"]) == (min(tokens, 256), tokens > 256)
        assert row["model_id"] == checkpoint_name(model)
        assert row["template"].startswith("tulu@") and (row["max_length"], row["precision"]) == (256, "fp32")
    assert {row["cut"] for row in rows.values()} == {True, False}
    assert len({round(row["score"], 6) for row in rows.values()}) > 30
    (twice,) = [row for row in completions if row["row"] == 40]
    assert rows[twice["completion_id"]]["source"] == "more"


def test_only_what_is_asked_for_and_missing_is_scored(lake, model, capsys):
    assert ask(model, ["blank"]) == 0
    assert len(scored(lake)) == 1
    first = resolve(lake, "pref.rewards")
    assert ask(model, ["blank"]) == 0
    assert "1 scored already" in capsys.readouterr().out
    assert resolve(lake, "pref.rewards") == first
    assert ask(model, ["blank", "real"], completions=str(resolve(lake, "raw.completions"))) == 0
    assert len(scored(lake)) == 22
    w = warehouse.open()
    (step,) = [s for s in w.load("pref.rewards").snapshots() if s.snapshot_id == first.snapshot_id]
    assert "raw.completions@" in step.summary.additional_properties["caravan.inputs"]


def test_padded_and_packed_are_one(lake, model, tmp_path):
    """A model that was trained without packing is asked without it."""
    other = tmp_path / "model"
    shutil.copytree(model, other)
    told = json.loads((other / "caravan.json").read_text())
    told["recipe"]["engine"]["packing"] = False
    (other / "caravan.json").write_text(json.dumps(told))
    assert ask(model, ["real"]) == 0
    packed = {i: row["score"] for i, row in scored(lake).items()}
    lake.catalogue.drop_table("pref.rewards")
    assert ask(other, ["real"]) == 0
    alone = {i: row["score"] for i, row in scored(warehouse.open()).items()}
    assert len(alone) == 21 and alone == pytest.approx(packed, abs=2e-5)


def _weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _save(folder, weights):
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", {"format": "pt"})


KILLED = """
import sys
from trainers import score
score.PORTION, score.SECONDS = 4, 0.0
score.main(sys.argv[1:])
"""


def test_a_kill_loses_a_portion_at_most(lake, model, environment, monkeypatch, capsys):
    environment = {**environment, "CARAVAN_WAREHOUSE": lake.root}
    arguments = [sys.executable, "-c", KILLED, str(model), "--sources", "real", "more"]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    wrote = 0
    for line in process.stdout:
        wrote += line.startswith("wrote pref.rewards@")
        if wrote == 3:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    before = scored(lake)
    assert 12 <= len(before) < 40
    # Asked to stop, it keeps what it has.
    monkeypatch.setattr(score, "PORTION", 4)
    assert ask(model, ["real", "more"], Ranks(stopping=True)) == 130
    assert len(scored(lake)) == len(before) + 4
    assert ask(model, ["real", "more"]) == 0
    said = capsys.readouterr().out
    assert f"{len(before):,} scored already" in said and "the same command goes on" in said
    rows = scored(lake)
    assert len(rows) == 40 and before.items() <= rows.items()


def test_ranks_share_the_work(lake, model, environment):
    assert ask(model, ["real"]) == 0
    alone = {i: row["score"] for i, row in scored(lake).items()}
    lake.catalogue.drop_table("pref.rewards")
    arguments = [*TORCHRUN, "-m", "trainers.score", str(model), "--sources", "real"]
    said = finished(arguments, {**environment, "CARAVAN_WAREHOUSE": lake.root})
    assert said.count("wrote pref.rewards@") == 1
    assert {i: row["score"] for i, row in scored(warehouse.open()).items()} == pytest.approx(alone, abs=2e-5)


def test_what_cannot_be_scored_with_is_refused(lake, model, tiny, tmp_path):
    with pytest.raises(CaravanError, match=r"has no caravan\.json"):
        score.trained(tiny)
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    told = json.loads((folder / "caravan.json").read_text())
    (folder / "caravan.json").write_text(json.dumps({**told, "recipe": {"stage": "sft"}}))
    with pytest.raises(CaravanError, match="was trained as sft"):
        score.trained(folder)
    with pytest.raises(
        CaravanError, match=r"no responses of nobody\. It holds those of: blank, lone, more, real, tools"
    ):
        ask(model, ["nobody"])
    with pytest.raises(CaravanError, match=r"raw\.prompts@latest is not raw\.completions"):
        ask(model, completions="raw.prompts@latest")


def test_a_score_that_is_no_number_is_refused(lake, model, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    weights = _weights(folder)
    weights["score.weight"][:] = torch.nan
    _save(folder, weights)
    monkeypatch.setattr(score.models, "probe", lambda *_: None)  # which would refuse it before
    with pytest.raises(CaravanError, match="the score nan: its weights"):
        ask(folder, ["real"])
    assert scored(lake) == {}
