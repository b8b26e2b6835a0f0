"""Ingestion end to end: the same revision again, damage, and errors that leave nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import warehouse
from pipelines import registry
from pipelines.ingest import TABLES, ingest, report
from warehouse.errors import CaravanError
from warehouse.refs import resolve


def snapshots(w):
    return {table: resolve(w, table).snapshot_id for table in (*TABLES, "raw.sources")}


def query(root, sql):
    return warehouse.connect(root=str(root)).sql(sql).fetchall()


def test_the_model_of_a_row_binds_earlier_turns_of_the_assistant(spark, tmp_path, capsys):
    first, more = {"role": "user", "content": "Hi"}, {"role": "user", "content": "More"}
    answer = {"role": "assistant", "content": "Hello"}
    rows = [
        {"messages": [first, answer, more, answer], "by": "gpt-4o"},
        {"messages": [first, answer, more], "by": "novel-1b"},
        {"messages": [first, answer], "by": "gpt-4o"},
        {"messages": [first, answer, more], "by": "human"},
    ]
    file = write_lines(tmp_path / "a.jsonl", rows)
    _, result = run_one(spark, tmp_path / "lake", declare(input=str(file), adapter="messages", fields={"model": "by"}))
    found = query(tmp_path / "lake", "select row, licence from raw.prompts order by row")
    assert found == [(1, "LicenseRef-OpenAI-Output AND MIT"), (2, "MIT"), (3, "MIT"), (4, "MIT")]
    report([result], Console())
    assert "no terms known for model novel-1b" in capsys.readouterr().out


def test_the_model_of_a_row_binds_its_completion(spark, tmp_path, capsys):
    rows = [
        {**row, "by": model} for row, model in zip(ROWS, ["openai/GPT-4o", "human", "novel-1b", None], strict=False)
    ]
    file = write_lines(tmp_path / "a.jsonl", rows)
    source = declare(input=str(file), fields={"model": "by"}, models=["odd-7b", "Gemma-2-9b"])
    _, result = run_one(spark, tmp_path / "lake", source)
    bound = "LicenseRef-Gemma-Terms AND MIT"
    assert query(tmp_path / "lake", "select licence from raw.completions order by row") == [
        (f"LicenseRef-OpenAI-Output AND {bound}",),
        *[(bound,)] * 3,
    ]
    assert query(tmp_path / "lake", "select distinct licence from raw.prompts") == [(bound,)]
    report([result], Console())
    said = [line for line in capsys.readouterr().out.splitlines() if "no terms" in line]
    assert said == ["no terms known for model novel-1b", "no terms known for model odd-7b"]


def declare(name="mine", kind="training", folder=Path(), **keys):
    keys = {"licence": "MIT", **({"adapter": "prompt_completion"} if kind == "training" else {}), **keys}
    return registry.declare(name, kind, keys, folder, "test")


def run_one(spark, root, source):
    w = warehouse.open(str(root))
    (result,) = ingest(spark, w, [source])
    return w, result


ROWS = [{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(100)]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_the_same_revision_again_changes_nothing(spark, tmp_path):
    file = write_lines(tmp_path / "a.jsonl", ROWS)
    w, first = run_one(spark, tmp_path / "lake", declare(input=str(file)))
    before = snapshots(w)
    w, again = run_one(spark, tmp_path / "lake", declare(input=str(file)))
    assert again.summary is None and again.revision == first.revision and snapshots(w) == before
    (tmp_path / "elsewhere").mkdir()
    moved = file.rename(tmp_path / "elsewhere" / "a.jsonl")
    w, again = run_one(spark, tmp_path / "lake", declare(input=str(moved)))
    assert again.summary is None and snapshots(w) == before


def test_a_new_revision_or_another_way_of_reading_replaces_the_source_alone(spark, tmp_path):
    root, file = tmp_path / "lake", tmp_path / "a.jsonl"
    other = write_lines(tmp_path / "other.jsonl", ROWS[:3])
    run_one(spark, root, declare("other", input=str(other)))
    write_lines(file, ROWS)
    file.write_text(file.read_text() + "{broken\n")
    run_one(spark, root, declare(input=str(file)))
    write_lines(file, ROWS[:10])
    run_one(spark, root, declare(input=str(file)))
    assert query(root, "select source, count(*) from raw.prompts group by 1 order by 1") == [("mine", 10), ("other", 3)]
    assert query(root, "select count(*) from raw.rejects") == [(0,)]
    run_one(spark, root, declare(input=str(file), fields={"prompt": "completion"}, constants={"model": "m"}))
    assert query(root, "select count(*) from raw.prompts where messages[1].content like 'answer%'") == [(10,)]
    assert query(
        root, "select count(distinct revision), count(distinct model) from raw.completions where source = 'mine'"
    ) == [(1, 1)]
    run_one(spark, root, declare(kind="evaluation", input=str(file), match="prompt", suite="unseen"))
    assert query(root, "select count(*) from raw.prompts where source = 'mine'") == [(0,)]
    assert query(root, "select count(*) from raw.eval_instances") == [(10,)]


def test_large_files_are_split_and_keep_their_line_numbers(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.ingest.SMALLEST", 1_000)
    file = write_lines(tmp_path / "a.jsonl", [{**r, "n": i} for i, r in enumerate(ROWS, 1)])
    w, _ = run_one(spark, tmp_path / "lake", declare(input=str(file)))
    assert len(resolve(w, "raw.prompts").files) > 3
    assert query(
        tmp_path / "lake", "select count(*) from raw.prompts where messages[1].content = 'question ' || (row - 1)"
    ) == [(100,)]


def test_damaged_records_are_kept_with_file_line_and_reason(spark, tmp_path):
    lines = [
        b'{"prompt": "ok", "completion": "a"}',
        b"{",
        b'{"prompt": "\xff"}',
        b"",
        b'{"prompt": 3}',
        b'{"prompt": "ok"}',
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "in" / "b.csv").write_bytes(b"prompt,completion\nq,a,extra\nq,a\n")
    _, result = run_one(spark, tmp_path / "lake", declare(input=str(tmp_path / "in")))
    assert (result.rows, result.rejects) == (3, 4)
    rejects = query(tmp_path / "lake", "select file, row, reason, content from raw.rejects order by all")
    assert [(file, row) for file, row, *_ in rejects] == [("a.jsonl", 2), ("a.jsonl", 3), ("a.jsonl", 5), ("b.csv", 2)]
    assert "not valid JSON" in rejects[0][2] and rejects[0][3] == "{"
    assert "byte 0xff at position 12" in rejects[1][2] and "\ufffd" in rejects[1][3]
    assert "prompt is a number" in rejects[2][2] and "3 columns where the header has 2" in rejects[3][2]
    assert query(tmp_path / "lake", "select rows, rejects from raw.sources") == [(3, 4)]


def test_filters_parts_groups_and_long_rows(spark, tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": "x" * (50 << 20)}], "dataset": "lima", "model": "gpt-4-0613"},
        {"messages": [{"role": "user", "content": "b"}], "dataset": "oasst1", "model": "gpt-3.5-turbo"},
        {"messages": [{"role": "user", "content": "c"}], "dataset": "unheard of", "model": "gpt-4"},
        {"messages": [{"role": "user", "content": "d"}], "dataset": "sharegpt", "model": "gpt-4"},
    ]
    file = write_lines(tmp_path / "a.jsonl", rows)
    known = registry.load()
    source = declare(
        adapter="messages",
        input=str(file),
        licence="ODC-By-1.0",
        where={"model": ["gpt-4*"], "dataset": ["!sharegpt*"]},
        parents=["lima", "oasst1"],
        parts={"column": "dataset", "names": {"lima*": "lima", "oasst1*": "oasst1"}},
    )
    w = warehouse.open(str(tmp_path / "lake"))
    (result,) = ingest(spark, w, [source], registry.extend(known, source))
    assert (result.rows, result.summary.left_out) == (2, 2)
    assert query(tmp_path / "lake", "select row, len(messages[1].content), licence from raw.prompts order by 1") == [
        (1, 50 << 20, "CC-BY-NC-SA-4.0 AND ODC-By-1.0"),
        (3, 1, "CC-BY-NC-SA-4.0 AND ODC-By-1.0 AND Apache-2.0"),
    ]
    assert query(tmp_path / "lake", "select filter from raw.sources") == [
        ("model is gpt-4*; dataset is not sharegpt*",)
    ]

    flat = [
        {"message_tree_id": "t1", "message_id": "1", "parent_id": None, "text": "q", "role": "prompter", "lang": "en"},
        {"message_tree_id": "t1", "message_id": "2", "parent_id": "1", "text": "a", "role": "assistant", "lang": "en"},
        {"message_tree_id": "t2", "message_id": "3", "parent_id": None, "text": "q2", "role": "prompter", "lang": "en"},
    ]
    file = tmp_path / "flat.parquet"
    pq.write_table(pa.Table.from_pylist(flat), file, row_group_size=1)
    run_one(
        spark, tmp_path / "lake", declare("trees", input=str(file), adapter="oasst_messages", group="message_tree_id")
    )
    assert query(
        tmp_path / "lake", "select row, messages[1].content from raw.prompts where source = 'trees' order by 1"
    ) == [(1, "q"), (3, "q2")]


def test_line_aligned_files_that_do_not_align(spark, tmp_path):
    (tmp_path / "a.nl").write_text("one\n\nthree\nfour\n")
    (tmp_path / "a.cm").write_text("1\n2\n3\n")
    source = declare(adapter="text", format="text", input=str(tmp_path / "a.nl"), pair=str(tmp_path / "a.cm"))
    run_one(spark, tmp_path / "lake", source)
    assert query(tmp_path / "lake", "select row, content from raw.completions order by 1") == [(1, "1"), (3, "3")]
    assert query(tmp_path / "lake", "select row, reason from raw.rejects order by 1") == [
        (2, "line 2 of a.nl is empty"),
        (4, "line 4 of a.cm is empty or missing"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "keys", "message"),
    [
        ("a.jsonl", None, {}, "No file at"),
        ("a.jsonl", b"", {}, "is empty: there is no record"),
        ("a.jsonl", b"{\n{\n", {}, "No record .* could be read.*2 records 2 say: not valid JSON.*a.jsonl, line 1"),
        ("a.jsonl", b'{"question": "q"}\n', {}, "no column 'prompt' for the prompt; the columns are: question"),
        (
            "a.jsonl",
            b'{"prompt": "q", "out": "x"}\n',
            {"fields": {"completion": "output"}},
            "No record .* has the column 'output'.*columns are: prompt, out",
        ),
        ("a.jsonl", b'{"prompt": "q"}\n', {"where": {"prompt": "z*"}}, "takes none of its 1 records"),
        ("a.csv", "prompt\nq\n".encode("utf-16"), {}, "UTF-16"),
        ("a.json", b'[{"prompt": "q"}', {}, "not valid JSON"),
        ("a.jsonl.gz", b"not gzip", {}, "damaged, incomplete or not what its name says"),
        ("a.bin", b"x", {}, "does not tell its format"),
    ],
)
def test_bad_input_is_one_clear_error_and_commits_nothing(spark, tmp_path, name, data, keys, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    good = declare("good", input=str(write_lines(tmp_path / "good.jsonl", ROWS[:2])))
    w = warehouse.open(str(tmp_path / "lake"))
    with pytest.raises(CaravanError, match=message):
        ingest(spark, w, [good, declare(input=str(tmp_path / name), **keys)])
    assert set(snapshots(w).values()) == {None}
    assert list((tmp_path / "lake").glob("raw/*/data/*")) == []


def test_a_hub_data_set_is_streamed_shard_by_shard(spark, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    for i in range(3):
        write_lines(folder / "data" / f"train-{i:05d}-of-00003.jsonl", ROWS[i * 10 : i * 10 + 10])
    w, result = run_one(spark, tmp_path / "lake", declare(hub=str(folder)))
    assert result.rows == 30
    found = query(tmp_path / "lake", "select file, count(*), min(row), max(row) from raw.prompts group by 1 order by 1")
    assert found == [(f"train/{i:05d}-of-00003", 10, 1, 10) for i in range(3)]
    before = snapshots(w)
    w, again = run_one(spark, tmp_path / "lake", declare(hub=str(folder)))
    assert again.summary is None and snapshots(w) == before
    with pytest.raises(CaravanError, match=r"through datasets failed.*Check config, split"):
        run_one(spark, tmp_path / "lake", declare("other", hub=str(folder), split="nope"))


def command(tmp_path, *arguments):
    environment = {**os.environ, "CARAVAN_WAREHOUSE": str(tmp_path / "lake"), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-m", "pipelines.ingest", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )


def test_the_command_line(tmp_path):
    (tmp_path / "mine.csv").write_text("question,answer,topic\nWhy?,Because.,a\nHow?,So.,b\n")
    told = [
        "--source",
        "mine",
        "--input",
        str(tmp_path / "mine.csv"),
        "--licence",
        "MIT",
        "--adapter",
        "prompt_completion",
    ]
    done = command(
        tmp_path,
        *told,
        "--field",
        "prompt=question",
        "--field",
        "completion=answer",
        "--where",
        "topic=a",
        "--constant",
        "model=human",
    )
    assert done.returncode == 0, done.stderr
    assert "wrote raw.prompts@" in done.stdout and "sha256:" in done.stdout
    assert query(tmp_path / "lake", "select file, row, content, model from raw.completions") == [
        ("mine.csv", 2, "Because.", "human")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "gsm8"], "There is no source 'gsm8' in the registry. Did you mean gsm8k"),
        (["--source", "sharegpt"], "excluded on purpose: the people in ShareGPT's conversations never agreed"),
        (
            ["--source", "helpsteer2", "--input", "x"],
            "excluded on purpose: the prompts of HelpSteer2 come from ShareGPT",
        ),
        (["--source", "x", "--input", "a.jsonl", "--adapter", "messages"], "states no licence"),
        (
            ["--source", "x", "--input", "a.jsonl", "--adapter", "massages", "--licence", "MIT"],
            "names the adapter 'massages'. Adapters: messages",
        ),
        (
            ["--source", "x", "--input", "a.jsonl", "--adapter", "messages", "--licence", "MIT", "--field", "prompt"],
            "write --field NAME=VALUE",
        ),
        (["--source", "x", "--input", "a", "--adapter", "messages", "--licence", "My own"], "licence"),
        (["--registry", "nowhere.toml", "--source", "x"], "There is no registry file nowhere.toml"),
        ([], "Nothing to read"),
    ],
)
def test_errors_of_the_command_line(tmp_path, arguments, message, monkeypatch, capsys):
    from pipelines.ingest import main
    from warehouse.errors import run

    monkeypatch.setattr(sys, "argv", ["ingest", "--warehouse", str(tmp_path / "lake"), *arguments])
    with pytest.raises(SystemExit) as caught:
        run(main)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and message in error and error.count("\n") == 1
