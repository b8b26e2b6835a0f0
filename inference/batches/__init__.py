"""Batch APIs: OpenAI's Batch API and Anthropic's Message Batches, at half the price and within a day.

with Journal(folder) as journal:
    summary = run(requests, cards(), journal, Batching(budget=20.0))
"""

from collections.abc import Iterable, Mapping

from inference.batches.engine import Batching, Engine
from inference.batches.ledger import waiting
from inference.journal import Journal
from inference.models import Card
from inference.request import Request
from inference.send import Summary

__all__ = ["Batching", "run", "waiting"]


def run(
    requests: Iterable[Request], cards: Mapping[str, Card], journal: Journal, how: Batching | None = None
) -> Summary:
    """Ask every request that the journal has no answer for, in batches; the answers are in the journal when this returns.

    Batches that are under way from an earlier run are taken up first, and none of their requests is asked again. Ctrl-C leaves the batches
    running; the summary then says "interrupted", and the next run with this journal goes on. Raises CaravanError for a card without URL, key
    or batch API, for a batch that its provider refuses or does not know, and where a provider answers with errors only for too long.
    """
    return Engine(iter(requests), cards, journal, how or Batching()).run()
