"""The steps of pipelines.decontaminate."""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyspark import SparkContext
from rich.console import Console

import warehouse
from pipelines.output import Output, remove
from pipelines.overlap import clean, evidence, inputs, report, task, verdict
from pipelines.overlap.index import Index, build
from pipelines.overlap.tokenizers import TOKENIZERS
from warehouse import contracts
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError
from warehouse.refs import Resolved, resolve
from warehouse.show import console as stdout

TABLE = "attr.contamination"
EXAMPLES = 3  # of each training set and evaluation in the report


@dataclass(frozen=True)
class Read:
    """What is compared: refs where it lies in a warehouse, and the index of the evaluations."""

    w: warehouse.Warehouse | None
    train: Resolved | None
    evals: Resolved | None
    splits: list[inputs.TrainingSplit]
    evaluations: inputs.Evaluations
    index: Index


def read(args: argparse.Namespace, console: Console) -> Read:
    """Find and read what the arguments name, and index the evaluations. Needs no Spark."""
    if _is_ref(args.train) and not _is_ref(args.evals):
        raise CaravanError("Rows of the warehouse are compared with evaluations in the warehouse: ingest those first.")
    if not _is_ref(args.train) and not args.output:
        raise CaravanError("Files need --output FOLDER: where the clean rows, the evidence and the report go.")
    w = warehouse.open() if _is_ref(args.evals) else None
    train, evals = (_resolve(w, values, console) for values in (args.train, args.evals))
    with ThreadPoolExecutor(16) as pool:
        splits = (
            inputs.training_splits_of(train, pool.map)
            if train
            else inputs.training_splits(args.train, args.train_field, args.format, pool.map)
        )
    evaluations, index = _index(args, w, evals)
    console.print(f"indexed {len(evaluations):,} instances of {len(evaluations.sets)} evaluations")
    return Read(w, train, evals, splits, evaluations, index)


def decontaminate(args: argparse.Namespace, spark: SparkContext, reading: Callable[[], Read], console: Console) -> None:
    """Compare what was read, commit or write what is found, and report it. `reading` waits for what is read."""
    started = time.monotonic()
    output = Output(args.output, args.overwrite) if args.output else None
    try:
        read = reading()
        if read.w and read.train and read.evals:
            job = Job("pipelines.decontaminate", arguments=_settings(args), inputs=[read.train, read.evals])
            with staged(read.w, TABLE) as directory:
                scanned, files = _find(spark, args, read, directory, f"{directory}/scan")
                found = _report(args, read, scanned, files)
                remove(f"{directory}/scan")
                snapshot = commit(read.w, TABLE, _all(files), job, replace={"train_set": list(scanned.sets)})
                console.print(f"wrote {TABLE}@{snapshot}")
        else:
            assert output is not None
            scanned, files = _find(spark, args, read, output.evidence, output.staging)
            found = _report(args, read, scanned, files)
            _write_rows(spark, output, found, read.splits, scanned, files)
        report.show(found, stdout)
        if output is not None:
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
    tokenizer = TOKENIZERS[args.tokenizer]
    return evaluations, build(evaluations.texts, evaluations.numbers, tokenizer, args.ngram, args.threshold)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    return {"ngram": args.ngram, "threshold": str(args.threshold), "tokenizer": str(TOKENIZERS[args.tokenizer])}


def _find(
    spark: SparkContext, args: argparse.Namespace, read: Read, directory: str, staging: str
) -> tuple[task.Scanned, dict[str, list[str]]]:
    """What the scan found, and the files of evidence of each training set, under `directory`."""
    evaluations = read.evaluations
    keys = evaluations.keys.drop_columns("suite").combine_chunks()
    with_report = args.output is not None
    plan = task.Plan(read.index, keys, evaluations.names, read.splits, args.max_pairs, staging, with_report)
    scanned = evidence.scan(spark, plan)
    if scanned.failure:
        raise CaravanError(scanned.failure)
    tokenizer = str(TOKENIZERS[args.tokenizer])
    return scanned, evidence.write(spark, scanned.sets, directory, tokenizer, args.ngram, read.train is not None)


def _all(files: dict[str, list[str]]) -> list[str]:
    return [path for of_set in files.values() for path in of_set]


def _report(args: argparse.Namespace, read: Read, scanned: task.Scanned, files: dict[str, list[str]]) -> report.Report:
    evaluations, index = read.evaluations, read.index
    described = _describe(evaluations, index)
    rows = {name: found.rows for name, found in sorted(scanned.sets.items())}
    cells = verdict.matrix(
        _all(files),
        {each["eval_set"]: each["instances"] for each in described},
        {each["eval_set"]: each["suite"] for each in described},
        rows,
        verdict.Policy(args.set_threshold, args.policy),
    )
    removed = verdict.removed_rows(_all(files), cells, rows)
    examples = evidence.examples(scanned.sets, EXAMPLES) if args.output else []
    return report.Report(
        settings={
            "train": args.train,
            "evals": args.evals,
            **_settings(args),
            "threshold": float(args.threshold),
            "set_threshold": float(args.set_threshold),
            "policy": args.policy,
        },
        evaluations=described,
        training=[
            {
                "train_set": name,
                "rows": count,
                "textless": scanned.sets[name].textless,
                "rejects": scanned.sets[name].rejects,
                "removed": removed[name],
            }
            for name, count in rows.items()
        ],
        cells=cells,
        examples=report.with_texts(examples, evaluations, index),
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
        for number, name in enumerate(evaluations.sets)
    ]


def _write_rows(
    spark: SparkContext,
    output: Output,
    found: report.Report,
    splits: list[inputs.TrainingSplit],
    scanned: task.Scanned,
    files: dict[str, list[str]],
) -> None:
    """The rows that are kept, and the records that could not be read."""
    if not files:
        output.write("evidence/none.parquet", evidence.schema(with_ids=False).empty_table())
    if scanned.rejects:
        output.move(scanned.rejects, "rejects")
    removals = {
        name: clean.Removal(
            whole=any(cell.action == "set" for cell in found.cells if cell.train_set == name),
            files=files.get(name, ()),
            evaluations=[c.eval_set for c in found.cells if c.train_set == name and c.action == "rows"],
        )
        for name in scanned.sets
    }
    clean.write(spark, splits, output.staging, removals, output.clean)
