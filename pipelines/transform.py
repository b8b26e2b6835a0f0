"""One task of ingestion: splits of one source in, Parquet files of the raw tables and a summary out. Runs on executors."""

import errno
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import load_file_io

from pipelines import files, hub
from pipelines.adapters import Prompt, Unreadable, adapt
from pipelines.adapters.base import MISSING, lookup
from pipelines.adapters.clean import CLEAN
from pipelines.adapters.evaluation import instance
from pipelines.registry import Source, terms_of
from pipelines.shots import with_shots
from warehouse import licences
from warehouse.errors import CaravanError

FLUSH_BYTES = 16 << 20
EXAMPLES = 3  # unreadable records that a summary shows
MODELS = 20  # models without known terms that a summary names


@dataclass(frozen=True)
class Part:
    """A split, with the file's name in the tables and, for line-aligned files, the file that answers it."""

    split: files.Split | hub.Shard
    name: str
    pair: files.Split | None = None


@dataclass(frozen=True)
class Task:
    """What one task reads and where it writes; `licences` as Registry.licences returns them, `terms` the pairs of Registry.terms."""

    number: int
    source: Source
    revision: str
    parts: tuple[Part, ...]
    licences: Mapping[str, str]
    terms: tuple[tuple[str, str], ...]
    folders: Mapping[str, str]
    schemas: Mapping[str, pa.Schema]
    io: Mapping[str, str]


@dataclass
class Summary:
    """What became of the records of a task, or of a whole source."""

    source: str
    records: int = 0
    left_out: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # rows by table
    files: dict[str, list[str]] = field(default_factory=dict)  # Parquet files by table
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, int, str]] = field(default_factory=list)  # (file, row, reason)
    found: set[str] = field(default_factory=set)  # columns of the registry that some record has
    columns: list[str] = field(default_factory=list)  # of the first record
    models: set[str] = field(default_factory=set)  # without known terms
    failure: str | None = None
    disk_full: bool = False

    def add(self, other: "Summary") -> None:
        self.records += other.records
        self.left_out += other.left_out
        self.counts += other.counts
        self.reasons += other.reasons
        self.examples = sorted(self.examples + other.examples)[:EXAMPLES]
        self.found |= other.found
        self.columns = self.columns or other.columns
        self.models = set(sorted(self.models | other.models)[:MODELS])
        self.failure = self.failure or other.failure
        self.disk_full = self.disk_full or other.disk_full
        for table, written in other.files.items():
            self.files.setdefault(table, []).extend(written)


def run(task: Task) -> Summary:
    """Read the task's parts and write its rows. What a user can mend comes back as `failure`, so that Spark does not retry it."""
    summary = Summary(task.source.name)
    writers = {table: _Writer(task, table) for table in task.folders}
    wanted = named_columns(task.source)
    try:
        for part in task.parts:
            for record in _records(part, task.source):
                _take(task, part, record, wanted, summary, writers)
        for table, writer in writers.items():
            summary.files[table] = writer.close()
    except CaravanError as error:
        summary.failure = str(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        summary.disk_full, summary.failure = True, str(error)
    return summary


def named_columns(source: Source) -> set[str]:
    """The columns that a source names, each of which some record must have."""
    told = [*source.fields.values(), *source.match.values(), *source.where]
    told += [source.parts["column"]] if source.parts else []
    told += [c for c in (source.reference, source.subset) if c and not c.startswith("path:")]
    columns = [c for value in told for c in (value if isinstance(value, list) else [value])]
    return {c for c in columns if not c.startswith("$")}


def _take(
    task: Task, part: Part, record: files.Record, wanted: set[str], summary: Summary, writers: dict[str, "_Writer"]
) -> None:
    source = task.source
    lineage: dict[str, Any] = {"source": source.name, "revision": task.revision, "file": part.name, "row": record.row}
    try:
        if record.value is None:
            raise Unreadable(record.error or "unreadable")
        value = record.value
        summary.columns = summary.columns or list(value)
        summary.found |= {c for c in wanted - summary.found if lookup(_first(value), c) is not MISSING}
        if not all(source.takes(column, _shown(lookup(_first(value), column))) for column in source.where):
            summary.left_out += 1
            return
        if source.kind == "evaluation":
            rows: dict[str, list[dict[str, Any]]] = {"raw.eval_instances": [_instance_row(task, part, value, lineage)]}
        else:
            prompts = adapt(source.adapter or "", value, source.fields, source.constants, source.clean)
            lineage["licence"] = _licence(task, value)
            rows = {"raw.prompts": [], "raw.completions": []}
            for branch, prompt in enumerate(prompts):
                if source.shots:
                    prompt.messages = with_shots(prompt.messages, source.shots)
                writer = prompt.model if any(m["role"] == "assistant" for m in prompt.messages) else None
                row = _prompt_row(prompt, branch, lineage, source)
                row["licence"] = _bound(lineage["licence"], writer, task.terms)
                rows["raw.prompts"].append(row)
                rows["raw.completions"] += _completion_rows(prompt, branch, lineage, row["prompt_id"], task.terms)
                for model in (writer, *(c.model for c in prompt.completions)):
                    if model and len(summary.models) < MODELS and not _is_known(model, task.terms):
                        summary.models.add(model)
    except Unreadable as error:
        reason = str(error)
        rows = {"raw.rejects": [{**lineage, "reason": reason, "content": _content(record)}]}
        summary.reasons[re.sub(r"\d+", "N", reason)[:200]] += 1
        if len(summary.examples) < EXAMPLES:
            summary.examples.append((part.name, record.row, reason))
    summary.records += 1
    for table, new in rows.items():
        summary.counts[table] += len(new)
        writers[table].add(new)


def _prompt_row(prompt: Prompt, branch: int, lineage: dict[str, Any], source: Source) -> dict[str, Any]:
    return {
        **lineage,
        "prompt_id": prompt_id(prompt.messages),
        "branch": branch,
        "messages": prompt.messages,
        "skill": prompt.skill or source.skill,
        "language": prompt.language,
        "persona_id": prompt.persona_id,
        "constraints": prompt.constraints,
        "verifier": prompt.verifier,
        "ground_truth": prompt.ground_truth,
    }


def _completion_rows(
    prompt: Prompt, branch: int, lineage: dict[str, Any], of: str, terms: tuple[tuple[str, str], ...]
) -> list[dict[str, Any]]:
    return [
        {
            **lineage,
            "completion_id": _md5([of, c.model or "", str(sample), c.content], "\x1f"),
            "prompt_id": of,
            "branch": branch,
            "sample": sample,
            "content": c.content,
            "preference": c.preference,
            "score": c.score,
            "model": c.model,
            "licence": _bound(lineage["licence"], c.model, terms),
        }
        for sample, c in enumerate(prompt.completions)
    ]


@lru_cache(10_000)
def _bound(licence: str, model: str | None, terms: tuple[tuple[str, str], ...]) -> str:
    """The licence with the terms of the model that wrote the text."""
    return licences.combine([licence, *(terms_of(model or "", dict(terms)) or ())])


@lru_cache(10_000)
def _is_known(model: str, terms: tuple[tuple[str, str], ...]) -> bool:
    return terms_of(model, dict(terms)) is not None


def _instance_row(task: Task, part: Part, value: Mapping[str, Any], lineage: dict[str, Any]) -> dict[str, Any]:
    source = task.source
    by_path = (source.subset or "").startswith("path:")
    found = instance(value, source.match, source.reference, None if by_path else source.subset)
    if by_path and (hit := re.search(source.subset.removeprefix("path:"), part.split.file)):  # type: ignore[union-attr]
        found.subset = hit.group(1)
    for name in source.clean:
        found.fields = [(field_name, CLEAN[name](text)) for field_name, text in found.fields]
        found.reference = CLEAN[name](found.reference) if found.reference else found.reference
    texts = [text for _, text in found.fields]
    return {
        "instance_id": _md5([source.name, part.name, str(lineage["row"]), *texts], "\x1f"),
        "eval_set": source.name,
        "revision": task.revision,
        "file": part.name,
        "row": lineage["row"],
        "subset": found.subset,
        "suite": source.suite,
        "fields": [{"name": name, "text": text} for name, text in found.fields],
        "reference": found.reference,
        "record": found.record,
        "licence": task.licences[""],
    }


def prompt_id(messages: list[dict[str, str]]) -> str:
    """The 128-bit hash of messages that identifies a prompt, as 32 hexadecimal digits."""
    return _md5([f"{m['role']}\x1f{m['content']}" for m in messages], "\x1e")


def _md5(texts: list[str], separator: str) -> str:
    return hashlib.md5(separator.join(texts).encode(), usedforsecurity=False).hexdigest()


def _licence(task: Task, value: Mapping[str, Any]) -> str:
    """The row's licence: that of the part that it comes from, where the source has parts."""
    if task.source.parts:
        part = _shown(lookup(_first(value), task.source.parts["column"]))
        for pattern, licence in task.licences.items():
            if pattern and fnmatchcase(part, pattern):
                return licence
    return task.licences[""]


def _shown(value: Any) -> str:
    """A value as the patterns of `where` see it."""
    if value is MISSING or value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _first(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record itself, or the first of those that were gathered into it."""
    return value["records"][0] if list(value) == ["records"] else value


def _content(record: files.Record) -> str:
    text = record.text if record.text is not None else json.dumps(record.value, ensure_ascii=False, default=str)
    return text[:1_000]


def _records(part: Part, source: Source) -> Iterator[files.Record]:
    if isinstance(part.split, hub.Shard):
        found = hub.records(part.split)
    else:
        found = files.records(part.split)
        if part.pair:
            found = _paired(found, files.records(part.pair), part.split.file, part.pair.file)
    return _gathered(found, source.group) if source.group else found


def _paired(
    lines: Iterable[files.Record], answers: Iterable[files.Record], file: str, other: str
) -> Iterator[files.Record]:
    """Lines of two line-aligned files; a line without its partner is an error."""
    waiting = iter(answers)
    answer = next(waiting, None)
    for line in lines:
        while answer and answer.row < line.row:
            yield files.Record(
                answer.row, None, f"line {answer.row} of {file.rsplit('/', 1)[-1]} is empty", _text(answer)
            )
            answer = next(waiting, None)
        if answer is None or answer.row > line.row:
            yield files.Record(
                line.row, None, f"line {line.row} of {other.rsplit('/', 1)[-1]} is empty or missing", _text(line)
            )
            continue
        error = line.error or answer.error
        both = {**line.value, "pair": answer.value["text"]} if line.value and answer.value else None
        yield files.Record(line.row, both, error, None if both else _text(line))
        answer = next(waiting, None)
    while answer:
        yield files.Record(
            answer.row, None, f"line {answer.row} of {file.rsplit('/', 1)[-1]} is empty or missing", _text(answer)
        )
        answer = next(waiting, None)


def _text(record: files.Record) -> str:
    return record.value["text"][:1_000] if record.value else record.text or ""


def _gathered(found: Iterable[files.Record], column: str) -> Iterator[files.Record]:
    """Neighbouring records with the same value of a column as one, `{"records": [...]}`, with the row of the first."""
    group: list[dict[str, Any]] = []
    row = 0
    for record in found:
        if record.value is None or column not in record.value:
            error = (
                record.error
                or f"no column '{column}' to gather by; the columns are: {', '.join(record.value or {})[:300]}"
            )
            yield files.Record(record.row, None, error, record.text or _content(record))
            continue
        if group and record.value[column] != group[0][column]:
            yield files.Record(row, {"records": group})
            group = []
        row = row if group else record.row
        group.append(record.value)
    if group:
        yield files.Record(row, {"records": group})


class _Writer:
    """Rows of one table, written to one Parquet file as they come."""

    def __init__(self, task: Task, table: str) -> None:
        self.schema = task.schemas[table]
        self.path = f"{task.folders[table]}/{task.source.name}-{task.number:05d}.parquet"
        self.io = dict(task.io)
        self.rows: list[dict[str, Any]] = []
        self.size = 0
        self.writer: pq.ParquetWriter | None = None
        self.stream: Any = None

    def add(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        for row in rows:
            self.size += 500 + len(row.get("content") or row.get("record") or "")
            self.size += sum(len(m["content"]) for m in row.get("messages", ()))
        if self.size > FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self.rows:
            return
        if self.writer is None:
            self.stream = load_file_io(self.io, self.path).new_output(self.path).create(overwrite=True)
            self.writer = pq.ParquetWriter(self.stream, self.schema, compression="zstd")
        self.writer.write_table(pa.Table.from_pylist(self.rows, self.schema))
        self.rows, self.size = [], 0

    def close(self) -> list[str]:
        """The file written, none where there were no rows."""
        self._flush()
        if self.writer is None:
            return []
        self.writer.close()
        self.stream.close()
        return [self.path]
