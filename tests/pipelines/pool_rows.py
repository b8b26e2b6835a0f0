"""Rows of raw.prompts and raw.completions for the tests of complete and judge."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.transform import prompt_id
from warehouse.catalogue import Warehouse
from warehouse.commit import Job, commit_arrow


def md5(*parts: str) -> str:
    return hashlib.md5("\x1f".join(parts).encode()).hexdigest()


def prompts(w: Warehouse, texts: Mapping[str, Sequence[Any]], licence: Mapping[str, str] | None = None) -> None:
    """raw.prompts and raw.sources: source -> texts of one turn, or messages."""
    rows, sources = [], []
    for source, given in texts.items():
        terms = (licence or {}).get(source, "MIT")
        for number, text in enumerate(given, 1):
            messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
            key = {"source": source, "revision": "r1", "file": "f.jsonl", "row": number, "branch": 0}
            rows.append(
                {
                    **key,
                    "prompt_id": prompt_id(messages),
                    "messages": messages,
                    "licence": terms,
                    "skill": f"s{number % 2}",
                }
            )
        described = {
            "source": source,
            "kind": "training",
            "location": "here",
            "revision": "r1",
            "adapter": "messages@1",
        }
        sources.append({**described, "licence": terms, "parents": [], "models": [], "rows": len(given), "rejects": 0})
    commit_arrow(w, "raw.prompts", pa.Table.from_pylist(rows), Job("test"))
    commit_arrow(w, "raw.sources", pa.Table.from_pylist(sources), Job("test"))


def completions(w: Warehouse, source: str, answers: Mapping[str, Sequence[str]]) -> None:
    """raw.completions of one source: text of the prompt -> responses."""
    rows = []
    for number, (text, given) in enumerate(answers.items(), 1):
        of = prompt_id([{"role": "user", "content": text}])
        for sample, content in enumerate(given):
            key = {"source": source, "revision": "r1", "file": "f.jsonl", "row": number, "branch": 0, "sample": sample}
            rows.append(
                {
                    **key,
                    "completion_id": md5(of, "m", str(sample), content),
                    "prompt_id": of,
                    "content": content,
                    "licence": "MIT",
                }
            )
    commit_arrow(w, "raw.completions", pa.Table.from_pylist(rows), Job("test"))
