"""What one task of the scan does: read splits, find pairs, hand over evidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.overlap.index import Index
from pipelines.overlap.scan import EXACT, INSTANCE_BEST, ROW_KEPT, TRAINING_SIDE, Found, State, scan, state
from pipelines.overlap.splits import Batch, TrainingSplit, batches, checked_texts
from pipelines.overlap.texts import Texts
from warehouse.errors import CaravanError

EXCERPT = 240  # characters
_TRAIN_SPAN = pa.list_(pa.struct([("turn", pa.int32()), ("start", pa.int32()), ("end", pa.int32())]))
_EVAL_SPAN = pa.list_(pa.struct([("field", pa.string()), ("start", pa.int32()), ("end", pa.int32())]))

# A line is a pair (record 'pair'), the pairs of an instance in a part of a training set ('count'), a part of a training set
# that was read ('part', pairs = its rows, textless = those without any text), a record that could not be read ('reject'), or what a user has to mend before the
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
        ("textless", pa.int64()),
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


def run(plan: Plan, numbers: Iterator[int]) -> Iterator[pa.RecordBatch]:
    """Scan the splits with these numbers."""
    progress = state(plan.index)
    current: str | None = None
    for number in numbers:
        rows = textless = 0
        rejects: list[dict[str, Any]] = []
        try:
            for batch in batches(plan.splits, number, plan.staging, rejects):
                if batch.train_set != current:
                    yield from _counts(current, progress)
                    current = batch.train_set
                rows += len(batch.column)
                read = checked_texts(plan.splits[number], batch)
                textless += int((np.diff(read.turn_start[read.row_turn]) == 0).sum())
                found = scan(plan.index, progress, *read, plan.max_pairs)
                if len(found.pairs):
                    yield _pairs(batch, read, found, plan)
        except CaravanError as error:
            yield _lines([{"record": "failure", "detail": str(error)}])
            return
        train_set = current or plan.splits[number].train_set
        yield _lines([{"record": "part", "train_set": train_set, "pairs": rows, "textless": textless}, *rejects])
    yield from _counts(current, progress)


def _lines(values: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(values, schema=SCHEMA)


def _pairs(batch: Batch, read: Texts, found: Found, plan: Plan) -> pa.RecordBatch:
    """The pairs of a batch of rows as evidence."""
    row, instance, matched, row_pairs, flags, ends = (np.ascontiguousarray(column) for column in found.pairs.T)
    totals = plan.index.instances.totals[instance]
    keys = plan.keys.take(pa.array(instance))
    train = batch.keys(row)
    values = {
        "record": pa.array(["pair"] * len(row)),
        "train_set": pa.array([batch.train_set] * len(row)),
        "train_file": train.file,
        "train_row": train.row,
        "train_branch": train.branch,
        "prompt_id": train.prompt_id,
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
        "textless": pa.nulls(len(row), pa.int64()),
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
