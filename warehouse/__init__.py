"""Versioned Parquet tables: open a warehouse, resolve references, read, commit, tag and release.

    import warehouse
    connection = warehouse.connect("@v1")                      # DuckDB, a view for each table at that ref
    connection.sql("select source, count(*) from raw.prompts group by 1").show()

Sub-modules are loaded when they are first used, so that a worker which needs one of them does not import all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warehouse.audit import publish as publish
    from warehouse.catalogue import Warehouse as Warehouse
    from warehouse.catalogue import open as open
    from warehouse.read import connect as connect

_FUNCTIONS = {
    "open": "warehouse.catalogue",
    "Warehouse": "warehouse.catalogue",
    "connect": "warehouse.read",
    "publish": "warehouse.audit",
}
_MODULES = {
    "audit",
    "catalogue",
    "check",
    "commit",
    "contracts",
    "diff",
    "doctor",
    "errors",
    "expire",
    "history",
    "java",
    "licences",
    "read",
    "refs",
    "releases",
    "settings",
    "show",
    "spark",
    "sql",
    "storage",
    "tags",
}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    if name in _MODULES:
        return import_module(f"warehouse.{name}")
    raise AttributeError(f"module 'warehouse' has no attribute {name!r}")
