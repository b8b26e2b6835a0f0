"""Model cards: where a model is asked, under which terms, at what price since when.

`models.toml` beside this file holds the built-in cards. Users add their own with a file of the same form, [model.NAME]; keys that it
gives for a built-in name replace those of the built-in card. docs/ask.md explains every key. A card never holds a key for an API, only
the name of the environment variable that does.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from warehouse import licences
from warehouse.errors import CaravanError

BUILT_IN = resources.files("inference") / "models.toml"
PROVIDERS = ("openai", "anthropic")  # the protocol that the URLs speak
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
NOBODY = "none"  # sent as the key where an endpoint asks for none: the client packages insist on a text


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens, from a day on."""

    since: date
    input: float
    output: float


@dataclass(frozen=True)
class Card:
    """A model as models.toml declares it; docs/ask.md explains the keys."""

    name: str
    provider: str
    licence: str
    urls: tuple[str, ...] = ()
    key: str | None = None  # the environment variable that holds the key
    serves: str | None = None  # what the endpoint calls the model (default: its name)
    terms: str | None = None
    prices: tuple[Price, ...] = ()
    batch_discount: float | None = None  # 0.5: a batch costs half. None: there is no batch API
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    context: int | None = None  # tokens of prompt and answer together
    output: int | None = None  # tokens of an answer, at most
    renames: Mapping[str, str] | None = None  # parameters that this model knows by another name
    ends: date | None = None  # the day its provider switches it off
    note: str | None = None

    @property
    def served(self) -> str:
        """The name that goes over the wire."""
        return self.serves or self.name

    @property
    def text_licence(self) -> str | None:
        """What binds text that the model writes; None where nothing does: an open licence of weights says nothing of what they write."""
        return self.licence if "LicenseRef-" in self.licence else None

    def secret(self) -> str:
        """The key from the environment. Raises CaravanError where its variable is not set."""
        if self.key is None:
            return NOBODY
        value = os.environ.get(self.key, "").strip()  # as a file with a line end gives it
        if not value:
            raise CaravanError(
                f"The model '{self.name}' needs a key: set the environment variable {self.key}, such as with export {self.key}=…"
            )
        return value


def cards(path: str | Path | None = None) -> dict[str, Card]:
    """The built-in cards with those of a user's file. Raises CaravanError naming file, card and key for what cannot be read."""
    tables = _read(BUILT_IN)
    where = dict.fromkeys(tables, "inference/models.toml")
    if path is not None:
        for name, table in _read(Path(path)).items():
            tables[name] = {**tables.get(name, {}), **table}
            where[name] = str(path)
    return {name: _card(name, table, where[name]) for name, table in tables.items()}


def named(known: Mapping[str, Card], name: str) -> Card:
    """The card of that name. Raises CaravanError for an unknown one."""
    card = known.get(name)
    if card is None:
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise CaravanError(
            f"There is no model card '{name}'. {hint}`python -m inference models` lists all; declare your own in a TOML file (--models)."
        )
    return card


def find(known: Mapping[str, Card], name: str) -> Card:
    """The card of that name, ready to be asked. Raises CaravanError for an unknown one and for one without URLs."""
    card = named(known, name)
    if not card.urls:
        raise CaravanError(
            f"The model card '{name}' has no urls: nobody serves it but you. Say where in a TOML file (--models): "
            f'[model."{name}"] and urls = ["http://localhost:8000/v1"].'
        )
    return card


def price(card: Card, on: date) -> Price | None:
    """What the model costs on a day; None where no price is known for it."""
    begun = [each for each in card.prices if each.since <= on]
    return max(begun, key=lambda each: each.since, default=None)


def cost(card: Card, input_tokens: int, output_tokens: int, on: date, batch: bool = False) -> float | None:
    """US dollars for so many tokens on a day; None where no price is known."""
    at = price(card, on)
    if at is None:
        return None
    share = 1 - card.batch_discount if batch and card.batch_discount else 1.0
    return share * (input_tokens * at.input + output_tokens * at.output) / 1_000_000


def _read(path: Traversable) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaravanError(f"There is no file of model cards {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaravanError(f"{path} is not valid TOML: {error}.") from error
    for kind in tables:
        if kind != "model":
            raise CaravanError(f"{path}: '{kind}' is no model card. Write [model.NAME] and its keys below.")
    found = tables.get("model", {})
    for name, table in found.items():
        if not isinstance(table, dict) or any(
            isinstance(value, dict) for key, value in table.items() if key != "renames"
        ):
            raise CaravanError(
                f'{path}: [model.{name}] is no model card. Write [model."NAME"], in quotes where the name has a dot, and its keys below.'
            )
    return found


_KINDS: dict[str, tuple[type, ...]] = {
    "urls": (list, str),
    "prices": (list,),
    "batch_discount": (float, int),
    "requests_per_minute": (int,),
    "tokens_per_minute": (int,),
    "context": (int,),
    "output": (int,),
    "renames": (dict,),
    "ends": (date,),
}


def _card(name: str, table: Mapping[str, Any], where: str) -> Card:
    """A card from its keys; `where` names the file in errors."""
    known = [field.name for field in fields(Card) if field.name != "name"]
    for key, value in table.items():
        if key not in known:
            raise _wrong(where, name, key, f"is unknown. Keys: {', '.join(known)}")
        if not isinstance(value, _KINDS.get(key, (str,))) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in _KINDS.get(key, (str,)))
            raise _wrong(where, name, key, f"must be of the kind {wanted}")
    for key in ("provider", "licence"):
        if key not in table:
            raise _wrong(where, name, key, "is missing")
    if table["provider"] not in PROVIDERS:
        raise _wrong(where, name, "provider", f"names the protocol and is one of {', '.join(PROVIDERS)}")
    try:
        licences.permitted(table["licence"])
    except CaravanError as error:
        raise _wrong(where, name, "licence", str(error).rstrip(".")) from error
    # The wrong value is not repeated: it may be the key itself.
    if (variable := table.get("key")) and not VARIABLE.fullmatch(variable):
        raise _wrong(
            where, name, "key", "must name the environment variable that holds the key, such as OPENAI_API_KEY"
        )
    for key in ("requests_per_minute", "tokens_per_minute", "context", "output"):
        if table.get(key, 1) < 1:
            raise _wrong(where, name, key, "is a whole number from 1; leave it out where there is no limit")
    if not 0 <= table.get("batch_discount", 0) < 1:
        raise _wrong(where, name, "batch_discount", "is a share from 0 to 1, such as 0.5 for half the price")
    urls = [table["urls"]] if isinstance(table.get("urls"), str) else table.get("urls", [])
    values = {key: value or None for key, value in table.items()} | {
        "urls": tuple(_url(url, name, where) for url in urls),
        "prices": tuple(_price(each, name, where) for each in table.get("prices", [])),
        "batch_discount": table.get("batch_discount"),
    }
    return Card(name=name, **values)


def _url(url: Any, name: str, where: str) -> str:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong(where, name, "urls", "lists addresses that begin with http:// or https://")
    if parts.username or parts.password or parts.query:
        raise _wrong(
            where, name, "urls", "holds credentials or a query: put the key into a variable and name it with key"
        )
    return str(url).rstrip("/")


def _price(each: Any, name: str, where: str) -> Price:
    wanted: dict[str, Any] = {"since": date, "input": (int, float), "output": (int, float)}
    if (
        not isinstance(each, dict)
        or set(each) != set(wanted)
        or not all(isinstance(each[k], v) for k, v in wanted.items())
    ):
        raise _wrong(
            where,
            name,
            "prices",
            "lists prices such as { since = 2025-01-31, input = 2.5, output = 10 }, dollars for 10^6 tokens",
        )
    return Price(each["since"], float(each["input"]), float(each["output"]))


def _wrong(where: str, name: str, key: str, words: str) -> CaravanError:
    return CaravanError(f"{where}: the key '{key}' of [model.{name}] {words}.")
