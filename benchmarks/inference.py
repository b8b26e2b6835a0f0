"""Requests a second against a server that answers at once: the engine with its journal, the bare client, another tool for the same.

Run as: python -m benchmarks.inference [--quick] [--json] [--record]

The server is tests/inference/loopback.py in a process of its own, with no latency, so that only overhead is left. 256 requests are in
flight. Each sender runs in a process of its own, in turns, with questions of its own; what counts is the wall clock of sending, without
imports and after 300 requests to warm up. `ours` writes the journal and keeps limits, retries and budget; `bare` is AsyncOpenAI of the
package openai, which forgets what it hears; the peer is bespokelabs-curator, in an environment of its own under .cache/peers-inference.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.common import record
from benchmarks.corpus import REPOSITORY
from warehouse.errors import CaravanError, run

VENV = REPOSITORY / ".cache" / "peers-inference"
PACKAGE = "bespokelabs-curator==0.1.31"
IN_FLIGHT = 256
WANTED = {"bare": 0.8, "curator": 3.0}  # times the rate of each
LIMIT = 300  # seconds that a sender gets


@dataclass(frozen=True)
class Row:
    """Requests a second of wall clock, one figure a round; `processor` milliseconds of processor time a request, a median."""

    sender: str
    requests: int
    rates: list[float]
    processor: float

    @property
    def rate(self) -> float:
        return median(self.rates)


def main() -> int:
    options = _options()
    rounds, counts = (3, {"ours": 3000, "bare": 3000, "curator": 1000}) if options.quick else (5, FULL)
    python = install()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in counts}
    for number in range(rounds):
        for name, count in counts.items():
            found[name].append(once(name, count, f"{name}-{number}", python))
    rows = {name: _row(name, counts[name], runs) for name, runs in found.items()}
    ratios = {name: rows["ours"].rate / rows[name].rate for name in WANTED}
    said = [
        *(
            f"- {row.sender}: {row.rate:,.0f} requests a second ({', '.join(f'{rate:,.0f}' for rate in row.rates)}), "
            f"{row.processor:.2f} ms of processor time each; {row.requests:,} requests, {rounds} rounds"
            for row in rows.values()
        ),
        *(f"- ours to {name}: {ratio:.2f}; wanted are {WANTED[name]:g}" for name, ratio in ratios.items()),
    ]
    print("\n".join(said))
    if options.record:
        title = f"Requests a second, {IN_FLIGHT} in flight (`python -m benchmarks.inference{' --quick' if options.quick else ''}`)"
        record(title, [*said, f"- curator: {PACKAGE}"], ["openai", "aiohttp"])
    if options.json:
        rates = {name: [round(rate, 1) for rate in row.rates] for name, row in rows.items()}
        print(json.dumps({"rates": rates, "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}))
    return 0


FULL = {"ours": 15000, "bare": 15000, "curator": 3000}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rounds of fewer requests")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    return parser.parse_args()


def install() -> Path:
    """The Python of an environment that holds the peer. Raises CaravanError, with why, where there can be none."""
    python = VENV / "bin" / "python"
    if not (VENV / "installed").exists():
        shutil.rmtree(VENV, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "venv", str(VENV)],
            [str(python), "-m", "pip", "install", "-q", PACKAGE],
        ):
            done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                raise CaravanError(f"{' '.join(command)} failed:\n{done.stdout}")
        (VENV / "installed").touch()
    return python


def once(name: str, count: int, tag: str, python: Path) -> dict[str, float]:
    """One sender against a server of its own. Raises CaravanError where requests stayed without an answer."""
    own = name in ("ours", "bare")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY) if own else ""}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.inference.loopback"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            program = [str(sys.executable if own else python), "-P", str(Path(__file__).with_name("inference_run.py"))]
            done = subprocess.run(
                [*program, name, url, str(count), str(IN_FLIGHT), tag, folder],
                env=environment,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT,
            )
    finally:
        server.kill()
        server.wait()
    if done.returncode:
        raise CaravanError(f"{name} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if result["answered"] != count:
        raise CaravanError(f"{name} has {result['answered']:,} answers to {count:,} requests:\n{done.stderr[-3000:]}")
    return result


def _row(name: str, count: int, runs: list[dict[str, float]]) -> Row:
    rates = [count / each["seconds"] for each in runs]
    return Row(name, count, rates, median(1000 * each["processor"] / count for each in runs))


if __name__ == "__main__":
    run(main)
