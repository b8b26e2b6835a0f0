"""Templates: versions by content, the same text from Python and from Spark, the ones that are there."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from pipelines import templates
from pipelines.judging.questions import ASPECTS, FIELDS
from warehouse.errors import CaravanError

ROOT = Path(__file__).resolve().parents[2]


def test_a_version_is_of_the_text():
    one, other = templates.of("a/b", "Say $what."), templates.of("a/b", "Say $what!")
    assert one.id == "a/b@" + one.version
    assert len(one.version) == 8
    assert one.version != other.version
    assert one.version == templates.of("c", "Say $what.").version


def test_fields_are_filled_once():
    """What a field holds is text, whatever it looks like."""
    found = templates.of("t", "$a costs $$5, ${b}s")
    assert found.fields == ["a", "b"]
    assert found.render(a="$b", b="\\1 $$") == "$b costs $5, \\1 $$s"
    with pytest.raises(KeyError, match="b"):
        found.render(a="x")


def test_spark_says_the_same(spark):
    found = templates.of("t", "$$ $a, ${b}$a $$x\n")
    rows = [("one", "$a\n"), ("ü ´\u2028", "${b} \\"), ("", "")]
    rendered = (
        spark.createDataFrame(rows, "a string, b string").select(found.column(a=F.col("a"), b=F.col("b"))).collect()
    )
    assert [row[0] for row in rendered] == [found.render(a=a, b=b) for a, b in rows]


@pytest.mark.parametrize("text", ["costs $5", "100 $ more", "${a b}"])
def test_a_dollar_that_begins_no_field(text):
    with pytest.raises(CaravanError, match=r"write '\$\$' for a dollar sign"):
        templates.of("t", text)


def test_unknown():
    with pytest.raises(CaravanError, match=r"no template 'judge/wit'\. There are: .*judge/honesty"):
        templates.template("judge/wit")


@pytest.mark.parametrize("name", templates.names())
def test_every_template_can_be_read(name):
    found = templates.template(name)
    assert found.text
    assert found.text == found.text.rstrip()


def test_templates_of_the_judge():
    assert templates.names("judge/") == sorted(f"judge/{aspect}" for aspect in ASPECTS)
    for aspect in ASPECTS:
        found = templates.template(f"judge/{aspect}")
        assert set(found.fields) == FIELDS
        assert [line[0] for line in found.text.splitlines() if line[:2] in ("1:", "2:", "3:", "4:", "5:")] == list(
            "12345"
        )


def test_templates_in_a_zip(tmp_path):
    """Spark ships code as a zip."""
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        for folder in ("pipelines", "warehouse", "schemas"):
            for path in (ROOT / folder).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, path.relative_to(ROOT))
    code = "from pipelines import templates; print(templates.template('judge/honesty').id, templates.__file__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "code.zip")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(templates.template("judge/honesty").id)
    assert "code.zip" in done.stdout
