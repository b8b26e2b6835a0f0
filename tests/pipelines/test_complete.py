"""Responses from a pool: who answers what, the rows of a campaign, and that running it again asks and writes nothing."""

import collections
import json
import re
import struct
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import warehouse
from pipelines import asking, complete, pools
from pipelines.pools import Member, Pool
from pipelines.transform import prompt_id
from tests.inference.conftest import server  # noqa: F401
from tests.pipelines import pool_rows
from tests.pipelines.pool_rows import md5
from warehouse import doctor
from warehouse.commit import Job, commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import resolve

ALPHA = ["How far is the moon?", "Shared question", "How old is the sea?", "What is Gödel's proof about?"]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "And now?"},
]
BETA = ["Shared question", "Name a river.", CHAT]
DISTINCT = len(ALPHA) + len(BETA) - 1
NAMES = ("a", "b", "claude-x", "gpt-4o-x")
ALL = ",".join(NAMES)
STAND_IN = Path(__file__).with_name("stand_in_vllm.py")


@pytest.fixture
def filled(warehouse_root, server, tmp_path):  # noqa: F811
    """A warehouse with prompts of two sources, cards of four models of which two are bound by terms."""
    w = warehouse.open()
    pool_rows.prompts(w, {"alpha": ALPHA, "beta": BETA}, {"beta": "ODC-By-1.0"})
    claude = {"provider": "anthropic", "licence": "LicenseRef-Anthropic-Output"}
    server.cards(tmp_path, **{"a": {}, "b": {"serves": "loop-large"}, "claude-x": claude, "gpt-4o-x": {}})
    return w


def run_complete(tmp_path, *arguments, name="pool", pool=ALL):
    complete.main(["--name", name, "--pool", pool, "--models", str(tmp_path / "models.toml"), *arguments])


def rows(columns, where="true", table="raw.completions"):
    return warehouse.connect().sql(f"select {columns} from {table} where {where} order by all").fetchall()


def asked(server):  # noqa: F811
    return server.counts().get("requests", 0)


def pool(*names, each, on=()):
    return Pool(tuple(Member(name, "on" if name in on else "off") for name in names), each).check()


def drawn(spark, pool, count=400, seed=42, samples=1):
    """prompt_id -> models, in order."""
    prompts = spark.createDataFrame([(md5(str(n)),) for n in range(count)], "prompt_id string")
    found = collections.defaultdict(dict)
    for row in pools.chosen(prompts, pool, seed, samples).collect():
        found[row.prompt_id][row.number] = (row.model, row.sample)
    return {name: [each[n] for n in range(len(each))] for name, each in found.items()}


def test_the_choice(spark):
    eight = pool(*"abcdefgh", each=4)
    first = {name: [model for model, _ in each] for name, each in drawn(spark, eight).items()}
    assert len(first) == 400
    assert all(len(set(models)) == 4 for models in first.values())
    counts = collections.Counter(model for models in first.values() for model in models)
    assert set(counts) == set("abcdefgh")
    # 400 prompts, each model in half of them: 200, with a deviation of 10.
    assert all(150 < count < 250 for count in counts.values())
    assert drawn(spark, pool(*reversed("abcdefgh"), each=4)) == drawn(spark, eight)
    other = {name: [model for model, _ in each] for name, each in drawn(spark, eight, seed=7).items()}
    assert sum(set(first[name]) == set(other[name]) for name in first) < 60
    # A model that joins takes its share from the others, and moves nothing else.
    more = {name: [model for model, _ in each] for name, each in drawn(spark, pool(*"abcdefghi", each=4)).items()}
    for name, models in more.items():
        assert set(models) - {"i"} <= set(first[name])
        assert len(set(first[name]) & set(models)) == (3 if "i" in models else 4)


def test_the_model_in_training_answers_everything(spark):
    found = drawn(spark, pool(*"abcdef", each=3, on=("c",)), count=100)
    assert all(models[0] == ("c", 0) and len(models) == 3 for models in found.values())
    assert {model for models in found.values() for model, _ in models} == set("abcdef")
    alone = drawn(spark, pool("c", each=1, on=("c",)), count=3, samples=2)
    assert set(map(tuple, alone.values())) == {(("c", 0), ("c", 1))}
    both = drawn(spark, pool("c", "d", each=2, on=("c",)), count=3, samples=2)
    assert set(map(tuple, both.values())) == {(("c", 0), ("c", 1), ("d", 0), ("d", 1))}


def test_a_pool_file(tmp_path):
    (tmp_path / "p.toml").write_text(
        'each = 2\nparameters = { temperature = 1, max_tokens = 9 }\n[[model]]\nname = "a"\n[[model]]\nname = "b"\n'
        'policy = "on"\nparameters = { temperature = 0.5, stop = ["x"] }\n[[model]]\nname = "c"\n'
    )
    found = pools.pool(str(tmp_path / "p.toml"), None, [], {"max_tokens": 7}, [])
    assert found.each == 2
    assert [(m.name, m.policy) for m in found.members] == [("a", "off"), ("b", "on"), ("c", "off")]
    assert pools.members(found)[0] == ("a", "off", None, '{"max_tokens":7,"temperature":1.0}')
    assert found.members[1].parameters == {"temperature": 0.5, "max_tokens": 7, "stop": ["x"]}
    named = pools.pool("a, b,c,d,e", None, ["e"], {}, [Member("checkpoint/1", "on", checkpoint="1")])
    assert (named.each, [m.policy for m in named.members]) == (4, ["off"] * 4 + ["on"] * 2)
    # A response has an end also where nobody said one: Anthropic's API asks for it, and the budget counts with it.
    assert [m.parameters for m in named.members] == [{"max_tokens": 2048}] * 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("each = 4\n[[modell]]\n", "p.toml: 'modell' is unknown"),
        ('each = "4"', "p.toml: 'each' is unknown or of the wrong kind"),
        ("[[model]]\npolicy = 'on'", "p.toml, model 1: a model has a name"),
        ("[[model]]\nname = 'a'\npolicy = 'of'", "p.toml, model 1: a model has a name, and policy is"),
        ("[[model]]\nname = 'a'\nprice = 1", "p.toml, model 1: 'price' is unknown"),
        ("[[model]", "p.toml is not valid TOML"),
        ("each = 1", "The pool has no model"),
        (
            "each = 3\n[[model]]\nname = 'a'\n[[model]]\nname = 'b'",
            "3 models cannot answer each prompt: the pool has 2",
        ),
        ("[[model]]\nname = 'a'\n[[model]]\nname = 'a'", "The pool names a twice"),
    ],
)
def test_a_pool_that_is_none(tmp_path, text, words):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(CaravanError, match=re.escape(words)):
        pools.pool(str(tmp_path / "p.toml"), None, [], {}, [])


def test_the_pools_of_the_recipe():
    from inference import models

    known = models.cards()
    found = sorted((Path(complete.__file__).parents[1] / "recipes/pools").glob("*.toml"))
    assert found
    for path in found:
        read = pools.pool(str(path), None, [], {}, [])
        assert [member.name for member in read.members if member.name not in known] == []


def test_a_campaign(spark, filled, tmp_path, server, capfd):  # noqa: F811
    run_complete(tmp_path, "--each", "3", "--max-tokens", "20", "--on-policy", "b")
    assert asked(server) == len(rows("content", "source = 'pool'")) == 3 * DISTINCT
    assert rows("distinct policy, model = 'b', finish_reason") == [("off", False, "stop"), ("on", True, "stop")]
    assert rows("list(sample order by sample)", "true group by prompt_id") == [([0, 1, 2],)] * DISTINCT
    # The prompt that two sources hold is one prompt, of the source that comes first.
    shared = prompt_id([{"role": "user", "content": "Shared question"}])
    assert rows("distinct file, row, branch", f"prompt_id = '{shared}'") == [("alpha/f.jsonl", 2, 0)]
    assert {row[0] for row in rows("prompt_id")} == {row[0] for row in rows("prompt_id", table="raw.prompts")}
    for name, of, model, sample, content in rows("completion_id, prompt_id, model, sample, content"):
        assert name == md5(of, model, str(sample), content)
    assert rows("distinct file like 'alpha/%', model, licence") == [
        (False, "a", "ODC-By-1.0"),
        (False, "b", "ODC-By-1.0"),
        (False, "claude-x", "LicenseRef-Anthropic-Output AND ODC-By-1.0"),
        (False, "gpt-4o-x", "LicenseRef-OpenAI-Output AND ODC-By-1.0"),
        (True, "a", "MIT"),
        (True, "b", "MIT"),
        (True, "claude-x", "LicenseRef-Anthropic-Output AND MIT"),
        (True, "gpt-4o-x", "LicenseRef-OpenAI-Output AND MIT"),
    ]
    joined = "raw.completions join llm.responses using (request_id) join llm.requests using (request_id)"
    assert rows(
        "count_if(completions.content = responses.content), count_if(completions.model = requests.model)", table=joined
    ) == [(3 * DISTINCT, 3 * DISTINCT)]
    system = f"""select distinct [m.role for m in messages] from llm.requests join raw.completions using (request_id)
        where prompt_id = '{prompt_id(CHAT)}'"""
    assert warehouse.connect().sql(system).fetchall() == [(["system", "user", "assistant", "user"],)]
    (described,) = rows("*", "source = 'pool'", "raw.sources")
    source = dict(zip(warehouse.connect().sql("from raw.sources").columns, described, strict=True))
    assert (source["kind"], source["location"], source["rows"], source["rejects"]) == ("training", "raw.prompts", 18, 0)
    assert source["parents"] == ["alpha", "beta"]
    assert source["models"] == sorted(NAMES)
    assert source["licence"] == "LicenseRef-Anthropic-Output AND LicenseRef-OpenAI-Output AND ODC-By-1.0 AND MIT"
    assert json.loads(source["adapter"].partition(" ")[2])["seed"] == 42
    assert rows("distinct revision", "source = 'pool'") == [(source["revision"],)]
    assert list(doctor.examine(filled, timedelta())) == []
    told = capfd.readouterr().out
    assert f"reads {resolve(filled, 'raw.prompts')}" in told
    assert f"wrote {resolve(filled, 'raw.completions')} {resolve(filled, 'raw.sources')}: pool, 18 responses" in told

    # Again: nothing is asked, nothing written, also not for a snapshot with other prompts in it.
    last = resolve(filled, "raw.completions"), resolve(filled, "raw.sources")
    run_complete(tmp_path, "--each", "3", "--max-tokens", "20", "--on-policy", "b")
    assert asked(server) == 3 * DISTINCT
    assert (resolve(filled, "raw.completions"), resolve(filled, "raw.sources")) == last
    assert "nothing to write" in capfd.readouterr().out


def test_a_campaign_is_one_thing(spark, filled, tmp_path, server):  # noqa: F811
    run_complete(tmp_path, "--each", "2")
    before = rows("*")
    with pytest.raises(CaravanError, match="The campaign 'pool' is there already, asked for otherwise"):
        run_complete(tmp_path, "--each", "3")
    with pytest.raises(CaravanError, match=r"of all prompts\. Give this one another --name"):
        run_complete(tmp_path, "--each", "2", "--sources", "alpha")
    with pytest.raises(CaravanError, match="'alpha' is a data set that was ingested"):
        run_complete(tmp_path, name="alpha")
    assert rows("*") == before
    count = asked(server)
    run_complete(tmp_path, "--each", "2", "--sources", "beta", "--replace")
    # What the first campaign had asked is not asked again.
    assert asked(server) == count
    assert len(rows("*")) == 2 * len(BETA)
    run_complete(tmp_path, "--each", "2", name="second")
    assert asked(server) == count
    assert rows("source, count(*)", "true group by source") == [("pool", 2 * len(BETA)), ("second", 2 * DISTINCT)]


def test_some_of_the_prompts(spark, filled, tmp_path, server, capfd):  # noqa: F811
    run_complete(tmp_path, "--limit", "2", "--samples", "2", pool="a")
    few = rows("distinct prompt_id")
    assert (len(few), asked(server)) == (2, 4)
    assert rows("distinct sample") == [(0,), (1,)]
    run_complete(tmp_path, "--limit", "3", "--samples", "2", pool="a", name="more")
    assert (set(few) < set(rows("distinct prompt_id", "source = 'more'")), asked(server)) == (True, 6)
    run_complete(tmp_path, "--where", "skill = 's1' and source = 'alpha'", pool="a", name="odd")
    assert rows("row", "source = 'odd'") == [(1,), (3,)]
    (found,) = rows("filter", "source = 'odd'", "raw.sources")
    assert found == ("where skill = 's1' and source = 'alpha'",)


def test_prompts_of_which_a_model_says_something(spark, filled, tmp_path, server):  # noqa: F811
    said = {"Name a river.": True, "Shared question": True, "How old is the sea?": False, "How far is the moon?": None}
    told = [
        {
            "label": "states_constraints",
            "prompt_id": prompt_id([{"role": "user", "content": text}]),
            "model": model,
            "template": "t@1",
            "value": value and model == "a",
            "request_id": md5(text),
        }
        for text, value in said.items()
        for model in ("a", "b")
    ]
    commit_arrow(filled, "attr.labels", pa.Table.from_pylist(told), Job("tests"))
    run_complete(tmp_path, "--labelled", "states_constraints", "--sources", "beta", pool="a")
    assert rows("row", "source = 'pool'") == [(1,), (2,)]
    assert rows("filter", "source = 'pool'", "raw.sources") == [("source is beta; labelled states_constraints",)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--where", "skil = 'x'"], "--where \"skil = 'x'\" is no condition on raw.prompts@"),
        (["--where", "skill = "], "is no condition on raw.prompts@"),
        (["--where", "skill = 's9'"], "is left to answer"),
        (["--labelled", "kind"], "is left to answer"),
        (["--sources", "gamma"], "holds no rows of gamma. Its sources: alpha, beta"),
        (["--pool", "a,nobody"], "There is no model card 'nobody'"),
        (["--pool", "none.toml"], "There is no pool file none.toml"),
        (["--on-policy", "z"], "--on-policy names z, which is not in the pool"),
        (["--checkpoint", "nowhere"], "nowhere is no checkpoint"),
        (["--checkpoint", ".", "--checkpoint-licence", "Mine"], "licence 'Mine'"),
    ],
)
def test_what_the_job_refuses(spark, filled, tmp_path, server, arguments, words):  # noqa: F811
    with pytest.raises(CaravanError, match=re.escape(words)):
        run_complete(tmp_path, *arguments)
    assert (asked(server), resolve(filled, "raw.completions").snapshot_id) == (0, None)


def test_refusals_and_failures_are_counted(spark, filled, tmp_path, server, capfd):  # noqa: F811
    server.faults(content_filter=0.5, seed=3)
    run_complete(tmp_path, "--each", "4")
    (good,) = rows("count_if(status = 'ok'), count_if(status = 'refused')", table="llm.responses")
    assert min(good) > 3
    assert rows("rows, rejects", "source = 'pool'", "raw.sources") == [good]
    assert len(rows("*")) == good[0]
    assert len(set(rows("prompt_id, sample"))) == good[0]
    server.faults(length=1.0)
    run_complete(tmp_path, "--max-tokens", "9", pool="a", name="cut")
    assert rows("distinct finish_reason", "source = 'cut'") == [("length",)]
    table = capfd.readouterr().out
    assert "refused" in table


def test_a_run_without_all_answers_writes_no_campaign(spark, filled, tmp_path, server):  # noqa: F811
    server.faults(status={"503": 0.5}, seed=1)
    with pytest.raises(asking.Unanswered, match="Nothing was written but the answers"):
        run_complete(tmp_path, "--patience", "0.2")
    assert resolve(filled, "raw.completions").snapshot_id is None
    some = resolve(filled, "llm.responses").rows
    server.faults()
    run_complete(tmp_path)
    assert len(rows("*")) == 4 * DISTINCT > some


def checkpoint(folder):
    """A folder that looks like a checkpoint: one tensor in safetensors."""
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", 0.5))
    (folder / "config.json").write_text("{}")
    return str(folder)


def test_a_checkpoint_is_served_and_asked(spark, filled, tmp_path, server, monkeypatch, capfd):  # noqa: F811
    """`vllm serve` is a stand-in here that answers as the loopback server does; tests/test_ask_models.py has the real one."""
    program = tmp_path / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("CARAVAN_VLLM", str(program))
    trained = ["--checkpoint", checkpoint(tmp_path / "sft"), "--checkpoint-licence", "LicenseRef-Llama-3.1-Community"]
    trained += ["--vllm", "--dtype float32", "--each", "2"]
    run_complete(tmp_path, *trained, pool="a,b", name="on_policy")
    ((name, model, licence),) = rows("distinct checkpoint_id, model, licence", "policy = 'on' and file like 'alpha/%'")
    assert model == f"checkpoint/{name}"
    assert len(name) == 16
    assert licence == "LicenseRef-Llama-3.1-Community AND MIT"
    assert rows("sample, policy, count(*)", "true group by all") == [(0, "on", DISTINCT), (1, "off", DISTINCT)]
    assert "serving" in capfd.readouterr().out
    # Nothing is left to ask, so nothing is served.
    monkeypatch.setenv("CARAVAN_VLLM", "/nowhere/vllm")
    run_complete(tmp_path, *trained, pool="a,b", name="on_policy")
    run_complete(tmp_path, *trained, "--dry-run", "--max-tokens", "3", pool="a,b", name="dry")
    assert "serving" not in capfd.readouterr().out


def test_help_teaches():
    command = [sys.executable, "-m", "pipelines.complete", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--pool" in done.stdout
    assert "examples:" in done.stdout
