"""The registry of sources: what is read, from where, with which adapter, under which licence, made from what.

`sources.toml` beside this file lists the sources of the recipe. Users add their own with a file of the same form.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pipelines import files
from pipelines import shots as worked
from pipelines.adapters import ADAPTERS, CLEAN, ROLES, VERSION
from warehouse import licences
from warehouse.errors import CaravanError

BUILT_IN = resources.files("pipelines") / "sources.toml"  # inside a zip too
Patterns = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A data set as the registry declares it. docs/ingest.md explains the keys, which are the same in TOML."""

    name: str
    kind: str  # training, evaluation, or part: a data set that others are made of and that is not read itself
    licence: str
    title: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str = "main"
    gated: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Patterns = ()
    format: str | None = None
    columns: Patterns | None = None
    pair: str | None = None
    adapter: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    clean: Patterns = ()
    shots: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Patterns] = field(default_factory=dict)
    group: str | None = None
    match: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    subset: str | None = None
    suite: str | None = None
    skill: str | None = None
    parents: Patterns = ()
    parts: Mapping[str, Any] = field(default_factory=dict)
    models: Patterns = ()
    consent: str | None = None
    rows: int | None = None
    note: str | None = None

    @property
    def location(self) -> str:
        """What is read, as declared."""
        if self.input:
            return " ".join((*self.input, self.pair) if self.pair else self.input)
        return "/".join(part for part in (self.hub, self.config, self.split) if part)

    @property
    def how(self) -> str:
        """The adapter with all that it was told, so that another way of reading counts as a change."""
        told = {
            "format": self.format,
            "columns": self.columns,
            "fields": dict(self.fields),
            "constants": dict(self.constants),
            "clean": self.clean,
            "shots": worked.told(self.shots) if self.shots else None,
            "group": self.group,
            "match": dict(self.match),
            "reference": self.reference,
            "subset": self.subset,
        }
        words = [f"{key}={value!r}" for key, value in told.items() if value]
        return " ".join([f"{self.adapter or 'evaluation'}@{VERSION}", *words])

    @property
    def filter(self) -> str | None:
        """`where` in words."""
        words = [f"{column} is {' or '.join(yes)}" for column, (yes, _) in self._patterns() if yes]
        words += [f"{column} is not {' nor '.join(no)}" for column, (_, no) in self._patterns() if no]
        return "; ".join(words) or None

    def takes(self, column: str, value: str) -> bool:
        """Whether `where` takes a record with this value in this column."""
        yes, no = _divide(self.where[column])
        return (not yes or any(fnmatchcase(value, p) for p in yes)) and not any(fnmatchcase(value, p) for p in no)

    def _patterns(self) -> list[tuple[str, tuple[list[str], list[str]]]]:
        return [(column, _divide(patterns)) for column, patterns in self.where.items()]


def _divide(patterns: Patterns) -> tuple[list[str], list[str]]:
    """Patterns to take and, marked with '!', to leave out."""
    return [p for p in patterns if not p.startswith("!")], [p[1:] for p in patterns if p.startswith("!")]


@dataclass(frozen=True)
class Registry:
    """Sources by name; data sets that are left out on purpose, each with the reason; whose terms bind the text of which models."""

    sources: Mapping[str, Source]
    excluded: Mapping[str, str]
    terms: Mapping[str, str]

    def get(self, name: str) -> Source:
        """The source of that name. CaravanError for one that is unknown, excluded, or only a part of others."""
        if name in self.excluded:
            raise CaravanError(f"The source '{name}' is excluded on purpose: {self.excluded[name]}")
        source = self.sources.get(name)
        if source is None:
            close = difflib.get_close_matches(name, [*self.names(), *self.excluded], 3, 0.5)
            hint = f"Did you mean {' or '.join(close)}?" if close else "List all with --list."
            raise CaravanError(
                f"There is no source '{name}' in the registry. {hint} To read files of your own, add --input, --adapter and "
                "--licence, or declare the source in a TOML file (--registry)."
            )
        if source.kind == "part":
            raise CaravanError(
                f"'{name}' is declared only as a part of other sources: it has no adapter. Declare it in a TOML file (--registry)."
            )
        return source

    def names(self, kind: str | None = None) -> list[str]:
        return [n for n, s in self.sources.items() if s.kind != "part" and kind in (None, s.kind)]

    def licence(self, source: Source) -> str:
        """The SPDX expression of all that went into a source: its licence and its parents', and the terms of the models that wrote it."""
        return licences.combine(term for s in (source, *self.ancestors(source)) for term in self._own(s))

    def licences(self, source: Source) -> dict[str, str]:
        """Licences of a source's rows by pattern of its part column; "" is the licence of the whole source, for all else."""
        parts = {
            pattern: licences.combine([*self._own(source), self.licence(self.sources[name])])
            for pattern, name in source.parts.get("names", {}).items()
        }
        return {**parts, "": self.licence(source)}

    def _own(self, source: Source) -> list[str]:
        return [source.licence, *(term for model in source.models for term in terms_of(model, self.terms) or ())]

    def ancestors(self, source: Source) -> list[Source]:
        found: dict[str, Source] = {}
        waiting = list(source.parents)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self.sources[name]
                waiting += found[name].parents
        return list(found.values())


def terms_of(model: str, terms: Mapping[str, str]) -> list[str] | None:
    """The terms that bind text of a model, whose name may have folders before it (`meta-llama/…`); None where no pattern knows it."""
    name = model.rsplit("/", 1)[-1].lower()
    found = [term for pattern, term in terms.items() if fnmatchcase(name, pattern.lower())]
    return [term for term in found if term] if found else None


def load(*paths: str | Path) -> Registry:
    """The built-in registry with the sources of these files, which replace those of the same name.

    Paths in a file are relative to it; environment variables in them are replaced. Raises CaravanError naming file and source
    for what is not TOML, an unknown key or adapter, a missing licence, an unknown parent.
    """
    sources: dict[str, Source] = {}
    excluded: dict[str, str] = {}
    terms: dict[str, str] = {}
    for path in (BUILT_IN, *map(Path, paths)):
        folder = path.parent if isinstance(path, Path) else Path()
        for kind, tables in _read(path).items():
            if kind == "terms":
                terms |= _terms(tables, str(path))
                continue
            for name, table in tables.items():
                if not isinstance(table, dict):
                    raise CaravanError(
                        f"{path}: '{name}' in [{kind}] is no table. Write [{kind}.{name}] and its keys below."
                    )
                if kind == "excluded":
                    if not isinstance(table.get("reason"), str):
                        raise CaravanError(f'{path}: [excluded.{name}] gives no reason. Write reason = "…".')
                    excluded[name] = table["reason"]
                    continue
                sources[name] = declare(name, kind, table, folder, str(path))
                excluded.pop(name, None)
    registry = Registry(sources, excluded, terms)
    for source in sources.values():
        _check_links(source, registry)
    return registry


def extend(registry: Registry, source: Source) -> Registry:
    """The registry with one more source."""
    extended = Registry({**registry.sources, source.name: source}, registry.excluded, registry.terms)
    _check_links(source, extended)
    return extended


def declare(name: str, kind: str, table: Mapping[str, Any], folder: Path, where: str) -> Source:
    """A source from its keys; `where` names the file or command line in errors."""
    known = {f.name: f for f in fields(Source)} | {"name": None, "kind": None}
    unknown = sorted(set(table) - (set(known) - {"name", "kind"}))
    if unknown:
        raise CaravanError(
            f"{where}: the source '{name}' has the unknown key '{unknown[0]}'. Keys: {', '.join(sorted(set(known) - {'name', 'kind'}))}."
        )
    if "licence" not in table:
        raise CaravanError(
            f"{where}: the source '{name}' states no licence. Give its SPDX identifier, or LicenseRef-Unstated."
        )
    values = {k: _value(k, v, folder) for k, v in table.items()}
    source = Source(name=name, kind=kind, **values)
    if kind != "part":
        _check(source, where)
    return source


def _value(key: str, value: Any, folder: Path) -> Any:
    if key in ("input", "pair"):
        patterns = [_path(p, folder) for p in ([value] if isinstance(value, str) else value)]
        return patterns[0] if key == "pair" else tuple(patterns)
    if key == "match" and not isinstance(value, dict):
        return {column.split(".")[-1]: column for column in ([value] if isinstance(value, str) else value)}
    if key == "where":
        return {column: _tuple(patterns) for column, patterns in value.items()}
    return _tuple(value) if key in ("columns", "clean", "parents", "models") else value


def _tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _path(path: str, folder: Path) -> str:
    expanded = os.path.expandvars(os.path.expanduser(path))
    return expanded if "://" in expanded else str(folder / expanded)


def _read(path: Traversable) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            tables = tomllib.load(stream)
    except FileNotFoundError:
        raise CaravanError(f"There is no registry file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaravanError(f"{path} is not valid TOML: {error}.") from error
    for kind, table in tables.items():
        if kind not in ("training", "evaluation", "part", "excluded", "terms") or not isinstance(table, dict):
            raise CaravanError(
                f"{path}: '{kind}' is not a kind of source. Write [training.NAME], [evaluation.NAME], [part.NAME] or [excluded.NAME]."
            )
    return tables


def _terms(patterns: Mapping[str, Any], where: str) -> dict[str, str]:
    """Patterns of models' names with the licence expressions that bind their text; "" binds nothing."""
    for pattern, term in patterns.items():
        if not isinstance(term, str):
            raise CaravanError(f"{where}: the terms of '{pattern}' are no text. Write a licence, or \"\" for none.")
        try:
            licences.combine([term or "CC0-1.0"])
        except CaravanError as error:
            raise CaravanError(f"{where}: the terms of '{pattern}': {error}") from error
    return dict(patterns)


def _check(source: Source, where: str) -> None:
    problem = _problem(source)
    if problem:
        raise CaravanError(f"{where}: the source '{source.name}' {problem}")


def _problem(source: Source) -> str | None:  # noqa: PLR0911
    if not source.input and not source.hub:
        return "has neither input (files) nor hub (a Hugging Face data set)."
    if source.kind == "training" and source.adapter not in ADAPTERS:
        return f"names the adapter {source.adapter!r}. Adapters: {', '.join(ADAPTERS)}."
    if source.kind == "evaluation" and not source.match:
        return "does not say which columns decontamination matches (match)."
    if source.kind == "evaluation" and source.suite not in ("development", "unseen"):
        return f"has the suite {source.suite!r}: say development or unseen."
    if source.kind == "evaluation" and (source.adapter or source.fields):
        return "is an evaluation, which has no adapter and no fields: match and reference name its columns."
    for role in source.fields:
        if role not in ROLES[source.adapter or ""]:
            return f"names a column for '{role}', which {source.adapter} does not know. Roles: {', '.join(ROLES[source.adapter or ''])}."
    for name in source.clean:
        if name not in CLEAN:
            return f"asks for the repair '{name}'. Repairs: {', '.join(CLEAN)}."
    if source.shots and (wrong := worked.problem(source.shots)):
        return wrong
    if source.format and source.format not in files.FORMATS:
        return f"has the format '{source.format}'. Formats: {', '.join(files.FORMATS)}."
    return None


def _check_links(source: Source, registry: Registry) -> None:
    """Parents exist and licences can be read."""
    names = [*source.parents, *source.parts.get("names", {}).values()]
    missing = [name for name in names if name not in registry.sources]
    if missing:
        raise CaravanError(
            f"The source '{source.name}' names the parent '{missing[0]}', which no registry file declares ([part.{missing[0]}])."
        )
    try:
        registry.licence(source)
    except CaravanError as error:
        raise CaravanError(f"The licence of the source '{source.name}': {error}") from error


def from_command_line(registry: Registry, name: str, given: Mapping[str, Any]) -> Source:
    """A source of the registry with what the command line says otherwise, or a new one that is all on the command line."""
    given = {k: v for k, v in given.items() if v}
    folder = Path.cwd()
    if name in registry.sources and registry.sources[name].kind != "part":
        old = registry.get(name)
        changed = {k: _value(k, v, folder) for k, v in given.items()}
        source = replace(old, **changed)
        _check(source, "command line")
        return source
    if not given:
        return registry.get(name)
    if name in registry.excluded:
        registry.get(name)
    if not given.get("input"):
        registry.get(name)
    kind = "evaluation" if given.get("match") else "training"
    return declare(name, kind, given, folder, "command line")
