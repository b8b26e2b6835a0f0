"""Fixtures of the warehouse's tests."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

import warehouse
from tests.machine import POSTGRES
from warehouse.catalogue import Warehouse


@pytest.fixture
def w(warehouse_root: Path) -> Warehouse:
    """An empty warehouse."""
    return warehouse.open(str(warehouse_root))


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts child processes that have everything imported, within milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warehouse_rows"])
    # The server finds what it preloads by the environment alone, and says nothing where it finds it not.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URI of a throwaway PostgreSQL server."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL at /usr/lib/postgresql: install Debian's package postgresql to run this test")
    binaries = POSTGRES[-1].parent
    # PostgreSQL refuses to run as root; its files then belong to somebody else.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(*command: str) -> None:
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    call(str(binaries / "initdb"), "-D", data, "-U", "caravan", "--auth=trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    call(str(binaries / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql+psycopg2://caravan:secret@127.0.0.1:{port}/postgres"
    call(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)
