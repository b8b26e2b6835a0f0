"""Every verifier on random and adversarial responses: no exception, no hang, no more memory than it should take, the same verdicts in
every process. CARAVAN_FUZZ says how many cases (100000 for the whole); each of two processes takes all of them."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COUNT = int(os.environ.get("CARAVAN_FUZZ") or 2500)
SEED = int(os.environ.get("CARAVAN_FUZZ_SEED") or 1)
HUGE = COUNT // 100
SECONDS = 20  # of processor time of the caller, for 10 MB
MEMORY = 3 << 30


def fuzz(hash_seed):
    """The lines of a run."""
    folder = Path(__file__).parent
    command = [sys.executable, str(folder / "fuzz.py"), str(COUNT), str(SEED), str(HUGE)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(folder.parent.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def late(case):
    """Whether the clock decided, which only a machine that has no time for its work brings about."""
    return bool(re.search(r"not decided within \d+ seconds$|(^|: )time limit$", case["said"][-1]))


def test_verdicts_on_anything():
    with ThreadPoolExecutor() as pool:
        (*first, one), (*second, other) = pool.map(fuzz, (1, 2))
    assert len(first) == len(second) == COUNT + HUGE
    assert [case for case in first + second if case["said"][0] in ("raised", "hang")] == []
    different = [(a, b) for a, b in zip(first, second, strict=True) if a["said"] != b["said"]]
    assert [pair for pair in different if not any(map(late, pair))] == []
    assert len(different) <= len(first) // 100
    assert [case for case in first + second if min(case["seconds"]) > SECONDS] == []
    assert max(one["peak"], other["peak"]) < MEMORY
    # The cases are not all alike: verdicts of both kinds, for most of what is judged.
    right = {case["subject"].split()[0] for case in first if case["said"][0] is True}
    wrong = {case["subject"].split()[0] for case in first if case["said"][0] is False}
    assert len(right) >= 12
    assert len(wrong) >= 18
