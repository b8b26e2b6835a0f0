"""One way to send many requests, in a process of its own: run by benchmarks.inference, in our environment or in that of the peer.

Run as: python inference_run.py SENDER URL COUNT CONCURRENCY TAG FOLDER

Prints one line of JSON: requests answered, and the seconds of wall clock and of processor time that sending them took, without imports.
No two tags have a question in common. FOLDER is for what a sender writes.
"""

import asyncio
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
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
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


def main() -> None:
    name, url, count, concurrency, tag, folder = sys.argv[1:]
    sender = SENDERS[name]
    sender(url, WARM, int(concurrency), f"{tag}-warm", Path(folder))
    wall, processor = time.perf_counter(), time.process_time()
    answered = sender(url, int(count), int(concurrency), tag, Path(folder))
    found = {
        "answered": answered,
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
    }
    print(json.dumps(found), flush=True)
    os._exit(0)  # threads of a peer's own do not matter any more


SENDERS: dict[str, Sender] = {"ours": ours, "bare": bare}

if __name__ == "__main__":
    main()
