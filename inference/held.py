"""What a journal holds, looked at from outside: no lock is taken, and a run that is under way is not disturbed."""

import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from inference.batches import ledger
from inference.batches.ledger import UNDER_WAY, Chunk
from inference.journal import lines
from warehouse.errors import CaravanError

TRIES = 20  # a commit that goes on may take segments away while they are read


@dataclass
class Held:
    """Answers in the segments, by status, with what they cost in US dollars; ids (hexadecimal) of requests that were asked, and neither
    answered nor given up: in flight where `holder`, the process that holds the journal, is there, in doubt where nobody does. `batches`:
    those that are, or may be, with a provider."""

    folder: Path
    holder: int | None
    answers: Counter[str] = field(default_factory=Counter)
    spent: float = 0.0
    open: set[str] = field(default_factory=set)
    batches: list[Chunk] = field(default_factory=list)


def held(folder: str | Path) -> Held:
    """What the journal in a folder holds now. Raises CaravanError where there is none."""
    folder = Path(folder)
    if not (folder / "lock").is_file():
        raise CaravanError(f"{folder} is no journal.")
    for _ in range(TRIES):
        with suppress(FileNotFoundError):
            return _look(folder)
    raise CaravanError(f"The journal {folder} changes faster than it can be read. Try again in a moment.")


def journals(folder: str | Path) -> list[Path]:
    """The journals in a folder and below."""
    return sorted(path.parent for path in Path(folder).rglob("lock"))


def _look(folder: Path) -> Held:
    found = Held(folder, _holder(folder))
    answered: set[str] = set()
    for segment in sorted(folder.glob("[0-9]*.jsonl")):
        for line in lines(segment):
            fields = json.loads(line)
            if name := fields.get("asked"):
                found.open.add(name)
            elif name := fields.get("given_up"):
                found.open.discard(name)
            elif fields["answered"] not in answered:
                answered.add(fields["answered"])
                found.answers[fields["response"]["status"]] += 1
                found.spent += fields["response"]["cost"] or 0.0
    found.open -= answered
    found.batches = [chunk for chunk in ledger.read(folder) if chunk.state in UNDER_WAY]
    return found


def _holder(folder: Path) -> int | None:
    """The process that said it holds the journal, where there is such a process."""
    told = (folder / "lock").read_text().strip()
    try:
        os.kill(int(told), 0)
    except PermissionError:
        return int(told)
    except (ValueError, ProcessLookupError):
        return None
    return int(told)
