"""Requests a second against a server that answers at once: the engine with its journal, the bare client, other tools for the same.

Run as: python -m benchmarks.inference [--quick] [--json] [--record]

The server is tests/inference/loopback.py in a process of its own, with no latency, so that only overhead is left. 256 requests are in
flight. Each sender runs in a process of its own, in turns, with questions of its own; what counts is the wall clock of sending, without
imports and after 300 requests to warm up. `ours` writes the journal and keeps limits, retries and budget; `bare` is AsyncOpenAI of the
package openai, which forgets what it hears. Peers are in environments of their own, .cache/peers-NAME; one that cannot be installed, or
fails, is left out with a sentence. Last comes a run of ours that is long, for its memory.
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

# distilabel imports requests and does not ask for it.
PEERS = {"curator": ["bespokelabs-curator==0.1.31"], "distilabel": ["distilabel[openai]==1.5.3", "requests"]}
IN_FLIGHT = 256
WANTED = {"bare": 0.8, "curator": 3.0, "distilabel": 3.0}  # times the rate of each
# Rounds; requests of a round; requests of the run for memory.
FULL = 5, {"ours": 15_000, "bare": 15_000, "curator": 3_000, "distilabel": 3_000}, 100_000
QUICK = 3, {"ours": 2_000, "bare": 2_000, "curator": 500, "distilabel": 500}, 10_000
LIMIT = 600  # seconds that a sender gets


class Left(Exception):
    """A sender that has no figures, and why."""


@dataclass(frozen=True)
class Row:
    """Requests a second of wall clock, one figure a round; `processor` milliseconds of processor time a request, a median; `peak` MiB of
    resident memory, `grown` MiB of it since the requests to warm up."""

    sender: str
    requests: int
    rates: list[float]
    processor: float
    peak: float
    grown: float

    @property
    def rate(self) -> float:
        return median(self.rates)

    def __str__(self) -> str:
        rounds = f" ({', '.join(f'{rate:,.0f}' for rate in self.rates)})" if len(self.rates) > 1 else ""
        return (
            f"{self.sender}, {self.requests:,} requests: {self.rate:,.0f} a second{rounds}, {self.processor:.2f} ms of processor time each, "
            f"at most {self.peak:,.0f} MiB, of which {self.grown:,.0f} are new since the first 300"
        )


def main() -> int:
    options = _options()
    rounds, counts, many = QUICK if options.quick else FULL
    pythons, left = _pythons()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in counts if name in pythons}
    for number in range(rounds):
        for name in list(found):
            try:
                found[name].append(once(name, counts[name], f"{name}-{number}", pythons[name]))
                print(f"round {number + 1} of {rounds}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
            except Left as why:
                if name not in PEERS:
                    raise CaravanError(str(why)) from why
                del found[name]
                left.append(f"{name} is left out: {why}")
    rows = {name: _row(name, counts[name], runs) for name, runs in found.items()}
    rows["ours, many"] = _row("ours", many, [once("ours", many, "many", pythons["ours"])])
    ratios = {name: rows["ours"].rate / rows[name].rate for name in WANTED if name in rows}
    said = [
        *(f"- {row}" for row in rows.values()),
        *(f"- ours to {name}: {ratio:.2f}; wanted are {WANTED[name]:g}" for name, ratio in ratios.items()),
        *(f"- {why}" for why in left),
    ]
    print("\n".join(said))
    if options.record:
        title = f"Requests a second, {IN_FLIGHT} in flight (`python -m benchmarks.inference{' --quick' if options.quick else ''}`)"
        record(
            title, [*said, f"- peers: {', '.join(packages[0] for packages in PEERS.values())}"], ["openai", "aiohttp"]
        )
    if options.json:
        figures = {name: {**vars(row), "rate": row.rate} for name, row in rows.items()}
        print(json.dumps({"rows": figures, "ratios": ratios, "left_out": left}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rounds of fewer requests")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    return parser.parse_args()


def _pythons() -> tuple[dict[str, Path], list[str]]:
    """Sender -> the Python that runs it; sentences on the peers that there are not."""
    pythons, left = {name: Path(sys.executable) for name in ("ours", "bare")}, []
    for name in PEERS:
        try:
            pythons[name] = install(name)
        except Left as why:
            left.append(f"{name} is left out: {why}")
    return pythons, left


def install(name: str) -> Path:
    """The Python of an environment that holds a peer. Raises Left, with why, where there can be none."""
    venv = REPOSITORY / ".cache" / f"peers-{name}"
    python = venv / "bin" / "python"
    if not (venv / "installed").exists():
        shutil.rmtree(venv, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "venv", str(venv)],
            [str(python), "-m", "pip", "install", "-q", *PEERS[name]],
        ):
            done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                raise Left(f"{PEERS[name][0]} cannot be installed ({_last(done.stdout)})")
        (venv / "installed").touch()
    return python


def once(name: str, count: int, tag: str, python: Path) -> dict[str, float]:
    """One sender against a server of its own. Raises Left where requests stayed without an answer."""
    command = [sys.executable, "-m", "tests.inference.loopback"]
    server = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            # A peer leaves nothing in the user's home.
            own = {"PYTHONPATH": "", "HOME": folder} if name in PEERS else {"PYTHONPATH": str(REPOSITORY)}
            program = [str(python), "-P", str(Path(__file__).with_name("inference_run.py"))]
            done = subprocess.run(
                [*program, name, url, str(count), str(IN_FLIGHT), tag, folder],
                env={**os.environ, **own},
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT,
            )
    except subprocess.TimeoutExpired:
        raise Left(f"{name} did not answer {count:,} requests within {LIMIT} s") from None
    finally:
        server.kill()
        server.wait()
    if done.returncode:
        raise Left(f"{name} failed ({_last(done.stderr)})")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if result["answered"] != count:
        raise Left(f"{name} has {result['answered']:,} answers to {count:,} requests")
    return result


def _last(output: str) -> str:
    return (output.strip().splitlines() or ["it said nothing"])[-1][:300]


def _row(name: str, count: int, runs: list[dict[str, float]]) -> Row:
    return Row(
        name,
        count,
        [count / each["seconds"] for each in runs],
        median(1000 * each["processor"] / count for each in runs),
        max(each["peak"] for each in runs),
        max(each["peak"] - each["before"] for each in runs),
    )


if __name__ == "__main__":
    run(main)
