"""The warehouse's command line: look at tables, compare, tag and release snapshots, ask SQL, tidy up.

Run as: python -m warehouse COMMAND [--root FOLDER]
"""

import argparse
import re
from collections.abc import Callable
from datetime import timedelta

import warehouse
from warehouse import contracts, diff, doctor, expire, history, releases, show, tags
from warehouse.catalogue import Warehouse
from warehouse.errors import CaravanError, run
from warehouse.read import at, views
from warehouse.refs import resolve

EXAMPLES = """examples:
  python -m warehouse init                                          make the warehouse and its empty tables
  python -m warehouse tables                                        what is there
  python -m warehouse log raw.prompts                               snapshots: when, by which job, from which inputs
  python -m warehouse show raw.prompts@v1                           columns, counts and a few rows at a tag
  python -m warehouse diff mixtures.sft@v1 mixtures.sft@latest      rows added, removed and changed
  python -m warehouse tag raw.prompts@latest before-cleaning        name a snapshot for good
  python -m warehouse release v1 raw.prompts mixtures.sft           one name for snapshots of several tables
  python -m warehouse sql "select source, count(*) from raw.prompts group by 1" --ref @v1
  python -m warehouse expire --older-than 30d                       forget old snapshots that nothing names
  python -m warehouse doctor --fix                                  put right what interrupted programs left

A reference is namespace.table[@tag|@branch|@snapshot-id|@latest]. The warehouse is --root, else $CARAVAN_WAREHOUSE, else
./lake; its catalogue is $CARAVAN_CATALOGUE, else SQLite in the root. docs/warehouse.md tells more."""

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def main(argv: list[str] | None = None) -> int | None:
    arguments = _parser().parse_args(argv)
    w = warehouse.open(arguments.root, create=arguments.command == "init")
    command: Callable[[Warehouse, argparse.Namespace], int | None] = arguments.run
    return command(w, arguments)


def _init(w: Warehouse, arguments: argparse.Namespace) -> None:
    for name in contracts.names():
        w.table(name)
    show.say(f"warehouse {w.root} with {len(contracts.names())} tables")
    _tables(w, arguments)


def _tables(w: Warehouse, arguments: argparse.Namespace) -> None:
    show.tables(w)


def _log(w: Warehouse, arguments: argparse.Namespace) -> None:
    show.log(arguments.table, history.log(w, arguments.table), arguments.limit)


def _show(w: Warehouse, arguments: argparse.Namespace) -> None:
    show.table(w, resolve(w, arguments.ref), arguments.rows)


def _diff(w: Warehouse, arguments: argparse.Namespace) -> None:
    old, new = resolve(w, arguments.old), resolve(w, arguments.new)
    show.difference(diff.diff(w, old, new, arguments.examples))


def _tag(w: Warehouse, arguments: argparse.Namespace) -> None:
    resolved = resolve(w, arguments.ref)
    if resolved.snapshot_id is None:
        raise CaravanError(f"{resolved.table} has no snapshot yet, so there is nothing to tag.")
    tags.create(w, resolved.table, arguments.tag, resolved.snapshot_id)
    show.say(f"{resolved.table}@{arguments.tag} = {resolved} ({resolved.rows:,} rows)")


def _release(w: Warehouse, arguments: argparse.Namespace) -> None:
    if arguments.name is None:
        show.releases(releases.members(w), {(m.release, m.table) for m in releases.incomplete(w)})
        return
    if arguments.refs:
        tables = [resolve(w, ref) for ref in arguments.refs]
    else:
        held = releases.members(w, arguments.name)
        named = [f"{m.table}@{m.snapshot_id}" for m in held] or [name for name in w.tables() if name != releases.TABLE]
        tables = [resolved for ref in named if (resolved := resolve(w, ref)).snapshot_id is not None]
    show.releases(releases.create(w, arguments.name, tables, arguments.note), set())


def _publish(w: Warehouse, arguments: argparse.Namespace) -> None:
    snapshot_id = warehouse.publish(w, arguments.table, arguments.branch)
    show.say(f"{arguments.table}@latest = {resolve(w, f'{arguments.table}@{snapshot_id}')}")


def _sql(w: Warehouse, arguments: argparse.Namespace) -> None:
    resolved = at(w, arguments.ref)
    show.query(views(w, resolved), resolved, arguments)


def _expire(w: Warehouse, arguments: argparse.Namespace) -> None:
    names = [arguments.table] if arguments.table else w.tables()
    show.expired([expire.expire(w, name, arguments.older_than, arguments.dry_run) for name in names], arguments.dry_run)


def _doctor(w: Warehouse, arguments: argparse.Namespace) -> int:
    found = list(show.working("looking at every table", doctor.examine(w, arguments.grace, arguments.fix)))
    show.findings(found, w.root)
    return 1 if any(not finding.fixed for finding in found) else 0


def _duration(text: str) -> timedelta:
    matched = re.fullmatch(r"(\d+)([mhd])", text)
    if not matched:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write a number and m, h or d, such as 30d")
    return timedelta(**{UNITS[matched[2]]: int(matched[1])})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m warehouse",
        description="Look at a warehouse, name its snapshots, ask it in SQL, keep it tidy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--root", metavar="FOLDER", help="the warehouse (default: $CARAVAN_WAREHOUSE, else ./lake)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Callable[..., int | None], words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words, parents=[shared])
        added.set_defaults(run=function)
        return added

    add("init", _init, "make the warehouse and a table for each contract; harmless where they exist")
    add("tables", _tables, "list the tables: rows, files, size, snapshots, tags")
    each = add("log", _log, "list the snapshots of a table, newest first")
    each.add_argument("table", help="namespace.table")
    each.add_argument("--limit", type=int, default=20, help="how many (default 20; 0: all)")
    each = add("show", _show, "show the columns, the making and a few rows of a table at a reference")
    each.add_argument("ref", help="such as raw.prompts@v1")
    each.add_argument("--rows", type=int, default=5, help="rows to show (default 5)")
    each = add("diff", _diff, "compare two snapshots of a table by its key")
    each.add_argument("old", help="such as mixtures.sft@v1")
    each.add_argument("new", help="such as mixtures.sft@latest")
    each.add_argument("--examples", type=int, default=5, help="rows of each kind to show (default 5)")
    each = add("tag", _tag, "name a snapshot; a tag never moves")
    each.add_argument("ref", help="the snapshot, such as raw.prompts@latest")
    each.add_argument("tag", help="its new name")
    each = add("release", _release, "name snapshots of several tables at once; without a name, list the releases")
    each.add_argument("name", nargs="?", help="name of the release and of its tags")
    each.add_argument("refs", nargs="*", help="references (default: every table at its newest snapshot)")
    each.add_argument("--note", help="a sentence to keep with it")
    each = add("publish", _publish, "move a table forward to the head of a branch, and drop the branch")
    each.add_argument("table", help="namespace.table")
    each.add_argument("branch", help="the branch")
    each = add("sql", _sql, "run a query (DuckDB) over all tables at one reference; each is a view namespace.table")
    each.add_argument("query", help="such as 'select source, count(*) from raw.prompts group by 1'")
    each.add_argument("--ref", default="@latest", help="a tag, such as @v1 (default @latest)")
    each.add_argument(
        "--rows", type=int, default=40, help="rows to print as a table (default 40); --csv and --json print all"
    )
    form = each.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--json", action="store_true", help="print a JSON object a line")
    each = add(
        "expire", _expire, "forget old snapshots; kept are the newest and what a tag, a release or a branch names"
    )
    each.add_argument("table", nargs="?", help="namespace.table (default: every table)")
    each.add_argument(
        "--older-than", type=_duration, default=expire.KEPT, metavar="AGE", help="such as 30d (default 7d)"
    )
    each.add_argument("--dry-run", action="store_true", help="only say which")
    each = add(
        "doctor", _doctor, "find what interrupted programs left behind; exit code 1 where something is left to do"
    )
    each.add_argument("--fix", action="store_true", help="delete orphan files, drop old branches, complete releases")
    each.add_argument(
        "--grace", type=_duration, default=doctor.GRACE, metavar="AGE", help="leave alone what is younger (default 1d)"
    )
    return parser


if __name__ == "__main__":
    run(main)
