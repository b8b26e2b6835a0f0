"""Find training prompts that overlap evaluation instances, by exact 8-grams (Tülu 3, section 3.2).

A token of an instance is matched by a training row if both hold an 8-gram with that token. A row overlaps an instance if it
matches more than half of its tokens. A training set is contaminated by an evaluation if it overlaps more than 2 % of the
evaluation's instances. Only prompts are compared: of a conversation, the user turns.

Run as:
    spark-submit pipelines/decontaminate.py --train my.jsonl --train-field prompt --evals 'evals/*.jsonl' --output out/
    spark-submit pipelines/decontaminate.py --train raw.prompts@v1 --evals raw.eval_instances@v1
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.storagelevel import StorageLevel
from rich.console import Console

import warehouse
from pipelines.overlap import clean, evidence, inputs, report, task, verdict
from pipelines.overlap.index import Index, build
from pipelines.overlap.options import parse
from pipelines.overlap.output import Output
from pipelines.overlap.tokenizers import TOKENIZERS
from warehouse import contracts
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError, run
from warehouse.refs import Resolved, resolve
from warehouse.spark import hadoop, session, write

TABLE = "attr.contamination"
SPLITS_A_PART = 16  # of what is read, whose pairs go to one piece of a shuffle
EXAMPLES = 3  # of each training set and evaluation in the report


def main(arguments: list[str] | None = None) -> None:
    """Run the job."""
    args = parse(__doc__, arguments)
    started = time.monotonic()
    console = Console(stderr=True)
    if _is_ref(args.train) and not _is_ref(args.evals):
        raise CaravanError("Rows of the warehouse are compared with evaluations in the warehouse: ingest those first.")
    if not _is_ref(args.train) and not args.output:
        raise CaravanError("Files need --output FOLDER: where the clean rows, the evidence and the report go.")
    w = warehouse.open() if _is_ref(args.evals) else None
    train_ref, evals_ref = (_resolve(w, values, console) for values in (args.train, args.evals))
    output = Output(args.output, args.overwrite) if args.output else None
    try:
        with ThreadPoolExecutor(16) as pool:
            splits = (
                inputs.training_splits_of(train_ref, pool.map)
                if train_ref
                else inputs.training_splits(args.train, args.train_field, args.format, pool.map)
            )
            # The index is built while Spark starts.
            indexing = pool.submit(_index, args, w, evals_ref)
            spark = session("decontaminate")
            evaluations, index = indexing.result()
        console.print(f"indexed {len(evaluations.fields):,} instances of {len(evaluations.names)} evaluations")
        if not spark.sparkContext.getConf().contains("spark.sql.shuffle.partitions"):
            # Only pairs are shuffled, far fewer than what is read.
            parts = max(spark.sparkContext.defaultParallelism, len(splits) // SPLITS_A_PART)
            spark.conf.set("spark.sql.shuffle.partitions", str(parts))
        records, training = _scan(spark, index, evaluations, splits, args.max_pairs, output)
        tokenizer = str(TOKENIZERS[args.tokenizer])
        pairs = evidence.evidence(records, tokenizer, args.ngram)
        if w and train_ref and evals_ref:
            files = _commit(w, pairs, list(training), args, [train_ref, evals_ref], console)
        else:
            assert output is not None
            files = write(pairs.drop("prompt_id", "instance_id"), output.evidence)
        found = _report(args, tokenizer, evaluations, index, training, records, files)
        report.show(found, Console())
        if output is not None:
            if train_ref is None:
                _write_rows(spark, output, found, splits, records)
            output.put("report.md", report.markdown(found))
            output.put("report.json", json.dumps(found.as_json(), indent=1, ensure_ascii=False))
            output.publish()
            console.print(f"wrote {output.path}")
    finally:
        if output is not None:
            output.discard()
    rows = sum(training["rows"] for training in found.training)
    console.print(f"{rows:,} rows in {time.monotonic() - started:.1f} s")


def _is_ref(values: list[str]) -> bool:
    """Whether an argument names a table rather than files."""
    return len(values) == 1 and values[0].partition("@")[0] in contracts.names()


def _resolve(w: warehouse.Warehouse | None, values: list[str], console: Console) -> Resolved | None:
    if w is None or not _is_ref(values):
        return None
    resolved = resolve(w, values[0])
    console.print(f"reads {resolved} ({resolved.rows:,} rows)")
    return resolved


def _index(
    args: argparse.Namespace, w: warehouse.Warehouse | None, resolved: Resolved | None
) -> tuple[inputs.Evaluations, Index]:
    evaluations = (
        inputs.evaluations_of(w, resolved)
        if w and resolved
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
) -> tuple[DataFrame, dict[str, dict[str, int]]]:
    """The records of the scan, computed once, and rows and rejects of each training set."""
    names = pa.array([name for fields in evaluations.fields for name, _ in fields], pa.string())
    keys = evaluations.keys.drop_columns("suite").combine_chunks()
    plan = task.Plan(index, keys, names, splits, max_pairs, output.staging if output else None)
    records = evidence.scan(spark, plan).persist(StorageLevel.MEMORY_AND_DISK)
    parts = evidence.parts(records).collect()
    if failures := [part["failure"] for part in parts if part["failure"]]:
        raise CaravanError(failures[0])
    return records, {
        part["train_set"]: {name: part[name] for name in ("rows", "textless", "rejects")} for part in parts
    }


def _commit(
    w: warehouse.Warehouse,
    pairs: DataFrame,
    train_sets: list[str],
    args: argparse.Namespace,
    reading: list[Resolved],
    console: Console,
) -> list[str]:
    settings = {"ngram": args.ngram, "threshold": str(args.threshold), "tokenizer": args.tokenizer}
    job = Job("pipelines.decontaminate", arguments=settings, inputs=reading)
    with staged(w, TABLE) as directory:
        files = write(pairs, directory, partition="train_set")
        snapshot = commit(w, TABLE, files, job, replace={"train_set": train_sets})
    console.print(f"wrote {TABLE}@{snapshot}")
    return files


def _report(
    args: argparse.Namespace,
    tokenizer: str,
    evaluations: inputs.Evaluations,
    index: Index,
    training: dict[str, dict[str, int]],
    records: DataFrame,
    files: list[str],
) -> report.Report:
    described = _describe(evaluations, index)
    rows = {name: part["rows"] for name, part in training.items()}
    cells = verdict.matrix(
        files,
        {each["eval_set"]: each["instances"] for each in described},
        {each["eval_set"]: each["suite"] for each in described},
        rows,
        verdict.Policy(args.set_threshold, args.policy),
    )
    removed = verdict.removed_rows(files, cells, rows)
    examples = evidence.examples(records, EXAMPLES).collect() if args.output else []
    return report.Report(
        settings={
            "train": args.train,
            "evals": args.evals,
            "tokenizer": tokenizer,
            "ngram": args.ngram,
            "threshold": float(args.threshold),
            "set_threshold": float(args.set_threshold),
            "policy": args.policy,
        },
        evaluations=described,
        training=[{"train_set": name, **part, "removed": removed[name]} for name, part in training.items()],
        cells=cells,
        examples=report.with_texts([example.asDict() for example in examples], evaluations),
    )


def _describe(evaluations: inputs.Evaluations, index: Index) -> list[dict[str, Any]]:
    totals = index.instances.totals
    short = (np.diff(index.instances.position) == 0) & (totals > 0)
    suites = dict(zip(evaluations.keys["eval_set"].to_pylist(), evaluations.keys["suite"].to_pylist(), strict=True))
    fields = evaluations.matched_fields()
    of = index.instances.set
    return [
        {
            "eval_set": name,
            "suite": suites[name],
            "instances": int((of == number).sum()),
            "unmatchable": int((short & (of == number)).sum()),
            "empty": int(((totals == 0) & (of == number)).sum()),
            "fields": fields[name],
        }
        for number, name in enumerate(evaluations.names)
    ]


def _write_rows(
    spark: SparkSession,
    output: Output,
    found: report.Report,
    splits: list[inputs.TrainingSplit],
    records: DataFrame,
) -> None:
    if any(training["rejects"] for training in found.training):
        evidence.rejects(records).coalesce(1).write.parquet(hadoop(f"{output.folder}/rejects"))
    clean.write(spark, splits, output.staging, found.cells, output.evidence, output.clean)


if __name__ == "__main__":
    run(main)
