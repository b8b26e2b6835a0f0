"""From the journal to the warehouse: answers become rows of llm.responses, their questions rows of llm.requests, each once."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from inference.journal import Journal, read
from inference.request import Response
from warehouse import contracts, sql
from warehouse.catalogue import Warehouse, attempts
from warehouse.commit import Job, Moved, staged
from warehouse.commit import commit as commit_files
from warehouse.refs import Resolved, resolve
from warehouse.sql import literal, scan

REQUESTS, RESPONSES = "llm.requests", "llm.responses"
MEMORY = "1GB"  # for joins; what is more goes to the disk
ROWS = 2_000  # in memory at a time
ROWS_A_FILE = 250_000


def commit(w: Warehouse, journal: Journal, requests: Sequence[str] | pa.Table | ds.Dataset, job: Job) -> dict[str, int]:
    """Bring the journal's answers to llm.requests and llm.responses and let the journal forget them; the new snapshots by table.

    `requests` has the columns of llm.requests, as Parquet files or in Arrow; rows without an answer, or asked twice, do no harm. Answers to
    other questions, which are not in llm.requests either, stay in the journal. Killed anywhere, the next call goes on: what is in a
    table is not written again, and the journal forgets last.
    """
    segments = journal.seal()
    folder = journal.folder / "commit"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    answers = folder / "answers.parquet"
    snapshots: dict[str, int] = {}
    with sql.connection(w) as database:
        database.execute(f"set memory_limit = '{MEMORY}'; set temp_directory = {literal(str(folder / 'spill'))}")
        if _answers(segments, answers):
            for _ in attempts(f"The commit to {RESPONSES} found no gap"):
                try:
                    snapshots |= _append(w, database, REQUESTS, _questions(w, database, requests, answers), job)
                    snapshots |= _append(w, database, RESPONSES, _new(w, answers), job)
                    break
                except Moved:
                    continue
            asked = f"select request_id from {_rows(resolve(w, REQUESTS))}"
            others = {
                row[0]
                for row in database.sql(f"select request_id from {scan([str(answers)])} except {asked}").fetchall()
            }
        else:
            others = set()
    journal.forget(segments, _of(segments, others))
    shutil.rmtree(folder)
    return snapshots


def _answers(segments: Iterable[Path], path: Path) -> int:
    """Write the answers of segments, each once, as Parquet; returns how many."""
    seen: set[bytes] = set()
    schema = contracts.load(RESPONSES).arrow_schema()
    responses = (response for segment in segments for response in read(segment))
    with pq.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(responses, ROWS)):
            fresh = {bytes.fromhex(response.request_id): response for response in chunk}
            rows = [_row(response) for name, response in fresh.items() if name not in seen]
            seen |= fresh.keys()
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return len(seen)


def _row(response: Response) -> dict[str, object]:
    return {name: getattr(response, name) for name in response.__slots__}


def _of(segments: Iterable[Path], names: set[str]) -> Iterator[Response]:
    """The answers of segments to these requests."""
    if names:
        yield from (response for path in segments for response in read(path) if response.request_id in names)


def _questions(
    w: Warehouse, database: duckdb.DuckDBPyConnection, requests: Sequence[str] | pa.Table | ds.Dataset, answers: Path
) -> tuple[str, Resolved]:
    """Query for the questions of the answers that are not in llm.requests, and the snapshot that was looked at."""
    before = resolve(w, REQUESTS)
    if isinstance(requests, pa.Table | ds.Dataset):
        database.register("given", requests)
        given = "given"
    else:
        given = (
            scan([str(path) for path in requests])
            if requests
            else f"(select {contracts.load(REQUESTS).duckdb_nulls()} where false)"
        )
    query = (
        f"select distinct on (request_id) * from {given} as g semi join {scan([str(answers)])} as a using (request_id) "
        f"anti join {_rows(before)} as b using (request_id)"
    )
    return query, before


def _new(w: Warehouse, answers: Path) -> tuple[str, Resolved]:
    """Query for the answers that are not in llm.responses and whose questions are in llm.requests, and the snapshot looked at."""
    before = resolve(w, RESPONSES)
    query = (
        f"select * from {scan([str(answers)])} as a anti join {_rows(before)} as b using (request_id) "
        f"semi join {_rows(resolve(w, REQUESTS))} as r using (request_id)"
    )
    return query, before


def _rows(resolved: Resolved) -> str:
    """The ids in a snapshot of one of the two tables."""
    if resolved.files:
        return f"(select request_id from {scan(resolved.files)})"
    return "(select null::varchar as request_id where false)"


def _append(
    w: Warehouse, database: duckdb.DuckDBPyConnection, table: str, rows: tuple[str, Resolved], job: Job
) -> dict[str, int]:
    """Append the rows of a query, made from that snapshot of the table. Raises Moved where the table has another by now."""
    query, before = rows
    schema = contracts.load(table).arrow_schema()
    columns = ", ".join(f'"{name}"' for name in schema.names)
    found = database.sql(f"select {columns} from ({query})").to_arrow_reader(ROWS)
    with staged(w, table) as directory:
        files = [
            _write(w, f"{directory}/{number:05d}.parquet", chunk, schema) for number, chunk in enumerate(_files(found))
        ]
        if not files:
            return {}
        return {table: commit_files(w, table, files, job, only_after=before)}


def _files(reader: pa.RecordBatchReader) -> Iterator[Iterator[pa.RecordBatch]]:
    """The batches of each file to write; each has to be read before the next is asked for."""
    for first in reader:
        yield _until_full(first, reader)


def _until_full(first: pa.RecordBatch, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    yield first
    rows = first.num_rows
    while rows < ROWS_A_FILE and (batch := next(reader, None)) is not None:
        rows += batch.num_rows
        yield batch


def _write(w: Warehouse, path: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> str:
    with w.io.new_output(path).create() as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
    return path
