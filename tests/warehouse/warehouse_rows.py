"""Rows for the warehouse's tests, and what its child processes do."""

import contextlib
import os
import random
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import warehouse
from warehouse.catalogue import Warehouse
from warehouse.commit import Job, code_version, commit, commit_arrow, stage
from warehouse.errors import CaravanError
from warehouse.refs import resolve

JOB = Job("tests.warehouse", {"purpose": "test"})


def prompts(source: str, count: int, start: int = 0, revision: str = "r1", text: str = "hello") -> pa.Table:
    """`count` rows of raw.prompts from row `start` + 1, without its optional columns."""
    rows = range(start + 1, start + count + 1)
    return pa.table(
        {
            "prompt_id": [f"{row:032x}" for row in rows],
            "source": [source] * count,
            "revision": [revision] * count,
            "file": ["train.jsonl"] * count,
            "row": pa.array(rows, pa.int64()),
            "branch": pa.array([0] * count, pa.int32()),
            "messages": [[{"role": "user", "content": f"{text} {row}"}] for row in rows],
            "licence": ["MIT"] * count,
        }
    )


def contents(w: Warehouse, reference: str) -> list[tuple[str, int, str]]:
    """(source, row, text of the first message) of every row at a reference, sorted."""
    resolved = resolve(w, reference)
    table = warehouse.read.arrow(w, resolved, columns=["source", "row", "messages"])
    return sorted((r["source"], r["row"], r["messages"][0]["content"]) for r in table.to_pylist())


def append_many(root: str, worker: int, commits: int, alone: bool, uri: str) -> None:
    """Append three rows at a time; `alone`: as if on another machine, without taking turns with other processes."""
    if uri:
        os.environ["CARAVAN_CATALOGUE"] = uri
    if alone:
        Warehouse.turn = lambda self, name: contextlib.nullcontext()  # type: ignore[method-assign, assignment]
    w = warehouse.open(root)
    for number in range(commits):
        commit_arrow(w, "raw.prompts", prompts("ab"[worker % 2], 3, start=worker * 10_000 + number * 3), JOB)


def replace_for_ever(root: str, rows: int, seed: int, ready: Event, commits_before: int) -> None:
    """Stage, write and commit without end, `ready` after some commits: two sources are replaced, a third is appended to."""
    choice = random.Random(seed)
    w = warehouse.open(root)
    code_version()
    number = 0
    while True:
        if number == commits_before:
            ready.set()
        number += 1
        source = choice.choice("abc")
        start = (seed * 1000 + number) * 10 if source == "c" else 0
        count = 10 if source == "c" else rows
        directory = stage(w, "raw.prompts")
        path = Path(directory) / "part.parquet"
        pq.write_table(prompts(source, count, start, revision=f"{seed}-{number}"), path)
        commit(w, "raw.prompts", [str(path)], JOB, None if source == "c" else {"source": [source]})


def tag_once(root: str, tag: str, snapshot_id: int, outcome: str) -> None:
    """Try to set a tag and write what came of it."""
    w = warehouse.open(root)
    try:
        warehouse.tags.create(w, "raw.prompts", tag, snapshot_id)
        result = "set"
    except CaravanError as error:
        result = str(error)
    Path(outcome).write_text(result, encoding="utf-8")
