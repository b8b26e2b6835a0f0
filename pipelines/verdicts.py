"""What verifiers say of completions. Pure: DataFrames in, DataFrames out; the checks run in Spark's tasks."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tasks import registry
from tasks.sandbox import SandboxUnavailable
from tasks.verdict import Verdict
from warehouse import contracts

TABLE = "attr.verdicts"
# What a verdict depends on, and whose it is.
IDENTITY = ("source", "file", "row", "branch", "sample", "completion_id", "check_id", "version")
# How the problem of a check begins that the machine failed twice. It has no version, so that the next run looks at it again.
FAILED = "not decided, the machine failed: "
MACHINE = (OSError, RuntimeError)  # what a sandbox or a worker raises that fails
MOST_FAILED = 10  # of the rows of a batch; a machine that fails more of them is broken, and would only take its time for the others
LONGEST = 1000  # characters of an extracted answer or a message that are kept
FOUND = pa.schema(
    [
        ("correct", pa.bool_()),
        ("score", pa.float64()),
        ("extracted", pa.string()),
        ("rule", pa.string()),
        ("message", pa.string()),
        ("problem", pa.string()),
    ]
)
FOUND_DDL = "correct boolean, score double, extracted string, rule string, message string, problem string"


def checks(prompts: DataFrame) -> DataFrame:
    """raw.prompts -> (prompt_id, verifier, ground_truth, check_id, version): the different checks that rows with a prompt state.

    Two rows of one prompt with different ground truths are two checks.
    """
    stated = prompts.where("verifier is not null").select("prompt_id", "verifier", "ground_truth").distinct()
    return stated.mapInArrow(_identified, f"{_ddl(stated)}, check_id string, version string")


def wanted(completions: DataFrame, stated: DataFrame) -> DataFrame:
    """raw.completions and `checks` -> a row for each verdict that there should be, with the completion's columns."""
    return completions.join(stated, on="prompt_id", how="inner")


def missing(rows: DataFrame, existing: DataFrame) -> DataFrame:
    """The rows of `wanted` that attr.verdicts does not have by these versions."""
    return rows.join(existing.select(*IDENTITY), on=list(IDENTITY), how="left_anti")


def still_valid(existing: DataFrame, rows: DataFrame) -> DataFrame:
    """The rows of attr.verdicts that are among `wanted`."""
    return existing.join(rows.select(*IDENTITY), on=list(IDENTITY), how="left_semi")


def judged(rows: DataFrame) -> DataFrame:
    """Rows of `wanted` -> attr.verdicts."""
    names = contracts.load(TABLE).names
    carried = [name for name in names if name not in FOUND.names]
    given = rows.select(*carried, "content", "ground_truth")
    ddl = _ddl(rows.select(*carried))

    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = verdicts(*(batch[name].to_pylist() for name in ("verifier", "content", "ground_truth")))
            columns = [*(batch[name] for name in carried), *pa.RecordBatch.from_pylist(found, schema=FOUND).columns]
            yield pa.RecordBatch.from_arrays(columns, names=[*carried, *FOUND.names])

    found = given.mapInArrow(transform, f"{ddl}, {FOUND_DDL}")
    return found.withColumn("version", F.when(failed(), "").otherwise(F.col("version"))).select(*names)


def failed() -> Column:
    """Of verdicts, whether it was the machine that failed."""
    return F.coalesce(F.startswith("problem", F.lit(FAILED)), F.lit(False))


def verdicts(
    names: Sequence[str], responses: Sequence[str], ground_truths: Sequence[str | None]
) -> list[dict[str, Any]]:
    """A row of FOUND for each request. A request that no verifier can decide has a problem instead of a verdict.

    So has one that the machine (a sandbox, a worker) failed twice; where that befalls more than MOST_FAILED, its error is raised.
    """
    rows: list[dict[str, Any]] = []
    failures = 0
    for request in map(registry.Request, names, responses, ground_truths):
        try:
            rows.append(_row(_tried(request)))
        except SandboxUnavailable:
            raise
        except MACHINE as failure:
            failures += 1
            if failures > MOST_FAILED:
                raise
            rows.append({"problem": _text(f"{FAILED}{failure}")})
    return rows


def _tried(request: registry.Request) -> Verdict | registry.Problem:
    try:
        return _once(request)
    except MACHINE:
        return _once(request)


def _once(request: registry.Request) -> Verdict | registry.Problem:
    # Spark runs a task on each core already.
    return registry.verify_batch([request], workers=1)[0]


def version(name: str, ground_truth: str | None) -> str:
    """The version of a check; "" where there is no such check, so that it is looked at again once there is."""
    try:
        return registry.version(name, ground_truth)
    except ValueError:
        return ""


def check_id(name: str, ground_truth: str | None) -> str:
    stated = name if ground_truth is None else f"{name}\x1f{ground_truth}"
    return hashlib.md5(stated.encode(), usedforsecurity=False).hexdigest()


def _row(outcome: Verdict | registry.Problem) -> dict[str, Any]:
    if not isinstance(outcome, Verdict):
        return {"problem": _text(str(outcome))}
    return {
        "correct": outcome.correct,
        "score": outcome.score,
        "extracted": _text(outcome.extracted),
        "rule": outcome.rule,
        "message": _text(outcome.message),
    }


def _text(text: str | None) -> str | None:
    """Text as a table can hold it."""
    return text[:LONGEST].encode("utf-8", "replace").decode() if text is not None else None


def _identified(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        stated = list(zip(batch["verifier"].to_pylist(), batch["ground_truth"].to_pylist(), strict=True))
        ids = pa.array([check_id(*one) for one in stated], pa.string())
        versions = pa.array([version(*one) for one in stated], pa.string())
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, ids, versions], names=[*batch.schema.names, "check_id", "version"]
        )


def _ddl(rows: DataFrame) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in rows.dtypes)


def totals(found: DataFrame, place: Sequence[str]) -> DataFrame:
    """Verdicts -> counts of each source and verifier, and of one row with a problem the columns `place` and what it is (`example`).

    The machine failed `failed` of the problems; `failure` is what one of them says.
    """
    return found.groupBy("source", "verifier").agg(
        F.count("*").alias("rows"),
        F.count_if("correct").alias("correct"),
        F.count("problem").alias("problems"),
        F.count_if(failed()).alias("failed"),
        F.min(F.when(failed(), F.col("problem"))).alias("failure"),
        F.min(F.when(F.col("problem").isNotNull(), F.struct(*place, "problem"))).alias("example"),
    )
