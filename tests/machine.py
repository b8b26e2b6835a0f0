"""What this machine has of what whole groups of tests need."""

import os
from pathlib import Path

from inference.vllm_server import executable
from tasks.sandbox.mechanism import MECHANISMS, obstacle
from warehouse.errors import CaravanError

REPOSITORY = Path(__file__).resolve().parent.parent
# Real public data that lies beside the repository, or where CARAVAN_TEST_DATA says.
DATA = Path(os.environ.get("CARAVAN_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
SMOLLM2 = REPOSITORY / ".cache" / "smollm2"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def absent() -> list[str]:
    """What is missing, and why: the tests that need it skip."""
    found = []
    if not (DATA / "train").is_dir():
        found.append(f"real data (none at {DATA}: set CARAVAN_TEST_DATA to its folder)")
    if not POSTGRES:
        found.append("PostgreSQL (nothing at /usr/lib/postgresql: install Debian's package postgresql)")
    if why := no_engine():
        found.append(f"a model engine ({why})")
    return found + [f"the sandbox by {each} ({why})" for each in MECHANISMS if (why := obstacle(each))]


def no_engine() -> str | None:
    """Why no model can be served; None where one can."""
    try:
        executable()
    except CaravanError as error:
        return str(error)
    return None if SMOLLM2.is_dir() else f"no checkpoint at {SMOLLM2}: `make engine` writes one"
