"""Files that people have, read record by record on any machine of a cluster.

A path, a glob, a folder or a URL becomes a list of files (`expand`), the files become splits that tasks read on their own
(`plan`), and a split becomes records with their exact row numbers (`records`). A record that cannot be read is a record with
an error: good rows are never lost to a bad neighbour.
"""

import glob
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import fsspec

from pipelines.readers import Record, open_binary, read_csv, read_json, read_jsonl, read_parquet, read_text, read_tsv
from warehouse.errors import CaravanError

__all__ = ["FORMATS", "Record", "Split", "expand", "format_of", "plan", "records", "relative"]

FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "text")
EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
}
COMPRESSED = (".gz", ".zst")
LINES = ("jsonl", "tsv", "text")  # a record is a line, so a file can be cut anywhere


@dataclass(frozen=True)
class Split:
    """A part of a file that one task reads.

    `start` and `end` are bytes of an uncompressed line file (a line belongs to the split that its first byte is in), row
    groups of a Parquet file, and 0 and -1 where the file is read whole. `first_row` is the number, from 1, of the first
    record that starts in the split. `columns` names the columns of a CSV or TSV file that has no header line.
    """

    file: str
    format: str
    start: int
    end: int
    first_row: int
    columns: tuple[str, ...] | None = None


def expand(pattern: str) -> list[str]:
    """The sorted, absolute files of a path, a glob (`**` descends), a folder (its data files, at any depth) or a URL of any fsspec file system.

    Raises CaravanError when nothing is found.
    """
    found = _expand_url(pattern) if "://" in pattern else _expand_local(pattern)
    if not found:
        raise CaravanError(
            f"No file at '{pattern}' (looked in {os.getcwd()}). Give a file, a folder that holds {', '.join(EXTENSIONS)} files, "
            "a quoted glob such as 'data/*.jsonl', or a URL such as s3://bucket/folder/*.parquet."
        )
    return sorted(found)


def relative(files: Iterable[str]) -> dict[str, str]:
    """A name for each file that does not depend on where the data lies: its path below the deepest folder common to all."""
    parts = {f: [p for p in f.split("/") if p] for f in files}
    folders = [p[:-1] for p in parts.values()]
    common = 0
    while all(len(p) > common for p in folders) and len({p[common] for p in folders}) == 1:
        common += 1
    return {f: "/".join(p[common:]) for f, p in parts.items()}


def format_of(file: str) -> str:
    """The format that a file's name tells; CaravanError for a name that tells none."""
    name = file.split("?", 1)[0] if "://" in file else file
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    format_ = EXTENSIONS.get(os.path.splitext(name)[1].lower())
    if format_ is None:
        raise CaravanError(
            f"The name of '{file}' does not tell its format. Name the format: one of {', '.join(FORMATS)}."
        )
    return format_


def plan(
    files: Iterable[str],
    format: str | None = None,
    split_bytes: int = 64 << 20,
    columns: tuple[str, ...] | None = None,
    each: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map,
) -> list[Split]:
    """Splits of about `split_bytes` bytes for `files`, with exact row numbers.

    Line files larger than a split are read once to count their lines, and Parquet footers are read; `each` says how these
    many small jobs run (`map` here, or a function that spreads them over a cluster), and keeps order.
    Raises CaravanError for an unknown format, an unreadable Parquet footer or a file that does not exist.
    """
    if format is not None and format not in FORMATS:
        raise CaravanError(
            f"Unknown format '{format}'. Known: {', '.join(FORMATS)} (each but parquet also .gz or .zst)."
        )
    pieces: list[tuple[str, str, int, int]] = []
    for file in files:
        kind = format or format_of(file)
        if kind in LINES and not file.endswith(COMPRESSED):
            length = size(file)
            pieces += [(file, kind, at, min(at + split_bytes, length)) for at in range(0, length, split_bytes)]
        else:
            pieces.append((file, kind, 0, split_bytes if kind == "parquet" else -1))
    # rows of a piece are needed only for what follows it in its file
    counted = [p for p, after in pairwise(pieces) if after[0] == p[0]]
    footers = [p for p in pieces if p[1] == "parquet"]
    measured = dict(zip(counted + footers, each(_measure, counted + footers), strict=True))
    splits: list[Split] = []
    lines = 0
    for piece in pieces:
        file, kind, start, end = piece
        if kind == "parquet":
            splits += [Split(file, kind, first, last, row) for first, last, row in measured[piece]]
            continue
        if start <= 0:
            lines = 0
        splits.append(Split(file, kind, start, end, lines + (2 if start > 0 else 1), columns))
        lines += measured.get(piece, 0)
    return splits


def records(split: Split) -> Iterator[Record]:
    """The records of a split in order. Never raises for a bad record: yields it with its error and the start of its text.

    Empty lines count as rows and are not records. Raises CaravanError, naming the file, for a file that is unreadable as a
    whole (broken compression or Parquet, broken JSON array, UTF-16, no such file).
    """
    try:
        if split.format == "parquet":
            yield from read_parquet(split.file, split.start, split.end, split.first_row)
        elif split.format == "csv":
            yield from read_csv(split.file, split.columns)
        elif split.format == "json":
            yield from read_json(split.file)
        elif split.format == "tsv":
            yield from read_tsv(split.file, split.start, split.end, split.first_row, split.columns)
        else:
            read = read_jsonl if split.format == "jsonl" else read_text
            yield from read(split.file, split.start, split.end, split.first_row)
    except (OSError, EOFError, zlib.error) as error:
        raise CaravanError(
            f"Cannot read {split.file}: {error}. The file is damaged, incomplete or not what its name says."
        ) from error


def _expand_local(pattern: str) -> list[str]:
    if os.path.isdir(pattern):
        folder = os.path.abspath(pattern)
        found = glob.glob(os.path.join(glob.escape(folder), "**"), recursive=True)
        return [f for f in found if _is_data(f, folder) and os.path.isfile(f)]
    if os.path.exists(pattern):
        return [os.path.abspath(pattern)]
    return [os.path.abspath(f) for f in glob.glob(pattern, recursive=True) if os.path.isfile(f)]


def _expand_url(url: str) -> list[str]:
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # no driver for this protocol, or a protocol that does not exist
        raise CaravanError(
            f"Cannot open {url}: {error}. Drivers are Python packages, for example s3fs, gcsfs, adlfs, fsspec[http]."
        ) from error
    if url.startswith(("http://", "https://")):
        return [url] if fs.exists(url) else []
    if fs.isdir(path):
        return [fs.unstrip_protocol(f) for f in fs.find(path) if _is_data(f, path)]
    return [fs.unstrip_protocol(f) for f in fs.glob(path) if fs.isfile(f)]


def _is_data(file: str, folder: str) -> bool:
    """Whether a file found in a folder is data: a known extension, and no part of its path hidden or a marker of Spark's."""
    below = file[len(folder) :].strip("/")
    if any(part.startswith((".", "_")) for part in below.split("/")):
        return False
    for suffix in COMPRESSED:
        below = below.removesuffix(suffix)
    return os.path.splitext(below)[1].lower() in EXTENSIONS


def size(file: str) -> int:
    """Bytes of a file as it lies there."""
    try:
        if "://" not in file:
            return os.path.getsize(file)
        fs, path = fsspec.core.url_to_fs(file)
        length = fs.size(path)
    except OSError as error:
        raise CaravanError(f"Cannot read {file}: {error}.") from error
    if length is None:
        raise CaravanError(
            f"Cannot read {file}: its server does not say how long it is. Download it and give the file's path instead."
        )
    return int(length)


def _measure(piece: tuple[str, str, int, int]) -> Any:
    """Line breaks of a byte range, or the splits of a Parquet file."""
    file, kind, start, end = piece
    if kind == "parquet":
        return _row_groups(file, end)
    count = 0
    # the line that starts at byte s follows the break at s - 1, so a split's breaks are counted from one byte before it
    first, last = max(start - 1, 0), end - 1
    with open_binary(file) as stream:
        stream.seek(first)
        while first < last and (block := stream.read(min(1 << 22, last - first))):
            count += block.count(b"\n")
            first += len(block)
    return count


def _row_groups(file: str, split_bytes: int) -> list[tuple[int, int, int]]:
    """(first row group, row group after the last, first row) of each split of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_binary(file) as stream:
            meta = pq.ParquetFile(stream).metadata
    except (pa.ArrowInvalid, OSError) as error:
        raise CaravanError(f"Cannot read {file} as Parquet: {error}.") from error
    splits: list[tuple[int, int, int]] = []
    begin, size, row, next_row = 0, 0, 1, 1
    for i in range(meta.num_row_groups):
        group = meta.row_group(i)
        if i > begin and size + group.total_byte_size > split_bytes:
            splits.append((begin, i, row))
            begin, size, row = i, 0, next_row
        size += group.total_byte_size
        next_row += group.num_rows
    if meta.num_row_groups:
        splits.append((begin, meta.num_row_groups, row))
    return splits
