"""Find training prompts that overlap evaluation instances, by exact 8-grams (Tülu 3, section 3.2).

A token of an instance is matched by a training row if both hold an 8-gram with that token; the row overlaps the instance if
it matches more than half of its tokens; a training set is contaminated by an evaluation if it overlaps more than 2 % of the
evaluation's instances. Only prompts are compared: of a conversation, the user turns.

Run as:
    spark-submit pipelines/decontaminate.py --train my.jsonl --train-field prompt --evals 'evals/*.jsonl' --output out/
    spark-submit pipelines/decontaminate.py --train raw.prompts@v1 --evals raw.eval_instances@v1
"""

import argparse
import json
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.storagelevel import StorageLevel
from rich.console import Console

import warehouse
from pipelines.overlap import clean, evidence, inputs, report, task, verdict
from pipelines.overlap.index import Index, build
from pipelines.overlap.tokenizers import TOKENIZERS, WORDS
from warehouse import contracts
from warehouse.commit import Job, commit, stage
from warehouse.errors import CaravanError, run
from warehouse.refs import resolve
from warehouse.spark import session, write

EXAMPLES = 3
TABLE = "attr.contamination"

EPILOG = """
examples:
  # plain files: clean rows, evidence and a report under out/
  spark-submit pipelines/decontaminate.py --train my.jsonl --train-field prompt \\
      --evals 'evals/*.jsonl' --eval-field question --output out/

  # training sets and evaluations with names of their own; two fields of each instance are matched
  spark-submit pipelines/decontaminate.py --train sft='shards/*.parquet' --evals boolq=boolq.jsonl \\
      --eval-field passage --eval-field question --output out/

  # the warehouse: evidence goes to attr.contamination, SQL decides what to drop
  spark-submit pipelines/decontaminate.py --train raw.prompts --evals raw.eval_instances

what is written with --output:
  clean/*.parquet     the rows that are kept, as they came
  evidence/*.parquet  train_set, train_row, eval_set, eval_row, matched_tokens, total_tokens, coverage, kind, spans, …
  rejects/*.parquet   records that could not be read, with file, line and reason (only if there are any)
  report.json, report.md
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="decontaminate", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--train",
        nargs="+",
        default=["raw.prompts"],
        metavar="REF|[NAME=]FILES",
        help="a reference to raw.prompts, or files, globs, folders or URLs; each is one training set (default: raw.prompts)",
    )
    add(
        "--evals",
        nargs="+",
        default=["raw.eval_instances"],
        metavar="REF|[NAME=]FILES",
        help="a reference to raw.eval_instances, or files; each file is one evaluation unless named (default: raw.eval_instances)",
    )
    add(
        "--train-field",
        metavar="FIELD",
        help=f"field that holds the prompt: text, or a conversation of which the user turns count (default: the first there is of {', '.join(inputs.TRAIN_FIELDS)})",
    )
    add(
        "--eval-field",
        action="append",
        metavar="FIELD",
        help=f"field to match; give it again for more than one (default: the first there is of {', '.join(inputs.EVAL_FIELDS)})",
    )
    add(
        "--format",
        choices=["jsonl", "json", "csv", "tsv", "parquet", "text"],
        help="of the files (default: by extension)",
    )
    add("--output", metavar="FOLDER", help="where clean rows, evidence and report go; needed for files")
    add("--overwrite", action="store_true", help="replace what is in the output folder")
    add("--ngram", type=_positive, default=8, metavar="N", help="tokens in an n-gram (default: 8)")
    add(
        "--threshold",
        type=_share,
        default=Fraction(1, 2),
        metavar="SHARE",
        help="a row overlaps an instance if it matches more than this share of its tokens (default: 0.5)",
    )
    add(
        "--set-threshold",
        type=_share,
        default=Fraction(1, 50),
        metavar="SHARE",
        help="a set is contaminated if it overlaps more than this share of an evaluation's instances; 0 counts a single one (default: 0.02)",
    )
    add(
        "--policy",
        choices=["suite", "rows", "set", "none"],
        default="suite",
        help="remove of a contaminated set: the overlapping rows, the whole set, nothing, or by suite, the set for an unseen evaluation and else the rows (default: suite; files have no suite)",
    )
    add(
        "--tokenizer",
        choices=sorted(TOKENIZERS),
        default=WORDS.name,
        help="words: blind to case, punctuation, line breaks, accents and Unicode form; tulu: as in Tülu 3's own index (default: words)",
    )
    add(
        "--max-pairs",
        type=_positive,
        default=10,
        metavar="K",
        help="evidence kept of each row and evaluation, the best first; counts are of all (default: 10)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _share(text: str) -> Fraction:
    value = Fraction(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share: give a number from 0 to below 1")
    return value


def is_ref(values: list[str]) -> bool:
    """Whether the command line names a table rather than files."""
    return len(values) == 1 and values[0].partition("@")[0] in contracts.names()


def main(arguments: list[str] | None = None) -> int:
    """Run the job."""
    args = parse(arguments)
    started = time.monotonic()
    console = Console(stderr=True)
    train_is_ref, evals_are_ref = is_ref(args.train), is_ref(args.evals)
    if train_is_ref and not evals_are_ref:
        raise CaravanError(
            "Training rows in the warehouse are compared with evaluations in it: ingest the evaluations first."
        )
    if not train_is_ref and not args.output:
        raise CaravanError("Files need --output FOLDER: where the clean rows, the evidence and the report go.")
    if args.output and "://" not in args.output and Path(args.output).exists() and not args.overwrite:
        raise CaravanError(f"{args.output} exists already. Give another --output, or --overwrite to replace it.")
    w = warehouse.open() if train_is_ref or evals_are_ref else None
    reading = [resolve(w, values[0]) for values in (args.train, args.evals) if w and is_ref(values)]
    for resolved in reading:
        console.print(f"reads {resolved} ({resolved.rows:,} rows)")
    with ThreadPoolExecutor(16) as pool:
        splits = (
            inputs.training_splits_of(reading[0], pool.map)
            if train_is_ref
            else inputs.training_splits(args.train, args.train_field, args.format, pool.map)
        )
        # The index is built while Spark starts.
        indexing = pool.submit(_index, args, w, reading[-1] if reading else None)
        spark = session("decontaminate")
        evaluations, index = indexing.result()
    console.print(f"indexed {len(evaluations.fields):,} instances of {len(evaluations.names)} evaluations")
    output = Output(args.output, args.overwrite) if args.output else None
    try:
        records = _scan(spark, index, evaluations, splits, args.max_pairs, output)
        tokenizer = TOKENIZERS[args.tokenizer]
        kept = evidence.evidence(records, str(tokenizer), args.ngram)
        if train_is_ref:
            files = _commit(w, kept, records, reading, args, console)
        else:
            assert output is not None
            files = write(kept.drop("prompt_id", "instance_id"), f"{output.folder}/evidence")
        found = _report(args, str(tokenizer), evaluations, index, records, files)
        report.show(found, Console())
        if output is not None:
            _finish(spark, output, found, splits, records, train_is_ref, console)
    finally:
        if output is not None:
            output.discard()
    console.print(f"{sum(t['rows'] for t in found.training):,} rows in {time.monotonic() - started:.1f} s")
    return 0


class Output:
    """A folder that appears complete or not at all. A URL is written in place, report.json last."""

    def __init__(self, path: str, overwrite: bool) -> None:
        self.path = path if "://" in path else str(Path(path).absolute())
        self.local = "://" not in path
        self.overwrite = overwrite
        self.folder = f"{self.path.rstrip('/')}.{uuid.uuid4().hex[:8]}.partial" if self.local else self.path.rstrip("/")
        for name in ("staging", "clean"):
            fsspec.core.url_to_fs(self.folder)[0].makedirs(f"{self.folder}/{name}", exist_ok=True)

    def put(self, name: str, text: str) -> None:
        """Write a small file."""
        with fsspec.open(f"{self.folder}/{name}", "w", encoding="utf-8") as stream:
            stream.write(text)

    def publish(self) -> None:
        """Let the folder appear."""
        fs, folder = fsspec.core.url_to_fs(f"{self.folder}/staging")
        fs.rm(folder, recursive=True)
        if self.local:
            if self.overwrite and Path(self.path).exists():
                shutil.rmtree(self.path)
            Path(self.folder).rename(self.path)

    def discard(self) -> None:
        """Remove what was not published."""
        if self.local and Path(self.folder).exists():
            shutil.rmtree(self.folder)


def _index(args: argparse.Namespace, w: warehouse.Warehouse | None, resolved: Any) -> tuple[inputs.Evaluations, Index]:
    evaluations = (
        inputs.evaluations_of(w, resolved)
        if is_ref(args.evals) and w is not None
        else inputs.evaluations_in(args.evals, args.eval_field, args.format)
    )
    texts = [[text for _, text in fields] for fields in evaluations.fields]
    return evaluations, build(texts, evaluations.numbers, TOKENIZERS[args.tokenizer], args.ngram, args.threshold)


def _scan(
    spark: SparkSession,
    index: Index,
    evaluations: inputs.Evaluations,
    splits: list[inputs.TrainingSplit],
    max_pairs: int,
    output: Output | None,
) -> DataFrame:
    names = pa.array([name for fields in evaluations.fields for name, _ in fields], pa.string())
    keys = evaluations.keys.drop_columns("suite").combine_chunks()
    staging = f"{output.folder}/staging" if output and not splits[0].in_warehouse else None
    plan = task.Plan(index, keys, names, splits, max_pairs, staging)
    return evidence.scan(spark, plan).persist(StorageLevel.MEMORY_AND_DISK)


def _commit(
    w: Any, kept: DataFrame, records: DataFrame, reading: list[Any], args: argparse.Namespace, console: Console
) -> list[str]:
    directory = stage(w, TABLE)
    files = write(kept, directory, partition="train_set")
    train_sets = [row["train_set"] for row in evidence.parts(records).collect()]
    settings = {"ngram": args.ngram, "threshold": str(args.threshold), "tokenizer": args.tokenizer}
    job = Job("pipelines.decontaminate", arguments=settings, inputs=reading)
    snapshot = commit(w, TABLE, files=files, job=job, replace={"train_set": train_sets})
    console.print(f"wrote {TABLE}@{snapshot}")
    return files


def _report(
    args: argparse.Namespace,
    tokenizer: str,
    evaluations: inputs.Evaluations,
    index: Index,
    records: DataFrame,
    files: list[str],
) -> report.Report:
    totals = index.instances.totals
    has_ngram = np.diff(index.instances.position) > 0
    numbers = index.instances.set
    suites = dict(zip(evaluations.keys["eval_set"].to_pylist(), evaluations.keys["suite"].to_pylist(), strict=True))
    fields = evaluations.matched_fields()
    described = [
        {
            "eval_set": name,
            "suite": suites[name],
            "instances": int((numbers == i).sum()),
            "unmatchable": int((~has_ngram & (totals > 0))[numbers == i].sum()),
            "empty": int((totals == 0)[numbers == i].sum()),
            "fields": fields[name],
        }
        for i, name in enumerate(evaluations.names)
    ]
    rows = {row["train_set"]: row["rows"] for row in evidence.parts(records).collect()}
    rejected = {
        row["train_set"]: row["count"] for row in evidence.rejects(records).groupBy("train_set").count().collect()
    }
    policy = verdict.Policy(args.set_threshold, args.policy)
    instances = {each["eval_set"]: each["instances"] for each in described}
    cells = verdict.matrix(files, instances, suites, rows, policy)
    removed = verdict.removed_rows(files, cells, rows)
    training = [
        {"train_set": name, "rows": count, "rejects": rejected.get(name, 0), "removed": removed[name]}
        for name, count in rows.items()
    ]
    examples = [row.asDict() for row in evidence.examples(records, EXAMPLES).collect()] if args.output else []
    settings = {
        "ngram": args.ngram,
        "threshold": float(args.threshold),
        "set_threshold": float(args.set_threshold),
        "policy": args.policy,
        "tokenizer": tokenizer,
        "train": args.train,
        "evals": args.evals,
    }
    return report.Report(settings, described, training, cells, report.with_texts(examples, evaluations))


def _finish(
    spark: SparkSession,
    output: Output,
    found: report.Report,
    splits: list[inputs.TrainingSplit],
    records: DataFrame,
    train_is_ref: bool,
    console: Console,
) -> None:
    """Write the clean rows and the reports, and let the output appear."""
    if not train_is_ref:
        if any(training["rejects"] for training in found.training):
            evidence.rejects(records).coalesce(1).write.parquet(f"{output.folder}/rejects")
        clean.write(
            spark,
            splits,
            f"{output.folder}/staging",
            found.cells,
            f"{output.folder}/evidence",
            f"{output.folder}/clean",
        )
    output.put("report.md", report.markdown(found))
    output.put("report.json", json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    output.publish()
    console.print(f"wrote {output.path}")


if __name__ == "__main__":
    run(main)
