"""The training text and the evaluations that benchmarks.decontaminate reads, made once from the shared data.

Training text: every text of the shared training sets once, then copies of them, drawn at random, in which about every sixth
word is another word of the corpus, so that a copy shares next to no 8-gram with what it was copied from. Evaluations: all of
the shared data's, each instance once, one prompt field each (HumanEval+ repeats HumanEval, AGIEval's MATH is MATH's).
"""

import ast
import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import warehouse
from warehouse import tags
from warehouse.commit import Job, commit, commit_arrow, stage
from warehouse.contracts import load
from warehouse.errors import CaravanError

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "decontaminate"
GROUP_ROWS = 1 << 16
FILE_GROUPS = 2
SHORTEST = 20  # characters of a text that counts as one
STRIDE = 6  # of the words that a copy replaces
ONE_SET = "gsm8k"  # the evaluation that stands alone at the tag "one"

# Files of each evaluation, and the field of the prompt.
EVALUATIONS = {
    ONE_SET: ("gsm8k/test.jsonl", "question"),
    "math": ("math/test.jsonl.zst", "problem"),
    "bbh": ("bbh/bbh/*.json", "input"),
    "mmlu": ("mmlu/test/*.csv*", "question"),
    "mmlu_pro": ("mmlu_pro/test.jsonl.zst", "question"),
    "humaneval": ("humaneval/HumanEval.jsonl.gz", "prompt"),
    "bigcodebench": ("bigcodebench/BigCodeBench.hf.jsonl.gz", "instruct_prompt"),
    "truthfulqa": ("truthfulqa/TruthfulQA.csv", "Question"),
    "ifeval": ("ifeval/input_data.jsonl", "prompt"),
    "ifbench": ("ifbench/IFBench_test.jsonl", "prompt"),
    "deepmind_math": ("deepmind_math/*/test.jsonl.gz", "question"),
    "alpaca_eval": ("alpaca_eval/text_davinci_003_model_outputs.json", "instruction"),
    "xstest": ("xstest/xstest_prompts.csv", "prompt"),
    "harmbench": ("harmbench/harmbench_behaviors_text_all.csv", "Behavior"),
    "jailbreaktrigger": ("jailbreaktrigger/jailbreak.json", "prompt"),
    "popqa": ("popqa/subsample_test.jsonl", "question"),
    "agieval_lsat": ("agieval/lsat-*.jsonl", "question"),
    "agieval_sat": ("agieval/sat-[em]*[nh].jsonl", "question"),
    "agieval_logiqa": ("agieval/logiqa-en.jsonl", "question"),
    "agieval_gaokao": ("agieval/gaokao-english.jsonl", "question"),
    "agieval_aqua_rat": ("agieval/aqua-rat.jsonl", "question"),
}
REPEATS = {"sat-en-without-passage.jsonl"}


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk. Sizes are of the prompts alone, in bytes of UTF-8."""

    folder: str
    rows: int
    text_bytes: int
    instances: int
    sets: int

    @property
    def train(self) -> list[Path]:
        """Parquet files with the columns id and prompt, zstd, row groups of 65,536 rows."""
        return sorted((Path(self.folder) / "train").glob("*.parquet"))

    @property
    def evals(self) -> list[Path]:
        """A JSONL file with the field prompt for each evaluation."""
        return sorted((Path(self.folder) / "evals").glob("*.jsonl"))

    @property
    def lake(self) -> Path:
        """The same as raw.prompts and raw.eval_instances of a warehouse."""
        return Path(self.folder) / "lake"


def build(text_bytes: int, sets: int = len(EVALUATIONS), thin: int = 1) -> Corpus:
    """A corpus of about that size, made or found in the cache; of the real texts, one in `thin`.

    Raises CaravanError where there is no shared data.
    """
    folder = CACHE / f"{text_bytes // 10**6}mb"
    marker = folder / "corpus.json"
    if marker.exists():
        return Corpus(**json.loads(marker.read_text(encoding="utf-8")))
    data = _shared_data()
    # Half a corpus of a run that was ended would not be told from a whole one.
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("train", "evals", "lake"):
        (folder / part).mkdir(parents=True)
    w = warehouse.open(str(folder / "lake"))
    real = pa.array(dict.fromkeys(_texts(data / "train")), pa.string())[::thin]
    rows, size = _write_train(folder, w, real, text_bytes)
    instances = _write_evaluations(folder, w, data / "evals", list(EVALUATIONS)[:sets])
    corpus = Corpus(str(folder), rows, size, instances, sets)
    marker.write_text(json.dumps(asdict(corpus)), encoding="utf-8")
    return corpus


def _shared_data() -> Path:
    path = Path(os.environ.get("CARAVAN_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (path / "train").is_dir() or not (path / "evals").is_dir():
        raise CaravanError(
            f"{path} has no folders train and evals. This benchmark is made from real data: "
            "let CARAVAN_TEST_DATA name the folder that holds it."
        )
    return path


def _open(path: Path) -> str:
    """The text of a file; .gz and .zst are known by their names."""
    with pa.input_stream(str(path), compression="detect") as stream:
        return str(stream.read().decode("utf-8-sig", "replace"))


def _format(path: Path) -> str:
    return next(suffix for suffix in reversed(path.suffixes) if suffix not in (".gz", ".zst"))


def _lines(text: str) -> Iterator[Any]:
    """Records of JSON lines. A text may hold separators that str.splitlines knows and JSON does not escape."""
    return (json.loads(line) for line in text.split("\n") if line)


def _texts(folder: Path) -> Iterator[str]:
    """All texts of the training sets: every string of a record, the lines of a text file."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        kind = _format(path)
        if kind == ".json":
            yield from _strings(json.loads(_open(path)))
        elif kind == ".jsonl":
            for record in _lines(_open(path)):
                yield from _strings(record)
        else:
            yield from (line for line in _open(path).splitlines() if len(line) > SHORTEST)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) > SHORTEST:
            yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _write_train(folder: Path, w: warehouse.Warehouse, real: pa.Array, text_bytes: int) -> tuple[int, int]:
    random = np.random.default_rng(0)
    mean = pc.mean(pc.binary_length(real)).as_py()
    copies = max(0, round(text_bytes / mean) - len(real))
    source = np.concatenate([np.arange(len(real)), random.integers(0, len(real), copies)])
    order = random.permutation(len(source))
    words = pc.split_pattern(real.take(pa.array(random.integers(0, len(real), 20_000))), " ").flatten()
    directory = stage(w, "raw.prompts")
    size, files = 0, []
    for number, first in enumerate(range(0, len(order), GROUP_ROWS * FILE_GROUPS)):
        name = f"train-{number:04d}.parquet"
        last = min(first + GROUP_ROWS * FILE_GROUPS, len(order))
        groups = [order[at : min(at + GROUP_ROWS, last)] for at in range(first, last, GROUP_ROWS)]
        texts = pa.concat_arrays([_group(real, words, source[g], g >= len(real), random) for g in groups])
        size += pc.sum(pc.binary_length(texts)).as_py()
        plain = pa.table({"id": pa.array(np.arange(first, last)), "prompt": texts})
        pq.write_table(plain, folder / "train" / name, compression="zstd", row_group_size=GROUP_ROWS)
        files.append(f"{directory}/{name}")
        pq.write_table(_prompts(texts, name), files[-1], compression="zstd", row_group_size=GROUP_ROWS)
    commit(w, "raw.prompts", files, Job("benchmarks.corpus"))
    return len(order), size


def _group(
    real: pa.Array, words: pa.Array, source: np.ndarray, is_copy: np.ndarray, random: np.random.Generator
) -> pa.Array:
    """Rows of the corpus: the real texts, and of those that are copies all but every sixth word."""
    texts = real.take(pa.array(source))
    split = pc.split_pattern(texts, " ")
    lengths = pc.list_value_length(split).to_numpy()
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    phase = (random.random(len(lengths)) * np.minimum(STRIDE, lengths)).astype(np.int64)
    replaced = (within % STRIDE == np.repeat(phase, lengths)) & np.repeat(is_copy, lengths)
    drawn = words.take(pa.array(random.integers(0, len(words), int(replaced.sum()))))
    mixed = pc.replace_with_mask(split.flatten(), pa.array(replaced), drawn)
    return pc.binary_join(pa.ListArray.from_arrays(split.offsets, mixed), " ")


def _prompts(texts: pa.Array, file: str) -> pa.Table:
    """Texts as rows of raw.prompts, each a conversation of one user turn."""
    rows = len(texts)
    messages = pa.StructArray.from_arrays([pa.repeat("user", rows), texts], ["role", "content"])
    digests = [_md5("user", text) for text in texts.to_pylist()]
    return _table(
        "raw.prompts",
        rows,
        prompt_id=pa.array(digests),
        source=pa.repeat("benchmark", rows),
        revision=pa.repeat("r1", rows),
        file=pa.repeat(file, rows),
        row=pa.array(np.arange(1, rows + 1)),
        branch=pa.repeat(0, rows),
        messages=pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32)), messages),
        licence=pa.repeat("MIT", rows),
    )


def _table(name: str, rows: int, **columns: pa.Array) -> pa.Table:
    """Columns in the contract's order and types; those that are not given are null."""
    schema = load(name).arrow_schema()
    return pa.table([columns.get(f.name, pa.nulls(rows)).cast(f.type) for f in schema], schema=schema)


def _md5(*parts: object) -> str:
    return hashlib.md5("\x1f".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _write_evaluations(folder: Path, w: warehouse.Warehouse, data: Path, names: Iterable[str]) -> int:
    tables = []
    for name in names:
        prompts = _evaluation(data, *EVALUATIONS[name])
        with (folder / "evals" / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
        tables.append(_instances(name, prompts))
    job = Job("benchmarks.corpus")
    alone = commit_arrow(w, "raw.eval_instances", tables[0], job)
    tags.create(w, "raw.eval_instances", "one", alone)
    commit_arrow(w, "raw.eval_instances", pa.concat_tables(tables[1:]), job)
    return sum(len(table) for table in tables)


def _evaluation(data: Path, pattern: str, field: str) -> list[str]:
    prompts = []
    for path in sorted(data.glob(pattern)):
        if path.name in REPEATS:
            continue
        text, kind = _open(path), _format(path)
        if kind == ".csv":
            records: Iterable[dict[str, Any]] = csv.DictReader(io.StringIO(text, newline=""))
        elif kind == ".jsonl":
            records = _lines(text)
        else:
            whole = json.loads(text)
            records = whole["examples"] if isinstance(whole, dict) else whole
        prompts += [_prompt(record[field]) for record in records]
    return prompts


def _prompt(text: str) -> str:
    """A prompt without what its file wraps it in: DeepMind's mathematics are printed byte strings."""
    return ast.literal_eval(text).decode().strip() if text.startswith(("b'", 'b"')) else text


def _instances(name: str, prompts: list[str]) -> pa.Table:
    rows = [
        {
            "instance_id": _md5(name, f"{name}.jsonl", row, prompt),
            "eval_set": name,
            "revision": "r1",
            "file": f"{name}.jsonl",
            "row": row,
            "suite": "development",
            "fields": [{"name": "prompt", "text": prompt}],
            "record": json.dumps({"prompt": prompt}),
            "licence": "MIT",
        }
        for row, prompt in enumerate(prompts, 1)
    ]
    return pa.Table.from_pylist(rows, schema=load("raw.eval_instances").arrow_schema())
