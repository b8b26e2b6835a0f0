"""Readers of one file format each, used through `pipelines.files.records`."""

import codecs
import csv
import gzip
import io
import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec
import zstandard

from warehouse.errors import CaravanError

CSV_RECORD_LIMIT = 256 << 20  # characters; a quoted field that goes on for longer was never closed
TEXT_KEPT = 1_000  # characters of an unreadable record that are shown
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # in JSON
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(slots=True)
class Record:
    """Record `row` of a file, counted from 1: its value, or the error that made it unreadable and its first 1,000 characters."""

    row: int
    value: dict[str, Any] | None
    error: str | None = None
    text: str | None = None


class ZstdStream(io.RawIOBase):
    """Zstandard frames one after the other, of any window size, skippable ones too; EOFError where the last one is cut short."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.decompressor: Any = None  # of the frame that is open
        self.waiting = b""
        self.output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.output:
            self.waiting = self.waiting or self.source.read(1 << 14)
            if not self.waiting:
                if self.decompressor is not None:
                    raise EOFError("the compressed data ends in the middle of a frame")
                return 0
            self._decompress()
        size = min(len(buffer), len(self.output))
        buffer[:size] = self.output[:size]
        self.output = self.output[size:]
        return size

    def _decompress(self) -> None:
        if self.decompressor is None:
            self.decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        try:
            self.output = memoryview(self.decompressor.decompress(self.waiting))
        except zstandard.ZstdError as error:
            raise OSError(f"not Zstandard ({error})") from error
        self.waiting = b""
        if self.decompressor.eof:
            self.waiting, self.decompressor = self.decompressor.unused_data, None

    def close(self) -> None:
        if not self.closed:
            self.source.close()
        super().close()


def open_raw(file: str) -> Any:
    """A file or URL, opened for reading the bytes as they lie there."""
    return fsspec.open(file, "rb").open() if "://" in file else open(file, "rb")


def open_binary(file: str) -> BinaryIO:
    """A file or URL, opened for reading bytes, decompressed by its extension (.gz, .zst)."""
    stream: Any = open_raw(file)
    if file.endswith(".gz"):
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    if file.endswith(".zst"):
        return io.BufferedReader(ZstdStream(stream), 1 << 20)
    return stream


def read_jsonl(file: str, start: int, end: int, row: int) -> Iterator[Record]:
    for number, line in _lines(file, start, end, row):
        yield _parse_json(number, line)


def read_text(file: str, start: int, end: int, row: int) -> Iterator[Record]:
    """Each line is a record with the one column `text`."""
    for number, line in _lines(file, start, end, row):
        text, error = _decode(line)
        yield bad(number, error, text) if error else Record(number, {"text": text})


def read_tsv(file: str, start: int, end: int, row: int, columns: tuple[str, ...] | None) -> Iterator[Record]:
    """Tab-separated values as IANA has them: a line is a record, quotes mean nothing. (Quoted fields: use the format csv.)"""
    names, header_row = columns, 0
    if names is None:
        header = next(_lines(file, 0, -1, 1), None)
        if header is None:
            return
        header_row = header[0]
        names = tuple(_header(file, header[1].decode("utf-8", "replace").split("\t")))
    for number, line in _lines(file, start, end, row):
        if number == header_row:
            continue
        text, error = _decode(line)
        fields = text.split("\t")
        if not error and len(fields) != len(names):
            error = _wrong_columns(fields, names)
        yield bad(number, error, text) if error else Record(number, dict(zip(names, fields, strict=True)))


def read_json(file: str) -> Iterator[Record]:
    """An array: its items. An object whose only list of objects is one array: the array's items. Any other object: one record.

    A file of JSON lines that is called .json is read as JSON lines.
    """
    with open_binary(file) as stream:
        data = stream.read()
    _check_encoding(file, data)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        if _is_json_lines(data):
            yield from read_jsonl(file, 0, -1, 1)
            return
        line = data.count(b"\n", 0, error.start) + 1
        raise CaravanError(
            f"{file} is not UTF-8 (line {line}: {_byte(error)}). Convert it, for example with iconv -t UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        if _is_json_lines(data):
            yield from read_jsonl(file, 0, -1, 1)
            return
        raise CaravanError(
            f"{file} is not valid JSON: {error}. Nothing of it can be read; if each line is an object of its own, name the format jsonl."
        ) from error
    check = SURROGATE.search(data) is not None
    for number, item in enumerate(_items(value), 1):
        yield _json_record(number, item, check)


def read_csv(file: str, columns: tuple[str, ...] | None) -> Iterator[Record]:
    """Comma, semicolon or tab (whichever the first line has most of), double quotes; a record may span lines.

    The row number is the line that the record starts on. When a quote that is never closed swallows the lines after it, only
    the line it is on is lost.
    """
    csv.field_size_limit(sys.maxsize)
    with open_binary(file) as stream:
        _check_encoding(file, stream.read(4))
    with open_binary(file) as stream:
        # lines end with a line feed only, so that they are numbered as editors number them
        source = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="\n")
        lines = _CsvLines(source)
        names = columns
        while (fields := lines.record()) is not None:
            if names is None and fields:
                names = tuple(_header(file, fields))
            elif fields and names:
                yield lines.checked(fields, names)


class _CsvLines:
    """Lines of a CSV file that can be put back, and the records that they hold."""

    def __init__(self, source: io.TextIOWrapper) -> None:
        self.source = source
        first = source.readline()
        self.delimiter = max(",;\t", key=first.count)
        self.waiting = deque([first] if first else [])
        self.taken: list[str] = []  # lines of the record at hand
        self.start = self.next = 1  # line numbers of the record at hand and of the next line

    def _feed(self) -> Iterator[str]:
        size = 0
        while size < CSV_RECORD_LIMIT and (line := self.waiting.popleft() if self.waiting else self.source.readline()):
            self.taken.append(line)
            self.next += 1
            size += len(line)
            yield line

    def record(self) -> list[str] | None:
        """Fields of the next record, none for an empty line; None at the end of the file."""
        self.taken = []
        self.start = self.next
        try:
            return next(csv.reader(self._feed(), delimiter=self.delimiter), None)
        except csv.Error:  # a carriage return outside quotes
            return [""]

    def checked(self, fields: list[str], names: tuple[str, ...]) -> Record:
        """The record at hand; one that spans lines and is not well formed gives back all of them but its first."""
        text = "".join(self.taken)
        error = _wrong_columns(fields, names) if len(fields) != len(names) else None
        if len(self.taken) > 1 and (error or not self._well_quoted()):
            error = "a quote is opened and not closed as CSV has it, or the number of columns is wrong"
            self.waiting.extendleft(reversed(self.taken[1:]))
            self.next = self.start + 1
            text = self.taken[0]
        if not _encodable(text):
            error = "not UTF-8"
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return bad(self.start, error, text) if error else Record(self.start, dict(zip(names, fields, strict=True)))

    def _well_quoted(self) -> bool:
        try:
            next(csv.reader(iter(self.taken), delimiter=self.delimiter, strict=True))
        except csv.Error:
            return False
        return True


def read_parquet(file: str, first_group: int, end_group: int, row: int) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_binary(file) as stream, pq.ParquetFile(stream) as parquet:
            groups = range(first_group, end_group)
            size = sum(parquet.metadata.row_group(i).total_byte_size for i in groups)
            rows = sum(parquet.metadata.row_group(i).num_rows for i in groups)
            # 50 MB rows exist: a batch is sized by bytes, not by rows
            batch_size = max(1, min(4_096, (32 << 20) * rows // max(size, 1)))
            for batch in parquet.iter_batches(batch_size, row_groups=list(groups)):
                for value in batch.to_pylist():
                    yield Record(row, value)
                    row += 1
    except pa.ArrowException as error:
        raise CaravanError(f"Cannot read {file} as Parquet: {error}.") from error


def bad(row: int, error: str, text: str) -> Record:
    return Record(row, None, error, text[:TEXT_KEPT])


def _lines(file: str, start: int, end: int, row: int) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, empty ones left out, whose first byte lies in [start, end) (end -1: to the end of the file)."""
    at = start
    if start == 0:
        with open_binary(file) as stream:
            _check_encoding(file, stream.read(4))
    with open_binary(file) as stream:
        if start > 0:
            stream.seek(start - 1)
            at += len(stream.readline()) - 1
        while (end < 0 or at < end) and (line := stream.readline()):
            text = (line if at else line.removeprefix(codecs.BOM_UTF8)).rstrip(b"\r\n")
            at += len(line)
            if text.strip():
                yield row, text
            row += 1


def _parse_json(row: int, line: bytes) -> Record:
    text, error = _decode(line)
    if error:
        return bad(row, error, text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as failure:
        return bad(row, f"not valid JSON: {failure}", text)
    return _json_record(row, value, SURROGATE.search(line) is not None, text)


def _json_record(row: int, value: Any, may_hold_surrogates: bool, text: str | None = None) -> Record:
    if not isinstance(value, dict):
        shown = json.dumps(value) if text is None else text
        return bad(row, f"a JSON object was expected, this is {_kind(value)}", shown)
    if may_hold_surrogates:
        shown = json.dumps(value, ensure_ascii=False)
        try:
            shown.encode()
        except UnicodeEncodeError:
            shown = json.dumps(value) if text is None else text
            return bad(row, "not Unicode: half of a surrogate pair stands alone (a character was cut in two)", shown)
    return Record(row, value)


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        arrays = [v for v in value.values() if isinstance(v, list) and v and all(isinstance(i, dict) for i in v)]
        # the turns of one conversation are not records
        if (
            len(arrays) == 1
            and not any(isinstance(v, dict) for v in value.values())
            and not {"role", "from"} & arrays[0][0].keys()
        ):
            return arrays[0]
    return [value]


def _is_json_lines(data: bytes) -> bool:
    """Whether the first line that is not empty is an object by itself and others follow."""
    first, _, rest = data.lstrip().partition(b"\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False


def _decode(line: bytes) -> tuple[str, str | None]:
    try:
        return line.decode("utf-8"), None
    except UnicodeDecodeError as error:
        return line.decode("utf-8", "replace"), f"not UTF-8: {_byte(error)}"


def _byte(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x} at position {error.start}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_encoding(file: str, head: bytes) -> None:
    if head.startswith(UTF16):
        raise CaravanError(f"{file} is UTF-16, not UTF-8. Convert it: iconv -f UTF-16 -t UTF-8.")


def _header(file: str, names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        double = sorted({n for n in names if names.count(n) > 1})
        raise CaravanError(
            f"The first line of {file} names columns twice: {', '.join(map(repr, double))}. "
            "Is it a header? If the file has none, name its columns (registry: columns = [...], command line: --columns a,b,c)."
        )
    if not all(map(_encodable, names)):
        raise CaravanError(f"The header of {file} is not UTF-8. Convert the file, for example with iconv -t UTF-8.")
    return names


def _wrong_columns(fields: list[str], names: tuple[str, ...]) -> str:
    return f"{len(fields)} columns where the header has {len(names)} ({', '.join(names)[:200]})"


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", type(None): "null", bool: "true or false"}.get(type(value), "a number")
