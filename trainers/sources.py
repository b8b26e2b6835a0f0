"""What `--data` names: rows of the warehouse, plain files or a data set of the hub, in portions that worker processes read by themselves.

A row is a dictionary with `messages` and its identity: `source`, `file`, `row` (from 1) and, of the warehouse, `position`, `prompt_id`
and `completion_id`. A row that cannot be read has `error` in the place of `messages`.
"""

import csv
import glob
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

import warehouse
from trainers.templates import ROLES
from warehouse import contracts
from warehouse.catalogue import Warehouse
from warehouse.errors import CaravanError
from warehouse.read import dataset
from warehouse.refs import Resolved, resolve

ROWS_A_PORTION = 4_096
BYTES_A_PORTION = 8 << 20
LINES = (".jsonl", ".ndjson")
PACKED = (".gz", ".zst", ".bz2", ".xz")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?(:[\w.-]+)?")
Row = dict[str, Any]
SIDES = ("chosen", "rejected")
COLUMNS = (
    *("mixture", "position", "prompt_id", "completion_id", "source", "file", "row", "dataset", "messages", "prompt"),
    *SIDES,
    *(f"{side}_completion_id" for side in SIDES),
)


@dataclass(frozen=True)
class Rows:
    """Rows `start` to `stop` of a row group, whose first row is row `first` of its file."""

    fragment: ds.Fragment
    file: str
    first: int
    start: int
    stop: int
    where: tuple[str, str] | None = None  # a column and the value that it must have

    def read(self) -> Iterator[Row]:
        table = _row_group(self.fragment, self.where is not None).slice(self.start, self.stop - self.start)
        for i, row in enumerate(table.to_pylist(), self.first + self.start):
            if self.where is None:
                yield {**row, "file": self.file, "row": i}
            elif row[self.where[0]] == self.where[1]:
                yield row


@dataclass(frozen=True)
class Lines:
    """Lines of JSON from byte `start` to `stop`, the first of which is line `first`; a packed file is one portion."""

    path: str
    start: int
    stop: int | None
    first: int

    def read(self) -> Iterator[Row]:
        with fsspec.open(self.path, "rb", compression="infer") as stream:
            stream.seek(self.start)
            data = stream.read() if self.stop is None else stream.read(self.stop - self.start)
        for i, line in enumerate(data.split(b"\n"), self.first):
            if line.strip():
                yield {**_parsed(line), "file": os.path.basename(self.path), "row": i}


@dataclass(frozen=True)
class Whole:
    """A file that is read as one: a JSON array, or comma-separated values."""

    path: str

    def read(self) -> Iterator[Row]:
        csv.field_size_limit(sys.maxsize)
        # What is no UTF-8 costs the row that it is in: such a byte becomes half a character, which `conversation` refuses.
        how = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "", "compression": "infer"}
        with fsspec.open(self.path, "rt", **how) as stream:
            try:
                rows: Any = csv.DictReader(stream) if _plain(self.path).endswith(".csv") else json.load(stream)
            except ValueError as error:
                raise CaravanError(f"{self.path} is no JSON: {error}.") from error
            if isinstance(rows, dict):
                rows = [rows]
            for i, row in enumerate(rows, 1):
                found = row if isinstance(row, dict) else {"error": f"a record is an object, not {type(row).__name__}"}
                yield {**found, "file": os.path.basename(self.path), "row": i}


def _plain(path: str) -> str:
    """A path without the ending of a packed file."""
    return path.removesuffix(next((end for end in PACKED if path.endswith(end)), ""))


Portion = Rows | Lines | Whole


@dataclass(frozen=True)
class Data:
    """Rows in portions. `identity` says which rows these are, to the byte; `ordered` whether `position` gives their order.

    `table` and `mixture` are those of the warehouse, None of files.
    """

    name: str
    identity: str
    portions: tuple[Portion, ...]
    ordered: bool
    table: Resolved | None = None
    mixture: str | None = None


def find(data: Sequence[str], mixture: str | None = None, scratch: Path | None = None) -> Data:
    """The rows that `--data` names: `mixtures.sft@tag`, files or patterns of files, or `owner/name[@revision][:split]` of the hub.

    `scratch` is where rows of the hub are kept as Parquet. Raises CaravanError naming what there is where something is not there.
    """
    if len(data) == 1 and data[0].partition("@")[0] in contracts.names():
        return of_table(data[0], mixture)
    if mixture:
        raise CaravanError(
            "A mixture is chosen from a table of the warehouse, such as mixtures.sft@latest; files are all read."
        )
    if len(data) == 1 and HUB_ID.fullmatch(data[0]) and not glob.glob(data[0]):
        return of_hub(data[0], scratch or Path("."))
    return of_files(data)


def pinned(data: Sequence[str]) -> list[str]:
    """The same names, with a reference to a table resolved to its snapshot: what it means now, it means to all ranks."""
    if len(data) == 1 and data[0].partition("@")[0] in contracts.names():
        return [str(resolve(warehouse.open(create=False), data[0]))]
    return list(data)


def of_table(reference: str, mixture: str | None) -> Data:
    """Rows of one mixture of a table. Raises CaravanError where there are several and none is named, or no such one."""
    w = warehouse.open(create=False)
    resolved = snapshot(w, reference)
    chosen = mixture_of(w, resolved, mixture, "--set data.mixture=")
    portions = tuple(portion for portion in _row_groups(dataset(w, resolved), ("mixture", chosen)))
    return Data(f"{resolved} ({chosen})", f"{resolved}/{chosen}", portions, True, resolved, chosen)


def snapshot(w: Warehouse, reference: str, table: str | None = None) -> Resolved:
    """Resolve a reference and print it. Raises CaravanError where it is not there, or is not of the table that is wanted."""
    if table and reference.partition("@")[0] != table:
        raise CaravanError(f"{reference} is not {table}[@tag], which is what is read here.")
    found = resolve(w, reference)
    print("reads", found)
    return found


def mixture_of(w: Warehouse, resolved: Resolved, name: str | None, option: str) -> str:
    """The mixture of that name, or the only one. Raises CaravanError where there are several and none is named (by `option`), or no such
    one."""
    names: list[str] = sorted(pc.unique(dataset(w, resolved).to_table(columns=["mixture"])["mixture"]).to_pylist())
    if not names:
        raise CaravanError(f"{resolved} holds no rows. `python -m warehouse log {resolved.table}` lists its snapshots.")
    if name is None and len(names) > 1:
        raise CaravanError(
            f"{resolved} holds {len(names)} mixtures: {', '.join(names)}. Say which one: {option}{names[0]}."
        )
    if name is not None and name not in names:
        raise CaravanError(f"{resolved} holds no mixture {name!r}. It holds: {', '.join(names)}.")
    return name or names[0]


def of_files(patterns: Sequence[str]) -> Data:
    """Rows of JSON lines, JSON, CSV or Parquet. Raises CaravanError where a pattern matches no file, or a file is of another format."""
    paths: list[str] = []
    for pattern in patterns:
        matched = [pattern] if "://" in pattern else sorted(glob.glob(pattern, recursive=True))
        if not matched:
            raise CaravanError(f"No file is called {pattern}, and no table of the warehouse either.")
        paths += [path for path in matched if path not in paths]
    print("reads", *paths)
    portions: list[Portion] = []
    hashes = []
    for path in paths:
        plain = _plain(path)
        if plain.endswith(".parquet"):
            portions += _row_groups(ds.dataset(path, format="parquet"))
        elif plain.endswith(LINES):
            portions += [Lines(path, 0, None, 1)] if plain != path else _lines(path)
        elif plain.endswith((".json", ".csv")):
            portions.append(Whole(path))
        else:
            raise CaravanError(f"{path} is none of JSON lines (.jsonl), JSON, CSV and Parquet, going by its name.")
        with fsspec.open(path, "rb") as stream:
            hashes.append([os.path.basename(path), hashlib.file_digest(stream, "sha256").hexdigest()])
    return Data(" ".join(patterns), json.dumps(hashes), tuple(portions), ordered=False)


def of_hub(name: str, scratch: Path) -> Data:
    """Rows of a data set of the Hugging Face hub, or of a folder that `datasets` reads. Raises CaravanError where it cannot be had."""
    import datasets

    repository, split = [*name.split(":"), "train"][:2]
    hub, _, revision = repository.partition("@")
    try:
        loaded = datasets.load_dataset(hub, split=split, revision=revision or None)
    except Exception as error:
        said = str(error).strip().split("\n")[0][:300]
        raise CaravanError(
            f"{name} is no file here, and as a data set of the hub it could not be loaded: {type(error).__name__}: {said}."
        ) from error
    path = scratch / f"{hub.replace('/', '--')}-{loaded._fingerprint}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        loaded.to_parquet(part)
        part.rename(path)
    return of_files([str(path)])


def _row_groups(rows: ds.Dataset, where: tuple[str, str] | None = None) -> Iterator[Rows]:
    for fragment in rows.get_fragments():
        first = 1
        for group in fragment.split_by_row_group():
            (count,) = (each.num_rows for each in group.row_groups)
            for start in range(0, count, ROWS_A_PORTION):
                stop = min(start + ROWS_A_PORTION, count)
                yield Rows(group, os.path.basename(fragment.path), first, start, stop, where)
            first += count


def _row_group(fragment: ds.Fragment, of_table: bool) -> pa.Table:
    """The columns of a row group that are used. Portions of one row group come one after the other, so the last one is kept."""
    key = (fragment.path, tuple(each.id for each in fragment.row_groups))
    if key not in _KEPT:
        _KEPT.clear()
        there = fragment.physical_schema.names
        wanted = COLUMNS if of_table else tuple(name for name in COLUMNS if name not in ("mixture", "file", "row"))
        _KEPT[key] = fragment.to_table(columns=[name for name in wanted if name in there])
    return _KEPT[key]


_KEPT: dict[Any, pa.Table] = {}


def _lines(path: str) -> Iterator[Lines]:
    """Portions of a file of lines, cut after whole lines."""
    with fsspec.open(path, "rb") as stream:
        start, first = 0, 1
        while True:
            data = stream.read(BYTES_A_PORTION)
            if not data:
                return
            data += stream.readline()
            yield Lines(path, start, start + len(data), first)
            start, first = start + len(data), first + data.count(b"\n")


def _parsed(line: bytes) -> Row:
    try:
        value = json.loads(line)
    except ValueError as error:
        return {"error": f"no JSON: {error}"}
    return value if isinstance(value, dict) else {"error": f"a record is an object, not {type(value).__name__}"}


def conversation(row: Row) -> list[dict[str, str]]:
    """The messages of a row. Raises CaravanError saying what is wrong with them."""
    if row.get("error"):
        raise CaravanError(row["error"])
    return _messages(row, "messages")


def pair(row: Row) -> list[list[dict[str, str]]]:
    """The conversation of a row with its better and with its worse response, each of which ends with the assistant's turn that is judged.

    `chosen` and `rejected` are texts or lists of messages; where they do not begin with the prompt, `messages` or `prompt` (a list of
    messages or a text) does. Raises CaravanError saying what is wrong with them.
    """
    if row.get("error"):
        raise CaravanError(row["error"])
    prompt: list[dict[str, str]] = []
    if isinstance(row.get("prompt"), str):
        prompt = [{"role": "user", "content": row["prompt"]}]
    elif found := next((name for name in ("messages", "prompt") if row.get(name)), None):
        prompt = _messages(row, found)
    sides = []
    for side in SIDES:
        value = row.get(side)
        text = isinstance(value, str)
        said = _checked([{"role": "assistant", "content": value}]) if text else _messages(row, side)
        whole = said if said[0]["role"] != "assistant" else prompt + said
        if len(whole) < 2 or whole[-1]["role"] != "assistant" or whole[-2]["role"] == "assistant":
            raise CaravanError(f"{side} is no response: a prompt and one turn of the assistant after it are wanted")
        sides.append(whole)
    if sides[0][:-1] != sides[1][:-1]:
        raise CaravanError("chosen and rejected answer different conversations")
    return sides


def _messages(row: Row, name: str) -> list[dict[str, str]]:
    messages = row.get(name)
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except ValueError as error:
            raise CaravanError(f"the {name} are no JSON: {error}") from error
    if not isinstance(messages, list) or not messages:
        found = ", ".join(sorted(key for key in row if key not in ("file", "row"))) or "none"
        wanted = "messages" if name == "messages" else f"messages called {name}"
        raise CaravanError(f"there is no list of {wanted}, each with role and content. The fields there are: {found}")
    return _checked(messages)


def _checked(messages: list[Any]) -> list[dict[str, str]]:
    for message in messages:
        if (
            not isinstance(message, dict)
            or not isinstance(message.get("role"), str)
            or not isinstance(message.get("content"), str)
        ):
            raise CaravanError("a message has no role and content that are text")
        try:
            message["content"].encode()
        except UnicodeEncodeError as error:
            raise CaravanError(f"a message is no Unicode: half a character at its place {error.start + 1}") from error
        if message["role"] not in ROLES:
            raise CaravanError(f"a message has the role {message['role']!r}, which is none of {', '.join(ROLES)}")
    return messages
