"""Which folder may import what: read from the source, so that an import inside a function counts too."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN = {"warehouse", "pipelines", "schemas", "inference", "tasks", "trainers", "evaluation"}
SPARK, TORCH = {"pyspark", "py4j"}, {"torch", "transformers", "deepspeed", "vllm", "peft", "accelerate"}
STANDARD = set(sys.stdlib_module_names)

# Of the project's own folders, and of what is installed. None: anything that is not forbidden.
MAY_IMPORT: dict[str, tuple[set[str], set[str] | None]] = {
    "schemas": (set(), set()),
    "warehouse": (
        {"warehouse"},
        {
            "pyarrow",
            "pyiceberg",
            "duckdb",
            "datasets",
            "numpy",
            "fsspec",
            "sqlalchemy",
            "yaml",
            "rich",
            "jdk",
            "dbt",
            "dbt_common",
        },
    ),
    "inference": ({"inference", "warehouse"}, None),
    "tasks": ({"tasks"}, None),
    "pipelines": ({"pipelines", "warehouse", "inference", "tasks"}, None),
    "trainers": ({"trainers", "warehouse", "tasks", "inference"}, None),
    "evaluation": ({"evaluation", "warehouse", "inference", "tasks"}, None),
}
FORBIDDEN = {
    "warehouse": SPARK | TORCH,
    "inference": SPARK | TORCH,
    "tasks": SPARK | TORCH,
    "pipelines": TORCH,
    "trainers": SPARK,
    "evaluation": SPARK,
}
EXCEPT = {"warehouse/spark.py": SPARK}


def imports(source: str) -> set[str]:
    """Full names of the modules that a source imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_job(path: Path) -> bool:
    """A module with a main function that runs when the file is run."""
    return "__main__" in {
        node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
    }


def broken(name: str, source: str, jobs: set[str]) -> list[str]:
    """The rules that a file breaks."""
    folder = name.split("/", maxsplit=1)[0]
    own, installed = MAY_IMPORT[folder]
    module = name.removesuffix(".py").replace("/", ".")
    found = []
    for full in sorted(imports(source)):
        top = full.split(".", maxsplit=1)[0]
        if top in OWN:
            if top not in own:
                found.append(f"{name} imports {full}: {folder} may not import {top}")
            elif full in jobs and full != module:
                found.append(f"{name} imports {full}, which is a job: move what both need into a module of its own")
        elif top in FORBIDDEN.get(folder, set()) - EXCEPT.get(name, set()):
            found.append(f"{name} imports {full}: {top} has no place in {folder}")
        elif installed is not None and top not in STANDARD | installed | EXCEPT.get(name, set()):
            found.append(f"{name} imports {full}: {folder} is limited to {', '.join(sorted(installed)) or 'nothing'}")
    return found


def modules() -> dict[str, Path]:
    return {
        str(path.relative_to(ROOT)): path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))
    }


def test_rules_hold():
    files = modules()
    assert len(files) > 30
    jobs = {
        name.removesuffix(".py").replace("/", ".")
        for name, path in files.items()
        if name.startswith("pipelines/") and is_job(path)
    }
    assert {"pipelines.ingest", "pipelines.decontaminate", "pipelines.deduplicate"} <= jobs
    assert [line for name, path in files.items() for line in broken(name, path.read_text(), jobs)] == []


def test_schemas_are_data():
    assert [path.name for path in (ROOT / "schemas").iterdir() if path.suffix not in (".yaml", "")] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("warehouse/x.py", "def f():\n    import pyspark.sql"),
        ("warehouse/spark.py", "import torch"),
        ("warehouse/x.py", "import pandas"),
        ("warehouse/x.py", "from pipelines import files"),
        ("pipelines/x.py", "from pipelines import ingest"),
        ("pipelines/x.py", "from pipelines.ingest import main"),
        ("pipelines/x.py", "import torch.nn"),
        ("pipelines/x.py", "import trainers"),
        ("trainers/x.py", "from pyspark.sql import functions"),
        ("tasks/x.py", "import warehouse"),
    ],
)
def test_a_broken_rule_is_seen(name, source):
    assert broken(name, source, {"pipelines.ingest"})


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("warehouse/spark.py", "import pyspark"),
        ("pipelines/ingest.py", "import pipelines.ingest"),
        ("pipelines/x.py", "import numba"),
    ],
)
def test_what_is_allowed_is_not(name, source):
    assert broken(name, source, {"pipelines.ingest"}) == []
