"""What a judge's reply says: whole numbers from 1 to 5 for the responses that it was shown, or why there is none. Pure functions.

A reply must hold one JSON object `{"ratings": [{"response": 1, "rationale": "…", "rating": 4}, …]}`; words or a code fence around it do
no harm. Nothing is guessed: what is not plainly a rating of a response is no rating.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LOWEST, HIGHEST = 1, 5
SHOWN = 60  # characters of a wrong value that a problem repeats


@dataclass(frozen=True)
class Rating:
    """What a reply says of one response. `problem` says why there is no score."""

    score: int | None
    rationale: str | None = None
    problem: str | None = None


def ratings(reply: str | None, count: int) -> list[Rating]:
    """The rating of each of the `count` responses, in the order in which they were shown."""
    entries = _entries(reply or "")
    if isinstance(entries, str):
        return [Rating(None, problem=entries)] * count
    numbers = [_whole(entry.get("response")) for entry in entries]
    if any(number is None or not 1 <= number <= count for number in numbers):
        # A judge that counts from 0 has shifted every number: none of them can be trusted.
        wrong = next(
            entry.get("response") for entry, n in zip(entries, numbers, strict=True) if n is None or not 1 <= n <= count
        )
        return [Rating(None, problem=f"the reply rates a response {_shown(wrong)}, and there are {count}")] * count
    times = Counter(numbers)
    found = {}
    for number, entry in zip(numbers, entries, strict=True):
        found[number] = _rating(entry) if times[number] == 1 else Rating(None, problem="rated more than once")
    return [found.get(number, Rating(None, problem="not rated")) for number in range(1, count + 1)]


def _rating(entry: dict[str, Any]) -> Rating:
    rationale = entry.get("rationale")
    said = rationale if isinstance(rationale, str) else None
    if "rating" not in entry:
        return Rating(None, said, "no rating")
    score = _whole(entry["rating"])
    if score is None or not LOWEST <= score <= HIGHEST:
        return Rating(None, said, f"the rating {_shown(entry['rating'])} is no whole number from 1 to 5")
    return Rating(score, said)


def _whole(value: Any) -> int | None:
    """A whole number, written as a number or as its digits alone."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < SHOWN:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _entries(reply: str) -> list[dict[str, Any]] | str:
    """The entries of the one object with ratings, or what is wrong."""
    objects = [found for found in _objects(reply) if "ratings" in found]
    if len(objects) > 1:
        return "the reply holds more than one list of ratings"
    if not objects:
        return "the reply is empty" if not reply.strip() else "the reply holds no list of ratings in JSON"
    entries = objects[0]["ratings"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return "the ratings are no list of objects"
    return entries


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text that are not inside another."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
    position = text.find("{")
    while position >= 0:
        try:
            found, end = decoder.raw_decode(text, position)
            yield found
        except (ValueError, RecursionError):
            end = position + 1
        position = text.find("{", end)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:SHOWN]
