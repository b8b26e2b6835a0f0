"""The journal keeps what it was told, whatever kills the process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import REPOSITORY

from inference import journal as journals
from inference.held import held
from inference.journal import Journal, read
from inference.request import Response
from warehouse.errors import CaravanError

IDS = [f"{number:032x}" for number in range(1000)]


def answer(name: str, content: str = "answer") -> Response:
    return Response(name, "ok", content, endpoint="here", received_at=datetime.now(UTC))


def test_what_was_said_is_there_afterwards(tmp_path: Path):
    told = [answer(name, f"text {name} \n ü \u2028") for name in IDS[:5]]
    with Journal(tmp_path) as journal:
        for name in IDS[:7]:
            journal.asked(name)
        assert [journal.add(each) for each in told] == [True] * 5
        assert not journal.add(answer(IDS[0], "another"))
        assert journal.in_doubt() == set()
        assert not journal.answered(IDS[5])
    with Journal(tmp_path) as journal:
        assert list(journal.responses()) == told
        assert journal.in_doubt() == {IDS[5], IDS[6]}
        assert [name for name in IDS if journal.answered(name)] == IDS[:5]
        journal.asked(IDS[5])
        journal.add(answer(IDS[5]))
        assert journal.in_doubt() == {IDS[6]}


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(tmp_path: Path):
    with Journal(tmp_path / "whole") as journal:
        for name in IDS[:3]:
            journal.asked(name)
            journal.add(answer(name))
    (path,) = journal.segments()
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for size in range(last, len(data)):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / path.name).write_bytes(data[:size])
        with Journal(folder) as journal:
            assert [r.request_id for r in journal.responses()] == IDS[:2]
            assert journal.in_doubt() == {IDS[2]}
            journal.add(answer(IDS[2]))
        with Journal(folder) as journal:
            assert [r.request_id for r in journal.responses()] == IDS[:3]


def test_what_was_given_up_is_in_doubt_only_when_asked_again(tmp_path: Path):
    with Journal(tmp_path) as journal:
        for name in IDS[:4]:
            journal.asked(name)
        for name in IDS[:3]:
            journal.give_up(name)
    (path,) = journal.segments()
    assert json.loads(path.read_text().splitlines()[-1]) == {"given_up": IDS[2]}
    path.write_bytes(path.read_bytes()[:-1])  # the last line is torn: what it said is not known
    with Journal(tmp_path) as journal:
        assert journal.in_doubt() == {IDS[2], IDS[3]}
        assert not journal.answered(IDS[0])
        journal.asked(IDS[1])
        assert journal.add(answer(IDS[0]))
        assert held(tmp_path).open == {IDS[1], IDS[2], IDS[3]}
        journal.forget(journal.seal())
    with Journal(tmp_path) as journal:
        assert journal.in_doubt() == {IDS[1], IDS[2], IDS[3]}
        journal.give_up(IDS[2])
        assert held(tmp_path).open == journal.in_doubt() == {IDS[1], IDS[3]}


def test_a_damaged_line_is_told_with_its_place(tmp_path: Path):
    with Journal(tmp_path) as journal:
        journal.asked(IDS[0])
        journal.asked(IDS[1])
    (path,) = journal.segments()
    path.write_bytes(b"garbage\n" + path.read_bytes())
    with pytest.raises(CaravanError, match=r"00000001\.jsonl, line 1"):
        Journal(tmp_path)


def test_segments_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 2_000)
    with Journal(tmp_path) as journal:
        for name in IDS[:50]:
            journal.asked(name)
            journal.add(answer(name))
        assert len(journal.segments()) > 3
        assert max(path.stat().st_size for path in journal.segments()) < 2_500
        assert [r.request_id for r in journal.responses()] == IDS[:50]


def test_forgetting(tmp_path: Path):
    with Journal(tmp_path) as journal:
        for name in IDS[:4]:
            journal.asked(name)
        for name in IDS[:3]:
            journal.add(answer(name))
        sealed = journal.seal()
        journal.add(answer(IDS[9]))  # after the seal: another segment
        journal.forget(sealed, keep=[answer(IDS[1])])
        assert [r.request_id for r in journal.responses()] == [IDS[9], IDS[1]]
        assert journal.answered(IDS[0])  # this process still knows
    with Journal(tmp_path) as journal:
        assert {name for name in IDS if journal.answered(name)} == {IDS[9], IDS[1]}
        assert journal.in_doubt() == {IDS[3]}
        journal.forget(journal.seal())
        assert [path.stat().st_size for path in journal.segments()] == [len(f'{{"asked":"{IDS[3]}"}}\n')]


def test_one_process_at_a_time(tmp_path: Path):
    with Journal(tmp_path), pytest.raises(CaravanError, match=f"process {os.getpid()}"):
        Journal(tmp_path)
    Journal(tmp_path).close()


WRITER = """
import sys
from tests.inference.test_journal import IDS, answer
from inference.journal import Journal
journal = Journal(sys.argv[1])
for name in IDS:
    journal.asked(name)
    journal.add(answer(name, "x" * 5000))
    print(name, flush=True)
"""


def test_what_returned_survives_kill_9(tmp_path: Path):
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/inference"), *sys.path])
    for number in range(3):
        folder = tmp_path / str(number)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert writer.stdout
        first = writer.stdout.readline()
        assert first
        time.sleep(0.004 * number)
        os.kill(writer.pid, signal.SIGKILL)
        said = [first, *writer.stdout.readlines()]
        writer.wait()
        with Journal(folder) as journal:
            assert {line.strip() for line in said if line.endswith("\n")} <= {r.request_id for r in journal.responses()}


def test_many_wait_for_one_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flushes = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (flushes.append(file), real(file)))

    async def ask(journal: Journal, name: str) -> None:
        journal.asked(name)
        await journal.flushed()

    async def run() -> None:
        with Journal(tmp_path) as journal:
            await asyncio.gather(*(ask(journal, name) for name in IDS[:256]))

    asyncio.run(run())
    assert 2 <= len(flushes) <= 5  # the folder, the group, the end


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.write
    with Journal(tmp_path) as journal:
        journal.add(answer(IDS[0]))

        def full(file: int, data: bytes) -> int:
            if len(data) < 60:
                raise OSError(28, "No space left on device")
            return real(file, data[:50])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(CaravanError, match="No space left"):
            for _ in range(100):
                journal.add(answer(IDS[1], "short"))
        monkeypatch.undo()
        journal.add(answer(IDS[1], "again"))
    with Journal(tmp_path) as journal:
        assert [r.content for r in journal.responses()] == ["answer", "again"]


def test_the_lines_are_json(tmp_path: Path):
    with Journal(tmp_path) as journal:
        journal.asked(IDS[0])
        journal.add(answer(IDS[0]))
    (path,) = journal.segments()
    asked, answered = map(json.loads, path.read_text().splitlines())
    assert asked == {"asked": IDS[0]}
    assert answered["answered"] == answered["response"]["request_id"] == IDS[0]
    assert [r.request_id for r in read(path)] == [IDS[0]]
