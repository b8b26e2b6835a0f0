"""What the benchmarks share: a process measured with all its children, the machine in words, and the page of results."""

import os
import platform
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Measured:
    """`seconds` of wall clock, `peak_bytes` of resident memory of the process and its children together."""

    seconds: float
    peak_bytes: int
    returncode: int
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Measured:
    """Run a command; memory is sampled every 50 ms over the whole process tree."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, tree_bytes(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return Measured(seconds, peak, process.returncode, output)


def tree_bytes(pid: int) -> int:
    """Resident bytes of a process and all its descendants; pages that they share count once for each."""
    try:
        parent = psutil.Process(pid)
        members = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in members:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def machine() -> str:
    """The machine in words: processor, cores, memory."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"


def record(title: str, lines: Sequence[str], packages: Sequence[str]) -> None:
    """Append a section to RESULTS.md: date, machine, versions, then the lines."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    text = "\n".join([f"\n## {title}", "", f"{date.today()}; {machine()}; {versions}.", "", *lines, ""])
    if not RESULTS.exists():
        RESULTS.write_text("# Measurements\n", encoding="utf-8")
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(text)
