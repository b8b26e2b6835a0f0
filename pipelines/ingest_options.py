"""The command line of pipelines.ingest: a source of the registry, one with changes, or one declared as a whole."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines import files, registry
from pipelines.registry import Registry, Source
from warehouse.errors import CaravanError


def chosen(arguments: argparse.Namespace, known: Registry) -> tuple[list[Source], Registry]:
    if arguments.all:
        return [known.get(name) for name in known.names()], known
    if not arguments.source:
        raise CaravanError("Nothing to read: name a source with --source NAME (list them with --list), or give --all.")
    given = {
        "input": arguments.input,
        "pair": arguments.pair,
        "format": arguments.format,
        "columns": arguments.columns and arguments.columns.split(","),
        "adapter": arguments.adapter,
        "fields": {role: c.split(",") if "," in c else c for role, c in _pairs(arguments.field, "--field").items()},
        "constants": _pairs(arguments.constant, "--constant"),
        "where": {column: p.split(",") for column, p in _pairs(arguments.where, "--where").items()},
        "clean": arguments.clean,
        "match": arguments.match,
        "reference": arguments.reference,
        "subset": arguments.subset,
        "suite": arguments.suite,
        "licence": arguments.licence,
        "hub": arguments.hub,
        "config": arguments.config,
        "split": arguments.split,
        "revision": arguments.revision,
        "skill": arguments.skill,
        "parents": arguments.parent,
        "consent": arguments.consent,
    }
    given = {key: value for key, value in given.items() if value}
    if given and len(arguments.source) > 1:
        raise CaravanError(
            f"--{next(iter(given))} describes one source, and there are {len(arguments.source)}: use a TOML file (--registry)."
        )
    if not given:
        return [known.get(name) for name in arguments.source], known
    source = registry.from_command_line(known, arguments.source[0], given)
    return [source], registry.extend(known, source)


def _pairs(values: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals or not key or not rest:
            raise CaravanError(f"{option} {value!r}: write {option} NAME=VALUE.")
        found[key] = rest
    return found


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        description="Read data sets and evaluations into the warehouse.",
        epilog="""examples:
  --source wildchat --source gsm8k                      two sources of the registry, streamed from the hub
  --source gsm8k --input 'downloads/gsm8k/*.parquet'    the same source from files
  --source mine --input mine.jsonl --adapter prompt_completion --field prompt=question --field completion=answer --licence MIT
  --source myeval --input eval.csv --match question --reference answer --suite development --licence MIT
  --registry my.toml --source mine                      a source that your own file declares
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parsed.add_argument
    add("--source", action="append", default=[], help="name of a source; several may be given")
    add("--all", action="store_true", help="every source and evaluation of the registry")
    add("--list", action="store_true", help="show the registry and stop")
    add("--registry", action="append", default=[], type=Path, metavar="FILE", help="TOML file with sources of your own")
    add("--warehouse", metavar="ROOT", help="folder or URI of the warehouse (default: $CARAVAN_WAREHOUSE, else ./lake)")
    one = parsed.add_argument_group("about one source (replaces what the registry says, or declares a new one)")
    add = one.add_argument
    add("--input", nargs="+", metavar="PATH", help="files, folders, quoted globs or URLs to read instead of the hub")
    add("--pair", metavar="PATH", help="line-aligned file(s) with the answers, for the adapter text")
    add("--format", help=f"format, where the name does not tell it: {', '.join(files.FORMATS)}")
    add("--columns", metavar="A,B,C", help="names of the columns of a CSV or TSV file without a header")
    add("--adapter", help=f"shape of the records: {', '.join(registry.ADAPTERS)}")
    add("--field", action="append", default=[], metavar="ROLE=COLUMN", help="column of a role, such as prompt=question")
    add(
        "--constant",
        action="append",
        default=[],
        metavar="ROLE=VALUE",
        help="value for all records, such as model=human",
    )
    add(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=PATTERN",
        help="take only these records, such as model=gpt-4*",
    )
    add("--clean", nargs="+", metavar="REPAIR", help=f"repairs of the text: {', '.join(registry.CLEAN)}")
    add("--match", nargs="+", metavar="COLUMN", help="makes it an evaluation: the columns that decontamination matches")
    add("--reference", metavar="COLUMN", help="column of an evaluation's right answer")
    add("--subset", metavar="COLUMN", help="column of an evaluation's subtask, or path:REGEX over the file's path")
    add("--suite", help="suite of an evaluation: development or unseen")
    add("--licence", metavar="SPDX", help="SPDX expression; LicenseRef-Unstated where nobody states one")
    add("--hub", metavar="ID", help="Hugging Face data set")
    add("--config", help="configuration of the hub data set, '*' for all")
    add("--split", help="split of the hub data set")
    add("--revision", help="revision of the hub data set")
    add("--skill", help="skill that it teaches or tests")
    add(
        "--parent",
        nargs="+",
        metavar="NAME",
        help="sources of the registry that it was made from; their licences count",
    )
    add("--consent", help="how the people who wrote it agreed to its release")
    return parsed
