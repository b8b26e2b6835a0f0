"""Train by several engines, one after the other, on the ranks that torchrun started: ways.py RECIPE DATA OUTPUT {"name": [settings]}."""

import json
import sys
from pathlib import Path

from trainers import ranks, sft
from trainers.config import Sft, load

if __name__ == "__main__":
    recipe, data, output, ways = sys.argv[1:]
    joined = ranks.start(120)
    for name, settings in json.loads(ways).items():
        sft.train(load(recipe, Sft, settings), [data], Path(output) / name, joined)
    joined.wait()
    ranks.end(joined)
