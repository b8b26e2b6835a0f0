"""Verdicts in the warehouse and on plain files: found once, kept while they are valid, and nothing lost."""

import hashlib
import json
import os
import re
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest

import warehouse
from pipelines import verdicts, verify
from tasks import registry
from warehouse.commit import Job, commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import resolve
from warehouse.spark import read

CODE = "```python\ndef double(x):\n    return x * 2\n```"
ASSERTS = json.dumps(["assert double(2) == 4"])
CAPITALS = json.dumps({"instruction_id_list": ["change_case:english_capital"], "kwargs": [{}]})
MIX = json.dumps([{"verifier": "gsm8k", "ground_truth": "7"}, {"verifier": "max_length", "ground_truth": "2"}])


def md5(*parts):
    return hashlib.md5("\x1f".join(parts).encode()).hexdigest()


# (source, row, prompt, verifier, ground truth, responses)
ROWS = [
    ("alpha", 1, "3 + 4?", "gsm8k", "7", ["It is 7.", "It is 8.", "No idea"]),
    ("alpha", 2, "Half?", "MATH", "\\frac12", ["$\\boxed{0.5}$"]),
    ("alpha", 3, "Tell me.", None, None, ["Anything"]),
    ("alpha", 4, "Shout.", "ifeval", CAPITALS, ["HELLO THERE, MY FRIEND", "hello"]),
    ("beta", 1, "Double", "code_asserts", ASSERTS, [CODE, CODE.replace("*", "+")]),
    ("beta", 2, "Broken", "gsm8k", "none", ["It is 7."]),
    ("beta", 3, "Unknown", "oracle", "7", ["It is 7.", "It is 8."]),
    ("beta", 4, "No truth", "ifeval", None, ["HELLO"]),
    ("gamma", 1, "3 + 4?", "mix", MIX, ["7", "It is 7."]),
    ("delta", 1, "Not checked", None, None, ["Anything"]),
]


def fill(w, rows, replace=None):
    prompts, completions = [], []
    for source, row, prompt, verifier, truth, responses in rows:
        key = {
            "prompt_id": md5("user", prompt),
            "source": source,
            "revision": "r1",
            "file": "f",
            "row": row,
            "branch": 0,
        }
        messages = [{"role": "user", "content": prompt}]
        prompts.append({**key, "messages": messages, "licence": "MIT", "verifier": verifier, "ground_truth": truth})
        completions += [
            {
                **key,
                "completion_id": md5(key["prompt_id"], response),
                "sample": n,
                "content": response,
                "licence": "MIT",
            }
            for n, response in enumerate(responses)
        ]
    commit_arrow(w, "raw.prompts", pa.Table.from_pylist(prompts), Job("test"), replace)
    commit_arrow(w, "raw.completions", pa.Table.from_pylist(completions), Job("test"), replace)


@pytest.fixture
def filled(warehouse_root):
    w = warehouse.open()
    fill(w, ROWS)
    return w


def here(spark, *arguments):
    """Run the job in this process, on the session of the tests."""
    verify.main(arguments)


def table(columns="source, row, sample, verifier, correct"):
    return warehouse.connect().sql(f"select {columns} from attr.verdicts order by all").fetchall()


def snapshot(w):
    return resolve(w, "attr.verdicts").snapshot_id


FOUND = [
    ("alpha", 1, 0, "gsm8k", True),
    # The same prompt, of another source, states another check.
    ("alpha", 1, 0, "mix", False),
    ("alpha", 1, 1, "gsm8k", False),
    ("alpha", 1, 1, "mix", False),
    ("alpha", 1, 2, "gsm8k", False),
    ("alpha", 1, 2, "mix", False),
    ("alpha", 2, 0, "MATH", True),
    ("alpha", 4, 0, "ifeval", True),
    ("alpha", 4, 1, "ifeval", False),
    ("beta", 1, 0, "code_asserts", True),
    ("beta", 1, 1, "code_asserts", True),
    ("beta", 2, 0, "gsm8k", None),
    ("beta", 3, 0, "oracle", None),
    ("beta", 3, 1, "oracle", None),
    ("beta", 4, 0, "ifeval", None),
    ("gamma", 1, 0, "gsm8k", True),
    ("gamma", 1, 0, "mix", True),
    ("gamma", 1, 1, "gsm8k", True),
    ("gamma", 1, 1, "mix", False),
]


def test_the_job(spark, filled, capfd):
    here(spark)
    assert table() == FOUND
    told = capfd.readouterr().out
    assert f"reads {resolve(filled, 'raw.completions')} {resolve(filled, 'raw.prompts')}" in told
    assert f"wrote {resolve(filled, 'attr.verdicts')}: gamma, 4 completions verified" in told
    gamma = f"completion_id {md5(md5('user', 'Unknown'), 'It is 7.')}"
    other = f"completion_id {md5(md5('user', 'Unknown'), 'It is 8.')}"
    assert f"beta, oracle: 2 problems, such as of {min(gamma, other)}: unknown verifier 'oracle'" in told
    assert "beta, gsm8k: 1 problems, such as of completion_id" in told

    what = "score, extracted, rule, message, version, problem"
    assert table(f"row, sample, {what}")[:1] == [
        (1, 0, 0.5, None, "none", "max_length: 3 words of at most 2", "1 (gsm8k 2, max_length 1)", None)
    ]
    problems = (
        warehouse.connect()
        .sql("select verifier, version, problem from attr.verdicts where correct is null order by all")
        .fetchall()
    )
    assert problems == [
        ("gsm8k", "2", "gsm8k: ground_truth 'none' holds no number"),
        (
            "ifeval",
            "1",
            "ifeval: ground truth is not an object with instruction_id_list and kwargs, nor a list of such",
        ),
        ("oracle", "", f"unknown verifier 'oracle'; there are {', '.join(registry.VERIFIERS)}"),
        ("oracle", "", f"unknown verifier 'oracle'; there are {', '.join(registry.VERIFIERS)}"),
    ]

    # Nothing new: nothing is committed, whatever is read from where.
    last = snapshot(filled)
    here(spark)
    here(spark, "--sources", "alpha,delta")
    assert snapshot(filled) == last
    assert "completions verified" not in capfd.readouterr().out


def verified(capfd):
    return re.findall(r"(\w+), ([\d,]+) completions verified", capfd.readouterr().out)


def test_a_run_that_was_stopped_goes_on(spark, filled, capfd, monkeypatch):
    commits = []

    def stopping(*arguments, **options):
        if len(commits) == 1:
            raise KeyboardInterrupt
        commits.append(verify_commit(*arguments, **options))
        return commits[-1]

    verify_commit = verify.commit
    monkeypatch.setattr(verify, "commit", stopping)
    with pytest.raises(KeyboardInterrupt):
        here(spark)
    assert table() == [row for row in FOUND if row[0] == "alpha"]
    monkeypatch.undo()
    monkeypatch.setenv("CARAVAN_WAREHOUSE", filled.root)
    assert verified(capfd) == [("alpha", "9")]
    here(spark)
    assert table() == FOUND
    assert verified(capfd) == [("beta", "6"), ("gamma", "4")]


def test_only_what_changed_is_verified(spark, filled, capfd):
    here(spark)
    verified(capfd)
    changed = [row for row in ROWS if row[0] == "beta" and row[1] != 3]
    changed[1] = ("beta", 2, "Broken", "gsm8k", "7", ["It is 7."])
    changed[0] = (*changed[0][:5], [CODE, "no code at all"])
    fill(filled, changed, {"source": ["beta"]})
    here(spark)
    assert verified(capfd) == [("beta", "2")]
    assert [row for row in table() if row[0] == "beta"] == [
        ("beta", 1, 0, "code_asserts", True),
        ("beta", 1, 1, "code_asserts", False),
        ("beta", 2, 0, "gsm8k", True),
        ("beta", 4, 0, "ifeval", None),
    ]
    fill(filled, [("beta", 9, "Not checked", None, None, ["Anything"])], {"source": ["beta"]})
    here(spark)
    assert [row for row in table() if row[0] == "beta"] == []
    assert [row for row in table() if row[0] != "beta"] == [row for row in FOUND if row[0] != "beta"]


def test_a_new_version_of_a_verifier_is_another_verdict(spark, filled):
    """A verdict of another version than today's is missing, and its row is one that has gone."""
    here(spark)
    existing = read(spark, resolve(filled, "attr.verdicts"))
    older = existing.withColumn("version", verdicts.F.expr("if(verifier = 'gsm8k', '0', version)"))
    rows = verdicts.wanted(
        read(spark, resolve(filled, "raw.completions")), verdicts.checks(read(spark, resolve(filled, "raw.prompts")))
    )
    count = sum(row[3] == "gsm8k" for row in FOUND)
    assert {row.verifier for row in verdicts.missing(rows, older).collect()} == {"gsm8k"}
    assert verdicts.missing(rows, older).count() == count
    assert verdicts.still_valid(older, rows).count() == len(FOUND) - count


def test_real_solutions_are_right(spark, shared_lake, monkeypatch, capfd):
    """The solutions of GSM8K and MATH, by the check that their own prompts state."""
    monkeypatch.setenv("CARAVAN_WAREHOUSE", str(shared_lake))
    monkeypatch.delenv("CARAVAN_CATALOGUE", raising=False)
    here(spark, "--sources", "gsm8k_train,math_train")
    told = capfd.readouterr().out
    counts = (
        warehouse.connect()
        .sql(
            "select source, verifier, count(*), count_if(correct), count(problem) from attr.verdicts group by all order by all"
        )
        .fetchall()
    )
    assert [(source, verifier, problems) for source, verifier, _, _, problems in counts] == [
        ("gsm8k_train", "gsm8k", 0),
        ("math_train", "math", 0),
    ], told
    completions = dict(warehouse.connect().sql("select source, count(*) from raw.completions group by all").fetchall())
    # Two of the solutions (of AIME) end without the answer.
    wrong = {"gsm8k_train": 0, "math_train": 2}
    for source, _, rows, correct, _ in counts:
        # A prompt that two rows state with different solutions has two checks.
        assert rows >= completions[source] > 900
        assert rows - correct == wrong[source]


def test_help_teaches():
    command = [sys.executable, "-m", "pipelines.verify", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0
    assert "--completions" in done.stdout
    assert "examples:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sources", "alpha,omega"], "holds no rows of omega. Its sources: alpha, beta, delta, gamma"),
        (["--completions", "raw.completions@v9"], "no tag 'v9'"),
        (["--completions", "raw.complitions"], "'raw.complitions' is no table"),
        (["--completions", "answers.jsonl", "--output", "out"], "No file at 'answers.jsonl'"),
        (["--completions", "answers.jsonl", "--output", "out", "--sources", "a"], "--sources chooses rows"),
    ],
)
def test_what_the_job_refuses(spark, filled, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaravanError, match=re.escape(words)):
        here(spark, *arguments)
    assert snapshot(filled) is None
    assert not (tmp_path / "out").exists()


def test_nothing_to_verify(spark, warehouse_root, capfd):
    w = warehouse.open()
    fill(w, ROWS[2:3])
    here(spark)
    assert "nothing to verify" in capfd.readouterr().out
    assert snapshot(w) is None


RECORDS = [
    '{"response": "It is 7.", "verifier": "gsm8k", "ground_truth": "7"}',
    '{"response": "It is 8.", "dataset": "gsm8k", "ground_truth": 7}',
    '{"response": "It is so.", "dataset": "gsm8k", "ground_truth": "none"}',
    "broken",
    '{"completion": "It is $\\\\frac12$", "dataset": "MATH", "ground_truth": "0.5"}',
    '{"response": "no capitals", "dataset": "ifeval", "ground_truth": {"func_name": "validate_lowercase"}}',
    '{"ground_truth": 1}',
    '{"response": "7", "ground_truth": 1}',
]


def test_files(spark, tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(RECORDS))
    output = tmp_path / "out"
    here(spark, "--completions", str(tmp_path / "a.jsonl"), "--output", str(output))
    found = duckdb.sql(
        f"select row, verifier, version, correct, problem from '{output}/verdicts/*.parquet' order by row"
    ).fetchall()
    assert [row[:4] for row in found] == [
        (1, "gsm8k", "2", True),
        (2, "gsm8k", "2", False),
        (3, "gsm8k", "2", None),
        (4, None, None, None),
        (5, "MATH", "1", True),
        (6, "ifeval", "1", True),
        (7, None, None, None),
        (8, None, None, None),
    ]
    said = [row[4] for row in found if row[4]]
    assert said[0] == "gsm8k: ground_truth 'none' holds no number"
    assert said[1].startswith("the record cannot be read: ")
    assert said[2:] == [
        "no text in the field response or completion or output or generation or content",
        "no text in the field verifier or dataset",
    ]
    counts = {row["verifier"]: row for row in json.loads((output / "report.json").read_text())}
    assert (counts["gsm8k"]["rows"], counts["gsm8k"]["correct"], counts["gsm8k"]["problems"]) == (3, 1, 1)
    assert counts["gsm8k"]["example"] == {"row": 3, "problem": said[0]}
    assert sorted(path.name for path in output.iterdir()) == ["report.json", "verdicts"]

    with pytest.raises(CaravanError, match="exists already"):
        here(spark, "--completions", str(tmp_path / "a.jsonl"), "--output", str(output))


def test_files_with_fields_of_other_names(spark, tmp_path):
    rows = [{"text": f"It is {n}.", "answer": "#### 3"} for n in range(2500)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "out").mkdir()
    named = ["--response-field", "text", "--truth-field", "answer", "--verifier", "gsm8k"]
    output = str(tmp_path / "out")
    here(spark, "--completions", str(tmp_path / "a.json"), *named, "--output", output, "--overwrite")
    assert duckdb.sql(f"select row, rule from '{output}/verdicts/*.parquet' where correct").fetchall() == [
        (4, "last number")
    ]
    assert duckdb.sql(f"select count(distinct row) from '{output}/verdicts/*.parquet'").fetchone() == (2500,)


def test_a_file_that_cannot_be_read(spark, tmp_path):
    (tmp_path / "a.json").write_text('[{"response": "7"}, {"resp')
    with pytest.raises(CaravanError, match=re.escape("a.json")):
        here(spark, "--completions", str(tmp_path / "a.json"), "--output", str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
