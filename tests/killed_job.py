"""The job that tests/test_kills.py kills: ingest → evidence → dbt build → release, again and again.

Evidence is a small Spark query in place of pipelines.decontaminate, so that a life is short; it is written by Spark and committed
in the same way.

Run as: python killed_job.py FOLDER, with lines "LIFE CYCLES" on standard input. It imports everything once and forks a life for
each line: a session of its own whose process id goes to standard output. A life ends after so many cycles, or never for 0.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial, wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner
from pyspark.sql import SparkSession

import warehouse
from pipelines import ingest, registry
from pipelines.registry import Source
from warehouse import dbt_plugin, releases
from warehouse.catalogue import Warehouse
from warehouse.commit import Job, commit, stage
from warehouse.refs import resolve
from warehouse.spark import read, session, write

ROWS = 40  # of each source
PLANTED = 5  # rows of the first source that are instances of the evaluation
TRAINING = ("one", "two")
EVALUATION = "exam"
RELEASED = ("raw.prompts", "attr.contamination", "mixtures.sft")
PHASES = (
    "ingest",
    "commit of ingest",
    "evidence",
    "commit of evidence",
    "dbt build",
    "publish",
    "release",
    "done",
)

# A JVM that lives for seconds is not worth being optimised, nor are its queries.
SUBMIT = [
    "--master local[1]",
    "--driver-memory 512m",
    "--driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'",
    "--conf spark.ui.enabled=false",
    "--conf spark.sql.shuffle.partitions=1",
    "--conf spark.sql.codegen.wholeStage=false",
    "--conf spark.sql.codegen.factoryMode=NO_CODEGEN",
    "--conf spark.sql.adaptive.enabled=false",
    "--conf spark.driver.host=127.0.0.1",
    "--conf spark.driver.bindAddress=127.0.0.1",
]

# Prompts that are instances, in the form that pipelines.decontaminate gives to evidence.
EVIDENCE = """
select p.source as train_set, p.file as train_file, p.row as train_row, p.branch as train_branch, p.prompt_id, e.eval_set,
    e.file as eval_file, e.row as eval_row, e.instance_id, 12 as matched_tokens, 12 as total_tokens, 1d as coverage, 'ngram' as kind,
    cast(array() as array<struct<turn: int, start: int, end: int>>) as train_spans,
    cast(array() as array<struct<field: string, start: int, end: int>>) as eval_spans,
    1L as row_pairs, 1L as instance_pairs, 'made up' as tokenizer, 8 as ngram
from prompts p join eval_instances e on p.messages[0].content = e.fields[0].text
"""


def text(source: str, row: int, edition: int) -> str:
    """Twelve words that no other row has; the planted rows have those of the evaluation."""
    name = EVALUATION if source == TRAINING[0] and row <= PLANTED else source
    return " ".join(f"{name}x{row}x{edition}x{word}" for word in range(12))


def answer(source: str, row: int, edition: int) -> str:
    return f"Answer {row} of {source} in edition {edition}"


def write_sources(folder: Path, edition: int) -> list[Source]:
    sources = []
    for name in (*TRAINING, EVALUATION):
        path = folder / "data" / f"{name}-{edition}.jsonl"
        rows = [{"q": text(name, row, edition), "a": answer(name, row, edition)} for row in range(1, ROWS + 1)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        common: dict[str, Any] = {"name": name, "licence": "MIT", "input": (str(path),)}
        fields = {"prompt": "q", "completion": "a"}
        sources.append(
            Source(kind="evaluation", match={"question": "q"}, reference="a", suite="development", **common)
            if name == EVALUATION
            else Source(kind="training", adapter="prompt_completion", fields=fields, **common)
        )
    return sources


class Life:
    """One life of the job. What it is doing it appends to a file: moment, edition, phase."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.edition = folder, number * 1000
        self.log = os.open(folder / f"phases-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def phase(self, name: str) -> None:
        os.write(self.log, f"{time.monotonic():.3f} {self.edition} {name}\n".encode())

    def announced(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which says that this phase begins."""

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            self.phase(name)
            return function(*arguments, **named)

        return call

    def live(self, cycles: int) -> None:
        # This process starts no threads, so that it can fork.
        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe()
        spark_job = fork.Process(target=self.spark_jobs, args=(theirs,))
        spark_job.start()
        theirs.close()
        first = self.edition
        while not cycles or self.edition < first + cycles:
            self.edition += 1
            ours.send(self.edition)
            ours.recv()
            self.phase("dbt build")
            build = fork.Process(target=self.build)
            build.start()
            build.join()
            if build.exitcode:
                sys.exit("dbt build failed")
            release = fork.Process(target=self.release)
            release.start()
            release.join()
            if release.exitcode:
                sys.exit("the release failed")
            self.phase("done")
        ours.send(0)
        spark_job.join()

    def spark_jobs(self, orders: Connection) -> None:
        """Both Spark jobs for each edition that is ordered, in one Spark session; an order of 0 ends it."""
        ingest._commit = self.announced("commit of ingest", ingest._commit)
        known = registry.load()
        w = warehouse.open()
        spark = session("killed")
        while edition := orders.recv():
            self.edition = edition
            sources = write_sources(self.folder, self.edition)
            self.phase("ingest")
            ingest.ingest(spark, w, sources, known)
            self.phase("evidence")
            self.evidence(spark, w)
            orders.send(self.edition)
        spark.stop()

    def evidence(self, spark: SparkSession, w: Warehouse) -> None:
        inputs = [resolve(w, table) for table in ("raw.prompts", "raw.eval_instances")]
        for resolved in inputs:
            read(spark, resolved).createOrReplaceTempView(resolved.table.split(".")[1])
        files = write(spark.sql(EVIDENCE), stage(w, "attr.contamination"), partition="train_set")
        self.phase("commit of evidence")
        replace = {"train_set": list(TRAINING)}
        commit(w, "attr.contamination", files, Job("evidence", {"threshold": "1/2"}, inputs), replace=replace)

    def build(self) -> None:
        dbt_plugin.Plugin._publish = self.announced("publish", dbt_plugin.Plugin._publish)  # type: ignore[method-assign]
        unit_tests = [
            "--exclude-resource-type",
            "unit_test",
        ]  # they know nothing of the warehouse, and take half of the time
        variables = ["--vars", "{mixtures: [all], duplicates: off}"]
        arguments = ["--no-use-colors", "build", "--select", "+sft", *unit_tests, *variables]
        if not dbtRunner().invoke(arguments).success:
            sys.exit(1)

    def release(self) -> None:
        self.phase("release")
        w = warehouse.open()
        releases.create(w, f"edition-{self.edition}", [resolve(w, table) for table in RELEASED])


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ |= {
        "CARAVAN_WAREHOUSE": str(folder / "lake"),
        "CARAVAN_DUCKDB": str(folder / "caravan.duckdb"),
        "DBT_PROFILES_DIR": str(folder),
        "PYSPARK_SUBMIT_ARGS": " ".join([*SUBMIT, "pyspark-shell"]),
        "SPARK_LOCAL_DIRS": str(folder / "spark"),
        "TMPDIR": str(folder / "spark"),
    }
    os.environ.pop("CARAVAN_CATALOGUE", None)
    os.chdir(folder)
    # Whoever outlives this process is reaped by the system.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say = partial(print, flush=True)
    for line in sys.stdin:
        number, cycles = map(int, line.split())
        if child := os.fork():
            say(child)
            continue
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(folder / f"output-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = 1
        try:
            Life(folder, number).live(cycles)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)


if __name__ == "__main__":
    main()
