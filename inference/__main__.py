"""The command line of asking models: which models there are, what requests would cost, what a journal holds. Nothing here asks a model.

Run as: python -m inference COMMAND
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from inference import files, models, spend
from inference.models import Card
from inference.progress import clock
from warehouse.errors import CaravanError, run
from warehouse.settings import settings

if TYPE_CHECKING:
    from inference.held import Held

EXAMPLES = """examples:
  python -m inference models                                 all model cards: where, key, licence, price of today, limits
  python -m inference models --models mine.toml              with your own
  python -m inference models gpt-4o-2024-08-06               all that one card says
  python -m inference estimate questions.jsonl               what these requests would cost, likely and at most
  python -m inference estimate questions.jsonl --batch       the same through batch APIs
  python -m inference status                                 what the journals of the warehouse's jobs hold
  python -m inference status journals/mine                   what one journal holds, while a run goes on or after one

A key is set where the environment has the variable that the card names. A line of questions.jsonl is
  {"model": "gpt-4o-2024-08-06", "messages": [{"role": "user", "content": "Why?"}], "parameters": {"max_tokens": 200}}
Jobs estimate their own requests with --dry-run. docs/ask.md tells more."""

# Wide enough where the output is no terminal, such as a file or a pipe.
console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.run
    command(arguments)


def _models(arguments: argparse.Namespace) -> None:
    known = models.cards(arguments.models)
    if arguments.name is not None:
        _card(models.named(known, arguments.name))
        return
    grid = _grid("name", "provider", "urls", "key", "licence", "in / out, $ for 10⁶ tokens", "limits")
    for card in known.values():
        grid.add_row(
            card.name,
            card.provider,
            "\n".join(card.urls) or "none: say where",
            _key(card),
            card.licence,
            _price(card),
            _limits(card),
        )
    console.print(grid)


def _card(card: Card) -> None:
    grid = _grid("key", "value", title=card.name)
    told = {
        "provider": card.provider,
        "serves": card.served,
        "urls": "\n".join(card.urls) or "none: say where in a file of your own (--models)",
        "key": _key(card),
        "licence": card.licence,
        "terms": card.terms,
        "prices": "\n".join(f"since {each.since}: {each.input:g} in, {each.output:g} out" for each in card.prices),
        "batch_discount": "no batch API" if card.batch_discount is None else f"{card.batch_discount:g}",
        "limits": _limits(card),
        "renames": ", ".join(f"{name} = {other}" for name, other in (card.renames or {}).items()),
        "ends": str(card.ends) if card.ends else None,
        "note": card.note,
    }
    for name, value in told.items():
        if value:
            grid.add_row(name, value)
    console.print(grid)


def _estimate(arguments: argparse.Namespace) -> None:
    known = models.cards(arguments.models)
    asked = chain.from_iterable(files.requests(path, known) for path in arguments.files)
    found = spend.estimate(asked, known, arguments.batch)
    grid = _grid("model", "requests>", "tokens in>", "tokens out>", "likely>", "at most>")
    for model, each in sorted(found.items()):
        tokens = (f"about {number:,}" for number in (each.input_tokens, each.output_tokens))
        grid.add_row(model, f"{each.requests:,}", *tokens, _dollars(each.likely), _dollars(each.worst))
    console.print(grid)


def _status(arguments: argparse.Namespace) -> None:
    # Imported here because it brings the providers' packages along, which take a second to load.
    from inference import held

    if arguments.journal is not None:
        folders = [Path(arguments.journal)]
    else:
        place = settings(arguments.root)
        if not place.local:
            raise CaravanError(f"The warehouse {place.root} is no local folder and holds no journals. Name one.")
        folders = held.journals(f"{place.root}/.journals")
        if not folders:
            _say(f"There is no journal in {place.root}/.journals.")
    for folder in folders:
        _journal(held.held(folder))


def _journal(found: "Held") -> None:
    _say(f"{found.folder}: {f'in use by process {found.holder}' if found.holder else 'not in use'}")
    words = ", ".join(f"{number:,} {status}" for status, number in sorted(found.answers.items()))
    answers = found.answers.total()
    _say(
        f"  answers that are not in llm.responses yet: {f'{answers:,} ({words}; ${found.spent:,.4f})' if answers else 'none'}"
    )
    if found.open and found.holder:
        _say(f"  in flight, or waiting for another attempt: {len(found.open):,}")
    elif found.open:
        _say(f"  in doubt: {len(found.open):,} were in flight when a run was killed; the next run asks them again")
    if not found.batches:
        _say("  batches under way: none")
        return
    grid = _grid(
        "batch", "model", "at", "requests>", "attempt>", "state", "for>", "at most>", title="batches under way"
    )
    for chunk in found.batches:
        assert chunk.at is not None
        grid.add_row(
            chunk.batch or f"not known yet ({chunk.name[:8]})",
            chunk.model,
            urlsplit(chunk.url).netloc,
            f"{chunk.requests:,}",
            str(chunk.attempt),
            "with its provider" if chunk.batch else "being submitted, or in doubt",
            clock((datetime.now(UTC) - chunk.at).total_seconds()),
            _dollars(chunk.worst),
        )
    console.print(grid)


def _key(card: Card) -> str:
    if card.key is None:
        return "none needed"
    return f"{card.key} {'(set)' if os.environ.get(card.key) else '(not set)'}"


def _price(card: Card) -> str:
    at = models.price(card, datetime.now(UTC).date())
    if at is None:
        return "not known"
    batch = f", batch -{card.batch_discount:.0%}" if card.batch_discount else ""
    return f"{at.input:g} / {at.output:g}{batch}"


def _limits(card: Card) -> str:
    limits = {
        "requests a minute": card.requests_per_minute,
        "tokens a minute": card.tokens_per_minute,
        "context": card.context,
        "output": card.output,
    }
    told = [f"{name} {limit:,}" for name, limit in limits.items() if limit is not None]
    if card.ends is not None:
        told.append(f"ended {card.ends}" if card.ends <= datetime.now(UTC).date() else f"until {card.ends}")
    return ", ".join(told)


def _dollars(amount: float | None) -> str:
    if amount is None:
        return "not known"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def _say(words: str) -> None:
    console.print(words, markup=False, soft_wrap=True)


def _grid(*names: str, title: str | None = None) -> Table:
    """A table; a name that ends in > has its numbers to the right."""
    grid = Table(title=title, title_justify="left")
    for name in names:
        grid.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
    return grid


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference",
        description="Which models there are, what requests would cost, what a journal holds. Asks no model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cards = argparse.ArgumentParser(add_help=False)
    cards.add_argument("--models", metavar="FILE", help="TOML file of model cards of your own")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    words = "list the model cards, or show one"
    each = commands.add_parser("models", help=words, description=words, parents=[cards])
    each.add_argument("name", nargs="?", help="a card (default: all, in a table)")
    each.set_defaults(run=_models)

    words = "say what requests would cost at the prices of today, likely and at most, by model"
    each = commands.add_parser("estimate", help=words, description=words, parents=[cards])
    each.add_argument(
        "files", nargs="+", metavar="FILE", help="JSON lines, or Parquet with the columns of llm.requests"
    )
    each.add_argument("--batch", action="store_true", help="through batch APIs")
    each.set_defaults(run=_estimate)

    words = "say what journals hold: answers, requests in doubt, batches under way; disturbs no run"
    each = commands.add_parser("status", help=words, description=words)
    each.add_argument("journal", nargs="?", metavar="JOURNAL", help="its folder (default: all of the warehouse)")
    each.add_argument("--root", metavar="FOLDER", help="the warehouse (default: $CARAVAN_WAREHOUSE, else ./lake)")
    each.set_defaults(run=_status)
    return parser


if __name__ == "__main__":
    run(main)
