"""Tokenised rows: made once by parallel processes, kept in a folder of Arrow files, mapped into memory by whoever trains.

The folder is named by a hash of everything that the tokens depend on: the snapshot (or the content of the files), tokenizer, template,
maximal length and what is done with longer rows. It is complete or not there; a build that was stopped goes on where it was. Each
example keeps where it came from, so a trained token can be followed back to its row:

    examples = data.tokens(find(["mixtures.sft@v1"]), chat, max_length=4096)
    examples[17].tokens, examples.origin(17)   # {"source": "gsm8k_train", "prompt_id": …, "position": 17, …}
"""

import fcntl
import hashlib
import json
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from trainers.chat import Chat, Encoded
from trainers.sources import SIDES, Data, Portion, Row, conversation, pair
from warehouse.errors import CaravanError
from warehouse.show import console

FORMAT = 4  # of the files; a change makes new folders
LONG = ("truncate", "drop", "split")
EXAMPLES_OF_PROBLEMS = 5  # that are printed; all are in a file beside the tokens
UNREADABLE = "unreadable.txt"
SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("piece", pa.int32()),
        ("prompt", pa.string()),
        ("prompt_id", pa.string()),
        ("completion_id", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("targets", pa.int64()),
        ("tokens", pa.list_(pa.uint32())),
        ("trained", pa.list_(pa.uint8())),
    ]
)
ORIGIN = [name for name in SCHEMA.names if name not in ("prompt", "targets", "tokens", "trained")]
# What is counted of each source, and how it is called in the report.
COUNTS = {
    "rows": "rows",
    "examples": "examples",
    "tokens": "tokens",
    "targets": "trained tokens",
    "truncated": "truncated rows",
    "cut": "tokens cut off",
    "cut_targets": "of these trained",
    "split": "split rows",
    "too_long": "dropped: too long",
    "untrained": "dropped: nothing to train",
    "unreadable": "unreadable",
    "control": "rows with control tokens in their text",
}


@dataclass(frozen=True)
class How:
    """What makes tokens of rows. `long` says what becomes of rows longer than `max_length` tokens: one of LONG. A row of `pairs` makes two
    examples, the better and the worse response, of which the last turn is trained."""

    chat: Chat
    max_length: int
    long: str = "truncate"
    pairs: bool = False


def cache() -> Path:
    """CARAVAN_CACHE or ~/.cache/caravan."""
    return Path(os.environ.get("CARAVAN_CACHE") or Path.home() / ".cache" / "caravan")


def folder_of(root: Path, data: Data, how: How) -> Path:
    parts = [FORMAT, data.identity, how.chat.version, how.chat.template.name, how.max_length, how.long, how.pairs]
    return root / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def tokens(
    data: Data, how: How, place: Path | None = None, workers: int | None = None, quiet: bool = False
) -> "Examples":
    """The examples of data; built if they are not there. Of several processes that ask at once one builds and the others wait.

    `place` is the folder for folders of tokens, by default in `cache()`. Raises CaravanError where no row leaves anything to train.
    """
    root = place or cache() / "tokens"
    folder = folder_of(root, data, how)
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(data, how, folder, workers or os.cpu_count() or 1, quiet)
    examples = Examples(folder)
    if not quiet:
        examples.report()
    return examples


def _build(data: Data, how: How, folder: Path, workers: int, quiet: bool) -> None:
    if how.long not in LONG:
        raise CaravanError(f"Rows that are too long are treated by one of {', '.join(LONG)}, not {how.long!r}.")
    building = folder.with_suffix(".building")
    building.mkdir(exist_ok=True)
    missing = [(i, portion) for i, portion in enumerate(data.portions) if not _part(building, i).exists()]
    columns = (
        TextColumn("tokenising"),
        MofNCompleteColumn(),
        TextColumn("portions"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet) as progress:
        task = progress.add_task("", total=len(data.portions), completed=len(data.portions) - len(missing))
        for _ in _in_parallel(missing, how, building, min(workers, len(missing))):
            progress.advance(task)
    counts: dict[str, Counter[str]] = {}
    problems: list[str] = []
    for i in range(len(data.portions)):
        with pa.memory_map(str(_part(building, i))) as stream:
            told = json.loads(pa.ipc.open_file(stream).schema.metadata[b"caravan"])
        for source, numbers in told["counts"].items():
            counts.setdefault(source, Counter()).update(numbers)
        problems += told["problems"]
    if not sum(numbers["examples"] for numbers in counts.values()):
        total = sum((numbers for numbers in counts.values()), Counter())
        why = "; ".join(f"{COUNTS[name]}: {total[name]:,}" for name in COUNTS if total[name]) or "there are no rows"
        said = " ".join(problems[:EXAMPLES_OF_PROBLEMS])
        raise CaravanError(f"No row of {data.name} leaves anything to train ({why}). {said}")
    about = {
        "format": FORMAT,
        "data": data.name,
        "identity": data.identity,
        "ordered": data.ordered,
        "template": f"{how.chat.template.name}@{how.chat.template.version}",
        "chat": how.chat.version,
        "max_length": how.max_length,
        "long": how.long,
        "pairs": how.pairs,
        "counts": {source: dict(numbers) for source, numbers in sorted(counts.items())},
        "problems": problems[:EXAMPLES_OF_PROBLEMS],
    }
    (building / UNREADABLE).write_text("".join(problem + "\n" for problem in problems), errors="backslashreplace")
    (building / "about.json").write_text(json.dumps(about, indent=1))
    building.rename(folder)


def _in_parallel(missing: list[tuple[int, Portion]], how: How, folder: Path, workers: int) -> Iterator[int]:
    """Make parts in processes of their own; yields the number of each when it is done."""
    if workers <= 1:
        for i, portion in missing:
            _make(i, portion, how, folder)
            yield i
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(how, folder)) as pool:
        waiting: set[Future[int]] = set()
        left = iter(missing)
        try:
            while True:
                # Portions name what to read, so a few ahead keep every process busy.
                while len(waiting) < 2 * workers and (each := next(left, None)) is not None:
                    waiting.add(pool.submit(_work, *each))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for each_done in done:
                    yield each_done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _start(how: How, folder: Path) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker["how"], _worker["folder"] = how, folder
    parent = multiprocessing.parent_process()
    assert parent is not None
    # A worker whose parent was killed would wait for work for ever.
    threading.Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()


_worker: dict[str, Any] = {}


def _work(i: int, portion: Portion) -> int:
    _make(i, portion, _worker["how"], _worker["folder"])
    return i


def _part(folder: Path, i: int) -> Path:
    return folder / f"part-{i:06d}.arrow"


def _make(i: int, portion: Portion, how: How, folder: Path) -> None:
    """Write the part of a portion; its counts go into the metadata of the file."""
    rows, counts, problems = encode(portion.read(), how)
    batch = pa.RecordBatch.from_pylist([{**row, "tokens": None, "trained": None} for row, _ in rows], schema=SCHEMA)
    for name, kind in (("tokens", np.uint32), ("trained", np.uint8)):
        arrays = [getattr(encoded, name) for _, encoded in rows]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
        values = np.concatenate(arrays) if arrays else np.zeros(0, kind)
        batch = batch.set_column(
            SCHEMA.get_field_index(name), SCHEMA.field(name), pa.ListArray.from_arrays(offsets, values)
        )
    schema = SCHEMA.with_metadata({"caravan": json.dumps({"counts": counts, "problems": problems})})
    path = _part(folder, i)
    part = path.with_suffix(".part")
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    part.rename(path)


def encode(rows: Iterator[Row], how: How) -> tuple[list[tuple[Row, Encoded]], dict[str, Counter[str]], list[str]]:
    """Origin and tokens of each example, counts by source, and what cannot be read, each with file and row."""
    counts: dict[str, Counter[str]] = {}
    problems: list[str] = []
    readable = []
    for row in rows:
        origin = _origin(row)
        count = counts.setdefault(origin["source"], Counter())
        count["rows"] += 1
        try:
            readable.append((row, origin, pair(row) if how.pairs else [conversation(row)]))
        except CaravanError as error:
            count["unreadable"] += 1
            problems.append(f"{row.get('file')}, row {row.get('row')}: {error}.")
    found = []
    encoded = iter(how.chat.encode([side for _, _, sides in readable for side in sides], only_last=how.pairs))
    for row, origin, sides in readable:
        count = counts[origin["source"]]
        whole = [next(encoded) for _ in sides]
        prompt = origin["prompt_id"] or _prompt(sides[0], how.pairs)
        count["control"] += any(side.control for side in whole)
        for piece, example in enumerate(_pieces(whole, how, count)):
            targets = int(example.trained[1:].sum())
            count.update(examples=1, tokens=len(example.tokens), targets=targets)
            of_side = {"completion_id": _text(row.get(f"{SIDES[piece]}_completion_id"))} if how.pairs else {}
            found.append(({**origin, **of_side, "prompt": prompt, "piece": piece, "targets": targets}, example))
    return found, counts, problems


def _origin(row: Row) -> Row:
    """Where a row says that it is from, in the types of SCHEMA: files may hold anything under these names."""
    found: Row = {name: row[name] if isinstance(row.get(name), int) else None for name in ("position", "row")}
    source = row.get("source") or row.get("dataset") or Path(row.get("file") or "").name.split(".")[0]
    for name in ("prompt_id", "completion_id", "file"):
        found[name] = _text(row.get(name))
    return {**found, "source": _text(source)}


def _prompt(messages: list[dict[str, str]], whole: bool) -> str:
    """A hash of the turns before the first of the assistant's, or before the last one."""
    roles = [message["role"] for message in messages]
    end = len(roles) - 1 if whole else roles.index("assistant") if "assistant" in roles else len(roles)
    said = [[message["role"], message["content"]] for message in messages[:end]]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _text(value: Any) -> str | None:
    return None if value is None else str(value).encode(errors="backslashreplace").decode()


def _pieces(sides: list[Encoded], how: How, count: Counter[str]) -> list[Encoded]:
    """What is left of a row that may be too long: pieces of its one conversation, or both sides of a pair, or nothing. A token is a target
    if it is trained and has one before it to predict it from."""
    long = any(len(side.tokens) > how.max_length for side in sides)
    if long and how.long == "drop":
        count.update(too_long=1)
        return []
    pieces = [piece for side in sides for piece in _cut(side, how)]
    kept = [piece for piece in pieces if piece.trained[1:].any()]
    # Half a pair teaches nothing.
    if not kept or (how.pairs and len(kept) < len(sides)):
        count.update(untrained=1)
        return []
    if long:
        count.update({"truncated" if how.long == "truncate" else "split": 1})
        count.update(cut=sum(len(side.tokens) for side in sides) - sum(len(piece.tokens) for piece in kept))
        targets = [sum(int(each.trained[1:].sum()) for each in of) for of in (sides, kept)]
        count.update(cut_targets=targets[0] - targets[1])
    return kept


def _cut(side: Encoded, how: How) -> list[Encoded]:
    starts = range(0, len(side.tokens), how.max_length) if how.long == "split" else [0]
    cuts = [slice(start, start + how.max_length) for start in starts]
    return [Encoded(side.tokens[cut], side.trained[cut], side.control) for cut in cuts]


class Examples:
    """The examples of a folder in their order, mapped into memory. One int64 an example: `lengths`, `targets`, and `rows`, the number of
    the row that it is (a piece of)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text())
        self._batches = []
        for path in sorted(folder.glob("part-*.arrow")):
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batches.append(reader.get_batch(0))
        starts = [batch["tokens"].offsets.to_numpy() for batch in self._batches]
        self._starts = starts
        self._tokens = [batch["tokens"].values.to_numpy() for batch in self._batches]
        self._trained = [batch["trained"].values.to_numpy() for batch in self._batches]
        sizes = [batch.num_rows for batch in self._batches]
        part = np.repeat(np.arange(len(sizes)), sizes)
        within = np.concatenate([np.arange(size) for size in sizes])
        lengths = np.concatenate([np.diff(start) for start in starts]).astype(np.int64)
        order = np.arange(len(part))
        if self.about["ordered"]:
            order = np.argsort(np.concatenate([batch["position"].to_numpy() for batch in self._batches]), kind="stable")
        targets = np.concatenate([batch["targets"].to_numpy() for batch in self._batches])
        pieces = np.concatenate([batch["piece"].to_numpy() for batch in self._batches])
        self._order, self._part, self._within = order, part[order], within[order]
        self.lengths, self.targets = lengths[order], targets[order]
        self.rows = np.cumsum(pieces[order] == 0) - 1

    @property
    def fingerprint(self) -> str:
        """What the tokens depend on, as 32 hexadecimal digits."""
        return self.folder.name

    @property
    def sources(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Names of the sources, and the number of each example's."""
        names: list[str] = sorted(self.about["counts"])
        found = [pc.index_in(batch["source"], pa.array(names)).to_numpy() for batch in self._batches]
        return names, np.concatenate(found)[self._order].astype(np.int64)

    @property
    def prompts(self) -> npt.NDArray[np.int64]:
        """The number of each example's prompt: rows of one prompt share it."""
        found = pa.chunked_array([batch["prompt"] for batch in self._batches]).combine_chunks().dictionary_encode()
        return found.indices.to_numpy()[self._order].astype(np.int64)

    @property
    def largest(self) -> int:
        """The largest token id."""
        return max(int(tokens.max()) for tokens in self._tokens if len(tokens))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> Encoded:
        part, within = self._part[i], self._within[i]
        start, stop = self._starts[part][within], self._starts[part][within + 1]
        return Encoded(self._tokens[part][start:stop], self._trained[part][start:stop], 0)

    def origin(self, i: int) -> dict[str, Any]:
        """Where an example came from: position in the mixture, piece of the row, prompt_id, completion_id, source, file, row."""
        row = self._batches[self._part[i]].slice(self._within[i], 1)
        return {name: row[name][0].as_py() for name in ORIGIN}

    def origins(self) -> pa.Table:
        """Where each example came from, a row an example."""
        return pa.Table.from_batches([batch.select(ORIGIN) for batch in self._batches]).take(pa.array(self._order))

    def report(self) -> None:
        """Print the counts of every source."""
        counts = self.about["counts"]
        shown = [name for name in COUNTS if any(numbers.get(name) for numbers in counts.values())]
        table = Table("source", *(COUNTS[name] for name in shown))
        for source, numbers in counts.items():
            table.add_row(source, *(f"{numbers.get(name, 0):,}" for name in shown))
        console.print(f"tokens of {self.about['data']}, template {self.about['template']}: {self.folder}")
        console.print(table)
        for problem in self.about["problems"]:
            print(f"unreadable: {problem}", file=sys.stderr)
        if self.about["problems"]:
            print(f"all that is unreadable: {self.folder / UNREADABLE}", file=sys.stderr)
