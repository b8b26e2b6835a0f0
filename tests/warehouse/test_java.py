"""Finding Java, with machines made of small shell scripts that answer `-version` as real ones do."""

import os
import subprocess
import sys
from pathlib import Path

import jdk
import pytest

from warehouse import java
from warehouse.errors import CaravanError


def fake_java(home: Path, version: str, code: int = 0) -> Path:
    """A Java home whose `java -version` names that version."""
    binary = home / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(
        f"#!/bin/sh\necho 'Picked up JAVA_TOOL_OPTIONS: -Dx=\"version\"' >&2\necho 'openjdk version \"{version}\" 2025-04-15' >&2\nexit {code}\n"
    )
    binary.chmod(0o755)
    return home


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    """No JAVA_HOME, nothing on PATH, an empty home folder, no network."""

    def offline(*_args, **_options):
        raise OSError("Network is unreachable")

    # Set first, so that the fixture takes back what ensure_java sets.
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(jdk, "install", offline)


@pytest.mark.parametrize(
    ("answer", "major"), [("1.8.0_391", 8), ("11.0.22", 11), ("17", 17), ("17.0.15", 17), ("21.0.2", 21), ("25-ea", 25)]
)
def test_version_is_read(tmp_path, answer, major):
    assert java.version(fake_java(tmp_path / "x", answer)) == major


def test_a_java_that_does_not_run_has_no_version(tmp_path):
    assert java.version(tmp_path / "nothing") == 0
    assert java.version(fake_java(tmp_path / "stub", "17.0.1", code=1)) == 0


def test_java_home_goes_first(tmp_path, monkeypatch):
    home = fake_java(tmp_path / "home", "21.0.2")
    fake_java(tmp_path, "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(home))
    java.ensure_java()
    assert os.environ["JAVA_HOME"] == str(home)


def test_an_old_java_home_gives_way_to_path(tmp_path, monkeypatch):
    fake_java(tmp_path, "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_391")))
    java.ensure_java()
    assert os.environ["JAVA_HOME"] == str(tmp_path)


def test_a_link_on_path_leads_to_the_home(tmp_path):
    home = fake_java(tmp_path / "lib" / "jvm", "17.0.1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    java.ensure_java()
    assert os.environ["JAVA_HOME"] == str(home)


@pytest.mark.parametrize("inside", ["", "Contents/Home"])
def test_a_fetched_runtime_is_found_again(tmp_path, inside):
    home = fake_java(tmp_path / ".jre" / "jdk-17.0.9+9-jre" / inside, "17.0.9")
    java.ensure_java()
    assert os.environ["JAVA_HOME"] == str(home)


def test_an_old_java_makes_it_fetch(tmp_path, monkeypatch):
    fake_java(tmp_path, "11.0.22")
    asked = []

    def install(version, jre):
        asked.append((version, jre))
        fake_java(tmp_path / ".jre" / "jdk-17.0.9+9-jre", "17.0.9")

    monkeypatch.setattr(jdk, "install", install)
    java.ensure_java()
    assert asked == [("17", True)]
    assert os.environ["JAVA_HOME"] == str(tmp_path / ".jre" / "jdk-17.0.9+9-jre")


@pytest.mark.parametrize("old", [None, "11.0.22"])
def test_offline_is_one_sentence_that_names_the_package(tmp_path, old):
    if old:
        fake_java(tmp_path, old)
    with pytest.raises(CaravanError) as caught:
        java.ensure_java()
    sentence = str(caught.value)
    assert "openjdk-17-jre-headless" in sentence
    assert "java-17-openjdk-headless" in sentence
    assert "openjdk@17" in sentence
    assert "Network is unreachable" in sentence
    assert sentence.count(". ") == 0


def test_a_download_that_does_not_run_is_refused(monkeypatch):
    monkeypatch.setattr(jdk, "install", lambda version, jre: None)
    with pytest.raises(CaravanError, match="does not run on this machine"):
        java.ensure_java()


def test_command_offline_without_java(tmp_path):
    """The real thing: no Java anywhere, install-jdk itself sent to a proxy that does not answer."""
    environment = {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "warehouse.java"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2
    assert "openjdk-17-jre-headless" in done.stderr
    assert "Traceback" not in done.stderr
