"""Errors that a user can act on, and the one place where a command line reports them."""

import os
import sys
from collections.abc import Callable


class CaravanError(Exception):
    """What was wrong, where, and what to do about it, in one paragraph."""


def run(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit: 0 when it went well, 2 with one paragraph on a CaravanError, 130 on Ctrl-C."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough of it, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except CaravanError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped. Nothing half-written is visible: run the same command again.", file=sys.stderr)
        code = 130
    except Exception as error:
        # Python, DuckDB and Spark have an exception each for this, and only these words in common.
        words = next((line.strip() for line in str(error).splitlines() if "No space left on device" in line), None)
        if words is None:
            raise
        print(
            f"error: the disk is full ({words}). Nothing was committed: free some space and run the same command again.",
            file=sys.stderr,
        )
        code = 2
    sys.exit(code)
