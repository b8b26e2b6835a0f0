"""An errand: staged requests taken to the models, their answers brought home into llm.requests and llm.responses.

Beside a journal lies a list of the Parquet files with the requests that it was opened for. So a run finds what an earlier one, of
whatever arguments, was killed over, and brings it home first.
"""

import argparse
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import load_file_io
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

import warehouse
from inference import batches, record, spend
from inference.journal import Journal
from inference.models import Card
from inference.request import Request
from inference.send import Sending, Summary, send
from warehouse import storage
from warehouse.commit import Job
from warehouse.errors import CaravanError
from warehouse.refs import resolve
from warehouse.show import console
from warehouse.spark import hadoop, write

TABLES = ("llm.requests", "llm.responses")
MARKER = "requests.json"
ROWS = 1_000  # requests that are read at once
ESTIMATE = pa.schema(
    [
        ("model", pa.string()),
        ("requests", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("likely", pa.float64()),
        ("worst", pa.float64()),
    ]
)
ESTIMATE_DDL = "model string, requests long, input_tokens long, output_tokens long, likely double, worst double"


@dataclass(frozen=True)
class Leg:
    """Requests of these files, sent with a journal of their own."""

    folder: str
    files: tuple[str, ...]


class Errand:
    """What `asking.ask` does beside Spark's joins. Within a `with` block it holds the journal."""

    def __init__(
        self,
        spark: SparkSession,
        w: warehouse.Warehouse,
        cards: Mapping[str, Card],
        options: argparse.Namespace,
        job: Job,
    ) -> None:
        self.spark, self.w, self.cards, self.options, self.job = spark, w, cards, options, job
        self.folder = _folder(w, options, job)
        self.staging = f"{w.root}/.asking/{hashlib.md5(self.folder.encode(), usedforsecurity=False).hexdigest()[:12]}"
        self.earlier: tuple[str, ...] = ()  # files of requests that are in batches under way
        self._journal: Journal | None = None

    def __enter__(self) -> Self:
        self._journal = Journal(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._journal is not None
        self._journal.close()

    def estimate(self, requests: DataFrame) -> int:
        """Print what requests would cost, by model; return how many there are."""
        cards, batch = dict(self.cards), self.options.batch

        def counted(found: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for each in found:
                by_model = spend.estimate(map(Request.from_row, each.to_pylist()), cards, batch)
                rows = [{"model": model, **asdict(one)} for model, one in by_model.items()]
                yield pa.RecordBatch.from_pylist(rows, schema=ESTIMATE)

        whole = [F.when(F.count(name) == F.count("*"), F.sum(name)).alias(name) for name in ("likely", "worst")]
        sums = [F.sum(name).alias(name) for name in ("requests", "input_tokens", "output_tokens")]
        rows = requests.mapInArrow(counted, ESTIMATE_DDL).groupBy("model").agg(*sums, *whole).collect()
        table = Table("model", "requests", "tokens in", "tokens out", "likely", "at most")
        for row in sorted(rows):
            numbers = (f"about {n:,}" for n in (row.input_tokens, row.output_tokens))
            table.add_row(row.model, f"{row.requests:,}", *numbers, _dollars(row.likely), _dollars(row.worst))
        console.print(table if rows else "Every request has its answer already: nothing is asked.")
        return sum(row.requests for row in rows)

    def finish_earlier(self) -> None:
        """Commit the answers that a run left in the journals when it was killed, and forget its requests."""
        for marker in sorted(Path(self.folder).rglob(MARKER)):
            files = json.loads(marker.read_text(encoding="utf-8"))
            gone = set(storage.missing(self.w, files))
            self._bring_home(Leg(str(marker.parent), tuple(file for file in files if file not in gone)))
        storage.clear(self.w, self.staging, keep=self.earlier)

    def run(self, requests: DataFrame) -> Summary | None:
        """Ask requests that have no answer in llm.responses, and commit the answers; None where there are none to ask."""
        tasks = None
        if self.options.on == "executors":
            self._check_executors()
            tasks = min(self.spark.sparkContext.defaultParallelism, self.options.concurrency)
        files = write(requests.repartition(tasks) if tasks else requests, f"{self.staging}/{uuid.uuid4().hex}")
        staged = self.spark.read.schema(requests.schema).parquet(*map(hadoop, files)) if files else requests.limit(0)
        total = self.estimate(staged)
        if not total:
            storage.clear(self.w, self.staging, keep=self.earlier)
            return None
        legs = [Leg(self.folder, (*self.earlier, *files))]
        if tasks:
            legs = [Leg(f"{self.folder}/tasks/{number:05d}", (file,)) for number, file in enumerate(files)]
        for leg in legs:
            _mark(leg)
        try:
            summary = self._on_executors(legs) if tasks else self._on_driver(files, total)
        except CaravanError:
            self._bring_all_home(legs)
            raise
        self._bring_all_home(legs)
        self.options.spent += summary.spent + summary.doubtful
        if tasks or self.options.batch:
            print(summary)
        return summary

    def _on_driver(self, files: list[str], total: int) -> Summary:
        assert self._journal is not None
        requests = read_requests(files, dict(self.w.io.properties))
        budget = self._budget()
        if self.options.batch:
            return batches.run(requests, self.cards, self._journal, batches.Batching(budget=budget, total=total))
        how = Sending(concurrency=self.options.concurrency, budget=budget, patience=self.options.patience, total=total)
        return send(requests, self.cards, self._journal, how)

    def _on_executors(self, legs: list[Leg]) -> Summary:
        """A task a leg. What may be in flight, spent and asked a minute is dealt among them."""
        share, budget = len(legs), self._budget()
        how = Sending(
            concurrency=self.options.concurrency // share,
            budget=None if budget is None else budget / share,
            patience=self.options.patience,
            progress=False,
        )
        cards = {name: _share(card, share) for name, card in self.cards.items()}
        task = partial(_send_leg, cards=cards, how=how, properties=dict(self.w.io.properties))
        with Console(stderr=True).status(f"{share} tasks are asking …"):
            found = self.spark.sparkContext.parallelize(legs, share).map(task).collect()
        if problems := [one for one in found if isinstance(one, str)]:
            raise CaravanError(problems[0])
        return _sum([one for one in found if isinstance(one, Summary)])

    def _check_executors(self) -> None:
        """Raises CaravanError where requests belong to batches, of which the tasks' journals know nothing."""
        if self.options.batch:
            raise CaravanError("--batch goes from the driver: leave --on executors out.")
        if batches.waiting(Path(self.folder)):
            raise CaravanError(
                f"Requests of the journal {self.folder} are in batches under way, and executors would ask and pay them again. Fetch those "
                "first, with --batch, or leave --on executors out."
            )

    def _budget(self) -> float | None:
        return None if self.options.budget is None else max(0.0, self.options.budget - self.options.spent)

    def _bring_all_home(self, legs: list[Leg]) -> None:
        before = [resolve(self.w, table) for table in TABLES]
        for leg in legs:
            self._bring_home(leg)
        after = [resolve(self.w, table) for table in TABLES]
        if after != before:
            print("wrote", *after)
        storage.clear(self.w, self.staging, keep=self.earlier)

    def _bring_home(self, leg: Leg) -> None:
        """Commit a leg's answers; its requests are needed no more, except for batches under way."""
        assert self._journal is not None
        own = leg.folder == self.folder
        journal = self._journal if own else Journal(leg.folder)
        try:
            record.commit(self.w, journal, leg.files, self.job)
        finally:
            if not own:
                journal.close()
        waiting = own and batches.waiting(Path(leg.folder))
        if own:
            self.earlier = leg.files if waiting else ()
        if not waiting:
            (Path(leg.folder) / MARKER).unlink()


def read_requests(files: Iterable[str], properties: Mapping[str, Any]) -> Iterator[Request]:
    """The requests of Parquet files, read as they are needed."""
    for path in files:
        with load_file_io(dict(properties), path).new_input(path).open() as stream:
            for batch in pq.ParquetFile(stream).iter_batches(ROWS):
                yield from map(Request.from_row, batch.to_pylist())


def _send_leg(leg: Leg, cards: Mapping[str, Card], how: Sending, properties: Mapping[str, Any]) -> Summary | str:
    """What a task does. A problem that a user can mend comes back as text, so that Spark does not try it again."""
    try:
        with Journal(leg.folder) as journal:
            if how.budget is not None:  # of a task that Spark tries again, a part is spent
                spent = sum(response.cost or 0.0 for response in journal.responses())
                how = replace(how, budget=max(0.0, how.budget - spent))
            return send(read_requests(leg.files, properties), cards, journal, how)
    except CaravanError as error:
        return str(error)


def _share(card: Card, share: int) -> Card:
    """The card with its part of the limits."""
    limits = {
        name: max(1, limit // share)
        for name in ("requests_per_minute", "tokens_per_minute")
        if (limit := getattr(card, name)) is not None
    }
    return replace(card, **limits)


def _sum(summaries: list[Summary]) -> Summary:
    whole = Summary()
    for one in summaries:
        counts = {
            field.name: getattr(whole, field.name) + getattr(one, field.name)
            for field in fields(Summary)
            if field.name not in ("seconds", "stopped")
        }
        whole = Summary(**counts, seconds=max(whole.seconds, one.seconds), stopped=whole.stopped or one.stopped)
    return whole


def _folder(w: warehouse.Warehouse, options: argparse.Namespace, job: Job) -> str:
    """The journal's folder. Raises CaravanError where it must be named."""
    if options.journal:
        return str(Path(options.journal).absolute())
    if not w.settings.local:
        raise CaravanError(
            f"The warehouse {w.root} is no local folder, so it cannot hold the journal of answers. Name a folder on a disk with --journal."
        )
    return f"{w.root}/.journals/{job.name}"


def _mark(leg: Leg) -> None:
    """Note the leg's files beside its journal, before anything is asked."""
    folder = Path(leg.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{MARKER}.new").write_text(json.dumps(leg.files), encoding="utf-8")
    (folder / f"{MARKER}.new").replace(folder / MARKER)


def _dollars(amount: float | None) -> str:
    if amount is None:
        return "no price known"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
