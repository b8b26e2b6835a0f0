"""MATH: extraction by rule, the two normalisations, the parser's limits, and the real gold answers."""

import io
import json
import time

import pytest
import zstandard
from math_mix import mix

from tasks.aggregate import macro
from tasks.math import TASKS, VERIFIERS
from tasks.math.equality import fixed, paper
from tasks.math.extraction import boxed, candidates, gold
from tasks.math.latex import readings
from tasks.math.normalise import hendrycks, minerva, same_hendrycks
from tasks.math.shots import SHOTS
from tasks.math.task import check, second_opinion
from tasks.task import Instance

FINAL = "Final Answer: The final answer is"


@pytest.fixture(scope="module")
def problems(shared_data):
    with open(shared_data / "evals" / "math" / "test.jsonl.zst", "rb") as packed:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), encoding="utf-8")
        return [json.loads(line) for line in text]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (f"So 2.\n{FINAL} $2$. I hope it is correct.", [("$2$", "minerva")]),
        (f"So $\\boxed{{2}}$.\n{FINAL} $2$. I hope it is correct.", [("$2$", "minerva"), ("2", "boxed")]),
        (f"{FINAL} 3. I hope it is correct.\n{FINAL} 4. I hope it is correct.", [("3", "minerva")]),
        (f"{FINAL} $\\frac{{1}}{{2}}$. ", [("$\\frac{1}{2}$", "minerva")]),  # cut off before the last words
        (f"{FINAL}\n$2$. I hope it is correct.", [("2", "dollars")]),  # not on one line
        ("Either $\\boxed{1}$ or \\boxed{\\frac{1}{2}}.", [("\\frac{1}{2}", "boxed")]),
        ("\\boxed {7}", [("7", "boxed")]),
        ("It is $\\boxed 7$ then.", [("7", "boxed")]),
        ("\\boxed{1} and \\boxed{\\{1,2\\}}", [("\\{1,2\\}", "boxed")]),
        ("\\boxed{1 and $5$", [("5", "dollars")]),  # a brace is not closed
        ("We have $x=1$, so $y=2$.", [("y=2", "dollars")]),
        ("It costs $5", [("It costs $5", "whole")]),
        ("seven", [("seven", "whole")]),
        ("so x = 3 + 4 = 7", [("so x = 3 + 4 = 7", "whole"), (" 7", "whole")]),
        ("", [("", "whole")]),
    ],
)
def test_candidates(response, expected):
    assert candidates(response) == expected


def test_every_candidate_counts():
    response = f"$\\boxed{{5}}$\n{FINAL} $6$. I hope it is correct."
    for answer, rule in (("5", "boxed"), ("6", "minerva")):
        verdict = check(response, answer)
        assert (verdict.correct, verdict.extracted.strip("$"), verdict.rule) == (True, answer, rule)
    wrong = check(response, "7")
    assert (wrong.correct, wrong.score, wrong.rule, wrong.message) == (False, 0.0, "minerva", "another value")


def test_the_ground_truth_may_be_a_solution():
    assert gold("Hence $x = \\boxed{\\frac{3}{4}}$.") == "\\frac{3}{4}"
    assert gold("\\frac{3}{4}") == "\\frac{3}{4}"
    assert check("\\boxed{0.75}", "Hence $x = \\boxed{\\frac{3}{4}}$.").correct
    assert boxed("\\boxed{") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("x = 5", "5"),
        ("an apple", "apple"),
        ("12 \\text{ cm}^2", "12"),
        ("\\frac12", "\\frac{1}{2}"),
        ("\\frac1{72}", "\\frac{1}{{}72}"),
        ("\\sqrt3", "\\sqrt{3}"),
        ("100,000", "100000"),
        ("1,2", "12"),
        ("the answer is $7$ dollars.", "7"),
        ("60^\\circ", "60"),
        ("\\text{even}", "even"),
        ("\\boxed{\\textbf{9}}", "9"),
    ],
)
def test_minerva(answer, expected):
    assert minerva(answer) == expected


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("\\frac12", "\\frac{1}{2}", True),
        ("\\dfrac{1}{2}", "1/2", True),
        ("0.5", "\\frac{1}{2}", True),
        (".25", "0.25", True),
        ("k = 3", "3", True),
        ("abc = 3", "3", False),
        ("\\sqrt3", "\\sqrt{3}", True),
        ("10\\%", "10", True),
        ("5\\text{ cm}", "5", True),
        ("\\left( 1, 2 \\right)", "(1,2)", True),
        ("x/2", "\\frac{x}{2}", False),
        ("\\frac", "\\frac", True),
        ("3", "4", False),
    ],
)
def test_hendrycks(first, second, same):
    assert same_hendrycks(first, second) is same


def test_hendrycks_says_where_it_does_not_apply():
    for answer in ("\\sqrt", "\\frac", "x/y", "1\\text{ a}\\text{ b}"):
        with pytest.raises(ValueError):
            hendrycks(answer)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1500,
        "{" * 1500,
        "\\sqrt" * 300,
        "\\frac" * 300,
        "-" * 1500,
        "2*" + "-" * 1500,
        "1/2" * 500,
        "|" * 1500,
        "2" + "!" * 200,
        "x" * 1500 + "y" * 600,
        "9" * 1500,
        "0.\\overline{" + "3" * 1200 + "}",
        "\\begin{pmatrix}" * 100,
        "2^{" * 400,
        "2^{" * 300 + "2" + "}" * 300,
        "2^{\\sqrt{" * 200 + "2" + "}}" * 200,
        "\\frac{1}{" * 200 + "2" + "}" * 200,
        "2^{-x^{" * 200 + "2" + "}}" * 200,
        "1,2," * 400,
        "\\frac0.5",
    ],
)
def test_the_parser_has_limits(text):
    started = time.perf_counter()
    trees = readings(text)
    assert time.perf_counter() - started < 0.5
    assert all(tree[0] in ("text", "seq") for tree in trees)


def test_readings():
    assert readings("\\frac{1}{2}") == (("div", ("num", 1, 1), ("num", 2, 1)),)
    assert readings("1,234") == (("num", 1234, 1), ("seq", ("num", 1, 1), ("num", 234, 1)))
    assert readings("\\text{odd}") == (("text", "odd"),)
    assert readings(")(") == ()


@pytest.mark.parametrize(
    "bait", ["x", "(", "{", "$", "$ ", "\\boxed{", "\\frac", "1,", "=", "9^", "a ", "\x00", "\ud800", "𝔸", "é́"]
)
@pytest.mark.parametrize("variant", ["paper", "fixed"])
def test_ten_megabytes(bait, variant):
    response = bait * (10_000_000 // len(bait))
    started = time.perf_counter()
    verdict = check(response, "3", variant)
    assert time.perf_counter() - started < 5
    assert not verdict.correct
    assert len(verdict.extracted) <= 2000
    assert verdict == check(response, "3", variant)


@pytest.mark.parametrize("prefix", [FINAL + " ", f"{FINAL} 1. I hope it is correct"])
def test_ten_megabytes_of_final_answers(prefix):
    started = time.perf_counter()
    check(prefix * (10_000_000 // len(prefix)), "3")
    assert time.perf_counter() - started < 5


def test_what_takes_too_long_is_wrong_and_says_so():
    """The same power, once of a sum and once of its square: nothing that simplify can expand in time."""
    pair = ("(a+b+c)^{600}", "(a^2+b^2+c^2+2ab+2bc+2ca)^{300}")
    outcome = paper(*pair)
    assert not outcome.equal
    assert outcome.how.startswith("not decided within")
    assert fixed(*pair).equal  # decided by values, not by expansion
    assert paper("9^{9^{9^{9}}}", "5").how == fixed("9^{9^{9^{9}}}", "5").how == "a power of too many digits"


def test_nothing_of_a_response_is_run(tmp_path):
    target = tmp_path / "ran"
    for code in (f"__import__('pathlib').Path('{target}').touch()", f"open('{target}','w')", "exit()", "1/0"):
        for variant in ("paper", "fixed"):
            assert not check(f"\\boxed{{{code}}}", "3", variant).correct
        second_opinion(f"\\boxed{{{code}}}", "3")
    assert not target.exists()


def test_every_gold_answer_is_right(problems):
    """All 5,000 are read as formulas, are the same as themselves, and are right when boxed or given in Minerva's words."""
    assert len(problems) == 5000
    for problem in problems:
        answer = gold(problem["solution"])
        assert readings(answer), answer
        for variant in ("paper", "fixed"):
            assert check(f"I find $\\boxed{{{answer}}}$.", problem["solution"], variant).correct, answer
            assert check(f"{FINAL} ${answer}$. I hope it is correct.", problem["solution"], variant).correct, answer
            assert check(problem["solution"], answer, variant).correct, answer


def test_mix_is_the_same_and_mostly_right(problems):
    golds = [gold(problem["solution"]) for problem in problems]
    pairs = mix(golds, 1)
    assert pairs == mix(golds, 1) != mix(golds, 2)
    right = sum(fixed(*pair).equal for pair in pairs) / len(pairs)
    assert 0.72 < right < 0.78  # a quarter is meant to be wrong, and a few of these are right by chance


def test_tasks(problems):
    paper_task, fixed_task = TASKS
    assert [(task.name, task.variant) for task in TASKS] == [("math", "paper"), ("math", "fixed")]
    problem = problems[0]
    instance = Instance({}, subset=problem["type"], record=problem)
    made = paper_task.prompt(instance, paper_task.shots)
    assert [role for role, _ in made.messages] == ["user", "assistant"] * 4 + ["user"]
    assert made.messages[-1] == ("user", f"Problem:\n{problem['problem']}\n\nSolution:")
    assert paper_task.sampling.max_tokens == 1024
    for task in TASKS:
        assert task.verify(instance, problem["solution"]).correct
    equation = Instance({}, record={"problem": "…", "solution": "The plane is $\\boxed{2x - y + 3 = 0}$."})
    assert paper_task.verify(equation, "\\boxed{x = 0}").correct  # the reference compares what follows the last `=`
    assert not fixed_task.verify(equation, "\\boxed{x = 0}").correct
    assert macro([1, 0, 1], ["Algebra", "Algebra", "Geometry"]) == 0.75


def test_shots_are_right():
    for shot in SHOTS:
        answers = {answer.strip("$") for answer, _ in candidates(shot.assistant)}
        assert len(answers) == 1
        assert check(shot.assistant, answers.pop()).correct


def test_verifiers():
    assert [verifier.name for verifier in VERIFIERS] == ["math", "math-verify"]
    for verifier in VERIFIERS:
        assert verifier.check("Thus $\\boxed{\\frac{2}{4}}$.", "\\frac{1}{2}").correct
        assert not verifier.check("Thus $\\boxed{\\frac{2}{5}}$.", "\\frac{1}{2}").correct
    with pytest.raises(ValueError, match="variant"):
        check("1", "1", variant="other")
