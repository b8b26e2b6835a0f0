"""Prompt templates: text files under pipelines/templates, versioned by their content.

A template is written for `string.Template`: `$name` is a field, `$$` a dollar sign. Its version is a hash of the text, so a request
says with `Template.id` by which words it was made, and another wording is another request.
"""

import hashlib
import string
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from pyspark.sql import Column
from pyspark.sql import functions as F

from warehouse.errors import CaravanError

_FOLDER = resources.files("pipelines") / "templates"  # inside a zip too


@dataclass(frozen=True)
class Template:
    """A text with fields. `name` is its path under pipelines/templates without `.txt`."""

    name: str
    version: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def fields(self) -> list[str]:
        """Names of the fields, in the order in which they first occur."""
        return string.Template(self.text).get_identifiers()

    def render(self, **fields: str) -> str:
        """The text with its fields filled. KeyError for a field that is not given."""
        return string.Template(self.text).substitute(fields)

    def column(self, **fields: Column) -> Column:
        """The text with its fields filled from columns; null where one of them is. KeyError for a field that is not given."""
        parts, end = [], 0
        for hit in string.Template.pattern.finditer(self.text):
            name = hit["named"] or hit["braced"]
            parts += [F.lit(self.text[end : hit.start()]), fields[name] if name else F.lit("$")]
            end = hit.end()
        return F.concat(*parts, F.lit(self.text[end:]))


def of(name: str, text: str) -> Template:
    """A template of this text. Raises CaravanError for a dollar sign that is neither a field nor doubled."""
    if not string.Template(text).is_valid():
        raise CaravanError(f"The template {name!r} holds a '$' that begins no field: write '$$' for a dollar sign.")
    return Template(name, hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8], text)


@cache
def template(name: str) -> Template:
    """The template pipelines/templates/<name>.txt. Raises CaravanError naming those that there are."""
    path = _FOLDER.joinpath(f"{name}.txt")
    if name not in names():
        raise CaravanError(f"There is no template {name!r}. There are: {', '.join(names())}.")
    # The line end before the end of the file belongs to the file, not to the prompt.
    return of(name, path.read_text(encoding="utf-8").removesuffix("\n"))


def names(prefix: str = "") -> list[str]:
    """The templates whose names begin so, sorted."""
    return sorted(name for name in _walk(_FOLDER, "") if name.startswith(prefix))


def _walk(folder: Traversable, path: str) -> list[str]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(".txt"):
            found.append(path + entry.name.removesuffix(".txt"))
    return found
