"""The write-ahead journal: what was asked and what came back, on disk before anything else is done with it.

A journal is a folder of segments, files of JSON lines that are only ever appended to: {"asked": id} before a request is sent,
{"answered": id, "response": {…}} when its answer is there, {"given_up": id} when a run has ended its attempts without one. A line is in
the system's hands when the call returns, so `kill -9` loses none; `flush` and `flushed` bring it to the disk, many lines at a time.
Answers leave the journal when inference/record.py has committed them to the warehouse.
"""

import asyncio
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from inference.request import Response
from warehouse.errors import CaravanError

SEGMENT_BYTES = 64 << 20  # a segment that has grown to this is followed by another
GATHER = 0.003  # seconds in which lines gather for one flush of the disk
ASKED, ANSWERED, GIVEN_UP = b'{"asked":"', b'{"answered":"', b'{"given_up":"'
KINDS = ASKED, ANSWERED, GIVEN_UP


class Journal:
    """An open journal; one process at a time may hold it. Raises CaravanError where another does, or a segment is damaged."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        self._answered: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._file = -1
        self._size = 0
        self._closing = threading.Lock()
        self._flush: asyncio.Task[None] | None = None
        for path in self.segments():
            _mend(path)
            for line in lines(path):
                self._note(line)
        self._doubtful = frozenset(self._asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def answered(self, request_id: str) -> bool:
        return bytes.fromhex(request_id) in self._answered

    def asked(self, request_id: str) -> None:
        """Note that a request is about to be sent. Send it when `flushed` has returned."""
        self._write(b'%s%s"}\n' % (ASKED, request_id.encode()))
        self._asked.add(bytes.fromhex(request_id))

    def give_up(self, request_id: str) -> None:
        """Note that an asked request has nothing in flight any more and is not tried again."""
        self._write(b'%s%s"}\n' % (GIVEN_UP, request_id.encode()))
        self._asked.discard(bytes.fromhex(request_id))

    def add(self, response: Response) -> bool:
        """Keep an answer; False where the request has one already, which stays."""
        name = bytes.fromhex(response.request_id)
        if name in self._answered:
            return False
        self._write(_answered(response))
        self._answered.add(name)
        self._asked.discard(name)
        return True

    def in_doubt(self) -> set[str]:
        """Requests that were asked before this journal was opened, and neither answered nor given up: the run was killed over them."""
        return {name.hex() for name in self._doubtful & self._asked}

    def flush(self) -> None:
        """Bring all lines to the disk."""
        with self._closing:
            if self._file >= 0:
                os.fsync(self._file)

    async def flushed(self) -> None:
        """`flush`, shared by all that wait for it within a few milliseconds, off the event loop."""
        if self._flush is None:
            self._flush = asyncio.create_task(self._gathered())
        await asyncio.shield(self._flush)

    def responses(self) -> Iterator[Response]:
        """The answers in the segments as they are now, oldest first, read from the disk one by one."""
        for path in self.segments():
            yield from read(path)

    def seal(self) -> list[Path]:
        """End the segment that is being written; the segments that are complete now, oldest first."""
        with self._closing:
            self._end()
        return self.segments()

    def forget(self, segments: list[Path], keep: Iterable[Response] = ()) -> None:
        """Delete sealed segments, whose answers are safe elsewhere but for those to keep. What is in doubt stays noted."""
        for response in keep:
            self._write(_answered(response))
        for name in sorted(self._asked):
            self._write(b'%s%s"}\n' % (ASKED, name.hex().encode()))
        self.flush()
        for path in segments:
            path.unlink()

    def segments(self) -> list[Path]:
        """All segments, oldest first."""
        return sorted(self.folder.glob("[0-9]*.jsonl"))

    def close(self) -> None:
        with self._closing:
            self._end()
        os.ftruncate(self._lock, 0)  # nobody holds it
        os.close(self._lock)

    async def _gathered(self) -> None:
        await asyncio.sleep(GATHER)
        self._flush = None
        await asyncio.get_running_loop().run_in_executor(None, self.flush)

    def _note(self, line: bytes) -> None:
        kind = next(kind for kind in KINDS if line.startswith(kind))
        name = bytes.fromhex(line[len(kind) : len(kind) + 32].decode())
        if kind == ASKED:
            self._asked.add(name)
            return
        self._asked.discard(name)
        if kind == ANSWERED:
            self._answered.add(name)

    def _write(self, lines: bytes) -> None:
        if self._size >= SEGMENT_BYTES:
            with self._closing:
                self._end()
        if self._file < 0:
            self._begin()
        try:
            left = lines
            while left := left[os.write(self._file, left) :]:
                pass  # a disk that is nearly full takes a part
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise CaravanError(
                f"The journal {self.folder} cannot be written ({error.strerror}). What it holds is safe: make room and run the same "
                "command again."
            ) from error
        self._size += len(lines)

    def _begin(self) -> None:
        last = self.segments()[-1:]
        number = int(last[0].stem) + 1 if last else 1
        path = self.folder / f"{number:08d}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._size = 0
        _sync_folder(self.folder)

    def _end(self) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1
            self._size = 0


def _answered(response: Response) -> bytes:
    fields = json.dumps(response.to_json(), ensure_ascii=False, separators=(",", ":"))
    # A server's words may hold halves of surrogate pairs, which no file of UTF-8 can.
    return b'%s%s","response":%s}\n' % (ANSWERED, response.request_id.encode(), fields.encode(errors="replace"))


def read(segment: Path) -> Iterator[Response]:
    """The answers in a segment; a last line that was cut off is left out."""
    for line in lines(segment):
        if line.startswith(ANSWERED):
            yield Response.from_json(json.loads(line)["response"])


def lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a segment. Raises CaravanError for one that is none of ours."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            if not line.startswith(KINDS) or not line.endswith(b"}\n"):
                raise CaravanError(
                    f"{path}, line {number}: this is no line of a journal; the file was changed or damaged. Move it out of the folder to "
                    "go on without its answers."
                )
            yield line


def _mend(path: Path) -> None:
    """Cut off a last line that was not written whole."""
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _locked(folder: Path) -> int:
    """The lock file, held until it is closed or the process ends."""
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 20).decode().strip()
        os.close(file)
        raise CaravanError(
            f"The journal {folder} is in use by process {holder or 'unknown'}. Wait until that has ended, or give this run a journal of "
            "its own."
        ) from None
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode())
    return file


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
