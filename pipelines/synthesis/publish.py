"""A generated source in the warehouse: its rows replaced table by table, its row of raw.sources first removed and last written."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import warehouse
from warehouse import contracts, licences
from warehouse.commit import Job, commit, commit_arrow, staged
from warehouse.errors import CaravanError
from warehouse.read import arrow
from warehouse.refs import resolve
from warehouse.spark import read, write

ADAPTER = "personas "  # what the column adapter of our sources begins with
ROWS_A_FILE = 500_000
SCHEMA_OF = {"training": "raw.prompts", "personas": "raw.personas"}  # the table that makes the source


def revision_of(told: Mapping[str, Any]) -> str:
    """A hash of all that decides which requests are made."""
    text = json.dumps(dict(told), sort_keys=True, ensure_ascii=False, default=str)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def known(w: warehouse.Warehouse, source: str) -> dict[str, Any] | None:
    """The source's row of raw.sources. Raises CaravanError for one that was not made by this job."""
    rows = [row for row in arrow(w, resolve(w, "raw.sources")).to_pylist() if row["source"] == source]
    if rows and not rows[0]["adapter"].startswith(ADAPTER):
        raise CaravanError(
            f"The source '{source}' was read from {rows[0]['location']}, and this would replace it. Give what is made another name: --source NAME."
        )
    return rows[0] if rows else None


def unchanged(w: warehouse.Warehouse, source: str, revision: str) -> bool:
    """Whether the source is there, made by the same command from the same inputs, and whole."""
    before = known(w, source)
    same = before is not None and before["revision"] == revision and before["filter"] is None
    if same:
        print(f"{source} is there already: nothing to do.")
    return same


def described(
    source: str, kind: str, revision: str, how: str, parents: Sequence[str], models: Iterable[str] = (), **more: Any
) -> dict[str, Any]:
    """A row of raw.sources, without licence, rows and rejects; `more` says more of it."""
    return {
        "source": source,
        "kind": kind,
        "location": "generated",
        "revision": revision,
        "adapter": f"{ADAPTER}{how}",
        "parents": list(parents),
        "models": sorted(models),
        "consent": "No users: written by models.",
        **more,
    }


def publish(
    spark: SparkSession,
    w: warehouse.Warehouse,
    job: Job,
    row: dict[str, Any],
    tables: Mapping[str, DataFrame],
) -> None:
    """Replace a source's rows of these tables; `row` is as `described`.

    The licence of the source is that of all its rows. Raises CaravanError where there is no row but rejects: nothing is changed then.
    """
    source, made = row["source"], SCHEMA_OF[row["kind"]]
    kept = {table: df.persist(StorageLevel.DISK_ONLY) for table, df in tables.items()}
    counts = {table: df.count() for table, df in kept.items()}
    if not counts[made]:
        why = kept["raw.rejects"].select("reason").first()
        raise CaravanError(
            f"None of the answers for '{source}' could be used; nothing was changed. The first: {why and why.reason}"
        )
    found = {
        r.licence
        for table, df in kept.items()
        if table != "raw.rejects"
        for r in df.select("licence").distinct().collect()
    }
    if known(w, source):
        commit(w, "raw.sources", [], job, replace={"source": [source]})
    for table, df in kept.items():
        if counts[table] or not _none(spark, w, table, source):
            with staged(w, table) as folder:
                files = write(df.coalesce(1 + counts[table] // ROWS_A_FILE), folder, partition="source")
                snapshot = commit(w, table, files, job, replace={"source": [source]})
            print(f"wrote {table}@{snapshot}: {source}, {counts[table]:,} rows")
        df.unpersist()
    whole = {**row, "licence": licences.combine(found), "rows": counts[made], "rejects": counts["raw.rejects"]}
    schema = contracts.load("raw.sources").arrow_schema()
    commit_arrow(w, "raw.sources", pa.Table.from_pylist([whole], schema), job, replace={"source": [source]})
    if counts["raw.rejects"]:
        print(f"{counts['raw.rejects']:,} could not be used: see raw.rejects, source {source}")


def _none(spark: SparkSession, w: warehouse.Warehouse, table: str, source: str) -> bool:
    return read(spark, resolve(w, table)).where(F.col("source") == source).isEmpty()
