"""The catalogue: which tables there are and where the metadata of each lies."""

import fcntl
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.table import Table
from sqlalchemy.exc import DBAPIError

from warehouse import contracts
from warehouse.errors import CaravanError
from warehouse.settings import NAME, Settings, settings

# What another writer at the same moment may cause. `settle` tells such a conflict from any other trouble of a database.
CONFLICTS = (CommitFailedException, DBAPIError)

TABLE_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # A commit that lost a race is checked against the contract again before it is tried again, so Iceberg must not.
    "commit.retry.num-retries": "0",
    # Many small appends: manifests are merged, old metadata files deleted (the newest holds the whole history).
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "write.metadata.previous-versions-max": "100",
    "write.metadata.delete-after-commit.enabled": "true",
}


@dataclass(frozen=True)
class Warehouse:
    """An open warehouse: its settings, the Iceberg catalogue, and the file access that goes with them."""

    settings: Settings
    catalogue: Catalog
    io: FileIO

    @property
    def root(self) -> str:
        return self.settings.root

    def tables(self) -> list[str]:
        """Names of the tables in the catalogue, sorted."""
        names = [
            ".".join(identifier)
            for namespace in self.catalogue.list_namespaces()
            for identifier in self.catalogue.list_tables(namespace)
        ]
        return sorted(names)

    def load(self, name: str) -> Table | None:
        """The Iceberg table as it is now, or None where it has not been created."""
        try:
            return self.catalogue.load_table(name)
        except NoSuchTableError:
            return None

    def table(self, name: str) -> Table:
        """The Iceberg table of a contract, created at first use; columns new in the contract are added.

        Raises CaravanError where there is no contract of that name.
        """
        contract = contracts.load(name)
        table = self.load(name) or self._create(contract)
        if set(contract.names) - set(table.schema().column_names):
            for _ in attempts(f"The new columns of {name} could not be added"):
                try:
                    with table.update_schema() as update:
                        update.union_by_name(contract.iceberg_schema())
                    break
                except CONFLICTS as error:
                    settle(error)
                    table = self.catalogue.load_table(name)
        return table

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait for one's turn to change a table, among the programs of this machine.

        The catalogue alone decides who wins a race; taking turns spares the losers their work and lets nobody starve.
        """
        if not self.settings.local:
            yield
            return
        folder = Path(self.root) / ".turns"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _create(self, contract: contracts.Contract) -> Table:
        namespace, short = contract.name.split(".")
        schema = contract.iceberg_schema()
        for _ in attempts(f"The table {contract.name} could not be created"):
            try:
                self.catalogue.create_namespace_if_not_exists(namespace)
                return self.catalogue.create_table(
                    contract.name,
                    schema,
                    location=f"{self.root}/{namespace}/{short}",
                    partition_spec=contract.partition_spec(),
                    properties={
                        **TABLE_PROPERTIES,
                        "comment": contract.purpose,
                        "schema.name-mapping.default": schema.name_mapping.model_dump_json(),
                    },
                )
            except TableAlreadyExistsError:
                return self.catalogue.load_table(contract.name)
            except NamespaceAlreadyExistsError:
                continue
            except DBAPIError as error:
                settle(error)
        raise AssertionError("attempts ends with an error")


def attempts(failure: str, seconds: float = 120) -> Iterator[int]:
    """Count attempts from 0, waiting a random and growing while between them; CaravanError when `seconds` have passed."""
    start = time.monotonic()
    attempt = 0
    while time.monotonic() - start < seconds:
        yield attempt
        attempt += 1
        time.sleep(random.uniform(0, min(2.0, 0.02 * 2 ** min(attempt, 7))))
    raise CaravanError(
        f"{failure}: other programs kept changing it for {seconds:.0f} s, in {attempt} attempts. "
        "Nothing was committed: run the same command again when they are done."
    )


def settle(error: Exception) -> None:
    """Return where trying again may help (a lost race, a busy database); raise CaravanError where it cannot."""
    if isinstance(error, CommitFailedException):
        return
    assert isinstance(error, DBAPIError)
    words = str(error.orig).lower()
    passing = ("locked", "busy", "deadlock", "serializ", "duplicate key", "unique constraint", "closed the connection")
    if not any(word in words for word in passing):
        raise CaravanError(f"The catalogue's database refused: {error.orig}. Nothing was committed.") from error


def open(root: str | None = None, create: bool = True) -> Warehouse:
    """Open the warehouse at `root` (else $CARAVAN_WAREHOUSE, else ./lake).

    The catalogue is $CARAVAN_CATALOGUE (sqlite, postgresql, http(s) REST, thrift, or `glue`), else SQLite in the root.
    Raises CaravanError where the catalogue cannot be reached, or nothing is there and `create` is false.
    """
    place = settings(root)
    if place.local:
        if not create and not Path(place.root).is_dir():
            raise CaravanError(
                f"There is no warehouse at {place.root}. Make one with `python -m warehouse init --root {place.root}`, "
                "or name another with --root or the environment variable CARAVAN_WAREHOUSE."
            )
        Path(place.root).mkdir(parents=True, exist_ok=True)
    catalogue = _connect(place)
    return Warehouse(place, catalogue, load_file_io(dict(catalogue.properties), place.root))


def _connect(place: Settings) -> Catalog:
    target = {"type": "glue"} if place.catalogue == "glue" else {"uri": place.catalogue}
    properties = {
        "warehouse": place.root,
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        "pool_pre_ping": "true",
        **target,
    }
    for attempt in range(4):
        try:
            catalogue = load_catalog(NAME, **properties)
            if isinstance(catalogue, SqlCatalog) and catalogue.engine.dialect.name == "sqlite":
                with catalogue.engine.connect() as database:
                    # Kept in the database file: readers never wait for a writer, and a commit costs one flush of the disk.
                    database.exec_driver_sql("pragma journal_mode = wal")
            return catalogue
        except DBAPIError as error:
            # Two programs that make the catalogue's own tables at one moment: the second finds them when it looks again.
            if attempt == 3:
                raise CaravanError(f"The catalogue {_shown(place.catalogue)} cannot be opened: {error.orig}") from error
            time.sleep(random.uniform(0.05, 0.3))
        except (OSError, ValueError, ImportError) as error:
            raise CaravanError(
                f"The catalogue {_shown(place.catalogue)} cannot be opened: {error}. "
                "Check CARAVAN_CATALOGUE, and that the extra package it needs is installed."
            ) from error
    raise AssertionError("the last attempt returns or raises")


def _shown(uri: str) -> str:
    """The URI without its password."""
    head, at, tail = uri.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.split(':')[0]}@{tail}" if at else uri
