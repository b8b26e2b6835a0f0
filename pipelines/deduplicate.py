"""Find equal and nearly equal prompts, within and across sources, and say which row of each cluster to keep.

Reads raw.prompts and replaces attr.duplicates in one commit. Rows are only marked: the SQL of a mixture decides what to drop.
`--against` marks rows of the training side alone: those that equal or nearly equal a row of the other side.

Run as: spark-submit pipelines/deduplicate.py [--train raw.prompts@latest] [--sources a,b] [--priority a,b]
        spark-submit pipelines/deduplicate.py --sources new --against raw.prompts --against-sources old
"""

import argparse
from collections.abc import Sequence

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

import warehouse
from pipelines import duplicates
from warehouse.commit import Job, commit, stage
from warehouse.errors import CaravanError, run
from warehouse.refs import Resolved, resolve
from warehouse.spark import read, session, write

TABLE = "attr.duplicates"
KINDS = ["exact", "near"]
ROWS_A_PART = 20_000  # prompts in one piece of a shuffle
EXAMPLES = """examples:
  every source, equal and nearly equal prompts; of a cluster the row of lima is kept before those of others:
    spark-submit pipelines/deduplicate.py --priority lima,oasst1
  only rows of the source new that the published release already has:
    spark-submit pipelines/deduplicate.py --sources new --against raw.prompts@v1

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
    w = warehouse.open(options.warehouse)
    train = resolve(w, options.train)
    other = resolve(w, options.against) if options.against else None
    inputs = [ref for ref in (train, other) if ref]
    print("reads", *inputs)
    spark = session("deduplicate", {"spark.sql.execution.arrow.maxRecordsPerBatch": "1000"})
    if not spark.sparkContext.getConf().contains("spark.sql.shuffle.partitions"):
        # What is kept between passes stays in as many pieces as it was shuffled into, and two hundred are too many for a small set.
        parts = max(spark.sparkContext.defaultParallelism, sum(ref.rows for ref in inputs) // ROWS_A_PART)
        spark.conf.set("spark.sql.shuffle.partitions", str(parts))
    rows = prompts(spark, train, options.sources)
    if other:
        others = prompts(spark, other, options.against_sources)
        found = duplicates.against(rows, others, options.threshold, options.priority)
    else:
        found = duplicates.within(rows, options.threshold, options.priority)
    files = write(found, stage(w, TABLE), partition="kind")
    told = {k: v for k, v in vars(options).items() if k != "warehouse" and v}
    snapshot = commit(w, TABLE, files, Job("pipelines.deduplicate", told, inputs), replace={"kind": KINDS})
    report(rows, read(spark, resolve(w, f"{TABLE}@{snapshot}")))
    print(f"wrote {TABLE}@{snapshot}")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deduplicate", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--train", default="raw.prompts", metavar="REF", help="prompts to look at (default: raw.prompts)"
    )
    parser.add_argument("--sources", type=_names, metavar="NAMES", help="only these sources of it (default: all)")
    parser.add_argument(
        "--against", metavar="REF", help="mark only rows of --train that a row of this reference equals"
    )
    parser.add_argument("--against-sources", type=_names, metavar="NAMES", help="only these sources of --against")
    parser.add_argument(
        "--priority",
        type=_names,
        default=[],
        metavar="NAMES",
        help="sources whose rows are kept first (default: alphabetical)",
    )
    parser.add_argument(
        "--threshold", type=float, default=0.8, help="least Jaccard similarity of near duplicates (default: 0.8)"
    )
    parser.add_argument("--warehouse", metavar="FOLDER", help="warehouse (default: $CARAVAN_WAREHOUSE, else ./lake)")
    return parser


def prompts(spark: SparkSession, ref: Resolved, sources: Sequence[str] | None) -> DataFrame:
    """The normalised prompts of a reference, kept on disk for the several passes over them."""
    rows = read(spark, ref)
    known = {row.source for row in rows.select("source").distinct().collect()}
    unknown = sorted(set(sources or []) - known)
    if unknown:
        raise CaravanError(
            f"{ref} holds no rows of {', '.join(unknown)}. Its sources: {', '.join(sorted(known)) or 'none'}."
        )
    if not known:
        raise CaravanError(f"{ref} is empty: ingest something first (python -m pipelines.ingest --help).")
    chosen = rows.where(F.col("source").isin(sources)) if sources else rows
    return duplicates.normalised(duplicates.user_turns(chosen)).persist(StorageLevel.DISK_ONLY)


def report(rows: DataFrame, found: DataFrame) -> None:
    """Print counts a source."""
    table = Table("source", *(("prompts", "exact: clusters", "exact: to drop", "near: clusters", "near: to drop")))
    counts = {row.source: row["count"] for row in rows.groupBy("source").count().collect()}
    kept, dropped = F.count_if("keeper"), F.count_if(~F.col("keeper"))
    by_kind = found.groupBy("source", "kind").agg(kept.alias("kept"), dropped.alias("dropped")).collect()
    of = {(row.source, row.kind): row for row in by_kind}
    for source, count in sorted(counts.items()):
        cells = [of.get((source, kind)) for kind in KINDS]
        table.add_row(
            source, f"{count:,}", *(f"{cell[c]:,}" if cell else "0" for cell in cells for c in ("kept", "dropped"))
        )
    Console().print(table)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    run(main)
