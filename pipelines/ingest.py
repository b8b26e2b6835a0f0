"""Read data sets and evaluations into raw.prompts, raw.completions and raw.eval_instances, with their licences and origins.

Run as: spark-submit pipelines/ingest.py --source NAME [--source NAME …] [--registry FILE] [--input PATH …]
    or: python -m pipelines.ingest …

What cannot be read goes to raw.rejects with file, line and reason. The row of raw.sources comes last: where it is, the source's
revision is complete. Reading the same revision in the same way again changes nothing.
"""

import errno
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

import warehouse
from pipelines import files, hub, registry, transform
from pipelines.ingest_options import chosen, parser
from pipelines.readers import open_raw
from pipelines.registry import Registry, Source
from pipelines.transform import Part, Summary, Task
from warehouse import contracts, refs
from warehouse.commit import Job, commit, commit_arrow, staged
from warehouse.errors import CaravanError, run
from warehouse.read import arrow
from warehouse.show import console

TABLES = {  # table -> partition column
    "raw.prompts": "source",
    "raw.completions": "source",
    "raw.eval_instances": "eval_set",
    "raw.rejects": "source",
}
LOUD = 0.01  # share of unreadable records above which the summary warns
SMALLEST, LARGEST = 4 << 20, 64 << 20  # bytes that a task reads


@dataclass
class Result:
    """What became of a source. `summary` is None where its revision was there already."""

    source: Source
    revision: str
    summary: Summary | None = None

    @property
    def rows(self) -> int:
        """Records that were read into prompts or instances."""
        return self.summary.records - self.rejects if self.summary else 0

    @property
    def rejects(self) -> int:
        return self.summary.counts["raw.rejects"] if self.summary else 0


@dataclass
class Prepared:
    """A source that was looked up: where its records are and which revision that is."""

    source: Source
    revision: str
    files: dict[str, str]  # file -> name in the tables
    pairs: dict[str, str]  # file -> file that answers it


def ingest(
    spark: SparkSession, w: warehouse.Warehouse, sources: Sequence[str | Source], known: Registry | None = None
) -> list[Result]:
    """Ingest sources (names of the registry `known`, or declared ones) in one Spark job and a commit a table.

    Raises CaravanError, with nothing committed, for a source that is unknown, excluded, not found, empty, or of which no
    record can be read.
    """
    known = known or registry.load()
    declared = [known.get(s) if isinstance(s, str) else s for s in sources]
    prepared = _prepare(spark, {s.name: s for s in declared}.values())
    rows = {p.source.name: _source_row(p, known) for p in prepared}
    there = _complete(w)
    changed = [p for p in prepared if not _same(there.get(p.source.name), rows[p.source.name])]
    results = [Result(p.source, p.revision) for p in prepared]
    if not changed:
        return results
    with ExitStack() as stack:
        folders = {table: stack.enter_context(staged(w, table)) for table in TABLES}
        summaries = _read(spark, w, changed, known, folders)
        for result in results:
            if summary := summaries.get(result.source.name):
                result.summary = summary
                _check(result)
                rows[result.source.name] |= {"rows": result.rows, "rejects": result.rejects}
        _commit(w, summaries, rows, set(there))
    return results


def _prepare(spark: SparkSession, sources: Iterable[Source]) -> list[Prepared]:
    """Look all sources up: a hub's commit, or files and the hash of their bytes."""
    prepared = []
    for source in sources:
        if source.hub and not source.input and not hub.is_local(source):
            prepared.append(Prepared(source, hub.commit_of(source), {}, {}))
            continue
        found = sorted({f for pattern in source.input or (source.hub or "",) for f in files.expand(pattern)})
        answers = files.expand(source.pair) if source.pair else []
        if answers and len(answers) != len(found):
            raise CaravanError(
                f"The source '{source.name}' has {len(found)} files and {len(answers)} files that answer them "
                f"({source.pair}); there must be one for each."
            )
        prepared.append(Prepared(source, "", files.relative(found), dict(zip(found, answers, strict=False))))
    every = sorted({file for p in prepared for file in (*p.files, *p.pairs.values())})
    digests = dict(zip(every, _spread(spark, every)(_digest, every), strict=True))
    for p in prepared:
        if p.files:
            parts = sorted(
                "\x1f".join((n, digests[f], digests.get(p.pairs.get(f, ""), ""))) for f, n in p.files.items()
            )
            p.revision = "sha256:" + hashlib.sha256("\x1e".join(parts).encode()).hexdigest()
    return prepared


def _spread(spark: SparkSession, read: Iterable[str]) -> Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]:
    """A `map` for functions that read these files and return little: over the cluster where that is worth a Spark job."""
    context = spark.sparkContext
    if sum(files.size(file) for file in read) < LARGEST:
        return map

    def each(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        listed = list(items)
        slices = max(1, min(len(listed), 8 * context.defaultParallelism))
        return context.parallelize(listed, slices).map(function).collect()

    return each


def _digest(file: str) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open_raw(file) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _source_row(prepared: Prepared, known: Registry) -> dict[str, Any]:
    source = prepared.source
    return {
        "source": source.name,
        "kind": source.kind,
        "location": source.location,
        "revision": prepared.revision,
        "adapter": source.how,
        "filter": source.filter,
        "licence": known.licence(source),
        "skill": source.skill,
        "parents": list(source.parents),
        "models": list(source.models),
        "consent": source.consent,
        "suite": source.suite,
    }


def _complete(w: warehouse.Warehouse) -> dict[str, dict[str, Any]]:
    """The rows of raw.sources by source."""
    return {row["source"]: row for row in arrow(w, refs.resolve(w, "raw.sources")).to_pylist()}


def _same(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    """Whether a source is there in this revision, read in this way; where its files lie does not matter."""
    return old is not None and all(old[key] == value for key, value in new.items() if key != "location")


def _read(
    spark: SparkSession,
    w: warehouse.Warehouse,
    changed: Sequence[Prepared],
    known: Registry,
    folders: Mapping[str, str],
) -> dict[str, Summary]:
    """Run the tasks of all sources as one Spark job; only summaries come back to the driver."""
    schemas = {table: contracts.load(table).arrow_schema() for table in TABLES}
    sizes = {f: files.size(f) for p in changed for f in p.files}
    share = sum(sizes.values()) // (4 * spark.sparkContext.defaultParallelism)
    task_bytes = min(max(share, SMALLEST), LARGEST)
    tasks: list[Task] = []
    for p in changed:
        licences = known.licences(p.source)
        for parts in _packed(_parts(spark, p, task_bytes), sizes, task_bytes):
            tasks.append(
                Task(
                    len(tasks),
                    p.source,
                    p.revision,
                    parts,
                    licences,
                    tuple(known.terms.items()),
                    folders,
                    schemas,
                    dict(w.io.properties),
                )
            )
    summaries = {p.source.name: Summary(p.source.name, models=_without_terms(p.source, known)) for p in changed}
    if tasks:
        for summary in spark.sparkContext.parallelize(tasks, len(tasks)).map(transform.run).collect():
            summaries[summary.source].add(summary)
    return summaries


def _without_terms(source: Source, known: Registry) -> set[str]:
    """The models of a source that no pattern of [terms] knows."""
    return {model for model in source.models if registry.terms_of(model, known.terms) is None}


def _parts(spark: SparkSession, prepared: Prepared, split_bytes: int) -> list[Part]:
    source = prepared.source
    if not prepared.files or (source.hub and not source.input):
        return [Part(shard, shard.file) for shard in hub.shards(source, prepared.revision)]
    if source.pair or source.group:  # records that belong together must not be cut apart
        split_bytes = sys.maxsize
    splits = files.plan(prepared.files, source.format, split_bytes, source.columns, _spread(spark, prepared.files))
    return [Part(split, prepared.files[split.file], _answers(prepared, split)) for split in splits]


def _answers(prepared: Prepared, split: files.Split) -> files.Split | None:
    file = prepared.pairs.get(split.file)
    return files.plan([file], prepared.source.format, sys.maxsize)[0] if file else None


def _packed(parts: Sequence[Part], sizes: dict[str, int], task_bytes: int) -> list[tuple[Part, ...]]:
    """Parts in groups of about as many bytes as a task should read."""
    groups: list[list[Part]] = []
    weight = task_bytes
    for part in parts:
        split = part.split
        whole = task_bytes if isinstance(split, hub.Shard) else sizes[split.file]
        size = (
            split.end - split.start
            if isinstance(split, files.Split) and split.format in files.LINES and split.end > 0
            else whole
        )
        if weight + size > task_bytes:
            groups.append([])
            weight = 0
        groups[-1].append(part)
        weight += size
    return [tuple(group) for group in groups]


def _check(result: Result) -> None:
    """CaravanError for a source that yields nothing, naming the commonest reason, or of which a named column is nowhere."""
    summary, name = result.summary, result.source.name
    assert summary is not None
    if summary.disk_full:
        raise OSError(errno.ENOSPC, summary.failure)
    if summary.failure:
        raise CaravanError(f"The source '{name}': {summary.failure} Nothing was committed.")
    columns = f"The columns are: {', '.join(summary.columns)[:500]}."
    if not summary.records and summary.left_out:
        raise CaravanError(
            f"The filter of the source '{name}' ({result.source.filter}) takes none of its {summary.left_out:,} records. {columns}"
        )
    if not summary.records:
        raise CaravanError(f"The source '{name}' ({result.source.location}) is empty: there is no record in it.")
    if not result.rows:
        reason, count = summary.reasons.most_common(1)[0]
        file, row, example = summary.examples[0]
        raise CaravanError(
            f"No record of the source '{name}' could be read; nothing was committed. Of {summary.records:,} records {count:,} say: "
            f"{reason}. The first is {file}, line {row}: {example}. Check --adapter ({result.source.adapter or 'evaluation'}) and --field."
        )
    missing = sorted(transform.named_columns(result.source) - summary.found)
    if missing:
        raise CaravanError(
            f"No record of the source '{name}' has the column '{missing[0]}'. {columns} Correct --field or the registry."
        )


def _commit(
    w: warehouse.Warehouse, summaries: dict[str, Summary], rows: dict[str, dict[str, Any]], there: set[str]
) -> None:
    """Data first, raw.sources last. A source that is replaced loses its row of raw.sources for as long as its data change."""
    names = sorted(summaries)
    job = Job("pipelines.ingest", {"sources": names})
    if replaced := sorted(there & set(names)):
        commit(w, "raw.sources", [], job, replace={"source": replaced})
    for table, column in TABLES.items():
        written = [file for s in summaries.values() for file in s.files.get(table, [])]
        if written or _holds(w, table, names):
            commit(w, table, written, job, replace={column: names})
    schema = contracts.load("raw.sources").arrow_schema()
    commit_arrow(
        w, "raw.sources", pa.Table.from_pylist([rows[n] for n in names], schema), job, replace={"source": names}
    )


def _holds(w: warehouse.Warehouse, table: str, names: Sequence[str]) -> bool:
    """Whether the table has rows of any of these sources, from an earlier revision or an ingestion that was cut off."""
    loaded = w.load(table)
    head = loaded.current_snapshot() if loaded else None
    return (
        loaded is not None
        and head is not None
        and any(f.partition[0] in names for f in refs.data_files(loaded, head.snapshot_id))
    )


def report(results: Sequence[Result], console: Console) -> None:
    """Print what was read, and the first unreadable records."""
    table = Table("source", "rows", "prompts", "completions", "instances", "rejects", "left out", box=None)
    for r in results:
        if r.summary is None:
            table.add_row(r.source.name, "unchanged", *[""] * 5)
            continue
        counts = [r.summary.counts[t] for t in ("raw.prompts", "raw.completions", "raw.eval_instances", "raw.rejects")]
        cells = [f"{n:,}" if n else "" for n in (r.rows, *counts, r.summary.left_out)]
        table.add_row(r.source.name, *cells)
    console.print(table)
    for model in sorted({model for r in results if r.summary for model in r.summary.models}):
        console.print(f"no terms known for model {model}", markup=False, highlight=False)
    for r in results:
        for file, row, reason in r.summary.examples if r.summary else []:
            console.print(f"{r.source.name}: {file}, line {row}: {reason}", markup=False, highlight=False)
        if r.summary and r.rejects > LOUD * r.summary.records:
            share = f"{r.rejects:,} of {r.summary.records:,} records ({r.rejects / r.summary.records:.1%})"
            console.print(
                f"WARNING: {share} of {r.source.name} could not be read. See raw.rejects for each.", style="bold red"
            )


def main() -> None:
    arguments = parser().parse_args()
    known = registry.load(*arguments.registry)
    if arguments.list:
        _list(known, console)
        return
    sources, known = chosen(arguments, known)
    from warehouse.spark import session

    w = warehouse.open(arguments.warehouse)
    spark = session("ingest")
    try:
        with console.status(f"Reading {len(sources)} sources …"):
            results = ingest(spark, w, sources, known)
    finally:
        spark.stop()
    report(results, console)
    for r in results:
        console.print(f"read  {r.source.location} at {r.revision}", markup=False, highlight=False, soft_wrap=True)
    for name in [*TABLES, "raw.sources"]:
        console.print(
            f"{'wrote' if any(r.summary for r in results) else 'holds'} {refs.resolve(w, name)}",
            markup=False,
            highlight=False,
        )


def _list(known: Registry, console: Console) -> None:
    table = Table("source", "kind", "where", "adapter", "licence", "skill")
    for name in known.names():
        s = known.get(name)
        table.add_row(name, s.kind, s.location, s.adapter or "evaluation", known.licence(s), s.skill or "")
    for name, reason in known.excluded.items():
        table.add_row(name, "excluded", reason, "", "", "")
    console.print(table)


if __name__ == "__main__":
    run(main)
