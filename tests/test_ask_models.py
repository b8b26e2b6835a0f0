"""The whole way to preference data with a real engine: personas, responses of a pool, a judge, the mixture; and the on-policy loop.

SmolLM2-135M on vLLM answers, over both protocols. What so small a model cannot do, writing a prompt in a given form and judging, the
loopback server does. Takes minutes: an engine starts slowly, and it starts twice.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import warehouse
from inference.vllm_server import VllmServer, checkpoint_name
from pipelines import complete, decontaminate, judge, personas, registry
from pipelines.ingest import ingest
from tests.inference.conftest import Server, start
from tests.inference.loopback import text
from tests.machine import REPOSITORY
from tests.pipelines.speakers import SECTION, reply
from tests.sql.tiny_project import Project, copied

SMALL = "--max-model-len 2048 --enforce-eager"
ASPECTS = ("helpfulness", "honesty", "instruction_following", "truthfulness")
WRITTEN = 6  # prompts that are written for personas
PROMPTS = 6  # that the pool answers
SOURCES = "general,persona_gsm"
TRAINED = 4  # prompts that the checkpoint answers
ON_POLICY = f"--pool loop --each 2 --sources general --limit {TRAINED} --temperature 0 --max-tokens 150".split()
# The pool: the engine over both protocols, and the loopback server. One line is enough of an answer.
POOL = """each = 3
parameters = { temperature = 0.8, max_tokens = 120, stop = ["\\n"] }
[[model]]
name = "smol"
parameters = { temperature = 0 }
[[model]]
name = "smol-messages"
[[model]]
name = "loop"
"""
RECIPES = """recipe,part,source,judge,policy,prompts,rows,share,groups
pool,pool,pool_v1,judge,,,,,
on_policy,on_policy,on_v1,judge,on,,,,
"""
MIXTURES = """mixture,recipe,only,without,fraction,use,judge,policy,prompts,verified,pairs,seed,description
pool,pool,,,1,any,,,,no,1,1,
on_policy,on_policy,,,1,any,,,,no,1,1,
"""
REGISTRY = """
[training.general]
title = "Everyday questions"
input = "{samples}/general.csv"
adapter = "prompt_completion"
constants = {{ model = "human", language = "en" }}
licence = "CC-BY-4.0"
skill = "general"

[evaluation.colours]
title = "Nothing that is trained on"
input = "{folder}/colours.csv"
match = "question"
reference = "answer"
suite = "development"
licence = "CC0-1.0"
"""


def rating(response: str, aspect: str) -> int:
    """What the judge thinks of a response."""
    return 1 + hashlib.md5(f"{aspect} {response.strip()}".encode()).digest()[0] % 5


def speak(body: dict[str, Any], times: int) -> str:
    """The loopback server's part: `loop-large` judges, `loop` writes prompts and answers them."""
    question = body["messages"][-1]["content"]
    if "<prompt>" in question:
        eggs, used, *_ = hashlib.md5(question.encode()).digest()
        return f"Gladly.\n<prompt>\nA baker has {300 + eggs} eggs and uses {used}. How many are left?\n</prompt>"
    if body["model"] != "loop-large":
        return text(question)
    (aspect,) = (each for each in ASPECTS if told(each) in question)
    return reply({int(number): rating(shown, aspect) for _, number, shown in SECTION.findall(question)})


def told(aspect: str) -> str:
    """The first line of an aspect's template."""
    path = REPOSITORY / "pipelines" / "templates" / "judge" / f"{aspect}.txt"
    return path.read_text(encoding="utf-8").partition("\n")[0]


@dataclass
class Chain:
    """What was made: the project with warehouse and mixtures, the loopback server, the models' cards, the engine's name for the weights."""

    project: Project
    server: Server
    cards: list[str]
    checkpoint: str

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        return warehouse.connect(root=self.project.root).sql(query).fetchall()


@pytest.fixture(scope="module")
def chain(smollm2: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("asked")
    project = copied(folder, preference_recipes=RECIPES, preference_mixtures=MIXTURES)
    server = start(speaker="tests.test_ask_models:speak")
    made = Chain(project, server, ["--models", str(folder / "models.toml")], checkpoint_name(smollm2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARAVAN_WAREHOUSE", project.root)
        patch.delenv("CARAVAN_CATALOGUE", raising=False)
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        read(spark, folder)
        with VllmServer(smollm2, arguments=SMALL.split()) as engine:
            url, of = engine.url, {"serves": engine.name, "licence": "Apache-2.0"}
            smol = {"smol": {"urls": [url], **of}}
            smol["smol-messages"] = {"provider": "anthropic", "urls": [url.removesuffix("/v1")], **of}
            server.cards(folder, **smol, loop={}, judge={"serves": "loop-large"})
            answered_by_a_pool(made)
        on_policy(made, smollm2)
        judge.main(["--judge", "judge", "--sources", "pool_v1,on_v1", *made.cards])
        decontaminate.main([])
        mix(project)
        yield made
    server.process.kill()
    server.process.wait()


def read(spark: SparkSession, folder: Path) -> None:
    """A source, an evaluation and personas."""
    (folder / "colours.csv").write_text("question,answer\nOf what colour is a ripe lemon in Sicily?,yellow\n")
    (folder / "sources.toml").write_text(REGISTRY.format(samples=REPOSITORY / "samples", folder=folder))
    ingest(spark, warehouse.open(), ["general", "colours"], registry.load(folder / "sources.toml"))
    people = str(REPOSITORY / "samples" / "personas.jsonl")
    personas.main(["ingest", "--source", "people", "--input", people, "--licence", "CC0-1.0"])


def answered_by_a_pool(made: Chain) -> None:
    """Prompts for personas with solutions by the engine, and responses of the pool."""
    written = [
        "--skill",
        "gsm",
        "--count",
        str(WRITTEN),
        "--model",
        "loop",
        "--solver",
        "smol-messages",
        "--max-tokens",
        "200",
    ]
    personas.main(["prompts", *written, *made.cards])
    pool = made.project.folder / "pool.toml"
    pool.write_text(POOL)
    chosen = ["--sources", SOURCES, "--limit", str(PROMPTS)]
    complete.main(["--name", "pool_v1", "--pool", str(pool), *chosen, *made.cards])


def on_policy(made: Chain, checkpoint: Path) -> None:
    """Responses of a checkpoint, which the job serves itself, beside those of another model."""
    served = ["--checkpoint", str(checkpoint), "--checkpoint-licence", "Apache-2.0", "--vllm", SMALL]
    complete.main(["--name", "on_v1", *served, *ON_POLICY, *made.cards])


def mix(project: Project) -> None:
    variables = json.dumps({"preference_mixtures": ["pool", "on_policy"], "duplicates": "off"})
    built = project.dbt("build", "--select", "+preference", "--exclude-resource-type", "unit_test", variables=variables)
    assert built.returncode == 0, built.stdout


def test_the_engine_answered_over_both_protocols(chain: Chain) -> None:
    found = chain.sql("""
        select model, provider, served_model, count(*), count_if(status = 'ok' and output_tokens > 0)
        from llm.responses join llm.requests using (request_id) where model != 'judge' group by all order by all
    """)
    solved = len(chain.sql("from raw.prompts where source = 'persona_gsm'"))
    assert solved > 0
    assert found == [
        (chain.checkpoint, "openai", chain.checkpoint, TRAINED, TRAINED),
        ("loop", "openai", "loop-served", WRITTEN + PROMPTS + TRAINED, WRITTEN + PROMPTS + TRAINED),
        ("smol", "openai", chain.checkpoint, PROMPTS, PROMPTS),
        ("smol-messages", "anthropic", chain.checkpoint, solved + PROMPTS, solved + PROMPTS),
    ]


def test_pairs_are_what_the_judge_made_of_the_responses(chain: Chain) -> None:
    pairs = chain.sql("""
        select mixture, messages[-1].content, chosen, rejected, chosen_score, rejected_score, chosen_model, rejected_model
        from mixtures.preference
    """)
    best: dict[tuple[str, str], float] = {}
    usable = "finish_reason = 'stop' and trim(content) != '' and source in ('pool_v1', 'on_v1')"
    for source, prompt, content in chain.sql(f"""
        select c.source, p.messages[-1].content, c.content
        from raw.completions c join (select distinct prompt_id, messages from raw.prompts) p using (prompt_id) where {usable}
    """):
        key = {"pool_v1": "pool", "on_v1": "on_policy"}[source], prompt
        best[key] = max(best.get(key, 0.0), mean(content))
    assert {pair[0] for pair in pairs} == {"pool", "on_policy"}
    for mixture, prompt, chosen, rejected, high, low, *models in pairs:
        assert (high, low) == (mean(chosen), mean(rejected))
        assert low < high == best[mixture, prompt]
        if mixture == "on_policy":
            assert chain.checkpoint in models


def mean(response: str) -> float:
    return sum(rating(response, aspect) for aspect in ASPECTS) / len(ASPECTS)


def test_every_side_of_a_pair_is_followed_to_its_answer_and_its_source(chain: Chain) -> None:
    """One query: from the pair to the text that the model sent, the request, the judgements, and the row and file of the prompt."""
    (count,) = chain.sql("select count(*) from mixtures.preference")[0]
    followed = chain.sql("""
        with sides as (
            select *, chosen_completion_id as completion_id, chosen as said, chosen_model as model from mixtures.preference
            union all
            select *, rejected_completion_id, rejected, rejected_model from mixtures.preference
        )
        select sides.source, answers.model, responses.endpoint, sources.location, count(*),
            count(distinct (mixture, position)), max(judged.aspects), min(judged.aspects)
        from sides
        join raw.completions as answers on (answers.completion_id, answers.source) = (sides.completion_id, sides.completion_source)
        join llm.responses as responses on responses.request_id = answers.request_id and responses.content = sides.said
        join llm.requests as requests on requests.request_id = answers.request_id and requests.model = sides.model
            and requests.messages = sides.messages
        join raw.prompts as prompts on (prompts.source, prompts.revision, prompts.file, prompts.row, prompts.branch)
            = (sides.source, sides.revision, sides.file, sides.row, sides.branch) and prompts.messages = sides.messages
        join raw.sources as sources on (sources.source, sources.revision) = (prompts.source, prompts.revision)
        join (
            select completion_id, count(distinct aspect) as aspects from pref.judgments join llm.responses using (request_id)
            where raw = content group by all
        ) as judged on judged.completion_id = sides.completion_id
        group by all
    """)
    assert sum(row[4] for row in followed) == 2 * count > 0
    assert {row[6:] for row in followed} == {(4, 4)}
    assert all(source != "general" or location.endswith("general.csv") for source, _, _, location, *_ in followed)
    assert chain.checkpoint in {model for _, model, *_ in followed}
    # A prompt that a model wrote goes on to its own request, and to the persona that it was written for.
    written = chain.sql("""
        select count(*), count_if(contains(requests.messages[-1].content, people.text)), count_if(contains(responses.content, prompts.messages[-1].content))
        from (select distinct source, file, row from mixtures.preference where source = 'persona_gsm')
        join raw.prompts as prompts using (source, file, row)
        join llm.requests as requests using (request_id)
        join llm.responses as responses using (request_id)
        join raw.personas as people using (persona_id)
    """)
    assert written[0][0] > 0
    assert len(set(written[0])) == 1


def test_the_licence_of_a_pair_is_of_all_that_made_it(chain: Chain) -> None:
    found = dict(chain.sql("select source, any_value(licence) from mixtures.preference group by all"))
    assert {name: set(text.split(" AND ")) for name, text in found.items()} == {
        "general": {"CC-BY-4.0"},
        "persona_gsm": {"CC0-1.0"},
    }


def test_the_same_weights_are_the_same_model(
    chain: Chain, smollm2: Path, tmp_path: Path, capfd: Any, monkeypatch: Any
) -> None:
    """In another folder, under another campaign: nothing is asked anew, and no engine is started."""
    monkeypatch.setenv("CARAVAN_WAREHOUSE", chain.project.root)
    monkeypatch.setenv("CARAVAN_VLLM", "/bin/false")
    for file in smollm2.iterdir():
        (tmp_path / file.name).symlink_to(file)
    before = chain.server.counts()["requests"]
    served = ["--checkpoint", str(tmp_path), "--checkpoint-licence", "Apache-2.0"]
    complete.main(["--name", "on_v2", *served, *ON_POLICY, *chain.cards])
    assert "serving" not in capfd.readouterr().out
    assert chain.server.counts()["requests"] == before
    of = "select request_id, policy, checkpoint_id, content from raw.completions where source = '{}' order by all"
    assert chain.sql(of.format("on_v2")) == chain.sql(of.format("on_v1"))
    own = chain.sql("select policy, checkpoint_id, count(*) from raw.completions where source = 'on_v2' group by all")
    assert sorted(own, key=str) == sorted(
        [("on", chain.checkpoint.rpartition("/")[2], TRAINED), ("off", None, TRAINED)], key=str
    )
