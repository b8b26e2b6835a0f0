"""Say of completions whether they are right, by the verifier and the ground truth that their prompts name.

In the warehouse it reads raw.completions and raw.prompts and fills attr.verdicts, a commit a source. A verdict stays while completion,
check and version of the verifier stay: a second run verifies what is new and removes what has gone, and a run that was stopped goes on
with the next source. On plain files each record holds its response, verifier and ground truth, and the verdicts are left in a folder.
Code runs in the sandbox of tasks/sandbox only.

Run as: spark-submit pipelines/verify.py [--completions raw.completions@latest] [--prompts raw.prompts@latest] [--sources a,b]
        spark-submit pipelines/verify.py --completions 'my/*.jsonl' --verifier gsm8k --output out/
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.table import Table

import warehouse
from pipelines import verdict_files, verdicts
from pipelines.files import FORMATS
from pipelines.output import Output
from pipelines.verdicts import TABLE
from warehouse import contracts
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError, run
from warehouse.refs import Resolved, resolve
from warehouse.show import console
from warehouse.spark import hadoop, read, session, write

ROWS_A_TASK = 2_000  # completions that one task verifies
ROWS_A_FILE = 500_000
FEW = 0.01  # of the checks by a verifier of a source may fail with the machine before the run counts as failed
EXAMPLES = """examples:
  every completion in the warehouse whose prompt has a verifier:
    spark-submit pipelines/verify.py
  two sources, from a published release:
    spark-submit pipelines/verify.py --completions raw.completions@v1 --prompts raw.prompts@v1 --sources gsm8k_train,math_train
  plain files; each record has response, verifier (or dataset) and ground_truth:
    spark-submit pipelines/verify.py --completions answers.jsonl --output out/
  plain files, one verifier for all, other names of fields:
    spark-submit pipelines/verify.py --completions answers.parquet --response-field output --truth-field answer --verifier math --output out/

What a ground truth looks like for each verifier, and what verdicts say: docs/verify.md.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if _is_ref(options.completions):
        in_warehouse(options)
    else:
        on_files(options)


def in_warehouse(options: argparse.Namespace) -> None:
    """Bring attr.verdicts up to date with a reference of completions and one of prompts."""
    w = warehouse.open()
    completions, prompts, before = resolve(w, options.completions[0]), resolve(w, options.prompts), resolve(w, TABLE)
    print("reads", completions, prompts, before)
    spark = _session()
    stated = verdicts.checks(read(spark, prompts)).persist(StorageLevel.DISK_ONLY)
    rows = verdicts.wanted(read(spark, completions), stated)
    existing = read(spark, before)
    told = {k: v for k, v in vars(options).items() if v}
    job = Job("pipelines.verify", told, [completions, prompts])
    sources = []
    for source, fresh, old in _changes(rows, existing, _chosen(spark, completions, options.sources)):
        if fresh or old:
            of_source = F.col("source") == source
            found, had = rows.where(of_source), existing.where(of_source)
            snapshot = _replace(w, job, source, found, had, fresh)
            print(f"wrote {TABLE}@{snapshot}: {source}, {fresh:,} completions verified")
        sources.append(source)
    if not sources:
        print("No completion has a prompt with a verifier: nothing to verify.")
        return
    table = read(spark, resolve(w, TABLE)).where(F.col("source").isin(sources))
    _complain(report(table, ["completion_id"]))


def on_files(options: argparse.Namespace) -> None:
    """Write the verdicts on the records of files."""
    if not options.output:
        raise CaravanError(
            f"'{options.completions[0]}' is no table of the warehouse, so it is taken for files; these need --output FOLDER, where the "
            "verdicts go."
        )
    if options.sources:
        raise CaravanError("--sources chooses rows of the warehouse; of files, name those that you mean.")
    output = Output(options.output, options.overwrite, folders=())
    try:
        fields = verdict_files.Fields(options.response_field, options.truth_field, options.verifier)
        splits = verdict_files.splits_of(options.completions, options.format)
        print("reads", *sorted({split.file for split in splits}))
        spark = _session()
        records = verdict_files.records_of(spark, splits, fields)
        parts = max(spark.sparkContext.defaultParallelism, records.count() // ROWS_A_TASK)
        write(verdict_files.judged(records.repartition(parts)), f"{output.folder}/verdicts")
        table = spark.read.parquet(hadoop(f"{output.folder}/verdicts"))
        counts = report(table.withColumnRenamed("file", "source"), ["row"])
        output.put("report.json", json.dumps(counts, indent=1, ensure_ascii=False))
        output.publish()
    finally:
        output.discard()
    print(f"wrote {output.path}")
    _complain(counts)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--completions",
        nargs="+",
        default=["raw.completions"],
        metavar="REF|FILES",
        help="what to verify (default: raw.completions)",
    )
    add("--prompts", default="raw.prompts", metavar="REF", help="prompts of a reference (default: raw.prompts)")
    add("--sources", type=_names, metavar="NAMES", help="only these sources of the reference (default: all)")
    add(
        "--verifier", metavar="NAME", help="verifier of all records of files (default: their field verifier or dataset)"
    )
    add("--response-field", metavar="FIELD", help="field of files that holds the response (default: found by its name)")
    add("--truth-field", default="ground_truth", metavar="FIELD", help="field of files (default: ground_truth)")
    add("--format", choices=FORMATS, help="of all files (default: by their extensions)")
    add("--output", metavar="FOLDER", help="folder or URL for the verdicts; needed for files")
    add("--overwrite", action="store_true", help="replace what is in the output folder")
    return parser


def _is_ref(values: Sequence[str]) -> bool:
    """Whether an argument names a table rather than files."""
    return len(values) == 1 and values[0].partition("@")[0] in contracts.names()


def _session() -> SparkSession:
    return session("verify", {"spark.sql.execution.arrow.maxRecordsPerBatch": "1000"})


def _chosen(spark: SparkSession, ref: Resolved, sources: Sequence[str] | None) -> Sequence[str] | None:
    """The sources that were asked for. Raises CaravanError where the reference has no rows of one."""
    if sources:
        known = {row.source for row in read(spark, ref).select("source").distinct().collect()}
        if unknown := sorted(set(sources) - known):
            raise CaravanError(
                f"{ref} holds no rows of {', '.join(unknown)}. Its sources: {', '.join(sorted(known)) or 'none'}."
            )
    return sources


def _changes(rows: DataFrame, existing: DataFrame, sources: Sequence[str] | None) -> list[tuple[str, int, int]]:
    """(source, verdicts to find, verdicts to remove) of each source that has or should have any, in order."""
    keys = list(verdicts.IDENTITY)
    there = existing.select(*keys, F.lit(True).alias("there"))
    both = rows.select(*keys, F.lit(True).alias("wanted")).join(there, on=keys, how="full")
    if sources:
        both = both.where(F.col("source").isin(list(sources)))
    counts = both.groupBy("source").agg(
        F.count_if(F.col("there").isNull()).alias("fresh"), F.count_if(F.col("wanted").isNull()).alias("old")
    )
    return sorted((row.source, row.fresh, row.old) for row in counts.collect())


def _replace(w: warehouse.Warehouse, job: Job, source: str, rows: DataFrame, existing: DataFrame, fresh: int) -> int:
    """Commit the verdicts of a source: those that are still valid and those that were missing. Returns the snapshot."""
    spark = rows.sparkSession
    parts = max(spark.sparkContext.defaultParallelism, fresh // ROWS_A_TASK)
    # Spark would make few tasks of few bytes, but it is the checks that take time.
    found = verdicts.judged(verdicts.missing(rows, existing).repartition(parts)).persist(StorageLevel.DISK_ONLY)
    with staged(w, TABLE) as directory:
        kept = verdicts.still_valid(existing, rows)
        files = 1 + found.count() // ROWS_A_FILE
        written = write(kept.unionByName(found).coalesce(files), directory, partition="source")
        snapshot = commit(w, TABLE, written, job, replace={"source": [source]})
    found.unpersist()
    return snapshot


def report(found: DataFrame, place: Sequence[str]) -> list[dict[str, Any]]:
    """Print counts of each source and verifier, and one problem where there are any; return them."""
    table = Table("source", "verifier", "verdicts", "correct", "share", "problems")
    rows = sorted(verdicts.totals(found, place).collect(), key=lambda row: (row.source, row.verifier or ""))
    for row in rows:
        decided = row.rows - row.problems
        share = f"{row.correct / decided:.3f}" if decided else "-"
        table.add_row(row.source, row.verifier or "-", f"{decided:,}", f"{row.correct:,}", share, f"{row.problems:,}")
    console.print(table)
    for row in rows:
        if row.problems:
            where = ", ".join(f"{name} {row.example[name]}" for name in place)
            print(
                f"{row.source}, {row.verifier or 'no verifier'}: {row.problems:,} problems, such as of {where}: {row.example.problem}"
            )
    return [row.asDict(recursive=True) for row in rows]


def _complain(counts: Sequence[dict[str, Any]]) -> None:
    """Say how many checks the machine failed. Raises CaravanError where these are many."""
    failed = sum(row["failed"] for row in counts)
    if failed:
        print(
            f"{failed:,} checks could not be run on this machine: they have a problem, which the next run looks at again."
        )
    for row in counts:
        if row["failed"] > FEW * row["rows"]:
            raise CaravanError(
                f"{row['source']}, {row['verifier']}: the machine failed {row['failed']:,} of {row['rows']:,} checks, in sandboxes or "
                f"workers ({row['failure']}). The other verdicts are written. See what it lacks (memory, processes, disk; "
                "`python -c 'from tasks.sandbox import chosen; print(chosen())'`), then run the same command again."
            )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    run(main)
