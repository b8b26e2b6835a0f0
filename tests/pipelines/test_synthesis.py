"""Choices by hash, requests, strict reading of replies, rows: each against what it must give, without a model."""

import hashlib
import json
from collections import Counter
from random import Random

import pytest
from pyspark.sql import Row

from pipelines.synthesis import augment, choice, constraints, diversity, plan, replies, rewrites, rows, skills
from pipelines.synthesis.seeds import SEEDS
from pipelines.templates import names, template
from pipelines.transform import prompt_id
from tasks.constraints.core import validate
from tasks.constraints.ifeval import IFEVAL
from tasks.registry import verify

PEOPLE = [
    f"A {trade} in {place}" for trade in ("baker", "nurse", "pilot", "tailor") for place in ("Oslo", "Lima", "Pune")
]


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def people(spark):
    listed = [(md5(text), text, source, "r", "f", n, "MIT") for source in "ab" for n, text in enumerate(PEOPLE)]
    ddl = "persona_id string, text string, source string, revision string, file string, row long, licence string"
    return spark.createDataFrame(listed, ddl)


# --- choices


def test_every_row_has_a_place_of_its_own_that_depends_on_the_seed(spark):
    ids = spark.range(5000).selectExpr("cast(id as string) as key")
    orders = []
    for seed, parts in ((1, 3), (1, 7), (2, 3)):
        placed = choice.ranked(ids.repartition(parts), "key", seed).collect()
        assert sorted(row.place for row in placed) == list(range(5000))
        orders.append({row.key: row.place for row in placed})
    assert orders[0] == orders[1] != orders[2]
    by_hash = sorted(orders[0], key=lambda key: md5(f"1\x1f{key}"))
    assert [orders[0][key] for key in by_hash] == list(range(5000))


@pytest.mark.parametrize("count", [5, 12, 30])
def test_a_larger_count_extends_a_smaller_one(people, count):
    whole = {row.number: row for row in plan.personas(people, 40, 3).collect()}
    part = plan.personas(people, count, 3).collect()
    assert {row.number: row for row in part} == {n: whole[n] for n in range(1, count + 1)}
    assert Counter(row.round for row in whole.values()) == {0: 12, 1: 12, 2: 12, 3: 4}
    assert len({row.persona_id for row in part}) == min(count, 12)  # one in two sources counts once


def test_rows_that_are_chosen_do_not_depend_on_the_number_of_tasks(people):
    skill = skills.SKILLS["if"]
    one = plan.planned(plan.personas(people, 30, 5).coalesce(1), skill, 5).collect()
    other = plan.planned(plan.personas(people.repartition(6), 30, 5).repartition(4), skill, 5).collect()
    assert sorted(one) == sorted(other)


# --- requests


@pytest.mark.parametrize("name", sorted(skills.SKILLS))
def test_requests_show_the_persona_and_nothing_unfilled(people, name):
    skill = skills.SKILLS[name]
    found = plan.planned(plan.personas(people, 60, 1), skill, 1).collect()
    texts = {md5(text): text for text in PEOPLE}
    assert all(texts[row.persona_id] in row.question and row.licence == "MIT" for row in found)
    assert not [row.question for row in found if "$about" in row.question or "${" in row.question]
    used = {row.file for row in found}
    # Every kind is drawn; the plain one of constraints only where the request is to be repeated.
    assert used <= {template(kind.path).id for kind in skill.kinds} and (len(used) == len(skill.kinds) or name == "if")


def test_without_personas_the_same_templates_are_asked(spark):
    found = plan.planned(plan.nobody(spark, 30), skills.SKILLS["math"], 1).collect()
    assert len({row.question for row in found}) == 2 and not any(row.persona_id for row in found)
    assert len({(row.file, row.round) for row in found}) == 30  # what tells requests apart
    persona = template("synthesis/persona").text.split("$")[0].strip()
    assert not any(persona in row.question for row in found)


def test_each_template_has_exactly_the_fields_that_it_is_given():
    fields = {"if": {"about", "constraints", "example"}, "non_compliance": {"about", "topic"}}
    fields["safety"] = {"about", "topic", "disguise"}
    for skill in skills.SKILLS.values():
        for kind in skill.kinds:
            assert {"about"} <= set(template(kind.path).fields) <= fields.get(skill.name, {"about"}), kind
            assert template(kind.path).text.endswith("<prompt>\n…\n</prompt>")
            assert kind.solve is None or template(f"synthesis/{kind.solve}").fields == []
    used = {kind.path for s in skills.SKILLS.values() for kind in s.kinds}
    used |= {f"synthesis/{kind.solve}" for s in skills.SKILLS.values() for kind in s.kinds if kind.solve}
    assert used | {"synthesis/persona", "synthesis/rewrite"} == set(names("synthesis/"))


def test_contrasts_share_topic_and_shape():
    """Harmful and benign templates of one manner have the same fields, so the same topics shape both."""
    for manner in ("vanilla", "adversarial"):
        harmful, benign = (template(f"synthesis/safety/{manner}_{kind}") for kind in ("harmful", "benign"))
        assert set(harmful.fields) == set(benign.fields) and "topic" in harmful.fields


# --- constraints


def test_seeds_cover_the_constraints_and_state_them():
    counts = Counter(seed.id for seed in SEEDS)
    assert len(SEEDS) == 33 and set(counts) == set(IFEVAL) and set(counts.values()) == {1, 2}
    for seed in SEEDS:
        validate(IFEVAL[seed.id], seed.arguments)
        assert constraints.unsaid(seed.text, seed.id, seed.arguments) is None, seed


def test_our_own_words_for_a_constraint_state_it():
    seen = set()
    for number in range(400):
        drawn = constraints.draw(Random(number), PEOPLE[number % len(PEOPLE)])
        assert 1 <= len(drawn) <= 3
        for id, arguments, words in drawn:
            seen.add(id)
            assert constraints.unsaid(words, id, arguments) is None, words
    assert seen == set(IFEVAL)


@pytest.mark.parametrize(
    ("text", "id", "arguments", "lacks"),
    [
        ("Use under 200 words.", "length_constraints:number_words", {"num_words": 200, "relation": "less than"}, None),
        ("Use under 20 words.", "length_constraints:number_words", {"num_words": 200, "relation": "less than"}, "200"),
        ("Use 200 words.", "length_constraints:number_words", {"num_words": 200, "relation": "less than"}, "less than"),
        ("Give me Three bullets.", "detectable_format:number_bullet_lists", {"num_bullets": 3}, None),
        ("Give me 13 bullets.", "detectable_format:number_bullet_lists", {"num_bullets": 3}, "3"),
        ("No commas, please.", "punctuation:no_comma", {}, None),
        ("Be brief.", "punctuation:no_comma", {}, "comma"),
        ("Antworte auf Deutsch.", "language:response_language", {"language": "de"}, "German"),
        ("At least 2 times the letter q.", "keywords:letter_frequency",
         {"letter": "q", "let_frequency": 2, "let_relation": "at least"}, None),
        ("At least 2 quick letters.", "keywords:letter_frequency",
         {"letter": "q", "let_frequency": 2, "let_relation": "at least"}, "q"),
    ],
)  # fmt: skip
def test_what_a_prompt_leaves_out_is_seen(text, id, arguments, lacks):
    assert constraints.unsaid(text, id, arguments) == lacks


def test_a_prompt_to_repeat_is_known_only_when_it_is_written():
    stated = [(constraints.REPEAT, {"prompt_to_repeat": "A baker in Oslo"}), ("punctuation:no_comma", {})]
    prompt, full, problem = constraints.finished("Why does bread rise? Use no comma.", stated)
    assert problem is None and prompt.endswith("\nWhy does bread rise? Use no comma.")
    truth = constraints.ground_truth(full)
    assert verify("ifeval", "Why does bread rise? Use no comma. Because of yeast.", truth).correct
    assert not verify("ifeval", "Because of yeast.", truth).correct


# --- replies


def read(spark, function, *given, **fields):
    ddl = "request_id string, status string, content string, finish_reason string, error string"
    listed = [(str(n), *one) for n, one in enumerate(given)]
    asked = spark.createDataFrame([(str(n), n) for n in range(len(given))], "request_id string, number int")
    return function(replies.answered(asked, spark.createDataFrame(listed, ddl)), **fields).orderBy("number").collect()


def test_text_between_tags_is_read_strictly(spark):
    found = read(
        spark, lambda rows: replies.tagged(rows, "prompt"),
        ("ok", "<prompt>\n What is $2^3$? \n</prompt>", "stop", None),
        ("ok", "Here you are:\n<prompt>Two\nlines</prompt>\nGood luck!", "stop", None),
        ("ok", "What is 2?", "stop", None),
        ("ok", "<prompt>What is", "length", None),
        ("ok", "<prompt>a</prompt><prompt>b</prompt>", "stop", None),
        ("ok", "</prompt>a<prompt>", "stop", None),
        ("ok", "<prompt> … </prompt>", "stop", None),
        ("ok", "", "stop", None),
        ("ok", None, "stop", None),
        ("refused", None, "content_filter", None),
        ("failed", None, None, "too long"),
    )  # fmt: skip
    assert [row.text for row in found[:2]] == ["What is $2^3$?", "Two\nlines"]
    assert not any(row.problem for row in found[:2]) and not any(row.text for row in found[2:])
    assert all(row.problem for row in found[2:])
    assert "cut off" in found[3].problem and "filter" in found[9].problem and "too long" in found[10].problem


def test_solutions_are_whole_or_none(spark):
    told = [("ok", " yes ", "stop", None), ("ok", "so", "length", None), ("ok", " \n", "stop", None)]
    whole, cut, empty = read(spark, replies.whole, *told)
    assert (whole.text, whole.problem) == (" yes ", None)
    assert cut.text is None and "cut off" in cut.problem and empty.text is None and "empty" in empty.problem


def test_yes_and_no_are_words_alone(spark):
    told = ["Yes.", "no", " NO\n", "yes, it does", "maybe", "", "yes."]
    found = read(spark, replies.yes_or_no, *(("ok", text, "stop", None) for text in told))
    assert [row.value for row in found] == [True, False, False, None, None, None, True]
    assert [row.problem is None for row in found] == [row.value is not None for row in found]


# --- rows


def test_ids_are_those_of_ingestion(spark):
    turns = [("system", "Be kind…"), ("user", "Wie geht's?\n\U0001f42b"), ("user", "")]
    made = spark.createDataFrame([(turns,)], "messages array<struct<role: string, content: string>>")
    found = made.select(rows.prompt_id(made.messages).alias("id")).first().id
    assert found == prompt_id([{"role": role, "content": content} for role, content in turns])


def test_licences_bind_by_persona_model_and_card(spark):
    given = spark.createDataFrame([("MIT",), ("CC-BY-NC-SA-4.0",)], "licence string")
    models = [("gpt-4o-2024-08-06", "LicenseRef-OpenAI-Output"), ("mine", None)]
    terms = {"gpt-4*": "LicenseRef-OpenAI-Output"}
    found = given.select(rows.bound(given.licence, models, terms).alias("licence")).collect()
    assert found[0].licence == "LicenseRef-OpenAI-Output AND MIT"
    assert set(found[1].licence.split(" AND ")) == {"LicenseRef-OpenAI-Output", "CC-BY-NC-SA-4.0"}


# --- constraints added to prompts


@pytest.fixture(scope="module")
def talks(spark):
    ddl = "prompt_id string, source string, file string, row long, branch int, language string, licence string, "
    ddl += "messages array<struct<role: string, content: string>>"
    listed = []
    for n in range(300):
        turns = [("user", f"Tell me about place {n}")]
        if n % 3 == 0:
            turns = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hello!"), *turns]
        if n == 7:
            turns = [("user", "Hi"), ("assistant", "Hello")]
        if n == 8:
            turns = [("user", f"{'long ' * 200}")]
        listed.append((md5(str(n)), "s", "f", n, 0, None, "MIT", turns))
    return spark.createDataFrame(listed, ddl)


def test_constraints_added_are_those_that_are_verified(talks):
    made = augment.augmented(augment.chosen(talks, 300, 4), "if_augmented", "r", 4).collect()
    bad = [row for row in made if row.problem]
    assert len(made) == 300 and [row.parent_prompt_id for row in bad] == [md5("7")]
    assert Counter(len(row.constraints) for row in made if not row.problem).keys() == {1, 2, 3}
    originals = {row.prompt_id: row.messages for row in talks.collect()}
    ids = set()
    for row in made:
        if row.problem:
            continue
        truth = json.loads(row.ground_truth)
        assert truth["instruction_id_list"] == [one.id for one in row.constraints]
        assert truth["kwargs"] == [json.loads(one.arguments) for one in row.constraints]
        assert row.verifier == "ifeval" and verify("ifeval", "x", row.ground_truth).score <= 1
        before = originals[row.parent_prompt_id]
        said = row.messages[-1].content
        assert before[-1].content.strip() in said and row.messages[:-1] == before[:-1]
        assert all(constraints.unsaid(said, id, a) is None for id, a in constraints.from_rows(row.constraints))
        assert row.prompt_id == prompt_id([m.asDict() for m in row.messages]) != row.parent_prompt_id
        ids.update(truth["instruction_id_list"])
    assert ids == set(IFEVAL)
    repeated = [row for row in made if row.constraints and any(c.id == constraints.REPEAT for c in row.constraints)]
    assert repeated and md5("8") not in {row.parent_prompt_id for row in repeated}  # too long to be said again
    assert all(row.messages[-1].content.count("Tell me about place") == 1 for row in repeated)


def test_more_constrained_prompts_extend_fewer(talks):
    def made(count, parts):
        return {
            row.row: row.messages
            for row in augment.augmented(augment.chosen(talks.repartition(parts), count, 4), "s", "r", 4).collect()
        }

    few, many = made(50, 2), made(700, 5)
    assert many.keys() == set(range(1, 701)) and few == {n: many[n] for n in range(1, 51)}


# --- preference pairs


def test_the_verifier_says_which_answer_is_rejected(spark):
    truth = constraints.ground_truth([("punctuation:no_comma", {}), ("detectable_format:title", {})])
    both, none = "<<Title>> without", "a, b"
    listed = [(1, both, none, truth, None), (2, both, both, truth, None), (3, none, both, truth, None)]
    listed += [(4, both, none, "[]", None), (5, both, None, truth, "was cut off")]
    ddl = "number long, answer string, text string, ground_truth string, problem string"
    found = {row.number: row.problem for row in rewrites.verified(spark.createDataFrame(listed, ddl)).collect()}
    assert found[1] is None and found[5] == "was cut off"
    assert "follows all" in found[2] and "no_comma" in found[3] and "ground truth" in found[4]


def test_a_rewrite_keeps_all_constraints_but_one(spark):
    stated = [
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"num_words": 80, "relation": "less than"}),
    ]
    given = constraints.as_rows(stated)
    turns = [Row(role="user", content="Greet me. Use no comma and less than 80 words.")]
    ddl = "number long, relaxed string, text string, problem string, "
    ddl += (
        "turns array<struct<role: string, content: string>>, constraints array<struct<id: string, arguments: string>>"
    )
    texts = ["Greet me. Use less than 80 words.", "Greet me. No comma.", turns[0].content, None]
    listed = [
        (n, "punctuation:no_comma", text, None if text else "bad", turns, [Row(**one) for one in given])
        for n, text in enumerate(texts)
    ]
    found = {row.number: row.problem for row in rewrites.rewritten(spark.createDataFrame(listed, ddl)).collect()}
    assert found[0] is None and "number_words" in found[1] and "itself" in found[2] and found[3] == "bad"


# --- diversity


def test_diversity_of_texts_that_are_known(spark):
    ddl = "prompt_id string, source string, revision string, file string, row long, branch int, "
    ddl += "messages array<struct<role: string, content: string>>"
    same = ["the same old words again and again"] * 40
    different = [" ".join(f"w{n}x{k}" for k in range(6)) for n in range(40)]
    listed = [
        (md5(text), source, "r", "f", n, 0, [Row(role="user", content=text)])
        for source, texts in (("same", same), ("different", different))
        for n, text in enumerate(texts)
    ]
    prompts = spark.createDataFrame(listed, ddl).repartition(5)
    one, other = (diversity.measured(diversity.sample(prompts, name, 40, 0), name) for name in ("same", "different"))
    assert (one.prompts, one.words, one.equal, one.near, one.similarity, one.nearest) == (
        40,
        7.0,
        0.975,
        0.975,
        1.0,
        1.0,
    )
    assert one.distinct == (round(6 / 280, 4), round(6 / 240, 4), round(5 / 200, 4), round(4 / 160, 4))
    assert (other.equal, other.near, other.similarity, other.nearest) == (0, 0, 0, 0)
    assert other.distinct == (1, 1, 1, 1)


def test_self_similarity_is_the_mean_over_pairs():
    texts = ["a b", "b c", "c d"]  # 1/3, 0, 1/3
    assert diversity.self_similarity(texts) == (round(2 / 9, 4), round(1 / 3, 4))
    assert diversity.self_similarity(texts[:1]) == (0.0, 0.0)
