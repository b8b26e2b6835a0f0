"""The dbt-duckdb plugin: dbt's sources are the warehouse's tables at one reference, and a model can become a snapshot.

On connection every table is resolved once and shown as a view of the same name, so sources are plain relations, and the
DuckDB file answers ad-hoc SQL by itself. The view meta.lineage says what each was made of. `store` serves the
materialisation `warehouse` (sql/macros/publish.sql).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any
from uuid import uuid4

from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig
from dbt_common.exceptions import DbtRuntimeError
from dbt_common.invocation import get_invocation_id
from duckdb import DuckDBPyConnection

import warehouse
from warehouse import contracts, history, read, refs, tags
from warehouse.audit import drop, publish
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError
from warehouse.refs import LATEST, Resolved
from warehouse.sql import literal, prepare

# What a run reads: these tables must be there, if only empty.
INPUTS = ("raw.", "attr.", "pref.", "mixtures.sft")
# Of these, tables that not every release has: one that has no such tag is empty at it.
OPTIONAL = ("pref.", "mixtures.sft", "attr.labels", "attr.verdicts")
# Small enough for a reader to hold a few at once: about 40 MB of text.
ROW_GROUP_ROWS = 20_000


class Plugin(BasePlugin):
    """Options in profiles.yml: `root` of the warehouse, `ref` that is read, `tag` that a published snapshot gets."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self.root: str | None = plugin_config["root"] or None
        self.tag: str = plugin_config["tag"]
        self.ref: str = plugin_config["ref"]
        self.lock = Lock()
        self.run: str | None = None

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        with told_by_dbt():
            self.warehouse = warehouse.open(self.root, create=False)
        prepare(conn, self.warehouse)
        self.connection = conn

    def configure_cursor(self, cursor: DuckDBPyConnection) -> None:
        """Resolve the tables once a run; a process that runs dbt twice keeps the connection, but must not keep its views."""
        with self.lock:
            if self.run == get_invocation_id():
                return
            with told_by_dbt():
                tagged = self._tagged() if self.tag else []
                self.tables = {each.table: each for each in self._resolve()}
                lineage = " union all ".join(self._lineage(each) for each in self.tables.values())
            for resolved in self.tables.values():
                _show(cursor, resolved)
            cursor.execute("create schema if not exists meta")
            cursor.execute(f"create or replace view meta.lineage as {lineage}")
            # refuse_taken_tag of sql/macros knows what this run would publish.
            cursor.execute(
                f"create or replace view meta.tagged as select unnest([{', '.join(map(literal, tagged))}]::varchar[]) as name"
            )
            self.run = get_invocation_id()

    def store(self, target_config: TargetConfig) -> None:
        """Publish a query's rows as one snapshot of the table named by the model's schema and name."""
        with told_by_dbt():
            self._publish(f"{target_config.relation.schema}.{target_config.relation.identifier}", target_config.config)

    def _publish(self, table: str, config: dict[str, Any]) -> None:
        contract = contracts.load(table)
        inputs = [self.tables[name] for name in config["inputs"]]
        cursor = self.connection.cursor()
        job = Job(f"dbt build --select +{table.split('.')[1]}", arguments=config["arguments"], inputs=inputs)
        branch = f"audit-{uuid4().hex[:12]}"
        replace = {str(contract.partition): config["partitions"]}
        with staged(self.warehouse, table) as directory:
            files = []
            for number, value in enumerate(config["partitions"]):
                path = f"{directory}/{number:05d}.parquet"
                if _write(cursor, contract, config["sql"], value, path):
                    files.append(path)
                else:
                    self.warehouse.io.delete(path)
            try:
                snapshot_id = commit(self.warehouse, table, files, job, replace, branch=branch)
                publish(self.warehouse, table, branch)
            except CaravanError:
                with suppress(CaravanError):
                    drop(self.warehouse, table, branch)
                raise
        if self.tag:
            tags.create(self.warehouse, table, self.tag, snapshot_id)
        published = refs.resolve(self.warehouse, f"{table}@{snapshot_id}")
        _show(cursor, published)
        print(f"read  {', '.join(map(str, inputs))}")
        print(f"wrote {published}" + (f" = {table}@{self.tag}" if self.tag else "") + f" ({published.rows:,} rows)")

    def _resolve(self) -> list[Resolved]:
        """Every table at the reference; a table that nothing was ever written to is empty at any."""
        found = read.at(self.warehouse, self.ref)
        missing = {name for name in contracts.names() if name.startswith(INPUTS)} - {each.table for each in found}
        for name in sorted(missing):
            resolved = refs.resolve(self.warehouse, f"{name}@{LATEST}")
            if resolved.snapshot_id is not None and name.startswith(OPTIONAL):
                resolved = refs.resolve(self.warehouse, f"{name}@empty")
            elif resolved.snapshot_id is not None:
                # Raises: the table has no such tag, and its newest rows do not belong to those of that tag.
                resolved = refs.resolve(self.warehouse, f"{name}{self.ref}")
            found.append(resolved)
        return found

    def _lineage(self, resolved: Resolved) -> str:
        """A row that says what a table is read at, and what made it of what."""
        made = history.entry(self.warehouse, resolved)
        inputs = ", ".join(map(literal, made.inputs if made else []))
        return f"""
            select {literal(resolved.table)} as "table", {resolved.snapshot_id or "null"}::bigint as snapshot_id,
                {literal(str(resolved))} as reference, {literal(made.job) if made else "null"}::varchar as job,
                {literal(json.dumps(made.arguments if made else {}))}::json as arguments, [{inputs}]::varchar[] as inputs
        """

    def _tagged(self) -> list[str]:
        """Published tables that have the tag of this run already."""
        refs.check_name("tag", self.tag)
        loaded = {name: self.warehouse.load(name) for name in self.warehouse.tables() if name.startswith("mixtures.")}
        return [name for name, table in loaded.items() if table and self.tag in refs.tags_of(table)]


@contextmanager
def told_by_dbt() -> Iterator[None]:
    """Errors for users are shown by dbt as such, without a traceback."""
    try:
        yield
    except CaravanError as error:
        raise DbtRuntimeError(str(error)) from error


def _show(connection: DuckDBPyConnection, resolved: Resolved) -> None:
    namespace, short = resolved.table.split(".")
    connection.execute(f'create schema if not exists "{namespace}"')
    connection.execute(f'create or replace view "{namespace}"."{short}" as {read.query(resolved)}')


def _write(connection: DuckDBPyConnection, contract: contracts.Contract, sql: str, value: str, path: str) -> bool:
    """Write the rows of one partition in the order of their key; False where the file has none."""
    columns = ", ".join(f'"{name}"' for name in contract.names)
    order = ", ".join(f'"{name}"' for name in contract.key)
    query = f'select {columns} from ({sql}) where "{contract.partition}" = {literal(value)} order by {order}'
    options = f"format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS}"
    (rows,) = connection.execute(f"copy ({query}) to {literal(path)} ({options})").fetchall()[0]
    return bool(rows)
