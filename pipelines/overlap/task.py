"""What one task of the scan does: read splits, find pairs, hand over evidence."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.files import records
from pipelines.overlap.index import Index
from pipelines.overlap.inputs import TrainingSplit
from pipelines.overlap.scan import EXACT, INSTANCE_BEST, ROW_KEPT, TRAINING_SIDE, Found, State, scan, state
from pipelines.overlap.texts import Texts, texts
from pipelines.readers import open_binary
from warehouse.errors import CaravanError

BATCH_ROWS = 1 << 16
RECORDS = 20_000  # of a text file held at a time
EXCERPT = 240  # characters
ROW = "__row__"  # column of a staged file: the row's number in the file that it came from
_TRAIN_SPAN = pa.list_(pa.struct([("turn", pa.int32()), ("start", pa.int32()), ("end", pa.int32())]))
_EVAL_SPAN = pa.list_(pa.struct([("field", pa.string()), ("start", pa.int32()), ("end", pa.int32())]))

# A line is a pair (record 'pair'), the pairs of an instance in a part of a training set ('count'), a part of a training set
# that was read ('part', pairs = its rows), a record that could not be read ('reject'), or what a user has to mend before the
# job can go on ('failure': as an exception, Spark would try it four times and wrap it).
SCHEMA = pa.schema(
    [
        ("record", pa.string()),
        ("train_set", pa.string()),
        ("train_file", pa.string()),
        ("train_row", pa.int64()),
        ("train_branch", pa.int32()),
        ("prompt_id", pa.string()),
        ("instance", pa.int32()),
        ("eval_set", pa.string()),
        ("eval_file", pa.string()),
        ("eval_row", pa.int64()),
        ("instance_id", pa.string()),
        ("matched_tokens", pa.int32()),
        ("total_tokens", pa.int32()),
        ("coverage", pa.float64()),
        ("kind", pa.string()),
        ("train_spans", _TRAIN_SPAN),
        ("eval_spans", _EVAL_SPAN),
        ("row_pairs", pa.int64()),
        ("row_kept", pa.bool_()),
        ("instance_best", pa.bool_()),
        ("pairs", pa.int64()),
        (
            "detail",
            pa.string(),
        ),  # how the matched turn begins; of a reject, reason and content as JSON; of a failure, what
    ]
)


@dataclass(frozen=True)
class Plan:
    """What every task gets by broadcast."""

    index: Index
    keys: pa.Table  # of the instances: eval_set, eval_file, eval_row, instance_id
    field_names: pa.Array  # of the instances' fields, one after the other
    splits: list[TrainingSplit]
    max_pairs: int
    staging: str | None  # where rows that are not Parquet are kept as Parquet, for the clean copy


class Batch(NamedTuple):
    """Rows of a training set: their text column and what identifies each."""

    column: pa.Array
    file: pa.Array
    row: pa.Array
    branch: pa.Array
    prompt_id: pa.Array


def run(plan: Plan, numbers: Iterator[int]) -> Iterator[pa.RecordBatch]:
    """Scan the splits with these numbers."""
    progress = state(plan.index)
    current: str | None = None
    for number in numbers:
        rows = 0
        rejects: list[dict[str, Any]] = []
        try:
            for train_set, batch in batches(plan.splits, number, plan.staging, rejects):
                if train_set != current:
                    yield from _counts(current, progress)
                    current = train_set
                rows += len(batch.row)
                read = texts(batch.column)
                if read is None:
                    raise CaravanError(
                        f"{plan.splits[number].split.file}: the column to check is {batch.column.type}. It must be text, a list of "
                        "texts, or a conversation (a list of messages with role and content). Name another with --train-field."
                    )
                found = scan(plan.index, progress, *read, plan.max_pairs)
                if len(found.pairs):
                    yield _pairs(train_set, batch, read, found, plan)
        except CaravanError as error:
            yield _lines([{"record": "failure", "detail": str(error)}])
            return
        yield _lines(
            [{"record": "part", "train_set": current or plan.splits[number].train_set, "pairs": rows}, *rejects]
        )
    yield from _counts(current, progress)


def _lines(values: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(values, schema=SCHEMA)


def batches(
    splits: Sequence[TrainingSplit], number: int, staging: str | None, rejects: list[dict[str, Any]]
) -> Iterator[tuple[str, Batch]]:
    """(training set, rows) of a split. Records that cannot be read are added to `rejects`.

    Rows that are not Parquet are also kept under `staging`, where it is given, for the clean copy.
    """
    part = splits[number]
    if part.in_warehouse:
        for batch in _parquet(part, ["source", "file", "row", "branch", "prompt_id", "messages"]):
            if len(batch):
                keys = (batch.column(name) for name in ("messages", "file", "row", "branch", "prompt_id"))
                yield batch.column("source")[0].as_py(), Batch(*keys)
    elif part.split.format == "parquet":
        row = part.split.first_row
        for batch in _parquet(part, [part.field]):
            yield part.train_set, _keyed(part, batch.column(0), np.arange(row, row + len(batch)))
            row += len(batch)
    else:
        yield from _text_batches(part, number, staging, rejects)


def _parquet(part: TrainingSplit, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_binary(part.split.file) as stream:
        groups = range(part.split.start, part.split.end)
        yield from pq.ParquetFile(stream).iter_batches(BATCH_ROWS, groups, columns, use_threads=False)


def _text_batches(
    part: TrainingSplit, number: int, staging: str | None, rejects: list[dict[str, Any]]
) -> Iterator[tuple[str, Batch]]:
    values: list[dict[str, Any]] = []
    rows: list[int] = []
    written = 0
    for record in records(part.split):
        if record.value is None:
            rejects.append(
                {
                    "record": "reject",
                    "train_set": part.train_set,
                    "train_file": part.name,
                    "train_row": record.row,
                    "detail": json.dumps({"reason": record.error, "content": record.text}),
                }
            )
            continue
        values.append(record.value)
        rows.append(record.row)
        if len(values) == RECORDS:
            yield _stage(part, staging and f"{staging}/{number:06d}-{written:04d}.parquet", values, rows)
            values, rows, written = [], [], written + 1
    if values:
        yield _stage(part, staging and f"{staging}/{number:06d}-{written:04d}.parquet", values, rows)


def _stage(part: TrainingSplit, path: str | None, values: list[dict[str, Any]], rows: list[int]) -> tuple[str, Batch]:
    names = list(dict.fromkeys(name for value in values for name in value))
    columns = {name: typed([value.get(name) for value in values]) for name in names}
    if path is not None:
        table = pa.table({**columns, ROW: pa.array(rows, pa.int64())})
        with fsspec.open(path, "wb") as stream:
            pq.write_table(table, stream, compression="zstd")
    return part.train_set, _keyed(part, columns.get(part.field, pa.nulls(len(rows))), np.array(rows, np.int64))


def typed(values: list[Any]) -> pa.Array:
    """Values as an Arrow array; values of different types, or of none that Parquet has, as JSON text."""
    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return as_json(values)
    return as_json(values) if _has_empty_struct(found.type) else found


def as_json(values: list[Any]) -> pa.Array:
    """Values as JSON text, texts as they are."""
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values], pa.string()
    )


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_empty_struct(kind.field(i).type) for i in range(kind.num_fields))
    return pa.types.is_list(kind) and _has_empty_struct(kind.value_type)


def _keyed(part: TrainingSplit, column: pa.Array, rows: np.ndarray) -> Batch:
    count = len(rows)
    file = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([part.name]))
    return Batch(column, file, pa.array(rows), pa.array(np.zeros(count, np.int32)), pa.nulls(count, pa.string()))


def _pairs(train_set: str, batch: Batch, read: Texts, found: Found, plan: Plan) -> pa.RecordBatch:
    """The pairs of a batch of rows as evidence."""
    row, instance, matched, row_pairs, flags, ends = (np.ascontiguousarray(column) for column in found.pairs.T)
    totals = plan.index.instances.totals[instance]
    keys = plan.keys.take(pa.array(instance))
    values = {
        "record": pa.array(["pair"] * len(row)),
        "train_set": pa.array([train_set] * len(row)),
        "train_file": batch.file.take(pa.array(row)).cast(pa.string()),
        "train_row": batch.row.take(pa.array(row)),
        "train_branch": batch.branch.take(pa.array(row)),
        "prompt_id": batch.prompt_id.take(pa.array(row)),
        "instance": instance,
        **{name: keys[name].combine_chunks() for name in keys.column_names},
        "matched_tokens": matched,
        "total_tokens": totals,
        "coverage": matched / totals,
        "kind": np.where(flags & EXACT, "exact", "ngram"),
        **_spans(plan, instance, found.spans, ends),
        "row_pairs": row_pairs,
        "row_kept": (flags & ROW_KEPT) != 0,
        "instance_best": (flags & INSTANCE_BEST) != 0,
        "pairs": pa.nulls(len(row), pa.int64()),
        "detail": _excerpts(read, row, found.spans, ends),
    }
    arrays = [pa.array(values[field.name]).cast(field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _excerpts(read: Texts, rows: np.ndarray, spans: np.ndarray, ends: np.ndarray) -> pa.Array:
    """How the first matched turn of each pair begins."""
    first = np.concatenate([[0], ends[:-1]])
    turns = read.row_turn[rows] + spans[first, 1]
    begins = [
        read.data[read.turn_start[t] : min(read.turn_start[t + 1], read.turn_start[t] + 4 * EXCERPT)] for t in turns
    ]
    return pa.array([begin.tobytes().decode("utf-8", "ignore")[:EXCERPT] for begin in begins], pa.string())


def _spans(plan: Plan, instance: np.ndarray, spans: np.ndarray, ends: np.ndarray) -> dict[str, pa.Array]:
    bounds = np.concatenate([[0], ends])
    owner = np.repeat(instance, np.diff(bounds))
    side, part, start, end = spans.T
    training = side == TRAINING_SIDE
    names = plan.field_names.take(pa.array(plan.index.instances.field[owner[~training]] + part[~training]))
    turns = pa.array(part[training].astype(np.int32))
    lists = {}
    for name, kind, chosen, label in (
        ("train_spans", _TRAIN_SPAN, training, turns),
        ("eval_spans", _EVAL_SPAN, ~training, names),
    ):
        offsets = np.concatenate([[0], np.cumsum(chosen)])[bounds].astype(np.int32)
        columns = [label, pa.array(start[chosen].astype(np.int32)), pa.array(end[chosen].astype(np.int32))]
        items = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
        lists[name] = pa.ListArray.from_arrays(pa.array(offsets), items)
    return lists


def _counts(train_set: str | None, progress: State) -> Iterator[pa.RecordBatch]:
    """The pairs of each instance since the last call."""
    instances = np.flatnonzero(progress.pairs)
    if train_set is not None and len(instances):
        columns = {field.name: pa.nulls(len(instances), field.type) for field in SCHEMA}
        columns["record"] = pa.array(["count"] * len(instances))
        columns["train_set"] = pa.array([train_set] * len(instances))
        columns["instance"] = pa.array(instances.astype(np.int32))
        columns["pairs"] = pa.array(progress.pairs[instances])
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=SCHEMA)
    progress.pairs[:] = 0
    progress.best[:] = 0
