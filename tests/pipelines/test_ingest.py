"""Ingestion end to end: real data in every format, the same revision again, damage, and errors that leave nothing behind."""

import gzip
import json
import os
import subprocess
import sys
import tomllib
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

SHARED = Path(__file__).parent / "shared_sources.toml"
DECLARED = tomllib.loads(SHARED.read_text())

# source: (records, prompts, completions); every record of the real data can be read
TRAINING = {
    "alpaca_parts": (5_175, 5_175, 5_175),
    "alpaca_eval_pool": (12_879, 12_879, 12_879),
    "alpaca_eval_pairs": (7_245, 7_245, 14_490),
    "alpagasus": (19_552, 19_552, 19_552),
    "cherry_alpaca": (3_111, 3_111, 3_111),
    "coconot_pairs": (1_854, 1_854, 3_708),
    "coconot_prompts": (1_380, 1_380, 0),
    "codealpaca_parts": (6_552, 6_552, 6_552),
    "evol_codealpaca": (3_919, 3_919, 3_919),
    "flan_v2_cot": (33_443, 33_443, 33_443),
    "gpteacher": (10_819, 10_819, 10_819),
    "gsm8k_train": (7_473, 7_473, 7_473),
    "harmfulqa": (1, 1_960, 0),
    "hh_rlhf": (2_312, 2_312, 4_624),
    "lima": (1_029, 1_029, 1_029),
    "limr_math8k": (8_523, 8_523, 0),
    "math_train": (8_475, 8_475, 975),
    "nl2bash": (12_607, 12_607, 12_607),
    "numina_cot": (1_000, 1_000, 1_000),
    "oasst_trees": (200, 216, 216),
    "persona_hub_tool": (5_000, 5_000, 0),
    "rlvr_gsm8k": (7_473, 7_473, 7_473),
    "rlvr_math": (7_500, 7_500, 0),
    "self_instruct_seed": (427, 427, 427),
    "t0_train": (55_185, 55_185, 55_185),
    "tulu3_sft": (100, 100, 100),
    "tulu3_rlvr": (100, 100, 0),
    "tulu3_preference": (100, 100, 200),
    "tulu3_acecode": (1, 1, 0),
    "tulu3_if_seeds": (1, 33, 0),
    "ultrafeedback_1k": (2_000, 2_000, 4_000),
    "wildjailbreak_eval": (2_000, 2_000, 0),
}
EVALUATIONS = {  # evaluation: (instances, subsets)
    "agieval": (3_852, 10),
    "alpaca_eval": (805, 5),
    "bbh": (6_511, 27),
    "bigcodebench": (1_140, 0),
    "deepmind_math": (5_600, 56),
    "gsm8k": (1_319, 0),
    "harmbench": (400, 7),
    "humaneval": (164, 0),
    "humanevalplus": (164, 0),
    "ifbench": (300, 0),
    "ifeval": (541, 0),
    "jailbreaktrigger": (1_400, 2),
    "math": (5_000, 7),
    "mmlu": (14_042, 57),
    "mmlu_pro": (12_032, 14),
    "popqa": (1_000, 0),
    "truthfulqa": (817, 38),
    "wildjailbreaktest": (2_000, 0),
    "xstest": (450, 18),
}


def snapshots(w):
    return {table: resolve(w, table).snapshot_id for table in (*TABLES, "raw.sources")}


def query(root, sql):
    return warehouse.connect(root=str(root)).sql(sql).fetchall()


def test_every_real_set_is_declared_and_expected():
    assert set(TRAINING) == set(DECLARED["training"])
    assert set(EVALUATIONS) == set(DECLARED["evaluation"])


def test_every_real_training_set_ingests(shared_lake):
    found = query(
        shared_lake,
        """select source, rows, rejects,
                  (select count(*) from raw.prompts p where p.source = s.source),
                  (select count(*) from raw.completions c where c.source = s.source)
           from raw.sources s where kind = 'training'""",
    )
    assert {name: (rows, prompts, answers) for name, rows, _, prompts, answers in found} == TRAINING
    assert query(shared_lake, "select * from raw.rejects") == []


def test_every_real_evaluation_ingests(shared_lake):
    found = query(
        shared_lake,
        "select eval_set, count(*), count(distinct subset), count(distinct instance_id) from raw.eval_instances group by 1",
    )
    assert {name: (rows, subsets) for name, rows, subsets, _ in found} == EVALUATIONS
    assert all(rows == ids for _, rows, _, ids in found)


def test_rows_are_what_their_files_say(shared_lake, shared_data):
    pairs = list(
        zip(*((shared_data / "train/nl2bash" / n).read_text().splitlines() for n in ("all.nl", "all.cm")), strict=True)
    )
    found = query(
        shared_lake,
        """select p.row, p.messages[1].content, c.content from raw.prompts p join raw.completions c using (prompt_id, source, file, row)
           where source = 'nl2bash' and p.row in (1, 5000, 12607) order by 1""",
    )
    assert found == [(n, *pairs[n - 1]) for n in (1, 5_000, 12_607)]
    lines = gzip.decompress((shared_data / "train/hh_rlhf_harmless_test/test.jsonl.gz").read_bytes()).splitlines()
    ((content, preference),) = query(
        shared_lake,
        "select content, preference from raw.completions where source = 'hh_rlhf' and row = 7 and sample = 1",
    )
    assert json.loads(lines[6])["rejected"].endswith("\n\nAssistant: " + content) and preference == "rejected"
    assert query(shared_lake, "select distinct file from raw.prompts where source = 'coconot_pairs' order by 1") == [
        ("coconot_contrast_train.jsonl",),
        ("coconot_pref.jsonl",),
    ]
    ((texts,),) = query(
        shared_lake,
        "select fields from raw.eval_instances where eval_set = 'deepmind_math' and subset = 'algebra__linear_1d' and row = 1",
    )
    assert texts == [{"name": "question", "text": "Solve -22*c + 8*c + 698 = 78*c - 498 for c."}]


def test_licences_follow_parents_and_models(shared_lake):
    found = dict(query(shared_lake, "select distinct source, licence from raw.prompts"))
    assert found["evol_codealpaca"] == "CC-BY-NC-4.0 AND LicenseRef-OpenAI-Output AND Apache-2.0"
    assert found["t0_train"] == "LicenseRef-Mixed AND Apache-2.0"
    assert found["gsm8k_train"] == "MIT"


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


def test_constraints_ground_truths_and_personas(shared_lake):
    assert query(
        shared_lake,
        "select verifier, count(*), count(ground_truth) from raw.prompts where source = 'tulu3_rlvr' group by 1 order by 1",
    ) == [
        ("gsm8k", 48, 48),
        ("math", 52, 52),
    ]
    ((ids,),) = query(
        shared_lake, "select count(distinct constraints[1].id) from raw.prompts where source = 'tulu3_if_seeds'"
    )
    assert ids == 25
    assert query(
        shared_lake, "select count(distinct persona_id) from raw.prompts where source = 'persona_hub_tool'"
    ) == [(5_000,)]
    assert query(shared_lake, "select count(*) from raw.completions where content like '%<|endoftext|>'") == [(0,)]
    assert query(
        shared_lake, "select count(*) from raw.completions where source = 'ultrafeedback_1k' and score is not null"
    ) == [(4_000,)]


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
