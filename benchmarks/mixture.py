"""`dbt build` of the full-size SFT mixture on made-up prompts: wall clock and memory.

Run as: python -m benchmarks.mixture [--quick] [--json] [--record]

Makes raw.prompts and raw.completions of 1.5 million rows (the 19 sources of the recipe, each with more rows than the
mixture takes; texts of about a kilobyte; some of them repeated, contaminated, empty, or about their own maker), builds and
publishes `tulu3_sft` twice, and says whether both times the same rows came out in the same order.
"""

import argparse
import csv
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

import warehouse
from benchmarks.common import Measured, measure, record
from pipelines import registry
from warehouse.commit import Job, commit, commit_arrow, stage
from warehouse.contracts import load
from warehouse.errors import CaravanError, run

REPOSITORY = Path(__file__).resolve().parent.parent
ROWS = 1_500_000
QUICK = 0.02
SENTENCES = 400_000
EVALS = {"math": 5000, "humaneval": 164, "gsm8k": 1319, "mmlu": 14042, "mmlu_pro": 12032, "ifeval": 541}
# Share of a source's rows that overlap an evaluation, and of that evaluation's instances that are overlapped.
CONTAMINATED = {("numinamath_tir", "math"): (0.11, 0.5), ("evol_codealpaca", "humaneval"): (0.035, 0.7)}


def main() -> int:
    arguments = _arguments()
    scale = QUICK if arguments.quick else 1.0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        rows = make(folder / "lake", scale)
        print(f"made {rows:,} prompts in {folder / 'lake'}")
        first, second = _build(folder, scale), _build(folder, scale)
        result = {
            "prompts": rows,
            "rows": _published(folder),
            "seconds": [round(first.seconds, 1), round(second.seconds, 1)],
            "peak_mib": round(max(first.peak_bytes, second.peak_bytes) / 2**20),
            "same_rows": _ids(folder, -1) == _ids(folder, -2),
        }
    print(
        f"dbt build --select +sft: {result['rows']:,} rows of {rows:,} in {result['seconds'][0]} s and "
        f"{result['seconds'][1]} s, at most {result['peak_mib']:,} MiB; same rows: {result['same_rows']}"
    )
    if arguments.record:
        record(
            "dbt build of the SFT mixture",
            [f"- `python -m benchmarks.mixture{' --quick' if arguments.quick else ''}`: {json.dumps(result)}"],
            ["dbt-core", "dbt-duckdb", "duckdb"],
        )
    if arguments.json:
        print(json.dumps(result))
    return 0 if result["same_rows"] else 1


def make(root: Path, scale: float) -> int:
    """Fill a warehouse with made-up rows; returns the number of prompts."""
    w = warehouse.open(str(root))
    counts = _counts(scale)
    _sources(w, counts)
    con = duckdb.connect()
    con.execute("set preserve_insertion_order = false")
    con.register("sentences_arrow", pa.table({"id": np.arange(SENTENCES), "text": _sentences()}))
    con.execute("create table pool as select list(text order by id) as sentences from sentences_arrow")
    job = Job("benchmarks.mixture")
    for table, query in (("raw.prompts", PROMPTS), ("raw.completions", COMPLETIONS)):
        directory = stage(w, table)
        files = []
        for number, (source, rows, licence, skill) in enumerate(counts):
            path = f"{directory}/{number:05d}.parquet"
            con.execute(
                f"copy ({query}) to '{path}' (format parquet, compression zstd, row_group_size 20000)",
                {"source": source, "rows": rows, "licence": licence, "skill": skill},
            )
            files.append(path)
        commit(w, table, files, job)
    _evaluations(w, counts, scale)
    _duplicates(w)
    return sum(rows for _, rows, _, _ in counts)


# A text is a handful of sentences that its row and source choose. One row in fifty repeats the prompt of the row before.
TEXT = """array_to_string(list_transform(
    range(4 + (hash({key}) % 9)::bigint), j -> sentences[1 + (hash({key}, j) % len(sentences))::bigint]), ' ')"""
ROW_IDS = "(select i as row, if(i % 50 = 0, i - 1, i) as same from range(1, $rows + 1) as t(i)), pool"
PROMPTS = f"""
    select md5(concat_ws(chr(30), list_transform(messages, m -> m.role || chr(31) || m.content))) as prompt_id,
        $source as source, 'r1' as revision, 'train.jsonl' as file, row, 0::integer as branch, messages,
        $licence as licence, $skill as skill, null::varchar as language, null::varchar as persona_id,
        null::struct(id varchar, arguments varchar)[] as constraints, null::varchar as verifier,
        null::varchar as ground_truth
    from (
        select row, case
            when same % 10 = 7 then [
                {{'role': 'user', 'content': {TEXT.format(key="'u1', $source, same")}}},
                {{'role': 'assistant', 'content': {TEXT.format(key="'a1', $source, same")}}},
                {{'role': 'user', 'content': {TEXT.format(key="'u2', $source, same")}}}
            ]
            else [{{'role': 'user', 'content': {TEXT.format(key="'u1', $source, same")}}}]
        end as messages
        from {ROW_IDS}
    )
"""
COMPLETIONS = f"""
    select md5($source || row) as completion_id, md5($source || same) as prompt_id, $source as source,
        'r1' as revision, 'train.jsonl' as file, row, 0::integer as branch, 0::integer as sample,
        case
            when row % 200 = 3 then ''
            when row % 300 = 5 then 'As an AI language model trained by OpenAI, I cannot. ' || text
            when row % 70 = 9 then 'Google and OpenAI are companies. ' || text
            else text
        end as content,
        null::varchar as preference, null::double as score,
        case when $source = 'wildchat' then if(row % 5 < 2, 'gpt-3.5-turbo', 'gpt-4-0314') else null end as model,
        $licence as licence
    from (select row, same, $skill as skill, {TEXT.format(key="'c', $source, row")} as text from {ROW_IDS})
"""


def _counts(scale: float) -> list[tuple[str, int, str, str | None]]:
    """(source, rows, licence, skill) of the recipe: as many rows as it takes and more, 1.5 million in all."""
    recipes = _recipe()
    declared = registry.load()
    names = {source: declared.sources[source] for source in recipes}
    # WildChat has many rows of a model that is not taken.
    more = {"hard_coded": 1.1, "wildchat": 2.6}
    wanted = {source: rows * more.get(source, 1.0) for source, rows in recipes.items()}
    free = sum(rows for source, rows in wanted.items() if source not in more)
    factor = (ROWS - sum(wanted.values()) + free) / free
    return [
        (
            source,
            round(rows * scale * (1 if source in more else factor)),
            declared.licence(names[source]),
            names[source].skill,
        )
        for source, rows in wanted.items()
    ]


def _recipe() -> dict[str, int]:
    with (REPOSITORY / "sql/seeds/recipes.csv").open(encoding="utf-8") as file:
        return {row["source"]: int(row["rows"]) for row in csv.DictReader(file) if row["recipe"] == "tulu3_sft"}


def _sentences() -> list[str]:
    """Sentences of 8 to 30 words; words are as unequally frequent as in real text."""
    random = np.random.default_rng(7)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(letters[random.zipf(1.3, size) % 26]) for size in random.integers(2, 11, 30_000)]
    lengths = random.integers(8, 31, SENTENCES)
    drawn = random.zipf(1.2, int(lengths.sum())) % len(words)
    ends = np.cumsum(lengths)
    return [
        " ".join(words[index] for index in drawn[end - length : end]).capitalize() + "."
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]


def _sources(w: warehouse.Warehouse, counts: list[tuple[str, int, str, str | None]]) -> None:
    common = {"location": "made up", "revision": "r1", "adapter": "none", "parents": [], "models": [], "rejects": 0}
    rows = [
        {"source": source, "kind": "training", "licence": licence, "skill": skill, "rows": count, **common}
        for source, count, licence, skill in counts
    ] + [
        {"source": name, "kind": "evaluation", "licence": "MIT", "suite": "development", "rows": count, **common}
        for name, count in EVALS.items()
    ]
    _commit(w, "raw.sources", rows)


def _evaluations(w: warehouse.Warehouse, counts: list[tuple[str, int, str, str | None]], scale: float) -> None:
    instances = [
        {
            "instance_id": _id(name, row), "eval_set": name, "revision": "r1", "file": "test.jsonl", "row": row,
            "suite": "development", "fields": [{"name": "question", "text": f"question {row}"}], "record": "{}",
            "licence": "MIT",
        }
        for name, count in EVALS.items()
        for row in range(1, count + 1)
    ]  # fmt: skip
    _commit(w, "raw.eval_instances", instances)
    con = warehouse.connect(root=w.root)
    ids = {
        source: [
            row[0]
            for row in con.execute(
                "select prompt_id from raw.prompts where source = ? order by row", [source]
            ).fetchall()
        ]
        for source, _ in CONTAMINATED
    }
    evidence = [
        {
            "train_set": source, "train_file": "train.jsonl", "train_row": row, "train_branch": 0,
            "prompt_id": ids[source][row - 1], "eval_set": name, "eval_file": "test.jsonl",
            "eval_row": 1 + row % round(EVALS[name] * instances_share),
            "instance_id": _id(name, 1 + row % round(EVALS[name] * instances_share)),
            "matched_tokens": 40 + row % 20, "total_tokens": 60, "coverage": (40 + row % 20) / 60, "kind": "ngram",
            "train_spans": [{"turn": 0, "start": 0, "end": 40}],
            "eval_spans": [{"field": "question", "start": 0, "end": 40}],
            "row_pairs": 1, "instance_pairs": 1, "tokenizer": "made up", "ngram": 8,
        }
        for (source, name), (rows_share, instances_share) in CONTAMINATED.items()
        for row in range(1, round(rows_share * len(ids[source])) + 1)
    ]  # fmt: skip
    _commit(w, "attr.contamination", evidence, "raw.prompts", "raw.eval_instances")


def _duplicates(w: warehouse.Warehouse) -> None:
    """The clusters of equal prompts, found by their ids."""
    con = warehouse.connect(root=w.root)
    found = con.sql("""
        select prompt_id, source, revision, file, row, branch, 'exact' as kind, prompt_id as cluster_id,
            count(*) over cluster as cluster_rows, row_number() over (cluster order by source, file, row, branch) = 1 as keeper,
            'prompt_id' as method
        from raw.prompts
        window cluster as (partition by prompt_id)
        qualify count(*) over cluster > 1
    """).to_arrow_table()
    commit_arrow(w, "attr.duplicates", found, _job(w, "raw.prompts"))


def _commit(w: warehouse.Warehouse, table: str, rows: list[dict[str, object]], *made_of: str) -> None:
    commit_arrow(w, table, pa.Table.from_pylist(rows, schema=load(table).arrow_schema()), _job(w, *made_of))


def _job(w: warehouse.Warehouse, *made_of: str) -> Job:
    return Job("benchmarks.mixture", inputs=[warehouse.refs.resolve(w, name) for name in made_of])


def _id(*parts: object) -> str:
    return hashlib.md5("\x1f".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _build(folder: Path, scale: float) -> Measured:
    fractions = "" if scale == 1.0 else ", shortfall: warn"
    measured = measure(
        [
            *(sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "build", "--select", "+sft"),
            *("--vars", f"{{mixtures: [tulu3_sft]{fractions}}}"),
            *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        ],
        {
            "CARAVAN_WAREHOUSE": str(folder / "lake"),
            "CARAVAN_DUCKDB": str(folder / "caravan.duckdb"),
            "DBT_PROFILES_DIR": str(REPOSITORY),
            "PYTHONPATH": str(REPOSITORY),
        },
        REPOSITORY,
    )
    if measured.returncode:
        raise CaravanError(f"dbt build failed:\n{measured.output}")
    if os.environ.get("CARAVAN_BENCHMARK_VERBOSE"):
        print(measured.output)
    return measured


def _published(folder: Path) -> int:
    con = warehouse.connect(root=str(folder / "lake"))
    return int(con.sql("select count(*) from mixtures.sft").fetchall()[0][0])


def _ids(folder: Path, snapshot: int) -> str:
    """A hash of all row ids in order, of the last or an earlier snapshot."""
    w = warehouse.open(str(folder / "lake"))
    history = w.table("mixtures.sft").metadata.snapshots
    published = sorted(
        (s for s in history if s.summary and "caravan.inputs" in s.summary), key=lambda s: s.sequence_number or 0
    )
    table = warehouse.read.arrow(
        w,
        warehouse.refs.resolve(w, f"mixtures.sft@{published[snapshot].snapshot_id}"),
        ["position", "completion_id", "prompt_id", "source", "file", "row", "branch"],
    )
    digest = hashlib.sha256()
    for batch in table.sort_by("position").to_batches():
        for column in batch.columns:
            digest.update("\x1e".join(map(str, column.to_pylist())).encode())
    return digest.hexdigest()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python -m benchmarks.mixture --quick --json\n  python -m benchmarks.mixture --record",
    )
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the rows, to see that it works")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--record", action="store_true", help="append the result to benchmarks/RESULTS.md")
    parser.add_argument(
        "--folder", help="where the made-up warehouse lies while it runs (about 6 GB; default: the temporary folder)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
