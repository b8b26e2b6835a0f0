"""Fixtures of the tests of inference: the loopback server, model cards for it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from inference.models import Card, cards

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    """The loopback server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    def faults(self, **given: Any) -> None:
        """Set what goes wrong from now on; nothing where nothing is given."""
        data = json.dumps(given).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/faults", data, method="POST"), timeout=10).close()

    def reset(self) -> None:
        """No faults, nothing paid, nothing remembered."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/reset", b"", method="POST"), timeout=10).close()

    def get(self, route: str) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/{route}", timeout=10) as answer:
            return json.load(answer)

    def paid(self) -> dict[str, int]:
        """Idempotency key -> times it was charged."""
        return self.get("paid")

    def counts(self) -> dict[str, int]:
        """Fate -> requests."""
        return self.get("counts")

    def cards(self, folder: Path, **models: dict[str, Any]) -> dict[str, Card]:
        """Cards of models that this server serves; keys given per model are added to its card."""
        lines = []
        for name, given in models.items():
            told = {"provider": "openai", "licence": "Apache-2.0", "urls": [self.api], "serves": "loop", **given}
            if told["provider"] == "anthropic" and "urls" not in given:
                told["urls"] = [self.url]
            lines += [f"[model.{name}]", *(f"{key} = {_toml(value)}" for key, value in told.items())]
        path = folder / "models.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return cards(path)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, date) else json.dumps(value)


def start(**faults: Any) -> Server:
    """A new server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.inference.loopback", "--faults", json.dumps(faults)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, "the loopback server did not start"
    return Server(url, process)


@pytest.fixture
def server() -> Iterator[Server]:
    """A loopback server without faults, of this test alone."""
    started = start()
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture(scope="session")
def _lasting() -> Iterator[Server]:
    started = start()
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def loop(_lasting: Server) -> Server:
    """A loopback server that all tests of a worker share, as good as new."""
    _lasting.reset()
    return _lasting
