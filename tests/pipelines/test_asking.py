"""Requests from Spark, through the real clients to a server on loopback, and back as a table."""

import argparse
import json
import os
import re
from pathlib import Path

import pytest
from pyspark.sql import functions as F

import warehouse
from inference import models, record
from inference.batches.ledger import Ledger, line
from inference.journal import Journal
from inference.request import Request, canonical
from inference.send import Sending
from pipelines import asking, errands
from pipelines.requests import REQUEST
from tests.inference.conftest import server  # noqa: F401
from warehouse.commit import Job
from warehouse.errors import CaravanError
from warehouse.refs import resolve
from warehouse.spark import read

KEY = os.environ["PLANTED_KEY"]
NASTY = [
    "plain",
    'quotes " and \\ back\\slashes / slashes',
    "lines\r\n\ttabs\x0b\x0c and \x1f\x1e\x7f\x80",
    "\u2028\u2029\ufeff\u200b zero width",
    "emoji 🐪👩‍🔬 and é against e\u0301",
    "Türkçe İı ß ŉ",
    "\x00 nothing",
    "</script> ${field} $$ {{}} %s",
    " ends ",
    "",
]
PARAMETERS = [
    {},
    {"temperature": 1.0, "top_p": 0.1, "max_tokens": 16},
    {"temperature": 1e-7, "stop": ["\n", "ü\u2028"], "logit_bias": {"b": 1, "a": -2.5}},
    {"temperature": 1, "seed": 2**53, "presence_penalty": 1e22},
]


@pytest.fixture
def cards(tmp_path, server):  # noqa: F811
    """A file of cards: `quick` without a price, `dear`, and `claude` that speaks the other protocol. All need a key."""
    server.faults(key=KEY)
    price = [{"since": "2020-01-01", "input": 1000, "output": 1000}]
    server.cards(
        tmp_path,
        quick={"key": "PLANTED_KEY"},
        dear={"key": "PLANTED_KEY", "serves": "loop-large"},
        claude={"key": "PLANTED_KEY", "provider": "anthropic"},
    )
    path = tmp_path / "models.toml"
    dear = f"prices = [{{ since = {price[0]['since']}, input = 1000, output = 1000 }}]\n"
    path.write_text(path.read_text().replace("[model.dear]\n", f"[model.dear]\n{dear}"))
    return path


def options(cards, *arguments):
    parser = argparse.ArgumentParser()
    asking.add_options(parser)
    return parser.parse_args(["--models", str(cards), *arguments])


def requests(spark, cards, count, model="quick", **parameters):
    """Questions to a model."""
    rows = spark.range(count).select(F.concat(F.lit("Question "), F.col("id").cast("string")).alias("text"))
    known = models.cards(cards)
    told = {"max_tokens": 50, **parameters}
    return asking.with_requests(rows, known, model=model, messages=asking.chat(F.col("text")), parameters=told)


def ask(spark, rows, cards, *arguments):
    return asking.ask(spark, warehouse.open(), rows, options(cards, *arguments), Job("tests"))


def test_the_ids_are_those_of_python(spark):
    rows = [(n, text, canonical(told)) for n, text in enumerate(NASTY) for told in PARAMETERS]
    frame = spark.createDataFrame(rows, "n int, text string, told string")
    known = models.cards()
    chats = asking.with_requests(
        frame,
        known,
        model="gpt-4o",
        messages=asking.chat(F.col("text"), F.concat(F.col("text"), F.lit("!"))),
        parameters=F.col("told"),
        sample=F.col("n"),
        template=F.concat(F.lit("t@"), F.col("text")),
    )
    plain = asking.with_requests(
        frame, known, model="claude-sonnet-4-6", prompt=F.col("text"), parameters=PARAMETERS[2]
    )
    for row in chats.collect():
        turns = ({"role": "system", "content": row.text + "!"}, {"role": "user", "content": row.text})
        expected = Request(
            "openai", "gpt-4o", turns, parameters=json.loads(row.told), sample=row.n, template=f"t@{row.text}"
        )
        assert row.request_id == expected.request_id
        assert {name: row[name] for name in expected.row()} | {"messages": None} == expected.row() | {"messages": None}
    for row in plain.collect():
        expected = Request("anthropic", "claude-sonnet-4-6", prompt=row.text, parameters=PARAMETERS[2])
        assert row.request_id == expected.request_id
    # Two spellings of the same parameters are one request, 1 and 1.0 are not: providers are sent what was said.
    spellings = ['{"a": 1, "b": 2.0}', '{ "b":2.0,"a":1}', '{"a":1.0,"b":2}']
    frame = spark.createDataFrame([(text,) for text in spellings], "told string")
    found = asking.with_requests(frame, known, model="gpt-4o", prompt=F.lit("x"), parameters=F.col("told")).collect()
    assert found[0].request_id == found[1].request_id != found[2].request_id
    assert found[1].parameters == '{"a":1,"b":2.0}'


def test_asked_once(spark, warehouse_root, server, cards, capfd):  # noqa: F811
    rows = requests(spark, cards, 30).unionByName(requests(spark, cards, 10, "claude"))
    # The same request twice is one request.
    answers = ask(spark, rows.unionByName(requests(spark, cards, 5)), cards).collect()
    assert len(answers) == 40
    assert {row.request_id for row in answers} == {row.request_id for row in rows.collect()}
    assert {(row.status, row.finish_reason) for row in answers} == {("ok", "stop")}
    assert server.counts()["requests"] == 40
    told, progress = capfd.readouterr()
    w = warehouse.open()
    assert "reads llm.responses@empty" in told
    assert f"wrote {resolve(w, 'llm.requests')} {resolve(w, 'llm.responses')}" in told
    assert "40 answered" in progress
    assert re.search(r"quick.*30.*no price known", told)
    assert read(spark, resolve(w, "llm.requests")).exceptAll(rows.select(*REQUEST)).isEmpty()

    # More requests: only the new ones are asked. The answers are of these requests alone.
    answers = ask(spark, requests(spark, cards, 33), cards)
    assert answers.count() == 33
    assert server.counts()["requests"] == 43
    last = resolve(w, "llm.responses")
    assert ask(spark, requests(spark, cards, 33), cards).count() == 33
    assert server.counts()["requests"] == 43
    assert resolve(w, "llm.responses") == last
    assert "nothing is asked" in capfd.readouterr().out
    for path in warehouse_root.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert [path for path in warehouse_root.rglob("*.parquet") if ".asking" in path.parts] == []


def test_dry_run(spark, warehouse_root, server, cards, capfd):  # noqa: F811
    assert ask(spark, requests(spark, cards, 7, "dear"), cards, "--dry-run") is None
    assert re.search(r"dear.* 7 .*\$", capfd.readouterr().out)
    assert server.counts().get("requests", 0) == 0
    assert resolve(warehouse.open(), "llm.responses").snapshot_id is None


def test_executors_do_what_the_driver_does(spark, tmp_path, server, cards, monkeypatch):  # noqa: F811
    found = {}
    for on in ("driver", "executors"):
        monkeypatch.setenv("CARAVAN_WAREHOUSE", str(tmp_path / on))
        rows = requests(spark, cards, 41, on=on)
        answers = ask(spark, rows, cards, "--on", on, "--journal", str(tmp_path / "journal" / on))
        said = answers.join(rows.select("request_id", "text"), on="request_id", how="inner")
        found[on] = sorted(said.select("text", "status", "content", "finish_reason", "output_tokens").collect())
    assert len(found["driver"]) == 41
    assert found["driver"] == found["executors"]
    assert server.counts()["requests"] == 82
    assert (tmp_path / "journal/executors/tasks/00001").is_dir()
    # What the executors asked, the driver does not.
    assert ask(spark, requests(spark, cards, 41, on="executors"), cards).count() == 41
    assert server.counts()["requests"] == 82


@pytest.mark.parametrize("on", ["driver", "executors"])
def test_a_run_that_was_killed_pays_nothing_twice(spark, warehouse_root, server, cards, monkeypatch, on):  # noqa: F811
    """The answers were in the journal, and the tables knew nothing yet. Another command brings them home."""
    monkeypatch.setattr(record, "commit", _killed)
    with pytest.raises(SystemExit):
        ask(spark, requests(spark, cards, 20), cards, "--on", on)
    monkeypatch.undo()
    monkeypatch.setenv("CARAVAN_WAREHOUSE", str(warehouse_root))
    w = warehouse.open()
    assert resolve(w, "llm.responses").rows == 0
    assert server.counts()["requests"] == 20
    assert ask(spark, requests(spark, cards, 3, temperature=0.5), cards).count() == 3
    assert resolve(w, "llm.responses").rows == resolve(w, "llm.requests").rows == 23
    assert ask(spark, requests(spark, cards, 20), cards).count() == 20
    assert server.counts()["requests"] == 23


def _killed(*arguments):
    raise SystemExit


@pytest.mark.parametrize("on", ["driver", "executors"])
def test_budget(spark, warehouse_root, server, cards, capfd, on):  # noqa: F811
    """The loopback server counts words; a request may cost 50 tokens out and its bytes in, at 1,000 dollars for a million."""
    rows = requests(spark, cards, 40, "dear")
    with pytest.raises(asking.Unanswered, match=r"requests have no answer: the budget is spent\. Run the same command"):
        ask(spark, rows, cards, "--budget", "0.6", "--on", on)
    w = warehouse.open()
    some = resolve(w, "llm.responses").rows
    assert 0 < some < 40
    spent = warehouse.connect().sql("select sum(cost) from llm.responses").fetchone()[0]
    assert 0 < spent <= 0.6
    answers = ask(spark, rows, cards, "--budget", "0.01", "--on", on, "--partial")
    assert some <= answers.count() < 40
    assert "--partial goes on without them" in capfd.readouterr().out
    assert ask(spark, rows, cards, "--on", on).count() == 40
    assert sum(server.paid().values()) == 40


def test_one_budget_for_all_that_a_job_asks(spark, warehouse_root, server, cards):  # noqa: F811
    w, told = warehouse.open(), options(cards, "--budget", "0.6", "--partial")
    for temperature in (0.1, 0.2, 0.3):
        asking.ask(spark, w, requests(spark, cards, 30, "dear", temperature=temperature), told, Job("tests"))
    spent = warehouse.connect().sql("select sum(cost) from llm.responses").fetchone()[0]
    assert 0 < spent <= 0.6


def test_a_task_that_spark_tries_again_has_no_second_budget(spark, warehouse_root, server, cards, tmp_path):  # noqa: F811
    rows = requests(spark, cards, 40, "dear").select(*REQUEST)
    rows.coalesce(1).write.parquet(str(tmp_path / "rows"))
    (file,) = (tmp_path / "rows").glob("*.parquet")
    leg, how = errands.Leg(str(tmp_path / "leg"), (str(file),)), Sending(budget=0.6, progress=False)
    first, second = (errands._send_leg(leg, models.cards(cards), how, {}) for _ in range(2))
    assert (first.stopped, second.stopped) == ("budget", "budget")
    assert 0 < first.spent <= first.spent + second.spent <= 0.6


def test_executors_leave_alone_what_is_in_batches(spark, warehouse_root, server, cards, tmp_path):  # noqa: F811
    rows = requests(spark, cards, 3)
    ledger = Ledger(tmp_path / "journal")
    chunk = ledger.new("quick", "http://here/v1", "/v1/chat/completions", 1)
    ledger.path(chunk).write_bytes(line(rows.first().request_id, {}))
    ledger.step(chunk, "created", batch="batch_1")
    ledger.close()
    with pytest.raises(CaravanError, match="are in batches under way, and executors would ask and pay them again"):
        ask(spark, rows, cards, "--on", "executors", "--journal", str(tmp_path / "journal"))
    assert server.counts().get("requests", 0) == 0


def test_a_server_in_trouble(spark, warehouse_root, server, cards):  # noqa: F811
    rows = requests(spark, cards, 12)
    server.faults(key=KEY, status={"500": 0.3, "429": 0.2}, retry_after=0.05)
    assert ask(spark, rows, cards).count() == 12
    server.faults(key=KEY, too_long=45)
    long = requests(spark, cards, 12, temperature=0.5)
    answers = ask(spark, long, cards).collect()
    assert [row.status for row in answers] == ["failed"] * 12
    before = server.counts()["requests"]
    server.faults(key=KEY)
    assert ask(spark, long, cards).count() == 12
    assert server.counts()["requests"] == before


def test_a_wrong_key_ends_the_run(spark, warehouse_root, server, cards, monkeypatch):  # noqa: F811
    server.faults(key="another", echo_key=True)
    for on in ("driver", "executors"):
        with pytest.raises(CaravanError) as caught:
            ask(spark, requests(spark, cards, 12), cards, "--on", on)
        assert "planted" not in str(caught.value)
    monkeypatch.delenv("PLANTED_KEY")
    with pytest.raises(CaravanError, match="needs a key: set the environment variable PLANTED_KEY"):
        ask(spark, requests(spark, cards, 12), cards)


def test_a_journal_in_use(spark, warehouse_root, cards, tmp_path):
    with Journal(tmp_path / "journal"), pytest.raises(CaravanError, match="in use by process"):
        ask(spark, requests(spark, cards, 3), cards, "--journal", str(tmp_path / "journal"))


def test_limits_are_dealt_among_tasks():
    card = models.Card("m", "openai", "MIT", requests_per_minute=100, tokens_per_minute=3)
    assert errands._share(card, 8).requests_per_minute == 12
    assert errands._share(card, 8).tokens_per_minute == 1
    assert errands._share(models.Card("m", "openai", "MIT"), 8) == models.Card("m", "openai", "MIT")


def test_what_is_refused(spark, warehouse_root, cards, capsys):
    with pytest.raises(CaravanError, match="--batch goes from the driver"):
        ask(spark, requests(spark, cards, 3), cards, "--batch", "--on", "executors")
    with pytest.raises(SystemExit):
        options(cards, "--concurrency", "0")
    assert "'0' is no whole number from 1" in capsys.readouterr().err
    for amount in ("nan", "-1", "much"):
        with pytest.raises(SystemExit):
            options(cards, f"--budget={amount}")
        assert f"'{amount}' is no amount of dollars" in capsys.readouterr().err
    with pytest.raises(CaravanError, match=r"no model card 'quik'\. Did you mean quick"):
        asking.cards(options(cards), ["quik"])
    assert asking.names(" a, b,,c ") == ["a", "b", "c"]
    assert Path(errands._folder(warehouse.open(), options(cards), Job("tests"))).parent.name == ".journals"
