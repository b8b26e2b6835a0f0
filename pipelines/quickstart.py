"""The whole recipe on the bundled samples: ingest, decontaminate, deduplicate, build and publish a mixture, look at it in SQL.

Everything it makes is in the folder quickstart/. Stop it at any time and run it again: it goes on. Once its release is made, a
further run only shows the results.

Run as: make quickstart
    or: python -m pipelines.quickstart [FOLDER]
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

import warehouse
from warehouse import releases
from warehouse.errors import CaravanError, run

ROOT = Path(__file__).resolve().parent.parent
RELEASE = "quickstart"
MIXTURES = ["quickstart", "quickstart_commercial"]

# What each stage left, said in one line by a query.
STAGES = {
    "samples": "select format('{} training sets, {} evaluations', count_if(kind = 'training'), count_if(kind = 'evaluation')) from raw.sources",
    "ingest": """select format('{} prompts, {} instances, {} records refused',
        (select count(*) from raw.prompts), (select count(*) from raw.eval_instances), (select count(*) from raw.rejects))""",
    "decontaminate": "select format('{} pairs of a prompt and an instance', count(*)) from attr.contamination",
    "deduplicate": "select format('{} rows are equal to another, {} nearly', count_if(kind = 'exact'), count_if(kind = 'near')) from attr.duplicates",
    "build": "select string_agg(line, ', ') from (select format('{}: {} rows', mixture, count(*)) as line from mixtures.sft group by mixture order by 1)",
    "release": f"select '{RELEASE}: one name for the snapshots of all tables'",
}

SESSION = [
    (
        "Which training set holds how much of which evaluation, and what follows",
        """select source, eval_set, suite, instances, overlapped_ngram + overlapped_exact as overlapped,
    if(contaminated, 'remove the ' || action, 'keep') as what_follows
from intermediate.int_contaminated_sets
where overlapped > 0 order by source, eval_set""",
    ),
    (
        "What was left out of the mixture, and why",
        """select source, reason, count(*) as rows, any_value(detail) as example
from intermediate.int_removals where mixture in ('*', 'quickstart')
group by all order by all""",
    ),
    (
        "Licences in the mixture, and what they permit",
        """select licence, terms.commercial, attribution, share_alike, count(*) as rows, string_agg(distinct source, ', ') as sources
from marts.mart_sft_mixture
inner join (select distinct licence, commercial, attribution, share_alike from intermediate.int_licences) as terms using (licence)
where mixture = 'quickstart'
group by all order by rows desc""",
    ),
    (
        "Where row 0 of the mixture comes from",
        """select source, location, file, row, sft.licence, sft.model, left(messages[1].content, 60) as prompt
from mixtures.sft inner join raw.sources using (source)
where mixture = 'quickstart' and position = 0""",
    ),
]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="quickstart", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        nargs="?",
        default=str(ROOT / "quickstart"),
        type=str,
        help="where everything goes (default: quickstart/)",
    )
    folder = Path(parser.parse_args(arguments).folder).absolute()
    if not (ROOT / "samples").is_dir():
        raise CaravanError(
            f"The quickstart needs the samples and the SQL of the repository, and {ROOT} has none: run it from a checkout."
        )
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    os.environ |= {
        "CARAVAN_WAREHOUSE": str(folder / "lake"),
        "CARAVAN_DUCKDB": str(folder / "caravan.duckdb"),
        "DBT_PROFILES_DIR": str(ROOT),
    }
    os.environ.pop("CARAVAN_CATALOGUE", None)
    w = warehouse.open()
    times = folder / "times.json"
    seconds: dict[str, float] = json.loads(times.read_text()) if times.exists() else {}
    if releases.members(w, RELEASE):
        console.print(f"The release {RELEASE} is in {w.root} already; remove {folder} to make it again.")
    else:
        for name, command in commands(folder).items():
            seconds[name] = stage(console, folder, name, command)
            times.write_text(json.dumps(seconds))
    report(console, folder, seconds)


def commands(folder: Path) -> dict[str, list[str]]:
    """The command of each stage. All but the last may be repeated without harm."""
    python = [sys.executable, "-m"]
    declared = tomllib.loads((ROOT / "samples" / "sources.toml").read_text(encoding="utf-8"))
    sources = [word for kind in ("training", "evaluation") for name in declared[kind] for word in ("--source", name)]
    variables = json.dumps({"mixtures": MIXTURES, "duplicates": "near"})
    dbt = [str(Path(sys.executable).with_name("dbt")), "--log-path", str(folder / "logs"), "build"]
    return {
        "samples": [sys.executable, str(ROOT / "samples" / "evaluations.py"), str(folder / "data")],
        "ingest": [*python, "pipelines.ingest", "--registry", str(folder / "data" / "sources.toml"), *sources],
        "decontaminate": [*python, "pipelines.decontaminate"],
        "deduplicate": [*python, "pipelines.deduplicate"],
        "build": [*dbt, "--target-path", str(folder / "target"), "--select", "+sft", "--vars", variables],
        "release": [*python, "warehouse", "release", RELEASE],
    }


def stage(console: Console, folder: Path, name: str, command: list[str]) -> float:
    """Run a stage, its output in a log file; returns the seconds it took. Raises CaravanError with the end of the log where it fails."""
    log = folder / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    started = time.monotonic()
    with console.status("") as status, log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            while process.poll() is None:
                status.update(f"{name}: {time.monotonic() - started:.0f} s")
                time.sleep(0.2)
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise CaravanError(
            f"The stage {name} failed. {log} ends:\n\n{end}\n\nMend it and run the same command again: it goes on."
        )
    seconds = time.monotonic() - started
    console.print(f"{name}: done in {seconds:.1f} s")
    return seconds


def report(console: Console, folder: Path, seconds: dict[str, float]) -> None:
    """Print the stages, and a session in SQL with what it answers."""
    with duckdb.connect(str(folder / "caravan.duckdb"), read_only=True) as connection:
        released = Table("stage", "seconds", "what there is now", title="Stages")
        for name, query in STAGES.items():
            released.add_row(name, f"{seconds.get(name, 0):.1f}", escape(str(answer(connection, query)[1][0][0])))
        released.add_row("all", f"{sum(seconds.values()):.1f}", "")
        console.print(released)
        for title, query in SESSION:
            console.print(f"\n[bold]{title}[/bold]")
            console.print(Syntax(query, "sql", background_color="default", word_wrap=True))
            columns, rows = answer(connection, query)
            table = Table(*columns)
            for row in rows:
                table.add_row(*(escape("" if value is None else str(value)) for value in row))
            console.print(table)
    lake = folder / "lake"
    console.print(
        f"\nAsk more: duckdb.connect('{folder / 'caravan.duckdb'}', read_only=True) in Python, or", soft_wrap=True
    )
    console.print(f'  python -m warehouse sql --root {lake} --ref @{RELEASE} "from raw.rejects"', soft_wrap=True)


def answer(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows."""
    result = connection.sql(query)
    return result.columns, result.fetchall()


if __name__ == "__main__":
    run(main)
