"""Where the warehouse lies and which catalogue keeps its table pointers."""

import os
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import CaravanError

# Rows of an Iceberg SQL catalogue are keyed by the catalogue's name: one fixed name lets every program see the same tables.
NAME = "caravan"


@dataclass(frozen=True)
class Settings:
    """`root`: an absolute local path or an object-store URI; `catalogue`: the URI of the Iceberg catalogue."""

    root: str
    catalogue: str

    @property
    def local(self) -> bool:
        return "://" not in self.root

    @property
    def there(self) -> bool:
        """Whether there may be a warehouse: a local one needs its folder."""
        return not self.local or Path(self.root).is_dir()


def settings(root: str | None = None) -> Settings:
    """The settings in force: `root` is the argument, else $CARAVAN_WAREHOUSE, else ./lake.

    Raises CaravanError where an object-store root has no catalogue.
    """
    place = str(root or os.environ.get("CARAVAN_WAREHOUSE") or "lake")
    if place.startswith("file://"):
        place = place.removeprefix("file://")
    catalogue = os.environ.get("CARAVAN_CATALOGUE")
    if "://" in place:
        if not catalogue:
            raise CaravanError(
                f"The warehouse root {place} is an object store, which cannot hold the default SQLite catalogue. "
                "Set CARAVAN_CATALOGUE to a catalogue's URI, such as postgresql+psycopg2://user@host/database."
            )
        return Settings(place.rstrip("/"), catalogue)
    absolute = str(Path(place).expanduser().resolve())
    # The time-out makes a writer wait for another writer's transaction (milliseconds long) instead of failing.
    return Settings(absolute, catalogue or f"sqlite:///{absolute}/catalogue.db?timeout=60")
