"""The registry of the recipe's sources, and files of a user's own."""

import pytest

from pipelines import registry
from warehouse.errors import CaravanError

MIXTURE = {  # rows of the published SFT mixture by source
    "coconot": 10_983,
    "flan_v2": 89_982,
    "no_robots": 9_500,
    "oasst1": 7_132,
    "persona_math": 149_960,
    "persona_gsm": 49_980,
    "persona_algebra": 20_000,
    "persona_python": 34_999,
    "persona_if": 29_980,
    "numinamath_tir": 64_312,
    "wildguardmix": 50_000,
    "wildjailbreak": 50_000,
    "openmathinstruct2": 50_000,
    "wildchat": 100_000,
    "aya": 100_000,
    "sciriff": 10_000,
    "table_gpt": 5_000,
    "hard_coded": 240,
    "evol_codealpaca": 107_276,
}
DEVELOPMENT = [
    "mmlu",
    "popqa",
    "truthfulqa",
    "bbh",
    "drop",
    "math",
    "gsm8k",
    "humaneval",
    "humanevalplus",
    "ifeval",
    "alpaca_eval",
    "harmbench",
    "xstest",
    "wildguardtest",
    "jailbreaktrigger",
    "do_anything_now",
    "wildjailbreaktest",
]
UNSEEN = ["mmlu_pro", "gpqa", "agieval", "deepmind_math", "bigcodebench_hard", "ifbench", "href"]


def test_the_recipe_is_complete():
    known = registry.load()
    assert sum(MIXTURE.values()) == 939_344
    assert {name: known.get(name).rows for name in MIXTURE} == MIXTURE
    for name in ("ultrafeedback", "daring_anteater", "tulu2_mix", "gsm8k_train", "math_train", "rlvr_ifeval"):
        assert known.get(name).kind == "training"
    assert known.names("evaluation") == [*DEVELOPMENT, *UNSEEN]
    assert {n for n in known.names("evaluation") if known.get(n).suite == "unseen"} == set(UNSEEN)
    for name in known.names():
        source = known.get(name)
        assert source.skill and known.licence(source)
        assert source.kind == "evaluation" or source.consent, f"{name} does not say how its authors agreed"


def test_sets_without_consent_are_refused_and_the_reason_given():
    known = registry.load()
    for name in ("sharegpt", "helpsteer2"):
        with pytest.raises(CaravanError, match=r"excluded on purpose.*ShareGPT.*wildchat"):
            known.get(name)
    for name in ("tulu2_mix", "ultrafeedback"):
        source = known.get(name)
        column = source.parts["column"]
        assert not source.takes(column, "sharegpt") and source.takes(column, "flan_v2")
    assert not known.get("ultrafeedback").takes("source", "truthful_qa")
    assert known.get("wildchat").takes("model", "gpt-4-1106-preview") and not known.get("wildchat").takes(
        "model", "gpt-3.5-turbo"
    )


def test_licences_are_traced_to_parts_and_models():
    known = registry.load()
    persona = known.licence(known.get("persona_math"))
    assert persona == "CC-BY-NC-SA-4.0 AND LicenseRef-OpenAI-Output AND ODC-By-1.0"
    mix = known.licences(known.get("tulu2_mix"))
    assert mix["oasst1*"] == "ODC-By-1.0 AND Apache-2.0"
    assert mix["lima*"] == "CC-BY-NC-SA-4.0 AND ODC-By-1.0"
    assert set(mix["flan_v2*"].split(" AND ")) < set(mix[""].split(" AND "))
    assert "LicenseRef-Llama-3.1-Community" in known.licence(known.get("openmathinstruct2"))
    assert "MIT" in known.licence(known.get("numinamath_tir")), "the licences of MATH and GSM8K, two generations back"


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("GPT-4", ["OpenAI-Output"]),
        ("gpt-3.5-turbo-0613", ["OpenAI-Output"]),
        ("openai/gpt-4o", ["OpenAI-Output"]),
        ("o1-preview", ["OpenAI-Output"]),
        ("chatgpt-4o-latest", ["OpenAI-Output"]),
        ("text_davinci_003", ["OpenAI-Output"]),
        ("anthropic/Claude-3-Opus", ["Anthropic-Output"]),
        ("gemini-1.5-pro", ["Google-Output"]),
        ("command-r", ["Cohere-Output"]),
        ("mistral-large-latest", ["Mistral-Output"]),
        ("gemma-2-9b-it", ["Gemma-Terms"]),
        ("meta-llama/Llama-2-7b-chat-hf", ["Llama-2-Community"]),
        ("meta-llama/Meta-Llama-3-8B-Instruct", ["Llama-3-Community"]),
        ("meta-llama/Llama-3.1-8B-Instruct", ["Llama-3.1-Community"]),
        ("llama3.2:3b", ["Llama-3.2-Community"]),
        ("llama-3.3-70b-instruct", ["Llama-3.3-Community"]),
        ("human", []),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", []),
        ("gpt-2", None),
        ("EleutherAI/gpt-neox-20b", None),
        ("olmo-7b", None),
    ],
)
def test_terms_of_models(model, terms):
    known = registry.load().terms
    assert registry.terms_of(model, known) == (terms if terms is None else [f"LicenseRef-{name}" for name in terms])


def test_a_file_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMEWHERE", "s3://bucket")
    file = tmp_path / "mine.toml"
    file.write_text("""
[training.mine]
input = ["data/*.jsonl", "${SOMEWHERE}/x.parquet"]
adapter = "messages"
licence = "CC-BY-4.0"
parents = ["seeds", "gsm8k_train"]

[part.seeds]
licence = "CC0-1.0"

[training.sharegpt] # with the consent of those who wrote it
input = "/data/ours.jsonl"
adapter = "sharegpt"
licence = "LicenseRef-Proprietary"
""")
    known = registry.load(file)
    assert known.get("mine").input == (str(tmp_path / "data/*.jsonl"), "s3://bucket/x.parquet")
    assert known.licence(known.get("mine")) == "CC-BY-4.0 AND MIT AND CC0-1.0"
    assert known.get("sharegpt").input == ("/data/ours.jsonl",)
    with pytest.raises(CaravanError, match="'seeds' is declared only as a part"):
        known.get("seeds")


GOOD = 'input = "a.jsonl"\nadapter = "messages"\nlicence = "MIT"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training.x\n", "is not valid TOML"),
        ("[trainings.x]\n" + GOOD, r"'trainings' is not a kind of source"),
        ("[training.x]\n" + GOOD + 'lisence = "MIT"', "unknown key 'lisence'"),
        ('[training.x]\ninput = "a"\nadapter = "messages"', "states no licence"),
        ("[training.x]\n" + GOOD.replace("MIT", "Free"), "licence of the source 'x'.*'Free'"),
        ("[training.x]\n" + GOOD.replace("messages", "chat"), "the adapter 'chat'. Adapters: messages, sharegpt"),
        ("[training.x]\n" + GOOD.replace("input", "hubb"), "unknown key 'hubb'"),
        ('[training.x]\nadapter = "messages"\nlicence = "MIT"', "neither input .* nor hub"),
        (
            "[training.x]\n" + GOOD + 'fields = { prompt = "q" }',
            "column for 'prompt', which messages does not know. Roles: messages",
        ),
        ("[training.x]\n" + GOOD + 'clean = "strip"', "the repair 'strip'"),
        ("[training.x]\n" + GOOD + 'format = "xml"', "the format 'xml'"),
        ("[training.x]\n" + GOOD + 'parents = ["nobody"]', "the parent 'nobody'"),
        ("[excluded.x]\n", r"\[excluded.x\] gives no reason"),
        ("[excluded]\nx = 'why'\n", r"'x' in \[excluded\] is no table"),
        ("[terms]\nx = 'Free'\n", r"terms of 'x': .*'Free'"),
        ("[terms]\nx = 3\n", r"terms of 'x' are no text"),
        (
            '[evaluation.x]\ninput = "a"\nlicence = "MIT"\nmatch = "q"\nsuite = "unseen"\nfields = { prompt = "q" }',
            "an evaluation, which has no adapter and no fields",
        ),
        ('[evaluation.x]\ninput = "a"\nlicence = "MIT"', "which columns decontamination matches"),
        ('[evaluation.x]\ninput = "a"\nlicence = "MIT"\nmatch = "q"\nsuite = "secret"', "the suite 'secret'"),
    ],
)
def test_mistakes_in_a_registry_file(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(CaravanError, match=message) as caught:
        registry.load(file)
    assert "mine.toml" in str(caught.value) or "'x'" in str(caught.value)
