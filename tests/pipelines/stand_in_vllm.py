#!/usr/bin/env python
"""`vllm serve MODEL --host H --port P --served-model-name NAME`, answered by the loopback server."""

import argparse
import asyncio

from tests.inference import loopback


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("model")
    for name in ("--host", "--port", "--served-model-name", "--dtype"):
        parser.add_argument(name)
    options = parser.parse_args()
    assert (options.command, options.dtype) == ("serve", "float32")
    loopback.MODELS = (options.served_model_name,)
    asyncio.run(loopback.serve(int(options.port), loopback.Faults()))


if __name__ == "__main__":
    main()
