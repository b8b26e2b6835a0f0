"""Find equal and nearly equal prompts, within and across sources, and say which row of each cluster to keep.

In the warehouse it reads raw.prompts and replaces attr.duplicates in one commit: rows are only marked, and the SQL of a mixture
decides what to drop. On plain files it leaves the rows that are kept, as they came, in out/clean, and the clusters in out/duplicates.
`--against` marks rows of the training side alone: those that equal or nearly equal a row of the other side.

Run as: spark-submit pipelines/deduplicate.py [--train raw.prompts@latest] [--sources a,b] [--priority a,b]
        spark-submit pipelines/deduplicate.py --train 'my/*.jsonl' --train-field prompt --output out/
"""

import argparse
import json
from collections.abc import Sequence

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.table import Table

import warehouse
from pipelines import dedup_files, duplicates
from pipelines.files import FORMATS
from pipelines.output import Output
from warehouse import contracts
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError, run
from warehouse.refs import Resolved, resolve
from warehouse.show import console
from warehouse.spark import hadoop, read, session, write

TABLE = "attr.duplicates"
KINDS = ["exact", "near"]
ROWS_A_PART = 20_000  # prompts in one piece of a shuffle
EXAMPLES = """examples:
  every source of the warehouse; of a cluster the row of lima is kept before those of others:
    spark-submit pipelines/deduplicate.py --priority lima,oasst1
  only rows of the source new that the published release already has:
    spark-submit pipelines/deduplicate.py --sources new --against raw.prompts@v1
  plain files, two sets with names of their own; rows of mine are kept before rows of theirs:
    spark-submit pipelines/deduplicate.py --train mine=a.jsonl theirs='b/*.parquet' --train-field prompt --priority mine --output out/
  plain files without the rows that another set has:
    spark-submit pipelines/deduplicate.py --train new.jsonl --against old.jsonl --output out/

Two prompts are compared by the text of their user turns after Unicode normalisation (NFKC), case folding and collapsing of white
space. exact: these texts are equal. near: the Jaccard similarity of their five-character shingles is at the threshold, directly or
over other prompts. docs/deduplicate.md says more.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if not 0 < options.threshold <= 1:
        raise CaravanError(
            f"--threshold is {options.threshold:g}; a share above 0 and at most 1 is needed, such as 0.8."
        )
    if _is_ref(options.train):
        in_warehouse(options)
    else:
        on_files(options)


def in_warehouse(options: argparse.Namespace) -> None:
    """Mark the duplicates of a reference."""
    if options.against and not _is_ref(options.against):
        raise CaravanError(
            "Rows of the warehouse are compared with rows of the warehouse: ingest the other side first."
        )
    w = warehouse.open()
    train = resolve(w, options.train[0])
    other = resolve(w, options.against[0]) if options.against else None
    inputs = [ref for ref in (train, other) if ref]
    print("reads", *inputs)
    spark = _session(sum(ref.rows for ref in inputs))
    rows = _kept(_prompts(spark, train, options.sources))
    others = _kept(_prompts(spark, other, options.against_sources)) if other else None
    found = _found(rows, others, options)
    told = {k: v for k, v in vars(options).items() if v}
    with staged(w, TABLE) as directory:
        files = write(found, directory, partition="kind")
        snapshot = commit(w, TABLE, files, Job("pipelines.deduplicate", told, inputs), replace={"kind": KINDS})
    report(rows, read(spark, resolve(w, f"{TABLE}@{snapshot}")))
    print(f"wrote {TABLE}@{snapshot}")


def on_files(options: argparse.Namespace) -> None:
    """Write the rows of files that are kept, and the clusters."""
    if not options.output:
        raise CaravanError(
            f"'{options.train[0]}' is no table of the warehouse, so it is taken for files; these need --output FOLDER, where the rows "
            "that are kept and the clusters go."
        )
    if options.sources or options.against_sources:
        raise CaravanError(
            "--sources and --against-sources choose rows of the warehouse; of files, name those that you mean."
        )
    output = Output(options.output, options.overwrite)
    try:
        splits = dedup_files.splits_of(options.train, options.train_field, options.format)
        against = dedup_files.splits_of(options.against, options.train_field, options.format) if options.against else []
        if both := sorted({part.train_set for part in splits} & {part.train_set for part in against}):
            # A row is known by its set, file and number: of two sets with one name, rows would be taken for each other.
            raise CaravanError(
                f"--train and --against both have a set called '{both[0]}'. Name them apart: NAME=FILES."
            )
        print("reads", *sorted({part.split.file for part in (*splits, *against)}))
        spark = _session(0)
        records = dedup_files.rows(spark, splits, output.staging)
        rows = _kept(records.where("problem is null"))
        others = _kept(dedup_files.rows(spark, against, None).where("problem is null")) if against else None
        _size(spark, rows.count() + (others.count() if others else 0))
        sources = sorted({part.train_set for part in splits})
        kept = dedup_files.finish(spark, output, splits, records, _found(rows, others, options), sources)
        counts = report(
            rows,
            spark.read.parquet(hadoop(f"{output.folder}/duplicates")),
        )
        refused = records.where("problem is not null").count()
        settings = {key: value for key, value in vars(options).items() if value and key not in ("output", "overwrite")}
        told = {"settings": settings, "rows": rows.count(), "kept": kept, "rejects": refused, "sources": counts}
        output.put("report.json", json.dumps(told, indent=1, ensure_ascii=False))
        output.publish()
    finally:
        output.discard()
    if refused:
        print(f"{refused:,} records could not be read: see {output.path}/rejects")
    print(f"wrote {output.path}: {kept:,} rows kept")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deduplicate", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    either = "REF|[NAME=]FILES"
    add("--train", nargs="+", default=["raw.prompts"], metavar=either, help="prompts to look at (default: raw.prompts)")
    add("--train-field", metavar="FIELD", help="field of files that holds the prompt (default: found by its name)")
    add("--format", choices=FORMATS, help="of all files (default: by their extensions)")
    add("--against", nargs="+", metavar=either, help="mark only rows of --train that a row of these equals")
    add("--sources", type=_names, metavar="NAMES", help="only these sources of the reference (default: all)")
    add("--against-sources", type=_names, metavar="NAMES", help="only these sources of --against")
    add(
        "--priority",
        type=_names,
        default=[],
        metavar="NAMES",
        help="sources whose rows are kept first (default: alphabetical)",
    )
    add("--threshold", type=float, default=0.8, help="least Jaccard similarity of near duplicates (default: 0.8)")
    add("--output", metavar="FOLDER", help="folder or URL for the results; needed for files")
    add("--overwrite", action="store_true", help="replace what is in the output folder")
    return parser


def _is_ref(values: Sequence[str]) -> bool:
    """Whether an argument names a table rather than files."""
    return len(values) == 1 and values[0].partition("@")[0] in contracts.names()


def _session(rows: int) -> SparkSession:
    spark = session("deduplicate", {"spark.sql.execution.arrow.maxRecordsPerBatch": "1000"})
    _size(spark, rows)
    return spark


def _size(spark: SparkSession, rows: int) -> None:
    """As many pieces as the rows need, where nobody says otherwise: what is kept between passes stays in the pieces of its shuffle."""
    if not spark.sparkContext.getConf().contains("spark.sql.shuffle.partitions"):
        parts = max(spark.sparkContext.defaultParallelism, rows // ROWS_A_PART)
        spark.conf.set("spark.sql.shuffle.partitions", str(parts))


def _found(rows: DataFrame, others: DataFrame | None, options: argparse.Namespace) -> DataFrame:
    if others is None:
        return duplicates.within(rows, options.threshold, options.priority)
    return duplicates.against(rows, others, options.threshold, options.priority)


def _prompts(spark: SparkSession, ref: Resolved, sources: Sequence[str] | None) -> DataFrame:
    """(ROW, text) of a reference."""
    rows = read(spark, ref)
    known = {row.source for row in rows.select("source").distinct().collect()}
    unknown = sorted(set(sources or []) - known)
    if unknown:
        raise CaravanError(
            f"{ref} holds no rows of {', '.join(unknown)}. Its sources: {', '.join(sorted(known)) or 'none'}."
        )
    if not known:
        raise CaravanError(f"{ref} is empty: ingest something first (python -m pipelines.ingest --help).")
    return duplicates.user_turns(rows.where(F.col("source").isin(sources)) if sources else rows)


def _kept(rows: DataFrame) -> DataFrame:
    """The normalised rows, on disk for the several passes over them."""
    return duplicates.normalised(rows).persist(StorageLevel.DISK_ONLY)


def report(rows: DataFrame, found: DataFrame) -> dict[str, dict[str, int]]:
    """Print counts of each source, and return them."""
    table = Table("source", *(("prompts", "exact: clusters", "exact: to drop", "near: clusters", "near: to drop")))
    counts = {row.source: row["count"] for row in rows.groupBy("source").count().collect()}
    kept, dropped = F.count_if("keeper"), F.count_if(~F.col("keeper"))
    by_kind = found.groupBy("source", "kind").agg(kept.alias("kept"), dropped.alias("dropped")).collect()
    of = {(row.source, row.kind): row for row in by_kind}
    told = {}
    for source, count in sorted(counts.items()):
        told[source] = {"prompts": count}
        for kind in KINDS:
            row = of.get((source, kind))
            told[source] |= {f"{kind}: clusters": row.kept if row else 0, f"{kind}: to drop": row.dropped if row else 0}
        table.add_row(source, *(f"{value:,}" for value in told[source].values()))
    console.print(table)
    return told


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    run(main)
