"""The job on a warehouse, with models that are a server on loopback: what it asks, what it keeps, and that it asks nothing twice."""

import json
from operator import itemgetter

import pytest

import warehouse
from pipelines import personas
from pipelines.ingest import ingest
from pipelines.registry import load
from pipelines.synthesis import labels
from tasks.registry import verify
from tests.inference.conftest import server  # noqa: F401
from warehouse.errors import CaravanError
from warehouse.read import arrow
from warehouse.refs import resolve

MODEL = "writer"


@pytest.fixture
def job(warehouse_root, spark, server, tmp_path, monkeypatch):  # noqa: F811
    """The command line on an empty warehouse, with models `writer` and `solver` of the server and their terms."""
    server.faults(speaker="tests.pipelines.personas_speaker:speak")
    gpt = {"licence": "LicenseRef-OpenAI-Output", "key": "PLANTED_KEY"}
    server.cards(tmp_path, writer=gpt, solver={"provider": "anthropic", "licence": "LicenseRef-Anthropic-Output"})
    monkeypatch.setenv("PLANTED_KEY", "sk-planted-personas")

    def run(*arguments):
        asks = arguments[0] in ("make", "prompts", "rewrite", "detect")
        models = ["--models", str(tmp_path / "models.toml")] if asks else []
        personas.main([*map(str, arguments), *models])

    return run


def rows(table, source=None):
    w = warehouse.open()
    found = arrow(w, resolve(w, table)).to_pylist()
    return [row for row in found if source in (None, row.get("source"))]


def sources():
    return {row["source"]: row for row in rows("raw.sources")}


@pytest.fixture
def people(job, request, tmp_path):
    """Forty of the sample personas, one that is empty, one that is no JSON, one twice."""
    lines = (request.config.rootpath / "samples" / "personas.jsonl").read_text().splitlines()[:40]
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join([*lines[:10], '{"persona": " "}', "no JSON", *lines[10:], lines[0]]) + "\n")
    job("ingest", "--source", "sample", "--input", path, "--licence", "CC-BY-4.0")
    return lines


def test_personas_are_read_and_what_cannot_be_is_kept(job, people, capsys, tmp_path):
    found = rows("raw.personas")
    assert len(found) == 41 and len({row["persona_id"] for row in found}) == 40
    assert {row["text"] for row in found} == {json.loads(line)["persona"] for line in people}
    assert {(row["file"], row["licence"]) for row in found} == {("people.jsonl", "CC-BY-4.0")}
    assert {row["row"] for row in found} == set(range(1, 44)) - {11, 12}
    bad = sorted((row["row"], row["reason"]) for row in rows("raw.rejects"))
    assert [row for row, _ in bad] == [11, 12] and "no text" in bad[0][1] and "JSON" in bad[1][1]
    assert sources()["sample"]["kind"] == "personas" and sources()["sample"]["rows"] == 41
    capsys.readouterr()
    job("ingest", "--source", "sample", "--input", tmp_path / "people.jsonl", "--licence", "CC-BY-4.0")
    assert "there already" in capsys.readouterr().out
    with pytest.raises(CaravanError, match="--licence"):
        job("ingest", "--source", "unheard_of", "--input", tmp_path / "people.jsonl")


def test_persona_hub_is_read_under_its_licence(job, shared_data):
    job("ingest", "--source", "persona_hub", "--input", shared_data / "train" / "persona_hub_tool")
    found = rows("raw.personas")
    assert len(found) == 5000 and all(row["text"] == row["text"].strip() != "" for row in found)
    told = sources()["persona_hub"]
    assert set(told["licence"].split(" AND ")) == {"CC-BY-NC-SA-4.0", "LicenseRef-OpenAI-Output"}
    assert told["models"] == ["gpt-4"] and told["consent"]


def test_prompts_and_solutions(job, people, server, capsys):  # noqa: F811
    ask = ("prompts", "--skill", "math", "--model", "writer", "--solver", "solver", "--seed", 2)
    job(*ask, "--count", 10, "--dry-run")
    shown = capsys.readouterr().out
    assert (
        shown.count("--- request") == 3 and "Let the life" in shown and not server.paid() and "math" not in shown[:20]
    )
    job(*ask, "--count", 30)
    prompts, answers = rows("raw.prompts", "persona_math"), rows("raw.completions", "persona_math")
    bad = rows("raw.rejects", "persona_math")
    assert len(prompts) + len(bad) == 30 and bad and all("<prompt>" in row["reason"] for row in bad)
    requests = {row["request_id"]: row for row in rows("llm.requests")}
    assert all(row["reason"].rsplit(" ", 1)[1] in requests and row["content"].startswith("Certainly") for row in bad)
    texts = {row["persona_id"]: row["text"] for row in rows("raw.personas")}
    for row in prompts:
        asked = requests[row["request_id"]]
        assert texts[row["persona_id"]] in asked["messages"][-1]["content"] and asked["template"] == row["file"]
        assert row["licence"] == "LicenseRef-OpenAI-Output AND CC-BY-4.0" and row["skill"] == "math"
    assert {row["row"] for row in prompts} | {row["row"] for row in bad} == set(range(1, 31))
    assert {(row["file"], row["row"], row["prompt_id"]) for row in answers} == {
        (row["file"], row["row"], row["prompt_id"]) for row in prompts
    }
    for row in answers:
        assert [turn["role"] for turn in requests[row["request_id"]]["messages"]] == ["system", "user"]
        assert set(row["licence"].split(" AND ")) == {
            "CC-BY-4.0", "LicenseRef-OpenAI-Output", "LicenseRef-Anthropic-Output"
        }  # fmt: skip
        assert row["model"] == "solver" and row["finish_reason"] == "stop" and row["revision"] == prompts[0]["revision"]
    told = sources()["persona_math"]
    assert (told["rows"], told["rejects"], told["revision"]) == (len(prompts), len(bad), prompts[0]["revision"])
    assert told["parents"] == ["sample"] and told["models"] == ["solver", "writer"] and told["filter"] is None
    paid = server.paid()
    job(*ask, "--count", 30)
    assert "nothing to do" in capsys.readouterr().out
    job(*ask, "--count", 34)
    more = rows("raw.prompts", "persona_math")
    assert {(r["row"], r["prompt_id"]) for r in prompts} <= {(r["row"], r["prompt_id"]) for r in more}
    assert set(paid) < set(server.paid()) and set(server.paid().values()) == {1}
    assert len(server.paid()) - len(paid) == 4 + len(more) - len(prompts)


def test_constraints_pairs_and_their_verifier(job, people, server, capsys):  # noqa: F811
    job("prompts", "--skill", "if", "--model", "writer", "--solver", "writer", "--count", 80, "--seed", 1)
    prompts = {row["prompt_id"]: row for row in rows("raw.prompts", "persona_if")}
    bad = rows("raw.rejects", "persona_if")
    assert any("does not state" in row["reason"] for row in bad)
    answers = {row["prompt_id"]: row["content"] for row in rows("raw.completions", "persona_if")}
    good = {id for id, row in prompts.items() if verify("ifeval", answers[id], row["ground_truth"]).correct}
    assert all(row["verifier"] == "ifeval" and 1 <= len(row["constraints"]) <= 3 for row in prompts.values())
    job("rewrite", "--model", "writer", "--count", 1000)
    pairs = {}
    for row in rows("raw.completions", "persona_if_preference"):
        pairs.setdefault(row["prompt_id"], {})[row["preference"]] = row
    kept = {row["prompt_id"] for row in rows("raw.prompts", "persona_if_preference")}
    rejects = rows("raw.rejects", "persona_if_preference")
    repeats = {id for id, row in prompts.items() if "repeat_prompt" in row["ground_truth"]}
    assert pairs.keys() == kept and kept and kept <= good - repeats
    assert len(kept) + len(rejects) == len(prompts.keys() - repeats)
    requests = {row["request_id"]: row for row in rows("llm.requests")}
    for id, pair in pairs.items():
        truth = prompts[id]["ground_truth"]
        assert set(pair) == {"chosen", "rejected"} and pair["chosen"]["content"] == answers[id]
        assert verify("ifeval", pair["chosen"]["content"], truth).correct
        assert not verify("ifeval", pair["rejected"]["content"], truth).correct
        rewritten = requests[pair["rejected"]["request_id"]]["messages"][-1]["content"]
        assert rewritten.startswith("Rewritten.") and rewritten != prompts[id]["messages"][-1]["content"]
    assert sources()["persona_if_preference"]["parents"] == ["persona_if"]


def test_constraints_are_added_without_a_model(job, people, server, request, tmp_path, spark, capsys):  # noqa: F811
    samples = load(request.config.rootpath / "samples" / "sources.toml")
    names = [name for name in samples.names("training") if samples.sources[name].name.startswith("sample")]
    ingest(spark, warehouse.open(), names, samples)
    # Of a prompt that several sources have, the first one's licence binds.
    place = itemgetter("source", "file", "row", "branch")
    before = {row["prompt_id"]: row for row in sorted(rows("raw.prompts"), key=place, reverse=True)}
    job("constrain", "--count", 60)
    made = rows("raw.prompts", "if_augmented")
    assert len(made) == 60 and {row["parent_prompt_id"] for row in made} <= before.keys()
    assert all(row["licence"] == before[row["parent_prompt_id"]]["licence"] for row in made)
    assert not server.paid() and sources()["if_augmented"]["parents"] == sorted(names)
    job("constrain", "--count", 60)  # its own rows are not constrained again
    assert {row["row"]: row["messages"] for row in rows("raw.prompts", "if_augmented")} == {
        row["row"]: row["messages"] for row in made
    }
    with pytest.raises(CaravanError, match="was read from"):
        job("constrain", "--count", 5, "--source", names[0])
    with pytest.raises(CaravanError, match="no rows of nowhere"):
        job("constrain", "--count", 5, "--sources", "nowhere")


def test_personas_of_texts_and_of_personas(job, people):
    job("make", "--from", "raw.personas", "--count", 60, "--model", "writer", "--source", "related")
    made, bad = rows("raw.personas", "related"), rows("raw.rejects", "related")
    known = {row["persona_id"] for row in rows("raw.personas", "sample")}
    assert len(made) + len(bad) == 60 and made and bad and {row["row"] for row in made} <= set(range(1, 61))
    assert all(len(row["parents"]) == 1 and row["parents"][0] in known and row["request_id"] for row in made)
    assert sources()["related"]["licence"] == "LicenseRef-OpenAI-Output AND CC-BY-4.0"
    job("prompts", "--skill", "gsm", "--model", "writer", "--count", 12)
    job("make", "--sources", "persona_gsm", "--count", 10, "--model", "writer")
    ids = {row["prompt_id"] for row in rows("raw.prompts")}
    texts = rows("raw.personas", "made_personas")
    assert texts and all(row["parents"][0] in ids for row in texts)


def test_labels_say_which_prompts_state_constraints(job, people, server, spark, tmp_path):  # noqa: F811
    listed = ["Say exactly 3 words", "Just talk", "I am unsure", "I never know", "Give exactly one"]
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "completion": "ok"}) + "\n" for text in listed))
    known = load()
    from pipelines.registry import extend, from_command_line

    told = {"input": [str(path)], "adapter": "prompt_completion", "licence": "MIT"}
    source = from_command_line(known, "talk", told)
    ingest(spark, warehouse.open(), [source], extend(known, source))
    job("detect", "--sources", "talk", "--model", "writer")
    texts = {row["prompt_id"]: row["messages"][0]["content"] for row in rows("raw.prompts")}
    found = {texts[row["prompt_id"]]: row for row in rows(labels.TABLE)}
    assert [found[text]["value"] for text in listed] == [True, False, False, None, True]
    assert [found[text]["problem"] is None for text in listed] == [True, True, True, False, True]
    paid = server.paid()
    assert len(paid) == 5 + 2 + 1  # two had to be asked again, one of them twice
    job("detect", "--sources", "talk", "--model", "writer")
    assert server.paid() == paid and len(rows(labels.TABLE)) == 5
    job("detect", "--sources", "talk", "--model", "solver")
    assert len(rows(labels.TABLE)) == 10


def test_diversity_is_reported_with_and_without_personas(job, people, tmp_path, capsys):
    job("prompts", "--skill", "algebra", "--model", "writer", "--count", 30)
    job("prompts", "--skill", "algebra", "--model", "writer", "--count", 30, "--without-personas")
    output = tmp_path / "diversity.json"
    job("diversity", "--sources", "persona_algebra,plain_algebra", "--output", output)
    told = json.loads(output.read_text())
    persona, plain = told["sources"]
    # The server answers equal questions alike: without personas there are as many prompts as templates.
    assert persona["prompts"] == plain["prompts"] and persona["equal"] == 0 and plain["equal"] > 0.8
    assert all(a > b for a, b in zip(persona["distinct"], plain["distinct"], strict=True))
    assert "persona_algebra" in capsys.readouterr().out


def test_answers_that_are_all_useless_change_nothing(job, people, server):  # noqa: F811
    job("prompts", "--skill", "python", "--model", "writer", "--count", 8)
    before = rows("raw.prompts", "persona_python"), sources()
    server.faults()  # back to answers without tags
    with pytest.raises(CaravanError, match="None of the answers"):
        job("prompts", "--skill", "python", "--model", "writer", "--count", 8, "--seed", 9)
    assert (rows("raw.prompts", "persona_python"), sources()) == before


def test_no_key_is_written_anywhere(job, people, warehouse_root, capsys):
    job("prompts", "--skill", "safety", "--model", "writer", "--solver", "writer", "--count", 20)
    skills = {row["file"].split("@")[0] for row in rows("raw.prompts", "persona_safety")}
    assert len(skills) == 4
    files = [path for path in warehouse_root.rglob("*") if path.is_file()]
    assert len(files) > 20 and not [path for path in files if b"sk-planted-personas" in path.read_bytes()]
    assert "sk-planted" not in capsys.readouterr().out
