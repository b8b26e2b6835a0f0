"""What holds for every file of the repository: short, and the same on every machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 450  # lines of a source file: 400 is the aim, and a file is not cut for a line more
SOURCES = {".py", ".sql", ".toml", ".yaml", ".yml", ".sh", ""}
WHOLE = {"LICENSE", "constraints.txt", "pipelines/sources.toml"}  # lists, which get no clearer by being cut
# A path into some machine's folders (not into a system's own, such as /usr/lib), and hosts that serve packages.
MACHINE = re.compile(r"(?<![\w.$}])/(?:work|home|root|Users|mnt|opt/pypi)/\w")
REGISTRY = re.compile(r"(?:pypi\.org|pythonhosted\.org|/simple/|index-url|find-links|@ file:|artifactory|devpi)")


@pytest.fixture(scope="module")
def tracked():
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: there is no list of its files")
    return {name: ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


def test_files_are_short(tracked):
    counts = {
        name: len(path.read_bytes().splitlines())
        for name, path in tracked.items()
        if path.suffix in SOURCES and name not in WHOLE
    }
    assert len(counts) > 50
    assert {name: count for name, count in counts.items() if count > LONGEST} == {}


def test_names_of_test_files_are_unique(tracked):
    """Those in folders that are no packages are modules of one name."""
    names = [path.name for path in tracked.values() if path.name.startswith("test_")]
    assert len(names) > 100
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_nothing_names_a_machine_or_a_registry(tracked):
    found = []
    for name, path in tracked.items():
        text = path.read_text(encoding="utf-8", errors="replace")
        if name != "tests/test_tree.py":
            found += [f"{name}: {match[0]}" for pattern in (MACHINE, REGISTRY) for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["open('/work/main/x')", "see /home/me/file", "--extra-index-url x"])
def test_the_patterns_match(text):
    assert MACHINE.search(text) or REGISTRY.search(text)


def test_constraints_are_exact_versions():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 80
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
