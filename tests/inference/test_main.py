"""python -m inference: cards, estimates, what journals hold, and that a key is in none of it nor in anything that asking leaves behind."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, Server
from rich.console import Console

import warehouse
from inference import __main__ as command_line
from inference import limits, record
from inference.batches import Batching, run
from inference.batches.engine import Engine
from inference.journal import Journal
from inference.request import Request, Response
from inference.send import Sending, send
from tests.inference.loopback_batches import start
from warehouse import contracts
from warehouse.commit import Job
from warehouse.errors import CaravanError

KEY = "sk-planted-51d0cc97aa0e4b0f"
PRICE = [{"since": date(2025, 1, 1), "input": 1000.0, "output": 2000.0}]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command; what it prints."""

    def said(*words: str | Path) -> str:
        output = io.StringIO()
        monkeypatch.setattr(command_line, "console", Console(file=output, width=220, highlight=False))
        command_line.main([str(word) for word in words])
        return output.getvalue()

    return said


def asking(count: int, model: str = "a") -> list[Request]:
    turns = [({"role": "user", "content": f"{model} asks {number}"},) for number in range(count)]
    return [Request("openai", model, turn, parameters={"max_tokens": 10}) for turn in turns]


def row_of(output: str, name: str) -> list[str]:
    [line] = [line for line in output.splitlines() if f"│ {name} " in line]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_models_lists_where_key_licence_price(say: Any, loop: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loop.cards(tmp_path, mine={"key": "MY_KEY", "prices": PRICE, "requests_per_minute": 500, "batch_discount": 0.5})
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("MY_KEY", KEY)
    told = say("models", "--models", tmp_path / "models.toml")
    assert row_of(told, "mine") == [
        *("mine", "openai", loop.api, "MY_KEY (set)", "Apache-2.0", "1000 / 2000, batch -50%", "requests a minute 500")
    ]
    assert row_of(told, "gpt-4o-mini-2024-07-18")[3] == "OPENAI_API_KEY (not set)"
    assert row_of(told, "qwen2.5-7b-instruct")[2:4] == ["none: say where", "none needed"]
    assert KEY not in told
    one = say("models", "gpt-4o")
    assert "since 2024-05-13: 5 in, 15 out" in one and "business-terms" in one and "A name that moves" in one
    with pytest.raises(CaravanError, match=r"no model card 'gpt-4oo'\. Did you mean gpt-4o"):
        say("models", "gpt-4oo")


def test_estimate_of_json_lines_and_parquet(say: Any, loop: Server, tmp_path: Path):
    loop.cards(tmp_path, a={"prices": PRICE, "batch_discount": 0.5}, free={})
    lines, parquet, cards = tmp_path / "asked.jsonl", tmp_path / "asked.parquet", ("--models", tmp_path / "models.toml")
    turn = {"role": "user", "content": "x" * 84}
    short = {"model": "a", "messages": [turn], "parameters": {"max_tokens": 100}}
    lines.write_text(json.dumps(short) + "\n" + json.dumps({"model": "free", "prompt": "Once"}) + "\n")
    # 84 bytes are at most as many tokens, likely 24; 16 and 8 more for roles. Likely half of the 100 tokens are used.
    assert row_of(say("estimate", lines, *cards), "a")[1:] == ["1", "about 32", "about 50", "$0.1320", "$0.3000"]
    assert row_of(say("estimate", lines, *cards), "free")[4:] == ["not known", "not known"]
    assert row_of(say("estimate", lines, "--batch", *cards), "a")[4:] == ["$0.0660", "$0.1500"]
    same = Request("openai", "a", (turn,), parameters={"max_tokens": 100})
    pq.write_table(pa.Table.from_pylist([same.row()] * 3, contracts.load("llm.requests").arrow_schema()), parquet)
    assert row_of(say("estimate", parquet, lines, *cards), "a")[1:] == [
        "4",
        "about 128",
        "about 200",
        "$0.5280",
        "$1.20",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: this is no JSON"),
        ("[]", "line 2: a request is a JSON object"),
        ('{"model": "nobody", "prompt": "x"}', "line 2: There is no model card 'nobody'"),
        ('{"model": "gpt-4o", "prompt": "x", "messages": []}', "line 2: .*messages or a prompt"),
        ('{"model": "gpt-4o", "prompt": 3}', "line 2: prompt is a text"),
        ('{"model": "gpt-4o", "messages": [{"role": "user", "content": 3}]}', "line 2: messages is a list of objects"),
        ('{"model": "gpt-4o", "prompt": "x", "parameters": "{"}', "line 2: "),
        ('{"model": "gpt-4o", "prompt": "x", "temperature": 1}', "line 2: temperature: a request has no such field"),
        ('{"prompt": "x"}', "line 2: a request names a model"),
    ],
)
def test_a_line_that_is_no_request_is_named(say: Any, tmp_path: Path, line: str, words: str):
    path = tmp_path / "asked.jsonl"
    path.write_text('{"model": "gpt-4o", "prompt": "x"}\n' + line + "\n")
    with pytest.raises(CaravanError, match=f"asked.jsonl, {words}"):
        say("estimate", path)


def test_status_while_a_run_holds_the_journal_and_after_it_was_killed(say: Any, tmp_path: Path):
    folder = tmp_path / "lake/.journals/judge"
    asked = asking(7)
    with Journal(folder) as journal:
        for request in asked:
            journal.asked(request.request_id)
        for request in asked[:4]:
            journal.add(Response(request.request_id, "ok", cost=0.25, received_at=datetime.now(UTC)))
        journal.add(Response(asked[4].request_id, "failed", received_at=datetime.now(UTC)))
        told = say("status", folder)
        assert f"in use by process {os.getpid()}" in told
        assert "not in llm.responses yet: 5 (1 failed, 4 ok; $1.0000)" in told
        assert "in flight, or waiting for another attempt: 2" in told
        journal.asked(asked[0].request_id)  # the run goes on undisturbed
    told = say("status", "--root", tmp_path / "lake")
    assert f"{folder}: not in use" in told and "in doubt: 2 were in flight when a run was killed" in told
    with pytest.raises(CaravanError, match="is no journal"):
        say("status", tmp_path)
    assert "There is no journal in" in say("status", "--root", tmp_path / "elsewhere")


def test_status_shows_batches_under_way(say: Any, tmp_path: Path):
    server = start(polls=1_000_000)
    try:
        cards = server.cards(tmp_path, a={"prices": PRICE, "batch_discount": 0.5})
        with Journal(tmp_path / "journal") as journal:
            engine = Engine(iter(asking(50)), cards, journal, Batching(requests_per_batch=20, progress=False))
            engine._fill()
            engine.ledger.close()
        told = say("status", tmp_path / "journal")
        rows = [row_of(told, f"batch_{number:06d}") for number in (2, 4, 6)]
        assert [row[3] for row in rows] == ["20", "20", "10"]
        assert {(row[1], row[2], row[4], row[5]) for row in rows} == {
            ("a", server.url.removeprefix("http://"), "1", "with its provider")
        }
        assert all(row[6].startswith("0:0") and row[7].startswith("$") for row in rows)
    finally:
        server.process.kill()


def test_help_teaches():
    told = subprocess.run(
        [sys.executable, "-m", "inference", "--help"], capture_output=True, text=True, cwd=REPOSITORY, check=True
    ).stdout
    assert "python -m inference estimate questions.jsonl" in told and "docs/ask.md" in told


def test_a_planted_key_is_nowhere(
    say: Any, loop: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Errors that repeat the key, refused and answered requests, batches, tables, the command line: the key stays in the environment."""
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.setattr(limits, "BACKOFF", 0.02)
    lake = str(tmp_path / "lake")
    w = warehouse.open(lake, create=True)
    batching = Batching(pause=(0.02, 0.1), settle=0.3)
    server = start(key=KEY, error=0.3, refuse=0.2)
    try:
        with Journal(f"{lake}/.journals/planted") as journal:
            cards = loop.cards(tmp_path, a={"key": "PLANTED"}, b={"key": "PLANTED", "provider": "anthropic"})
            asked = asking(30) + [replace(request, provider="anthropic", model="b") for request in asking(30, "b")]
            long = Request("openai", "a", ({"role": "user", "content": "long " * 100},), parameters={"max_tokens": 10})
            loop.faults(key=KEY, echo_key=True, status={"500": 0.2, "429": 0.1}, retry_after=0.02, too_long=300)
            assert send([*asked, long], cards, journal, Sending()).failed == 1
            at_once = asking(20, "c")
            batched = server.cards(tmp_path, c={"key": "PLANTED", "batch_discount": 0.5})
            assert run(at_once, batched, journal, batching).failed > 0
            rows = [request.row() for request in (*asked, long, *at_once)]
            table = pa.Table.from_pylist(rows, contracts.load("llm.requests").arrow_schema())
            record.commit(w, journal, table, Job("planted", {}))
            monkeypatch.setenv("PLANTED", f"{KEY}-wrong")
            for refused in ({"a": cards["a"]}, {"a": cards["b"]}):
                other = replace(asked[0], sample=1, provider=refused["a"].provider)
                with pytest.raises(CaravanError, match="does not accept the key in PLANTED") as caught:
                    send([other], refused, journal, Sending())
                print(caught.value)
            with pytest.raises(CaravanError, match=r"\[key removed\]") as caught:
                run([replace(at_once[0], sample=1)], batched, journal, batching)
            print(caught.value)
        print(say("status", "--root", lake), say("models", "--models", tmp_path / "models.toml"))
    finally:
        server.process.kill()
    with warehouse.connect(root=lake) as database:
        for name in ("llm.requests", "llm.responses"):
            text = str(database.sql(f"select * from {name}").fetchall())
            assert "asks 3" in text or "Answer " in text
            assert KEY not in text
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 10 and not [path for path in kept if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())
