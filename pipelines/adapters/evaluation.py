"""Instances of evaluations: the texts that decontamination matches, the reference answer, the subset, the record as it came."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.adapters.base import MISSING, Unreadable, as_json, lookup, type_name


@dataclass
class Instance:
    """An evaluation instance; `fields` are (name, text) in the order of the registry."""

    fields: list[tuple[str, str]]
    reference: str | None
    subset: str | None
    record: str


def instance(
    record: Mapping[str, Any], match: Mapping[str, str], reference: str | None, subset: str | None
) -> Instance:
    """The instance that a record holds. `match` is name -> column; a matched column may be null or empty as long as one is not."""
    fields = []
    for name, column in match.items():
        value = lookup(record, column)
        if value is MISSING:
            raise Unreadable(f"no column '{column}' to match; the columns are: {', '.join(map(str, record))[:300]}")
        if value is not None and not isinstance(value, str):
            raise Unreadable(f"the column '{column}' is {type_name(value)}, not text")
        if value and value.strip():
            fields.append((name, value))
    if not fields:
        raise Unreadable(f"nothing to match: {', '.join(match.values())} empty")
    answer = lookup(record, reference) if reference else None
    part = lookup(record, subset) if subset else None
    return Instance(
        fields,
        as_json(answer) if answer is not MISSING else None,
        as_json(part) if part is not MISSING else None,
        json.dumps(record, ensure_ascii=False, default=str),
    )
