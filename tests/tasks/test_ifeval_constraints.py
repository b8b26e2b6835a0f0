"""Each of the 25 constraints: its check, arguments, words and samples; and that composed ones can be followed together."""

import math
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from witness import BROKEN, SENTENCES, witness

from tasks.constraints.compose import compatible, compose
from tasks.constraints.core import validate
from tasks.constraints.ifeval import IFEVAL, IFEVAL_FIXED
from tasks.constraints.ifeval.whole import ASKED
from tasks.constraints.loose import variants

PROMPT = "Write a short story about the harbour of a small village and its people."
seeds = st.integers(0, 2**32)
texts = st.text(st.characters(), max_size=300) | st.text("*-[]<>#.,!?\"'{}P.S \n\tAaeé1“”", max_size=300)


def test_there_are_25():
    assert len(IFEVAL) == 25 == len(IFEVAL_FIXED) == len(BROKEN)
    assert set(ASKED) == set(SENTENCES)


@pytest.mark.parametrize("constraints", [IFEVAL, IFEVAL_FIXED], ids=["paper", "fixed"])
@pytest.mark.parametrize("id", sorted(IFEVAL))
@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_witness_follows_and_broken_does_not(id, constraints, seed):
    constraint = constraints[id]
    arguments = constraint.sample(Random(seed), PROMPT)
    good, bad = witness([(id, arguments)], constraints), BROKEN[id](**arguments)
    assert constraint.check(good, **arguments), (arguments, good)
    assert not constraint.check(bad, **arguments), (arguments, bad)


@pytest.mark.parametrize("id", sorted(IFEVAL))
@settings(max_examples=40, deadline=None)
@given(seed=seeds, prompt=st.text(min_size=1) | st.just(PROMPT))
def test_samples_are_valid_described_and_repeatable(id, seed, prompt):
    constraint = IFEVAL[id]
    arguments = constraint.sample(Random(seed), prompt)
    assert validate(constraint, arguments) == arguments == constraint.sample(Random(seed), prompt)
    described = constraint.describe(**arguments)
    for value in arguments.values():
        for item in value if isinstance(value, list) else [value]:
            assert str(item).strip() in described


@pytest.mark.parametrize("id", sorted(IFEVAL))
@settings(max_examples=60, deadline=None)
@given(seed=seeds, response=texts)
def test_any_response_gets_the_same_answer_twice(id, seed, response):
    arguments = IFEVAL[id].sample(Random(seed), PROMPT)
    for constraints in (IFEVAL, IFEVAL_FIXED):
        answer = constraints[id].check(response, **arguments)
        assert isinstance(answer, bool)
        assert constraints[id].check(response, **arguments) is answer


LONG = {
    "newlines": "\n" * 2_000_000,
    "blanks": " " * 2_000_000,
    "brackets": "[" * 2_000_000,
    "angles": "<" * 2_000_000,
    "braces": '{"a":' * 400_000,
    "asterisks": "* " * 1_000_000,
    "stops": "e.g. " * 400_000,
    "marks": "?!" * 1_000_000,
    "quotes": ". ) " * 500_000,
    "section": "Section " * 250_000,
    "capitals": "A" * 2_000_000,
    "null": "\0" * 2_000_000,
    "surrogates": "\ud800" * 1_000_000,
}


@pytest.mark.parametrize("name", LONG)
def test_long_responses_take_linear_time(name):
    """Two megabytes of bait in all 25 take seconds together; a quadratic search would take hours."""
    for seed, constraint in enumerate(IFEVAL.values()):
        constraint.check(LONG[name], **constraint.sample(Random(seed), PROMPT))


def test_conflicts_are_symmetric():
    for id, constraint in IFEVAL.items():
        assert id not in constraint.conflicts
        for other in constraint.conflicts:
            assert id in IFEVAL[other].conflicts


def test_every_compatible_pair_has_a_witness():
    """Of all 300 pairs, with ten samples each: one response follows both, wherever they are said to be compatible."""
    met = set()
    for pair in combinations(sorted(IFEVAL), 2):
        for seed in range(10):
            stated = [(id, IFEVAL[id].sample(Random(f"{id} {seed}"), PROMPT)) for id in pair]
            if compatible(stated):
                met.add(pair)
                response = witness(stated, IFEVAL)
                missed = [id for id, arguments in stated if not IFEVAL[id].check(response, **arguments)]
                assert not missed, (stated, response)
    barred = {pair for pair in combinations(sorted(IFEVAL), 2) if pair[1] in IFEVAL[pair[0]].conflicts}
    assert len(met) + len(barred) == 300
    assert len(met) > 150


@settings(max_examples=200, deadline=None)
@given(seed=seeds, count=st.integers(1, 3))
def test_composed_constraints_have_a_witness(seed, count):
    composed = compose(Random(seed), PROMPT, count)
    assert composed == compose(Random(seed), PROMPT, count)
    assert len({id for id, _, _ in composed}) == count
    response = witness([(id, arguments) for id, arguments, _ in composed], IFEVAL)
    for id, arguments, text in composed:
        assert IFEVAL[id].check(response, **arguments), (composed, response)
        assert text == IFEVAL[id].describe(**arguments)


CONTRADICTIONS = [
    [("keywords:existence", {"keywords": ["harbour"]}), ("keywords:forbidden_words", {"forbidden_words": ["Harbour"]})],
    [("startend:end_checker", {"end_phrase": "Well, goodbye."}), ("punctuation:no_comma", {})],
    [
        ("keywords:frequency", {"keyword": "quiz", "frequency": 4, "relation": "at least"}),
        ("keywords:letter_frequency", {"letter": "q", "let_frequency": 4, "let_relation": "less than"}),
    ],
    [
        ("length_constraints:number_words", {"num_words": 50, "relation": "less than"}),
        ("length_constraints:number_sentences", {"num_sentences": 20, "relation": "at least"}),
    ],
    [
        ("length_constraints:number_words", {"num_words": 300, "relation": "at least"}),
        ("length_constraints:number_sentences", {"num_sentences": 4, "relation": "less than"}),
    ],
    [
        ("combination:repeat_prompt", {"prompt_to_repeat": "Name three rivers. Be short."}),
        ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}),
    ],
    [
        ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}),
        ("change_case:english_lowercase", {}),
    ],
    [("change_case:english_capital", {}), ("change_case:english_lowercase", {})],
    [("punctuation:no_comma", {}), ("punctuation:no_comma", {})],
]


@pytest.mark.parametrize("stated", CONTRADICTIONS)
def test_contradictions_are_not_compatible(stated):
    assert not compatible(stated)
    assert all(compatible([one]) for one in stated)


def test_compose_says_when_there_are_not_enough():
    few = {id: IFEVAL[id] for id in ("detectable_format:constrained_response", "punctuation:no_comma")}
    with pytest.raises(ValueError, match="no 2 compatible"):
        compose(Random(0), PROMPT, 2, few)


GOLDEN = [
    # What the official checkers do, quirks included.
    ("keywords:existence", {"keywords": ["art"]}, "A good START", True),
    ("keywords:existence", {"keywords": []}, "so", True),
    ("keywords:existence", {"keywords": ["C++"]}, "I like c++.", True),
    ("keywords:frequency", {"keyword": " art ", "frequency": 2, "relation": "at least"}, "art and start", True),
    ("keywords:frequency", {"keyword": "art", "frequency": 0, "relation": "less than"}, "so", False),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "a good start", True),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "so (Art)!", False),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": "at least"}, "qQ", True),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "at least"}, "#1", True),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "Mr. Poe sat.", True),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}, "Wow!!! Oh. 3.5 m", False),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "it's so", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na\n***\nb\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\n \n***\nb", False),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        "So.\n\n'\"then, it",
        True,
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "So.\n\n\n\nthen it",
        False,
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[[a] ] [b\n] [c]", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 3}, "[[a] ] [b\n] [c]", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "so. p. s. it is", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "p.p. s", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.S. so", False),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, "n.b. so", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, "\n\n * a\n**b**\n- c\n  -d\n*", True),
    ("detectable_format:constrained_response", {}, "Hm. My answer is no. Or My answer is yes.", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "***so***", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "** ** *\n*", False),
    ("detectable_format:multiple_sections", {"section_spliter": " Day ", "num_sections": 2}, "Day 1 so Day2", True),
    ("detectable_format:json_format", {}, '```JSON\n{"a": [1, NaN]}\n```', True),
    ("detectable_format:json_format", {}, "[" * 100_000, False),
    ("detectable_format:title", {}, "<<a\nb>> <<>> <<< c>>", True),
    ("detectable_format:title", {}, "<<a\nb>> <<>>", False),
    ("combination:two_responses", {}, "******\na\n******\nb", True),
    ("combination:two_responses", {}, "a\n******\n\n******\nb", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say so. "}, "\nsay SO. So.", True),
    ("startend:end_checker", {"end_phrase": "So it is. "}, '"And so it is."\n', True),
    ("startend:quotation", {}, '"', False),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 3, "capital_relation": "at least"},
        "I'M A UN-er",
        True,
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 4, "capital_relation": "less than"},
        "I'M A UN-er",
        True,
    ),
    ("change_case:english_capital", {}, "So IT IS", False),
    ("change_case:english_lowercase", {}, "это не по-английски", False),
    ("language:response_language", {"language": "hi"}, "1234", True),
]


@pytest.mark.parametrize(("id", "arguments", "response", "expected"), GOLDEN)
def test_golden(id, arguments, response, expected):
    constraint = IFEVAL[id]
    assert constraint.check(response, **validate(constraint, arguments)) is expected


@pytest.mark.parametrize(
    ("id", "arguments", "response"),
    [
        ("keywords:existence", {"keywords": ["art"]}, "A good START"),
        ("keywords:frequency", {"keyword": "art", "frequency": 2, "relation": "at least"}, "art and start"),
        ("detectable_format:constrained_response", {}, "My answer is no. My answer is yes."),
        ("language:response_language", {"language": "hi"}, "1234"),
    ],
)
def test_fixed_refuses_what_the_official_check_lets_pass(id, arguments, response):
    assert IFEVAL[id].check(response, **arguments)
    assert not IFEVAL_FIXED[id].check(response, **arguments)


def test_fixed_accepts_what_the_official_check_refuses():
    place = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}
    id = "length_constraints:nth_paragraph_first_word"
    assert not IFEVAL[id].check("So.\n\n\n\nthen it", **place)
    assert IFEVAL_FIXED[id].check("So.\n\n\n\nthen it", **place)
    capitals = "THE HARBOUR IS QUIET IN WINTER WHEN THE BOATS STAY IN."
    assert not IFEVAL["change_case:english_capital"].check(capitals)
    assert IFEVAL_FIXED["change_case:english_capital"].check(capitals)


def test_variants():
    expected = ["*a*\nb *\nc", "a\nb \nc", "b *\nc", "b \nc", "*a*\nb *", "a\nb ", "b *", "b "]
    assert list(variants("*a*\nb *\nc")) == expected
    assert list(variants("so")) == ["so"]
    assert list(variants(" \n")) == []


BAD = [
    ("keywords:existence", {}, "argument 'keywords' is missing"),
    ("keywords:existence", {"keywords": None}, "argument 'keywords' is missing"),
    ("keywords:existence", {"keywords": "art"}, "argument 'keywords' must be a list of text"),
    (
        "keywords:frequency",
        {"keyword": "a", "frequency": 1, "relation": "at most"},
        "'relation' is 'at most', not one of",
    ),
    ("keywords:frequency", {"keyword": "a", "frequency": -1, "relation": "at least"}, "'frequency' is -1, less than 0"),
    (
        "keywords:letter_frequency",
        {"letter": "ab", "let_frequency": 1, "let_relation": "at least"},
        "'letter' has length 2",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1.5}, "'num_paragraphs' must be a whole number"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": True}, "'num_paragraphs' must be a number"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": math.inf}, "'num_paragraphs' must be finite, not inf"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "so"},
        "argument 'nth_paragraph' is 3 of 2",
    ),
    ("language:response_language", {"language": "xx"}, "argument 'language' is 'xx', not one of"),
    ("punctuation:no_comma", {"num_words": 3}, "unknown argument 'num_words'"),
]


@pytest.mark.parametrize(("id", "arguments", "message"), BAD)
def test_bad_arguments_are_named(id, arguments, message):
    with pytest.raises(ValueError, match=f"^{id}: ") as raised:
        validate(IFEVAL[id], arguments)
    assert message in str(raised.value)


def test_absent_and_whole_arguments():
    constraint = IFEVAL["length_constraints:number_paragraphs"]
    assert validate(constraint, {"num_paragraphs": 2.0, "num_words": None}) == {"num_paragraphs": 2}
    assert validate(IFEVAL["keywords:existence"], {"keywords": []}) == {"keywords": []}
