"""Requests in files: JSON lines, or Parquet with the columns of llm.requests."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inference.models import Card, named
from inference.request import Request
from warehouse.errors import CaravanError

ROWS = 1_000  # in memory at a time
FIELDS = ("provider", "model", "messages", "prompt", "parameters", "sample", "template", "request_id")


def requests(path: str | Path, cards: Mapping[str, Card]) -> Iterator[Request]:
    """The requests of a file, read as they are needed.

    A JSON line needs model, and messages or prompt; parameters (an object), sample and template may follow, and provider is the card's.
    Raises CaravanError naming file and line for what is no request.
    """
    path = Path(path)
    if not path.is_file():
        raise CaravanError(f"There is no file of requests {path}.")
    table = path.suffix == ".parquet"
    for number, fields in enumerate(_parquet(path) if table else _json_lines(path), 1):
        try:
            yield _request(fields, cards)
        except (CaravanError, json.JSONDecodeError) as error:
            raise CaravanError(f"{path}, {'row' if table else 'line'} {number}: {error}") from error


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise CaravanError(f"{path}, line {number}: this is no JSON ({error}).") from error
            if not isinstance(fields, dict):
                raise CaravanError(f"{path}, line {number}: a request is a JSON object.")
            yield fields


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise CaravanError(f"{path} is no Parquet file ({error}).") from error


def _request(fields: Mapping[str, Any], cards: Mapping[str, Card]) -> Request:
    if unknown := fields.keys() - set(FIELDS):
        raise CaravanError(f"{', '.join(sorted(unknown))}: a request has no such field. Fields: {', '.join(FIELDS)}.")
    if not isinstance(fields.get("model"), str):
        raise CaravanError('a request names a model, such as "model": "gpt-4o-2024-08-06".')
    messages, prompt, parameters = fields.get("messages"), fields.get("prompt"), fields.get("parameters") or {}
    if messages is not None and not _chat(messages):
        raise CaravanError("messages is a list of objects with role and content, both text.")
    if prompt is not None and not isinstance(prompt, str):
        raise CaravanError("prompt is a text.")
    if isinstance(parameters, str):  # as llm.requests has them
        parameters = json.loads(parameters)
    if not isinstance(parameters, dict):
        raise CaravanError('parameters is an object, such as {"max_tokens": 200}.')
    return Request(
        provider=fields.get("provider") or named(cards, fields["model"]).provider,
        model=fields["model"],
        messages=None if messages is None else tuple(messages),
        prompt=prompt,
        parameters=parameters,
        sample=fields.get("sample") or 0,
        template=fields.get("template") or "",
    )


def _chat(messages: Any) -> bool:
    return isinstance(messages, list) and all(
        isinstance(each, dict) and all(isinstance(value, str) for value in each.values()) for each in messages
    )
