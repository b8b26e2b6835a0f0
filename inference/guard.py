"""Run a command that ends when whoever started it ends, however that comes about.

Run as: python guard.py COMMAND [ARGUMENT ...]     (standard input is a pipe of which the starter holds the other end)

The command and all that it starts are a process group of their own. As soon as the pipe is closed, which the system does for
a starter that was killed, the group gets SIGTERM, and SIGKILL after GRACE seconds.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

GRACE = 20.0  # seconds


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while command.poll() is None and not select.select([sys.stdin], [], [], 0.2)[0]:
            pass
    finally:
        _signal(command.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            command.wait(GRACE)
        _signal(command.pid, signal.SIGKILL)
    code = command.wait()
    sys.exit(code if code >= 0 else 128 - code)  # as a shell tells of a signal


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    main()
