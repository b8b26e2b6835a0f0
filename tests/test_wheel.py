"""What executors of a cluster get: one wheel that works as a zip on the path, and jobs that run on executors of their own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import duckdb
import pytest

import warehouse
from warehouse.refs import resolve

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def test_it_holds_code_and_data_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"schemas/raw.prompts.yaml", "pipelines/sources.toml", "warehouse/licences/licences.csv"} <= names
    code = {"warehouse", "inference", "pipelines", "tasks", "trainers"}
    assert {name.split("/")[0].split("-")[0] for name in names} == code | {"schemas", "caravan_recipe"}
    for folder in code:
        assert {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")} <= names


def test_it_works_as_a_zip_on_the_path(wheel, tmp_path):
    """As an executor sees it: nothing is unpacked, so data files are resources and compiled functions have no cache."""
    program = """
import warehouse, inference.models, pipelines.templates, pipelines.overlap.task, pipelines.transform, pipelines.neighbours
from pipelines import registry
from warehouse import contracts, licences
assert ".whl" in warehouse.__file__ and ".whl" in pipelines.overlap.task.__file__
assert contracts.load("raw.prompts").names[0] == "prompt_id"
assert licences.permitted("CC-BY-NC-4.0").commercial is False
assert "gsm8k" in registry.load().names("evaluation")
assert "gpt-4o-2024-08-06" in inference.models.cards()
assert pipelines.templates.template("judge/honesty").version
"""
    works(program, wheel, tmp_path)


def test_verifiers_work_from_the_zip(wheel, tmp_path):
    """Workers and the sandbox start programs that lie in the zip."""
    program = """
import json, tasks
from tasks.registry import tasks as all_tasks, verifiers, verify
assert ".whl" in tasks.__file__
assert len(all_tasks()) > 20 and len(verifiers()) > 10
assert verify("math", r"$\\boxed{(x+1)^2}$", "x^2+2x+1", variant="paper").message == "the same to sympy"
asserts, right, wrong = json.dumps(["assert f(2) == 4"]), "def f(x): return 2 * x", "def f(x): return x"
assert verify("code_asserts", right, asserts).correct
assert verify("code_asserts", right, asserts, process="together").correct
assert not verify("code_asserts", wrong, asserts).correct
language = {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "de"}]}
assert verify("ifeval", "Heute regnet es den ganzen Tag, und morgen wohl auch.", language).correct
"""
    works(program, wheel, tmp_path)


def works(program, wheel, folder):
    """A program runs to its end with the wheel on the path."""
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_jobs_on_a_cluster_of_two_executors(wheel, warehouse_root, tmp_path):
    """spark-submit to a master with two worker processes whose Python has the dependencies, and the project by --py-files."""
    # Spark puts what is called .zip, .egg or .jar on the path of the tasks.
    project = shutil.copy(wheel, tmp_path / "caravan.zip")
    python = tmp_path / "python"
    # Without site no .pth file is read, which would lead to this checkout.
    packages = ":".join(path for path in sys.path if path.endswith("-packages"))
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages}" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    (tmp_path / "a.jsonl").write_text('{"prompt": "One and the same question?", "completion": "Yes."}\n' * 3)
    (tmp_path / "b.jsonl").write_text(
        '{"prompt": "one and the same  question", "completion": "No."}\n{"prompt": "Another.", "completion": ""}\n'
    )
    submit = [
        str(Path(sys.executable).with_name("spark-submit")),
        "--master",
        "local-cluster[2,1,2048]",
        "--py-files",
        str(project),
    ]
    light = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    settings = {
        "driver.extraJavaOptions": light,
        "executor.extraJavaOptions": light,
        "executor.memory": "1g",
        "sql.shuffle.partitions": 2,
        "ui.enabled": "false",
    }
    small = [word for name, value in settings.items() for word in ("--conf", f"spark.{name}={value}")]
    environment = {**os.environ, "PYSPARK_PYTHON": str(python), "PYSPARK_DRIVER_PYTHON": sys.executable}
    environment.pop("PYSPARK_SUBMIT_ARGS", None)

    def job(name, *arguments):
        command = [*submit, *small, str(ROOT / "pipelines" / name), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    declared = '[training.{0}]\ninput = "{0}.jsonl"\nadapter = "prompt_completion"\nlicence = "CC0-1.0"\n'
    (tmp_path / "sources.toml").write_text("".join(declared.format(name) for name in "ab"))
    job("ingest.py", "--registry", "sources.toml", "--source", "a", "--source", "b")
    job("deduplicate.py")
    w = warehouse.open()
    assert resolve(w, "raw.prompts").rows == 5
    found = (
        warehouse.connect()
        .sql("select source, row, kind, cluster_rows, keeper from attr.duplicates order by all")
        .fetchall()
    )
    assert found == [
        ("a", 1, "exact", 3, True),
        ("a", 1, "near", 4, True),
        ("a", 2, "exact", 3, False),
        ("a", 2, "near", 4, False),
        ("a", 3, "exact", 3, False),
        ("a", 3, "near", 4, False),
        ("b", 1, "near", 4, False),
    ]
    (tmp_path / "school.jsonl").write_text('{"question": "One and the same question?"}\n')
    plain = ["--train", "a.jsonl", "b.jsonl", "--evals", "school.jsonl", "--output", "out"]
    job("decontaminate.py", *plain)
    evidence = duckdb.sql(
        f"select train_set, train_row from '{tmp_path}/out/evidence/*.parquet' order by all"
    ).fetchall()
    assert evidence == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert duckdb.sql(f"select prompt from '{tmp_path}/out/clean/*.parquet'").fetchall() == [("Another.",)]
