"""Real data, every set of it: counts, lineage, licences and fields as ingestion finds them."""

import gzip
import json
import tomllib
from pathlib import Path

import warehouse

DECLARED = tomllib.loads((Path(__file__).parent / "shared_sources.toml").read_text())

# source: (records, prompts, completions); every record of the real data can be read
TRAINING = {
    "alpaca_parts": (5_175, 5_175, 5_175),
    "alpaca_eval_pool": (12_879, 12_879, 12_879),
    "alpaca_eval_pairs": (7_245, 7_245, 14_490),
    "alpagasus": (19_552, 19_552, 19_552),
    "cherry_alpaca": (3_111, 3_111, 3_111),
    "coconot_pairs": (1_854, 1_854, 3_708),
    "coconot_prompts": (1_380, 1_380, 0),
    "codealpaca_parts": (6_552, 6_552, 6_552),
    "evol_codealpaca": (3_919, 3_919, 3_919),
    "flan_v2_cot": (33_443, 33_443, 33_443),
    "gpteacher": (10_819, 10_819, 10_819),
    "gsm8k_train": (7_473, 7_473, 7_473),
    "harmfulqa": (1, 1_960, 0),
    "hh_rlhf": (2_312, 2_312, 4_624),
    "lima": (1_029, 1_029, 1_029),
    "limr_math8k": (8_523, 8_523, 0),
    "math_train": (8_475, 8_475, 975),
    "nl2bash": (12_607, 12_607, 12_607),
    "numina_cot": (1_000, 1_000, 1_000),
    "oasst_trees": (200, 216, 216),
    "persona_hub_tool": (5_000, 5_000, 0),
    "rlvr_gsm8k": (7_473, 7_473, 7_473),
    "rlvr_math": (7_500, 7_500, 0),
    "self_instruct_seed": (427, 427, 427),
    "t0_train": (55_185, 55_185, 55_185),
    "tulu3_sft": (100, 100, 100),
    "tulu3_rlvr": (100, 100, 0),
    "tulu3_preference": (100, 100, 200),
    "tulu3_acecode": (1, 1, 0),
    "tulu3_if_seeds": (1, 33, 0),
    "ultrafeedback_1k": (2_000, 2_000, 4_000),
    "wildjailbreak_eval": (2_000, 2_000, 0),
}
EVALUATIONS = {  # evaluation: (instances, subsets)
    "agieval": (3_852, 10),
    "alpaca_eval": (805, 5),
    "bbh": (6_511, 27),
    "bigcodebench": (1_140, 0),
    "deepmind_math": (5_600, 56),
    "gsm8k": (1_319, 0),
    "harmbench": (400, 7),
    "humaneval": (164, 0),
    "humanevalplus": (164, 0),
    "ifbench": (300, 0),
    "ifeval": (541, 0),
    "jailbreaktrigger": (1_400, 2),
    "math": (5_000, 7),
    "mmlu": (14_042, 57),
    "mmlu_pro": (12_032, 14),
    "popqa": (1_000, 0),
    "truthfulqa": (817, 38),
    "wildjailbreaktest": (2_000, 0),
    "xstest": (450, 18),
}


def query(root, sql):
    return warehouse.connect(root=str(root)).sql(sql).fetchall()


def test_every_real_set_is_declared_and_expected():
    assert set(TRAINING) == set(DECLARED["training"])
    assert set(EVALUATIONS) == set(DECLARED["evaluation"])


def test_every_real_training_set_ingests(shared_lake):
    found = query(
        shared_lake,
        """select source, rows, rejects,
                  (select count(*) from raw.prompts p where p.source = s.source),
                  (select count(*) from raw.completions c where c.source = s.source)
           from raw.sources s where kind = 'training'""",
    )
    assert {name: (rows, prompts, answers) for name, rows, _, prompts, answers in found} == TRAINING
    assert query(shared_lake, "select * from raw.rejects") == []


def test_every_real_evaluation_ingests(shared_lake):
    found = query(
        shared_lake,
        "select eval_set, count(*), count(distinct subset), count(distinct instance_id) from raw.eval_instances group by 1",
    )
    assert {name: (rows, subsets) for name, rows, subsets, _ in found} == EVALUATIONS
    assert all(rows == ids for _, rows, _, ids in found)


def test_rows_are_what_their_files_say(shared_lake, shared_data):
    pairs = list(
        zip(*((shared_data / "train/nl2bash" / n).read_text().splitlines() for n in ("all.nl", "all.cm")), strict=True)
    )
    found = query(
        shared_lake,
        """select p.row, p.messages[1].content, c.content from raw.prompts p join raw.completions c using (prompt_id, source, file, row)
           where source = 'nl2bash' and p.row in (1, 5000, 12607) order by 1""",
    )
    assert found == [(n, *pairs[n - 1]) for n in (1, 5_000, 12_607)]
    lines = gzip.decompress((shared_data / "train/hh_rlhf_harmless_test/test.jsonl.gz").read_bytes()).splitlines()
    ((content, preference),) = query(
        shared_lake,
        "select content, preference from raw.completions where source = 'hh_rlhf' and row = 7 and sample = 1",
    )
    assert json.loads(lines[6])["rejected"].endswith("\n\nAssistant: " + content) and preference == "rejected"
    assert query(shared_lake, "select distinct file from raw.prompts where source = 'coconot_pairs' order by 1") == [
        ("coconot_contrast_train.jsonl",),
        ("coconot_pref.jsonl",),
    ]
    ((texts,),) = query(
        shared_lake,
        "select fields from raw.eval_instances where eval_set = 'deepmind_math' and subset = 'algebra__linear_1d' and row = 1",
    )
    assert texts == [{"name": "question", "text": "Solve -22*c + 8*c + 698 = 78*c - 498 for c."}]


def test_licences_follow_parents_and_models(shared_lake):
    found = dict(query(shared_lake, "select distinct source, licence from raw.prompts"))
    assert found["evol_codealpaca"] == "CC-BY-NC-4.0 AND LicenseRef-OpenAI-Output AND Apache-2.0"
    assert found["t0_train"] == "LicenseRef-Mixed AND Apache-2.0"
    assert found["gsm8k_train"] == "MIT"


def test_constraints_ground_truths_and_personas(shared_lake):
    assert query(
        shared_lake,
        "select verifier, count(*), count(ground_truth) from raw.prompts where source = 'tulu3_rlvr' group by 1 order by 1",
    ) == [
        ("gsm8k", 48, 48),
        ("math", 52, 52),
    ]
    ((ids,),) = query(
        shared_lake, "select count(distinct constraints[1].id) from raw.prompts where source = 'tulu3_if_seeds'"
    )
    assert ids == 25
    assert query(
        shared_lake, "select count(distinct persona_id) from raw.prompts where source = 'persona_hub_tool'"
    ) == [(5_000,)]
    assert query(shared_lake, "select count(*) from raw.completions where content like '%<|endoftext|>'") == [(0,)]
    assert query(
        shared_lake, "select count(*) from raw.completions where source = 'ultrafeedback_1k' and score is not null"
    ) == [(4_000,)]
