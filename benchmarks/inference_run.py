"""One way to send many requests, in a process of its own: run by benchmarks.inference, in our environment or in that of a peer.

Run as: python inference_run.py SENDER URL COUNT CONCURRENCY TAG FOLDER

Prints one line of JSON: requests answered, the seconds of wall clock and of processor time that sending them took, without imports, and
the resident memory in MiB before it and at its peak. No two tags have a question in common. FOLDER is for what a sender writes.
"""

import asyncio
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SYSTEM = "You answer questions of a catalogue, briefly and in plain words."
FILLER = "Consider what was said before, weigh both sides, and give the reason for the choice that you make. " * 3
PARAMETERS = {"temperature": 0.7, "max_tokens": 64}
WARM = 300  # requests that come first and do not count: connections, code that is compiled at its first use
ENDLESS = 10**12  # a rate that nobody reaches


def questions(tag: str, count: int) -> Iterator[str]:
    for number in range(count):
        yield f"Question {number} of {tag}. {FILLER}"


def messages(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


Sender = Callable[[str, int, int, str, Path], int]


def ours(url: str, count: int, concurrency: int, tag: str, folder: Path) -> int:
    """`send` with its journal on disk, limits, budget and retries."""
    from inference.journal import Journal
    from inference.models import Card
    from inference.request import Request
    from inference.send import Sending, send

    card = Card("loop", "openai", "Apache-2.0", urls=(f"{url}/v1",))
    asked = (
        Request("openai", "loop", messages=tuple(messages(question)), parameters=PARAMETERS)
        for question in questions(tag, count)
    )
    with Journal(folder / tag) as journal:
        return send(asked, {"loop": card}, journal, Sending(concurrency=concurrency, progress=False)).answered


def bare(url: str, count: int, concurrency: int, tag: str, folder: Path) -> int:
    """The client of the package `openai` alone: so many tasks that each ask, wait and forget."""
    from openai import AsyncOpenAI

    async def run() -> int:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)
        left, answered = questions(tag, count), 0

        async def work() -> None:
            nonlocal answered
            for question in left:
                chat = await client.chat.completions.create(model="loop", messages=messages(question), **PARAMETERS)
                answered += chat.choices[0].message.content is not None

        await asyncio.gather(*(work() for _ in range(concurrency)))
        await client.close()
        return answered

    return asyncio.run(run())


def curator(url: str, count: int, concurrency: int, tag: str, folder: Path) -> int:
    """bespokelabs-curator with its own client of OpenAI's API, without rate limits; it keeps answers in a folder as we do."""
    beside = importlib.util.find_spec("litellm")
    assert beside is not None
    assert beside.origin is not None
    # It counts tokens with a file that it would download; a package that it brings along carries it.
    tokens = Path(beside.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ |= {"TIKTOKEN_CACHE_DIR": str(tokens), "OPENAI_API_KEY": "none", "TELEMETRY_ENABLED": "false"}
    os.environ |= {"CURATOR_DISABLE_RICH_DISPLAY": "1", "CURATOR_CACHE_DIR": str(folder), "HF_HOME": str(folder)}
    from bespokelabs import curator

    class Asker(curator.LLM):
        def prompt(self, row: dict[str, str]) -> list[dict[str, str]]:
            return messages(row["question"])

        def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
            return {"answer": response}

    rates = {"max_requests_per_minute": ENDLESS, "max_tokens_per_minute": ENDLESS}
    backend = {"base_url": f"{url}/v1", "max_concurrent_requests": concurrency, **rates}
    asker = Asker(model_name="loop", backend="openai", generation_params=PARAMETERS, backend_params=backend)
    return len(asker([{"question": question} for question in questions(tag, count)]).dataset)


def distilabel(url: str, count: int, concurrency: int, tag: str, folder: Path) -> int:
    """distilabel's client of OpenAI's API as its steps call it, a batch of as many as shall be in flight, without its pipeline around it."""
    from distilabel.models.llms import OpenAILLM

    told = {"temperature": PARAMETERS["temperature"], "max_new_tokens": PARAMETERS["max_tokens"]}
    model = OpenAILLM(model="loop", base_url=f"{url}/v1", api_key="none", generation_kwargs=told)
    model.load()
    asked = [messages(question) for question in questions(tag, count)]
    batches = (asked[start : start + concurrency] for start in range(0, count, concurrency))
    found = [output for batch in batches for output in model.generate_outputs(inputs=batch, **told)]
    return sum(output["generations"][0] is not None for output in found)


def memory(name: str) -> float:
    """MiB of this process as Linux counts them: VmRSS now, VmHWM at the peak. (getrusage counts what the parent had at the fork.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def main() -> None:
    name, url, count, concurrency, tag, folder = sys.argv[1:]
    sender = SENDERS[name]
    sender(url, WARM, int(concurrency), f"{tag}-warm", Path(folder))
    before = memory("VmRSS")
    wall, processor = time.perf_counter(), time.process_time()
    answered = sender(url, int(count), int(concurrency), tag, Path(folder))
    found = {
        "answered": answered,
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "before": before,
        "peak": memory("VmHWM"),
    }
    print(json.dumps(found), flush=True)
    os._exit(0)  # threads of a peer's own do not matter any more


SENDERS: dict[str, Sender] = {each.__name__: each for each in (ours, bare, curator, distilabel)}

if __name__ == "__main__":
    main()
