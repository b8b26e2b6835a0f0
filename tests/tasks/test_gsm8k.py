"""GSM8K: extraction, both variants, agreement with published grades."""

import json
import re
from collections import Counter

import pytest

from tasks import gsm8k
from tasks.task import Instance, Shot
from tests.tasks.shared_instances import lines

CASES = [  # response, (extracted, rule, correct for gold 18) of paper, the same of fixed
    ("So the answer is 18.", ("18", "last number", True), ("18", "last number", True)),
    ("It costs $1,800 for 2, so 18", ("18", "last number", True), ("18", "last number", True)),
    ("The answer is 18.0", ("18.0", "last number", False), ("18.0", "last number", True)),
    ("The answer is -18", ("18", "last number", True), ("-18", "last number", False)),
    ("The answer is −18", ("18", "last number", True), ("−18", "last number", False)),
    ("The answer is -$18.00", ("18.00", "last number", False), ("-$18.00", "last number", False)),
    ("The answer is -18.0", ("-18.0", "last number", False), ("-18.0", "last number", False)),
    ("The answer is - 18", ("18", "last number", True), ("18", "last number", True)),
    ("- 4\n- 18", ("18", "last number", True), ("18", "last number", True)),
    ("So 2 - 20 = - 18.", ("18", "last number", True), ("-18", "last number", False)),
    ("So 2 − 20 = − $18", ("18", "last number", True), ("−$18", "last number", False)),
    ("So it is 38 - 20 =\n- 18", ("18", "last number", True), ("18", "last number", True)),
    ("So 20-18", ("18", "last number", True), ("18", "last number", True)),
    ("So (20)-18", ("18", "last number", True), ("18", "last number", True)),
    ("18 of 19", ("19", "last number", False), ("19", "last number", False)),
    ("eighteen", ("eighteen", "whole text", False), (None, "none", False)),
    ("", ("", "whole text", False), (None, "none", False)),
]


@pytest.mark.parametrize(("response", "paper", "fixed"), CASES)
def test_last_number(response, paper, fixed):
    for variant, expected in (("paper", paper), ("fixed", fixed)):
        verdict = gsm8k.check(response, "9 + 9 = <<9+9=18>>18 eggs\n#### 18", variant)
        assert (verdict.extracted, verdict.rule, verdict.correct) == expected


def test_every_other_comma_stays_in_the_paper_variant():
    # Substitution of `(\d),(\d)` goes on behind the second digit, so that 1,2,3 becomes 12,3.
    assert gsm8k.check("1,2,3", "123", "paper").extracted == "3"
    assert gsm8k.check("1,2,3", "123", "fixed").correct
    for variant in ("paper", "fixed"):
        assert gsm8k.check("1,234,567 dollars", "1234567", variant).correct


def test_exact_match_of_the_paper_variant_ignores_what_the_reference_ignores():
    assert gsm8k.normal("Work\n#### $1,234.") == "1234"
    for text in ("a #### b #### C.", "#### ", "x\n.", "..", "no\n"):
        expected = text
        for pattern in (",", r"\$", r"(?s).*#### ", r"\.$"):
            expected = re.sub(pattern, "", expected)
        assert gsm8k.normal(text) == expected.lower()


@pytest.mark.parametrize(
    ("truth", "variant", "name"),
    [("none", "fixed", "ground_truth"), ("", "paper", "ground_truth"), ("1", "x", "variant")],
)
def test_bad_arguments(truth, variant, name):
    with pytest.raises(ValueError, match=name):
        gsm8k.check("1", truth, variant)


def test_prompt():
    instance = Instance({}, record={"question": "How many?", "answer": "#### 5"})
    prompt = gsm8k.prompt(instance, [Shot("One and one?", "1 + 1 = 2. So the answer is 2.")])
    assert prompt.messages == (
        ("user", "Question: One and one?"),
        ("assistant", "Answer: 1 + 1 = 2. So the answer is 2."),
        ("user", "Question: How many?"),
    )
    assert prompt.prefill == "Answer:"
    assert len(gsm8k.prompt(instance).messages) == 2 * 8 + 1


def test_the_sums_of_our_shots_are_right():
    steps = [
        step for shot in gsm8k.SHOTS for step in re.findall(r"([\d.]+(?: [-+*/] [\d.]+)+) = ([\d.]*\d)", shot.assistant)
    ]
    assert len(steps) >= 16
    assert [step for step in steps if eval(step[0]) != float(step[1])] == []
    results = [re.findall(r"= ([\d.]*\d)", shot.assistant)[-1] for shot in gsm8k.SHOTS]
    stated = [re.search(r"So the answer is (\d+)\.$", shot.assistant)[1] for shot in gsm8k.SHOTS]
    assert stated == results


def test_all_of_gsm8k(shared_data):
    instances = list(lines(shared_data / "evals" / "gsm8k" / "test.jsonl"))
    assert len(instances) == 1_319
    for instance in instances:
        gold = instance.record["answer"].rpartition("#### ")[2].replace(",", "")
        for task in gsm8k.TASKS:
            assert task.prompt(instance).messages[-1] == ("user", f"Question: {instance.record['question']}")
            right = task.verify(instance, f"There are 3 and 40, that is 1,200 in all. So the answer is {gold}.")
            other = task.verify(instance, f"There are {gold}. So the answer is {float(gold) + 1}.")
            assert (right.correct, right.rule, other.correct) == (True, "last number", False)


def why(solution: str, graded: bool) -> str:
    """Why the paper variant departs from the published grade of a solution: from the text and the grade, whatever our code says."""
    final = re.search(r"A: (-?)\$?([\d,.]+)\s*$", solution)
    if final and final[1] and not graded:
        return "the sign of the last number is dropped, so a negative answer passes"
    return "unexplained"


def test_agreement_with_published_grades(shared_data):
    """2,640 solutions of four models, graded by OpenAI (`is_correct`)."""
    graded = [
        json.loads(line)
        for line in (shared_data / "reference" / "gsm8k_graded" / "solutions.jsonl").read_text().splitlines()
    ]
    pairs = [
        (row["ground_truth"], one["solution"], one["is_correct"])
        for row in graded
        for name, one in row.items()
        if name.endswith(("finetuning", "verification"))
    ]
    assert len(pairs) == 2_640
    apart = {
        variant: [
            (truth, text, grade) for truth, text, grade in pairs if gsm8k.check(text, truth, variant).correct != grade
        ]
        for variant in ("paper", "fixed")
    }
    assert 1 - len(apart["paper"]) / len(pairs) >= 0.99
    reasons = Counter(why(text, grade) for _, text, grade in apart["paper"])
    assert reasons == {"the sign of the last number is dropped, so a negative answer passes": 5}
    assert apart["fixed"] == []
