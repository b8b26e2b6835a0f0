"""From the journal to the tables: each answer once, whatever came before."""

import random
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import warehouse
from inference import record
from inference.journal import Journal
from inference.request import Request, Response
from warehouse import contracts
from warehouse.catalogue import Warehouse
from warehouse.commit import Job, commit_arrow
from warehouse.refs import resolve

JOB = Job("test")
SCHEMA = contracts.load("llm.requests").arrow_schema()
ASKED = [
    Request(
        "openai",
        "m",
        ({"role": "user", "content": f"Question {n} ü\u0000"},),
        parameters={"seed": n, "temperature": 0.1},
    )
    for n in range(30)
] + [Request("openai", "m", prompt=f"Once {n}", sample=n, template="t@1") for n in range(10)]


def answer(request: Request, content: str = "answer") -> Response:
    return Response(request.request_id, "ok", content, "stop", "m1", 3, 4, 0.5, "here", received_at=datetime.now(UTC))


def table(requests: list[Request]) -> pa.Table:
    return pa.Table.from_pylist([request.row() for request in requests], SCHEMA)


@pytest.fixture
def w(warehouse_root: Path) -> Warehouse:
    return warehouse.open(str(warehouse_root))


def rows(w: Warehouse, name: str) -> dict[str, dict]:
    found = warehouse.read.arrow(w, resolve(w, name)).to_pylist()
    by_id = {row["request_id"]: row for row in found}
    assert len(by_id) == len(found)
    return by_id


def test_everything_arrives_as_it_was(w: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(record, "ROWS", 7)
    monkeypatch.setattr(record, "ROWS_A_FILE", 14)
    told = [answer(request, f"Answer {n} ü\u0000\n") for n, request in enumerate(ASKED[:35])]
    with Journal(tmp_path / "journal") as journal:
        for each in told:
            journal.asked(each.request_id)
            journal.add(each)
        snapshots = record.commit(w, journal, table([*ASKED, ASKED[0]]), JOB)
        assert set(snapshots) == {"llm.requests", "llm.responses"}
        assert snapshots["llm.responses"] == resolve(w, "llm.responses").snapshot_id
        assert len(resolve(w, "llm.responses").files) == 3
        assert list(journal.responses()) == []
        assert record.commit(w, journal, table(ASKED), JOB) == {}
    asked, answered = rows(w, "llm.requests"), rows(w, "llm.responses")
    assert [Request.from_row(asked[r.request_id]) for r in ASKED[:35]] == ASKED[:35]
    assert set(asked) == set(answered) == {r.request_id for r in ASKED[:35]}
    for each in told:
        assert Response(**answered[each.request_id]) == each


def test_requests_may_be_files_or_a_data_set(w: Warehouse, tmp_path: Path):
    paths = []
    for number in range(2):
        paths.append(str(tmp_path / f"[{number}].parquet"))
        pq.write_table(table(ASKED[number * 20 : number * 20 + 20]), paths[-1])
    with Journal(tmp_path / "journal") as journal:
        for given, some in ((paths, ASKED[:10] + ASKED[30:35]), (ds.dataset(paths), ASKED[10:20] + ASKED[35:])):
            for request in some:
                journal.add(answer(request))
            record.commit(w, journal, given, JOB)
    assert (
        set(rows(w, "llm.requests")) == set(rows(w, "llm.responses")) == {r.request_id for r in ASKED[:20] + ASKED[30:]}
    )


def test_answers_to_unknown_questions_stay(w: Warehouse, tmp_path: Path):
    with Journal(tmp_path) as journal:
        for request in ASKED[:6]:
            journal.add(answer(request))
        record.commit(w, journal, table(ASKED[:2]), JOB)
        assert {r.request_id for r in journal.responses()} == {r.request_id for r in ASKED[2:6]}
    with Journal(tmp_path) as journal:
        record.commit(w, journal, [], JOB)
        record.commit(w, journal, table(ASKED[2:6]), JOB)
        assert list(journal.responses()) == []
    assert len(rows(w, "llm.responses")) == 6


def test_what_another_job_committed_is_not_committed_again(w: Warehouse, tmp_path: Path):
    with Journal(tmp_path / "one") as one, Journal(tmp_path / "two") as two:
        for request in ASKED[:4]:
            one.add(answer(request, "one"))
        for request in ASKED[2:6]:
            two.add(answer(request, "two"))
        record.commit(w, one, table(ASKED), JOB)
        record.commit(w, two, table(ASKED), JOB)
    found = rows(w, "llm.responses")
    assert [found[r.request_id]["content"] for r in ASKED[:6]] == ["one"] * 4 + ["two"] * 2


def test_a_commit_in_between_is_seen(w: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, between = record.commit_files, [answer(ASKED[0], "between")]

    def late(*arguments, **named):
        while between:
            fields = [{n: getattr(r, n) for n in r.__slots__} for r in (between.pop(),)]
            commit_arrow(
                w, "llm.responses", pa.Table.from_pylist(fields, contracts.load("llm.responses").arrow_schema()), JOB
            )
        return real(*arguments, **named)

    monkeypatch.setattr(record, "commit_files", late)
    with Journal(tmp_path) as journal:
        for request in ASKED[:3]:
            journal.add(answer(request, "mine"))
        record.commit(w, journal, table(ASKED), JOB)
    found = rows(w, "llm.responses")
    assert [found[r.request_id]["content"] for r in ASKED[:3]] == ["between", "mine", "mine"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(6))
def test_a_commit_that_ends_anywhere_goes_on(w: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int):
    """Cut short before or after each of its three lasting steps: two commits and the forgetting."""
    steps = []

    def cut(function):
        def call(*arguments, **named):
            if len(steps) == step:
                raise Killed
            steps.append(None)
            result = function(*arguments, **named)
            if len(steps) == step:
                raise Killed
            steps.append(None)
            return result

        return call

    journal = Journal(tmp_path)
    for request in ASKED:
        journal.add(answer(request))
    with monkeypatch.context() as patch:
        patch.setattr(record, "commit_files", cut(record.commit_files))
        patch.setattr(Journal, "forget", cut(Journal.forget))
        with pytest.raises(Killed):
            record.commit(w, journal, table(ASKED), JOB)
    journal.close()
    with Journal(tmp_path) as journal:
        record.commit(w, journal, table(ASKED), JOB)
        assert list(journal.responses()) == []
    assert set(rows(w, "llm.requests")) == set(rows(w, "llm.responses")) == {r.request_id for r in ASKED}


def test_memory_is_bounded(w: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """60 MB of answers that hardly compress, in a fraction of that."""
    monkeypatch.setattr(record, "ROWS", 200)
    draw = random.Random(1)
    many = [Request("openai", "m", prompt=f"{n}") for n in range(6_000)]
    with Journal(tmp_path) as journal:
        for request in many:
            journal.add(answer(request, draw.randbytes(5_000).hex()))
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        record.commit(w, journal, table(many), JOB)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20e6
    assert pa.total_allocated_bytes() - before < 50e6
    assert resolve(w, "llm.responses").rows == 6_000
