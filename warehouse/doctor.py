"""The doctor: what interrupted programs left behind, found and (with `fix`) put right."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of

from warehouse import audit, contracts, refs, releases, storage
from warehouse.catalogue import Warehouse
from warehouse.history import moment
from warehouse.read import views
from warehouse.refs import resolve
from warehouse.storage import Stored

GRACE = timedelta(days=1)

# Tables whose rows carry the revision of the source that they came from, and the column that names the source.
_INGESTED = {"raw.prompts": "source", "raw.completions": "source", "raw.eval_instances": "eval_set"}


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. `advice` says what to do where the doctor cannot."""

    kind: str
    table: str
    detail: str
    advice: str
    fixed: bool = False


def examine(w: Warehouse, grace: timedelta = GRACE, fix: bool = False) -> Iterator[Finding]:
    """Look at every table. What is younger than `grace` may belong to a program that still runs and is left alone.

    With `fix`: orphan files and leftover branches are removed, interrupted releases completed.
    """
    limit = datetime.now(UTC) - grace
    unreadable = set()
    for name in sorted({*w.tables(), *contracts.names()}):
        # Listed before the table is loaded: what is committed in between is then known to the table.
        folder = storage.location(w, name)
        stored = storage.listing(w, folder)
        table = w.load(name)
        used = storage.reachable(table) if table else storage.Reachable(frozenset(), frozenset(), frozenset())
        for finding in _missing(w, name, used):
            unreadable.add(name)
            yield finding
        if not used.broken:
            yield from _orphans(w, name, [s for s in stored if s.changed < limit], used, fix=fix)
        if table:
            yield from _branches(w, table, limit, fix)
    if releases.TABLE not in unreadable:
        yield from _releases(w, fix)
    if "raw.sources" not in unreadable:
        yield from _half_ingested(w, [name for name in _INGESTED if name not in unreadable])


def _missing(w: Warehouse, name: str, used: storage.Reachable) -> Iterator[Finding]:
    gone = storage.missing(w, used.data) + sorted(used.broken)
    if gone:
        yield Finding(
            "missing files",
            name,
            f"{len(gone)} files that snapshots refer to are gone, the first is {gone[0]}",
            "restore them from a copy, or run the job that wrote them again",
        )


def _orphans(w: Warehouse, name: str, old: list[Stored], used: storage.Reachable, *, fix: bool) -> Iterator[Finding]:
    orphans = [stored for stored in old if stored.path not in used.data and stored.path not in used.metadata]
    if orphans:
        if fix:
            storage.delete(w, [stored.path for stored in orphans], storage.location(w, name))
        size = sum(stored.size for stored in orphans)
        detail = f"{len(orphans)} files of {size:,} bytes that no snapshot refers to, such as {orphans[0].path}"
        yield Finding("orphan files", name, detail, "delete them with --fix", fixed=fix)


def _branches(w: Warehouse, table: Table, limit: datetime, fix: bool) -> Iterator[Finding]:
    name = ".".join(table.name())
    on_main = {snapshot.snapshot_id for snapshot in ancestors_of(table.current_snapshot(), table.metadata)}
    for branch, snapshot_id in refs.branches_of(table).items():
        head = table.snapshot_by_id(snapshot_id)
        # A branch without a commit of its own has a head older than itself; it was there at the table's last change.
        since = table.metadata.last_updated_ms if snapshot_id in on_main else head.timestamp_ms if head else None
        if since is None or moment(since) >= limit:
            continue
        if fix:
            audit.drop(w, name, branch)
        detail = f"the branch {branch!r} was never published; its head is {snapshot_id}"
        yield Finding(
            "leftover branch", name, detail, f"publish it, or drop it with --fix; read it as {name}@{branch}", fix
        )


def _releases(w: Warehouse, fix: bool) -> Iterator[Finding]:
    for member in releases.incomplete(w):
        table = w.load(member.table)
        taken = refs.tags_of(table).get(member.release) if table else None
        possible = taken is None and table is not None and table.snapshot_by_id(member.snapshot_id) is not None
        if fix and possible:
            releases.complete(w, [member])
        detail = (
            f"the release {member.release!r} holds snapshot {member.snapshot_id}, but its tag is on {taken or 'none'}"
        )
        advice = (
            "complete it with --fix" if possible else "the tag cannot be set: make a new release under another name"
        )
        yield Finding("incomplete release", member.table, detail, advice, fixed=fix and possible)


def _half_ingested(w: Warehouse, tables: list[str]) -> Iterator[Finding]:
    database = views(w, [resolve(w, name) for name in ("raw.sources", *tables)])
    for table in tables:
        column = _INGESTED[table]
        rows = database.sql(
            f"select held.source, held.revision, registered.revision from "
            f'(select distinct "{column}" as source, revision from {table}) as held '
            "left join raw.sources as registered using (source) "
            "where held.revision is distinct from registered.revision order by all"
        ).fetchall()
        for source, revision, registered in rows:
            known = f"revision {registered}" if registered else "nothing of it"
            yield Finding(
                "half-ingested source",
                table,
                f"{source} is at revision {revision} here, and raw.sources knows {known}",
                f"ingest {source} again: `python -m pipelines.ingest --source {source}`",
            )
