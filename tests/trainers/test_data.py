"""The cache of tokens: from a warehouse and from files, what it does with long and unreadable rows, kills, and the way back to a row."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouse
from tests.trainers.conftest import make_tokenizer
from trainers import chat as chats
from trainers import data, sources
from trainers.data import How
from warehouse import contracts
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError
from warehouse.tags import create

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chat(tokenizer):
    return chats.of(tokenizer, "tulu")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def tokens_of(chat, rows, **how):
    """Tokens and masks of rows, made here without the cache."""
    return [
        (encoded.tokens.tolist(), encoded.trained.tolist())
        for encoded in chat.encode([row["messages"] for row in rows], **how)
    ]


def all_of(examples):
    return [(examples[i].tokens.tolist(), examples[i].trained.tolist()) for i in range(len(examples))]


@pytest.fixture
def rows(conversations):
    return [
        {
            "mixture": "small",
            "position": i,
            "prompt_id": f"{i:032x}",
            "completion_id": f"{i + 1000:032x}",
            "source": f"source_{i % 3}",
            "revision": "r1",
            "file": "f.jsonl",
            "row": i + 1,
            "branch": 0,
            "messages": messages,
            "licence": "CC0-1.0",
        }
        for i, messages in enumerate(conversations)
    ]


def test_a_mixture_of_the_warehouse(chat, rows, warehouse_root, tmp_path, capsys):
    w = warehouse.open()
    contract = contracts.load("mixtures.sft").arrow_schema()
    other = [{**rows[0], "mixture": "other"}]
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    with staged(w, "mixtures.sft") as folder:
        files = []
        for name, part in (("small", shuffled), ("other", other)):
            files.append(f"{folder}/{name}.parquet")
            pq.write_table(pa.Table.from_pylist(part, schema=contract), files[-1], row_group_size=50)
        snapshot = commit(w, "mixtures.sft", files, Job("test"))
    create(w, "mixtures.sft", "v1", snapshot)

    with pytest.raises(CaravanError, match="holds 2 mixtures: other, small"):
        sources.find(["mixtures.sft@v1"])
    with pytest.raises(CaravanError, match="no mixture 'large'"):
        sources.find(["mixtures.sft@v1"], "large")
    found = sources.find(["mixtures.sft@v1"], "small")
    assert found.identity == f"mixtures.sft@{snapshot}/small"
    examples = data.tokens(found, How(chat, 100_000), tmp_path / "cache", workers=2)
    assert all_of(examples) == tokens_of(chat, rows), "in the order of the mixture, wherever the rows lie"
    assert examples.targets.tolist() == [sum(trained[1:]) for _, trained in all_of(examples)]
    assert examples.lengths.tolist() == [len(tokens) for tokens, _ in all_of(examples)]
    assert examples.origin(17) == {
        "position": 17,
        "piece": 0,
        "prompt_id": f"{17:032x}",
        "completion_id": f"{1017:032x}",
        "source": "source_2",
        "file": "f.jsonl",
        "row": 18,
    }
    assert {source: n["examples"] for source, n in examples.about["counts"].items()} == {
        f"source_{k}": len(rows[k::3]) for k in range(3)
    }
    assert f"mixtures.sft@{snapshot}" in capsys.readouterr().out
    # The files say with SQL what the warehouse says of the row that a token came from.
    again = data.tokens(sources.find([f"mixtures.sft@{snapshot}"], "small"), How(chat, 100_000), tmp_path / "cache")
    assert again.folder == examples.folder


def test_files_of_every_format_hold_the_same_rows(chat, rows, tmp_path):
    plain = [{"messages": row["messages"], "source": row["source"], "prompt_id": row["prompt_id"]} for row in rows]
    lines = write_lines(tmp_path / "a.jsonl", plain)
    pq.write_table(pa.Table.from_pylist(plain), tmp_path / "b.parquet", row_group_size=64)
    with open(tmp_path / "c.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["messages", "source", "prompt_id"])
        writer.writeheader()
        writer.writerows({**row, "messages": json.dumps(row["messages"])} for row in plain)
    (tmp_path / "d.json").write_text(json.dumps(plain, indent=1))
    subprocess.run(["gzip", "-k", lines], check=True)
    expected = tokens_of(chat, rows)
    for name in ("a.jsonl", "a.jsonl.gz", "b.parquet", "c.csv", "d.json"):
        examples = data.tokens(
            sources.find([str(tmp_path / name)]), How(chat, 100_000), tmp_path, workers=1, quiet=True
        )
        assert all_of(examples) == expected, name
        origin = examples.origin(64)
        assert (origin["file"], origin["row"], origin["source"], origin["prompt_id"]) == (
            name,
            65,
            "source_1",
            f"{64:032x}",
        )


def test_a_folder_that_datasets_reads(chat, rows, tmp_path, monkeypatch):
    """What has the form of a hub id and is a folder here goes the way of the hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/name").mkdir(parents=True)
    write_lines(tmp_path / "owner/name/train.jsonl", [{"messages": row["messages"]} for row in rows])
    monkeypatch.setattr(sources.glob, "glob", lambda pattern, **_: [pattern] if "parquet" in pattern else [])
    found = sources.find(["owner/name:train"], scratch=tmp_path / "scratch")
    assert all_of(data.tokens(found, How(chat, 100_000), tmp_path, workers=1, quiet=True)) == tokens_of(chat, rows)


@pytest.mark.parametrize("long", data.LONG)
def test_long_rows_are_counted(chat, rows, tmp_path, long):
    limit = 200
    found = sources.find([write_lines(tmp_path / "a.jsonl", rows)])
    examples = data.tokens(found, How(chat, limit, long), tmp_path, workers=1, quiet=True)
    whole = tokens_of(chat, rows)
    too_long = [(tokens, trained) for tokens, trained in whole if len(tokens) > limit]
    assert 10 < len(too_long) < len(rows) - 10
    assert examples.lengths.max() <= limit
    total = {name: sum(numbers.get(name, 0) for numbers in examples.about["counts"].values()) for name in data.COUNTS}
    assert total["rows"] == len(rows) and total["examples"] == len(examples)
    # What went in has come out or is counted.
    gone = sum(len(tokens) for tokens, trained in too_long if not sum(trained[1:limit])) if long == "truncate" else 0
    if long == "drop":
        gone = sum(len(tokens) for tokens, _ in too_long)
        assert total["too_long"] == len(too_long)
    if long == "truncate":
        assert total["truncated"] + total["untrained"] == len(too_long) and total["untrained"] > 0
        assert total["cut_targets"] > 0
    if long == "split":
        assert total["split"] == len(too_long)
        pieces = [i for i in range(len(examples)) if examples.origin(i)["row"] == examples.origin(0)["row"]]
        assert [examples.origin(i)["piece"] for i in pieces] == list(range(len(pieces)))
    assert int(examples.lengths.sum()) + total["cut"] + gone == sum(len(tokens) for tokens, _ in whole)
    assert total["targets"] == examples.targets.sum()


def test_unreadable_rows_are_named_and_cost_no_good_one(chat, rows, tmp_path, capfd):
    path = tmp_path / "a.jsonl"
    write_lines(path, rows[:3])
    bad = [
        '{"messages": [',
        "[1]",
        '{"messages": []}',
        '{"messages": [{"role": "tool", "content": "x"}]}',
        '{"text": "x"}',
        '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "half \\ud83d"}]}',
    ]
    path.write_text(path.read_text() + "\n".join(bad) + "\n" + json.dumps(rows[3]) + "\n")
    examples = data.tokens(sources.find([str(path)]), How(chat, 100_000), tmp_path, workers=1)
    assert all_of(examples) == tokens_of(chat, rows[:4])
    said = capfd.readouterr().err
    for text in (
        "a.jsonl, row 4: no JSON",
        "row 5: a record is an object",
        "row 6: there is no list",
        "row 7: a message has the role 'tool'",
        "row 8: there is no list of messages, each with role and content. The fields there are: text.",
    ):
        assert text in said
    assert examples.about["counts"]["a"]["unreadable"] == len(bad)
    # Five are printed, all are kept.
    kept = (examples.folder / data.UNREADABLE).read_text().splitlines()
    assert (
        len(kept) == len(bad)
        and kept[-1] == "a.jsonl, row 9: a message is no Unicode: half a character at its place 6."
    )
    assert "row 9" not in said and str(examples.folder / data.UNREADABLE) in said


def test_rows_of_a_csv(chat, rows, tmp_path):
    """Fields of more than 128 KiB are read, and a byte that is no UTF-8 costs its row alone; `.csv` in a folder's name means nothing."""
    folder = tmp_path / "rows.csv.d"
    folder.mkdir()
    long = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "long " * 40_000}]
    plain = [{"messages": long}, *({"messages": row["messages"]} for row in rows[:3])]
    with open(folder / "c.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["messages", "source"])
        writer.writeheader()
        writer.writerows({"messages": json.dumps(row["messages"]), "source": "s"} for row in plain)
    with open(folder / "c.csv", "ab") as stream:
        stream.write(
            b'"[{""role"": ""user"", ""content"": ""caf\xe9""}, {""role"": ""assistant"", ""content"": ""x""}]",s\r\n'
        )
    (folder / "d.json").write_text(json.dumps(plain))
    for name, unreadable in (("c.csv", 1), ("d.json", 0)):
        found = sources.find([str(folder / name)])
        examples = data.tokens(found, How(chat, 1_000_000), tmp_path / "cache", workers=1, quiet=True)
        assert all_of(examples) == tokens_of(chat, plain), name
        assert sum(count.get("unreadable", 0) for count in examples.about["counts"].values()) == unreadable


def test_a_broken_json_is_named(chat, tmp_path):
    (tmp_path / "d.json").write_text('[{"messages": [}]')
    with pytest.raises(CaravanError, match=r"d.json is no JSON: .* line 1 column 16"):
        data.tokens(sources.find([str(tmp_path / "d.json")]), How(chat, 100), tmp_path / "cache", workers=1, quiet=True)


def test_where_rows_say_that_they_are_from_may_be_anything(chat, rows, tmp_path):
    odd = [{"source": 5, "prompt_id": ["x"], "position": "first"}, {"source": "half \ud83d"}]
    lines = write_lines(tmp_path / "a.jsonl", [{"messages": rows[0]["messages"], **each} for each in odd])
    examples = data.tokens(sources.find([lines]), How(chat, 100_000), tmp_path / "cache", workers=1, quiet=True)
    assert [examples.origin(i)["source"] for i in range(2)] == ["5", "half \\ud83d"]
    assert examples.origin(0)["prompt_id"] == "['x']" and examples.origin(0)["position"] is None


def test_pieces_know_their_row(chat, rows, tmp_path):
    found = sources.find([write_lines(tmp_path / "a.jsonl", rows)])
    examples = data.tokens(found, How(chat, 100, "split"), tmp_path / "cache", workers=1, quiet=True)
    numbers = [examples.origin(i)["row"] for i in range(len(examples))]
    assert len(examples) > examples.rows[-1] + 1 == len(set(numbers))
    assert [numbers.index(number) for number in numbers] == [examples.rows.tolist().index(row) for row in examples.rows]


def test_nothing_to_train_is_refused(chat, tmp_path):
    asked = [{"messages": [{"role": "user", "content": "Hello?"}]}] * 3
    with pytest.raises(
        CaravanError, match=r"No row of .* leaves anything to train \(rows: 3; dropped: nothing to train: 3\)"
    ):
        data.tokens(sources.find([write_lines(tmp_path / "a.jsonl", asked)]), How(chat, 100), tmp_path, quiet=True)
    with pytest.raises(CaravanError, match="No file is called"):
        sources.find([str(tmp_path / "absent.jsonl")])


def test_the_key_is_everything_that_makes_tokens(chat, conversations, rows, tmp_path):
    a = sources.find([write_lines(tmp_path / "a.jsonl", rows)])
    changed = [
        {**rows[0], "messages": [{"role": "user", "content": "U"}, {"role": "assistant", "content": "B"}]},
        *rows[1:],
    ]
    other = make_tokenizer(conversations[:50])
    keys = [
        data.folder_of(tmp_path, a, How(chat, 100)),
        data.folder_of(tmp_path, a, How(chat, 101)),
        data.folder_of(tmp_path, a, How(chat, 100, "drop")),
        data.folder_of(tmp_path, a, How(chats.of(make_tokenizer(conversations), "tulu2"), 100)),
        data.folder_of(tmp_path, a, How(chats.of(other, "tulu"), 100)),
        data.folder_of(tmp_path, sources.find([write_lines(tmp_path / "a.jsonl", changed)]), How(chat, 100)),
    ]
    assert len(set(keys)) == len(keys)
    write_lines(tmp_path / "a.jsonl", rows)
    os.utime(tmp_path / "a.jsonl", (0, 0))
    assert data.folder_of(tmp_path, sources.find([str(tmp_path / "a.jsonl")]), How(chat, 100)) == keys[0]


BUILD = """
import sys
from pathlib import Path
from tokenizers import Tokenizer
from trainers import data, sources
from trainers.chat import Chat
from trainers.templates import TULU
if __name__ == "__main__":
    sources.BYTES_A_PORTION = 10_000
    folder = Path(sys.argv[1])
    chat = Chat(TULU, (folder / "tokenizer.json").read_text(), "</s>", "<s>", "<pad>")
    print(len(data.tokens(sources.find([str(folder / "a.jsonl")]), data.How(chat, 100_000), folder / "cache", 2).lengths))
"""


def test_a_killed_build_goes_on_and_leaves_no_process(chat, rows, tmp_path):
    write_lines(tmp_path / "a.jsonl", rows * 6)
    (tmp_path / "tokenizer.json").write_text(chat.tokenizer)
    (tmp_path / "build.py").write_text(BUILD)
    command = [sys.executable, str(tmp_path / "build.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    cache = tmp_path / "cache"
    while not len(done := list(cache.glob("*.building/part-*.arrow"))) >= 3:
        time.sleep(0.01)
        assert first.poll() is None, "it ended before it could be killed"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert list(cache.glob("*/about.json")) == []
    before = {path.name: path.stat().st_mtime_ns for path in done}
    # Two at once: one goes on with the build, the other waits for it.
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].splitlines()[-1] for process in both] == [str(len(rows) * 6)] * 2
    (folder,) = (path.parent for path in cache.glob("*/about.json"))
    assert before == {name: (folder / name).stat().st_mtime_ns for name in before}
    assert all_of(data.Examples(folder)) == tokens_of(chat, rows) * 6
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout.split()
    assert left == []
