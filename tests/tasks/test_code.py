"""Finding code in responses; checks by assertions and by standard input and output."""

import sys
import time

import pytest

from tasks.code import (
    VERIFIERS,
    check_asserts,
    check_stdio,
    comparable,
    continued_code,
    extract_code,
    pass_at,
)

pytestmark = pytest.mark.usefixtures("some_sandbox")
SUM = "def add(a, b):\n    return a + b"
FENCED = f"Here:\n```python\n{SUM}\n```\nIt adds."


@pytest.mark.parametrize(
    ("text", "code", "rule"),
    [
        (FENCED, SUM, "python_fence"),
        (f"```py\nold\n```\nBetter:\n~~~~Python3 \n{SUM}\n~~~~\n```\noutput\n```", SUM, "python_fence"),
        ("```\nfirst\n```\n```\nlast\n```\n```json\n{}\n```", "last", "plain_fence"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''", "python_fence"),
        (f"```python\n{SUM}", SUM, "open_fence"),
        ("```json\n{}\n```", "```json\n{}\n```", "whole"),
        (SUM, SUM, "whole"),
        ("", "", "whole"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r", "python_fence"),
        ("  ```python\n  x = 1\n  ```", "  x = 1", "python_fence"),
        ("`x = 1` and ```y = 2```", "`x = 1` and ```y = 2```", "whole"),
    ],
)
def test_extraction(text, code, rule):
    assert extract_code(text) == (code, rule)


@pytest.mark.parametrize(
    ("text", "code", "rule"),
    [
        (f"{SUM}\n```\nIt adds.", SUM, "continuation"),
        (f"{SUM}\nprint(1)\n# x\n```", SUM, "continuation"),
        (f"{SUM}\n```\n```python\nadd(1, 2)\n```", SUM, "continuation"),
        (FENCED, SUM, "python_fence"),
        ("", "", "continuation"),
    ],
)
def test_continuation(text, code, rule):
    assert continued_code(text, ("\nprint", "\n#")) == (code, rule)


def test_extraction_takes_linear_time():
    started = time.process_time()
    for bait in (
        "`" * 5_000_000,
        "```\n" * 1_000_000,
        "``` " * 1_000_000,
        "~~~x\n" * 1_000_000,
        " " * 5_000_000 + "```",
    ):
        extract_code(bait)
        continued_code(bait)
    assert time.process_time() - started < 20


@pytest.mark.parametrize("process", ["apart", "together"])
def test_asserts(process):
    tests = ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"]
    right = check_asserts(FENCED, tests, process=process)
    assert (right.correct, right.score, right.extracted, right.rule) == (True, 1.0, SUM, "python_fence")
    wrong = check_asserts(FENCED.replace("+", "-"), tests, process=process)
    assert (wrong.correct, wrong.score) == (False, 0.0)
    assert "AssertionError" in wrong.message
    assert check_asserts(SUM, "assert add(1, 2) == 3", process=process).correct
    given = {"tests": ["assert add(ONE, ONE) == 2"], "setup": "ONE = 1"}
    assert check_asserts(SUM, given, process=process).correct
    assert not check_asserts(SUM, ["assert add(ONE, ONE) == 2"], process=process).correct
    for nothing in ("", "\0", "\ud800", "I do not know.", "```python\n```", "(" * 10_000, "lambda:" * 50_000):
        assert not check_asserts(nothing, tests, process=process).correct


def test_together_can_pass_functions_and_arrays():
    code = "import numpy\ndef twice(f, x): return f(f(x))\ndef grid(n): return numpy.arange(n)\nclass Base: pass"
    tests = [
        "assert twice(lambda x: x + 1, 1) == 3",
        "import numpy; assert (grid(3) == numpy.array([0, 1, 2])).all()",
        "class Sub(Base): pass\nassert issubclass(Sub, Base)",
    ]
    assert check_asserts(code, tests, process="together").correct
    assert "cannot hand a function" in check_asserts(code, tests[:1]).message


def test_functions_called_like_modules():
    code = "def bisect(x): return x / 2\nclass math:\n    floor = round"
    assert check_asserts(code, ["assert bisect(8) == 4", "assert math.floor(1.9) == 1"]).correct


def test_assertions_together_run_whatever_the_solution_calls_exec():
    code = "def exec(*given): pass\ndef globals(): return {'add': lambda a, b: a + b}\ndef add(a, b): return 0"
    assert not check_asserts(code, ["assert add(1, 2) == 3"], process="together").correct


@pytest.mark.parametrize(
    ("ground_truth", "arguments", "named"),
    [
        ([], {}, "ground_truth"),
        (None, {}, "ground_truth"),
        ([1], {}, "ground_truth"),
        ({"setup": "x = 1"}, {}, "ground_truth"),
        (["assert ("], {}, "ground_truth"),
        ("", {}, "blank"),
        (["assert x", " \n"], {}, "blank"),
        (["assert x"], {"time_limit": 0}, "time_limit"),
        (["assert x"], {"time_limit": "3"}, "time_limit"),
        (["assert x"], {"process": "here"}, "process"),
    ],
)
def test_bad_arguments_of_asserts(ground_truth, arguments, named):
    with pytest.raises(ValueError, match=named):
        check_asserts(SUM, ground_truth, **arguments)


PROGRAM = "```python\nn = int(input())\nfor i in range(n):\n    print(i * i, end=' \\n')\nprint()\n```"
CASES = [{"input": "3\n", "output": "0\n1\n4"}, {"input": "0", "output": ""}]


def test_stdio():
    right = check_stdio(PROGRAM, CASES)
    assert (right.correct, right.rule, right.message) == (True, "python_fence", "")
    assert check_stdio(PROGRAM, {"inputs": ["3\n", "0"], "outputs": ["0\n1\n4", ""]}).correct
    wrong = check_stdio(PROGRAM, [*CASES, {"input": "2", "output": "0 1"}])
    assert (wrong.correct, wrong.message) == (False, "test 2: other output than expected")
    assert check_stdio("print(input()); exit(0)", [{"input": "é\n", "output": "é"}]).correct


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print(1)\nraise SystemExit(1)", "status 1"),
        ("print(1)\n1 / 0", "ZeroDivisionError: division by zero"),
        ("print(1)\nwhile True: pass", "processor time limit"),
        ("while True: print(1)", "output limit"),
        ("print('1 ', '1')", "other output than expected"),
        ("print(' 1')", "other output than expected"),
        ("import os, sys\nprint(open(sys.argv[0]).read())", "other output than expected"),
        # Python to 3.11.3 reads a file up to such a byte, and runs what there is: nothing.
        ("\0", "source code" if sys.version_info >= (3, 11, 4) else "other output than expected"),
        ("\ud800", "SyntaxError"),
    ],
)
def test_programs_that_fail(code, message):
    verdict = check_stdio(code, [{"input": "", "output": "1"}], time_limit=1)
    assert not verdict.correct
    assert message in verdict.message


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("1 2  \t\r\n3\n\n\n", "1 2\n3", True),
        ("1  2\n3", "1 2\n3", False),
        (" 1 2\n3", "1 2\n3", False),
        ("\n1 2\n3", "1 2\n3", False),
        ("1 2\n\n3", "1 2\n3", False),
        ("", "\n\n", True),
    ],
)
def test_white_space_rules(output, expected, same):
    assert (comparable(output) == comparable(expected)) is same


@pytest.mark.parametrize(
    "ground_truth",
    [[], "1", None, [{"input": "1"}], [{"input": 1, "output": "1"}], {"inputs": ["1"], "outputs": ["1", "2"]}],
)
def test_bad_arguments_of_stdio(ground_truth):
    with pytest.raises(ValueError, match=r"ground_truth|inputs|outputs"):
        check_stdio(PROGRAM, ground_truth)


def test_verdicts_repeat():
    bait = "```python\nimport random, time, uuid\ndef add(a, b):\n    return a + b if hash('x') % 2 == {} else 0\n```"
    for parity in (0, 1):
        response = bait.replace("{}", str(parity))
        assert len({check_asserts(response, ["assert add(1, 2) == 3"]) for _ in range(4)}) == 1


def test_pass_at_k():
    assert pass_at(1, [[1, 0, 0, 0], [1, 1, 1, 1]]) == pytest.approx((0.25 + 1) / 2)
    assert pass_at(2, [[1, 0, 0, 0]]) == pytest.approx(0.5)


def test_registered():
    assert [(verifier.name, verifier.structured) for verifier in VERIFIERS] == [
        ("code_asserts", True),
        ("code_stdio", True),
    ]
