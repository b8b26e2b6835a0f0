"""Serve a model or a checkpoint with vLLM on this machine, as long as it is wanted and no longer.

Run as: python -m inference.vllm_server MODEL [--port 8000] [--card cards.toml] [-- ARGUMENT OF vllm serve ...]
For example:
    python -m inference.vllm_server checkpoints/sft --card cards.toml
    python -m inference.vllm_server meta-llama/Llama-3.1-8B-Instruct --licence Llama-3.1 -- --tensor-parallel-size 8

A checkpoint is a folder, and is served as checkpoint/<16 hex digits of what it holds>: requests to two of them never pass for the
same. vLLM is a program of its own, in whichever environment; VLLM says where it is looked for.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inference import guard
from inference.models import Card, Price
from inference.scrub import scrub
from warehouse.errors import CaravanError, run

REPOSITORY = Path(__file__).resolve().parent.parent
VLLM = "the environment variable CARAVAN_VLLM, the folder of this Python, PATH, and .venv-vllm of the checkout (`make engine`)"
UNSTATED = "LicenseRef-Unstated"
FREE = (Price(date(2020, 1, 1), 0.0, 0.0),)  # a server of one's own: a budget need not reckon with it
# Files beside the weights that change what a request is answered: format of chats, tokens, defaults of sampling, architecture.
DESCRIBING = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_CHUNK = 1 << 24
_CAUSE = re.compile(r"(\b(?:\w+\.)*\w*(?:Error|Exception)\b(?:: .+)?|error: .+)$")


def executable() -> str:
    """The `vllm` command. Raises CaravanError where there is none."""
    named = os.environ.get("CARAVAN_VLLM")
    if named:
        if found := shutil.which(named):
            return found
        raise CaravanError(
            f"CARAVAN_VLLM is {named}, which is no program. Set it to the path of the command `vllm`, or unset it."
        )
    beside, engine = Path(sys.executable).with_name("vllm"), REPOSITORY / ".venv-vllm" / "bin" / "vllm"
    found = shutil.which(beside) or shutil.which("vllm") or shutil.which(engine)
    if found is None:
        raise CaravanError(
            f"vLLM is not installed here; it is looked for in {VLLM}. With a GPU: pip install 'vllm>=0.32,<0.33' in an environment "
            "of its own, and CARAVAN_VLLM=/path/to/its/bin/vllm. Without one, on Linux: `make engine`."
        )
    return found


def checkpoint_name(folder: Path) -> str:
    """checkpoint/<16 hex digits>: of all tensors, by name, kind, shape and value, and of the files in DESCRIBING.

    How tensors are spread over files makes no difference. Raises CaravanError for a folder without weights in safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        raise CaravanError(
            f"{folder} is no checkpoint: it needs config.json and weights as *.safetensors (save_pretrained of transformers writes both)."
        )
    with ThreadPoolExecutor() as pool:
        tensors = pool.map(_tensor_hash, *zip(*(one for file in files for one in _tensors(file)), strict=True))
        whole = hashlib.sha256("\n".join(sorted(tensors)).encode())
    for name in DESCRIBING:
        if (folder / name).is_file():
            whole.update(f"\n{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}".encode())
    return f"checkpoint/{whole.hexdigest()[:16]}"


def _tensors(file: Path) -> Iterator[tuple[Path, str, int, int]]:
    """File, description, first byte and last of each tensor. The format: length of a JSON header (8 bytes), the header, the data."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    for name, one in header.items():
        if name != "__metadata__":
            begin, end = one["data_offsets"]
            yield file, f"{name} {one['dtype']} {one['shape']}", 8 + length + begin, 8 + length + end


def _tensor_hash(file: Path, description: str, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        opened.seek(begin)
        while begin < end:
            chunk = opened.read(min(_CHUNK, end - begin))
            digest.update(chunk)
            begin += len(chunk)
    return f"{description} {digest.hexdigest()}"


class VllmServer:
    """`vllm serve MODEL` on a port of the loopback interface, within a `with` block.

    Inside the block the server answers; `url` and `card` say how to ask it. It ends with the block, and also when this process
    is killed. Leaving the block loses what is in flight. Raises CaravanError when it does not start: with what vLLM says.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        arguments: Sequence[str] = (),
        licence: str = UNSTATED,
        port: int | None = None,
        patience: float = 1800.0,
    ) -> None:
        """`arguments` go to `vllm serve` as they are; `patience` is in seconds, from start to the first answer."""
        self.program = executable()
        self.model = str(model)
        self.licence = licence
        self.name = checkpoint_name(Path(model)) if Path(model).is_dir() else self.model
        self.port = port or _free_port()
        self.patience = patience
        self.arguments = list(arguments)
        self.context: int | None = None
        self.log = Path(tempfile.gettempdir()) / f"caravan-vllm-{os.getpid()}-{self.port}.log"
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base of the OpenAI protocol. The Anthropic protocol's is the same without /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def card(self) -> Card:
        return Card(self.name, "openai", self.licence, urls=(self.url,), prices=FREE, context=self.context)

    def __enter__(self) -> Self:
        command = [self.program, "serve", self.model, "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--served-model-name", self.name, *self.arguments]
        # On a CPU vLLM takes most of the machine's memory for its cache unless told otherwise. A GPU's engine reads no such setting.
        defaults = {"VLLM_NO_USAGE_STATS": "1"}
        if not any(each.startswith("--kv-cache-memory-bytes") for each in self.arguments):
            defaults["VLLM_CPU_KVCACHE_SPACE"] = "4"  # GiB
        with self.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**defaults, **os.environ},
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        died = self._guard is not None and self._guard.poll() is not None
        self._end()
        if not died:
            self.log.unlink()

    def check(self) -> None:
        """Raises CaravanError, with what vLLM said last, when the server has ended."""
        assert self._guard is not None, "not started"
        code = self._guard.poll()
        if code is not None:
            raise CaravanError(
                f"vLLM has ended (code {code}) while serving {self.model}: {self._cause()}. Its log: {self.log}"
            )

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            self.check()
            served = self._served()
            if served is not None and self.name in served:
                self.context = served[self.name]
                return
            if served is not None:
                raise CaravanError(
                    f"Port {self.port} is taken by a server of {', '.join(served)}. Name another port, or none."
                )
            time.sleep(0.2)
        raise CaravanError(
            f"vLLM did not begin to serve {self.model} within {self.patience:.0f} s. Its log: {self.log}"
        )

    def _served(self) -> dict[str, int | None] | None:
        """Names of the models that answer at the port, with their context in tokens; None as long as nobody does."""
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=10) as answer:
                models: list[dict[str, Any]] = json.load(answer)["data"]
        except (OSError, ValueError):
            return None
        return {model["id"]: model.get("max_model_len") for model in models}

    def _cause(self) -> str:
        """The errors that the log names, the first and the last, or its last lines."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        causes = [
            # What a value should have been stands in the line after.
            f"{found[1]} {after.strip() if after.startswith('  ') else ''}"
            for line, after in pairwise([*lines, ""])
            if (found := _CAUSE.search(line)) and " WARNING " not in line
        ]
        told = dict.fromkeys(causes[:1] + causes[-1:]) if causes else lines[-5:]
        return scrub(" … ".join(line.strip()[:500].rstrip(".") for line in told)) or "it said nothing"

    def _end(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()


def _free_port() -> int:
    """A port that nobody uses, below those that systems hand out by themselves: vLLM takes it only some seconds later."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def write_card(card: Card, path: Path) -> None:
    """A file for --models that holds this card alone."""
    keys = {"provider": card.provider, "licence": card.licence, "urls": list(card.urls), "context": card.context}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
    prices = [f"{{ since = {each.since}, input = {each.input:g}, output = {each.output:g} }}" for each in card.prices]
    lines.append(f"prices = [{', '.join(prices)}]")
    path.write_text("\n".join([f'[model."{card.name}"]', *lines, ""]), encoding="utf-8")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    opening, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m inference.vllm_server",
        description=opening,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="folder of a checkpoint, or a name on the Hugging Face hub")
    parser.add_argument("--port", type=int, help="a port of this machine (default: a free one)")
    parser.add_argument(
        "--licence", default=UNSTATED, help="SPDX expression, or the LicenseRef-… that binds what it writes"
    )
    parser.add_argument(
        "--card", type=Path, metavar="FILE", help="write the model's card here, for --models of the jobs"
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:own])
    options.vllm = given[own + 1 :]
    return options


def main() -> None:
    options = parse()
    server = VllmServer(options.model, arguments=options.vllm, licence=options.licence, port=options.port)
    print(f"starting {server.program} for {server.name} (log: {server.log})", flush=True)
    began = time.monotonic()
    with server:
        print(f"{server.name} at {server.url} after {time.monotonic() - began:.0f} s; Ctrl-C ends it", flush=True)
        if options.card:
            write_card(server.card, options.card)
            print(f"its model card: {options.card}", flush=True)
        try:
            while True:
                server.check()
                time.sleep(1)
        except KeyboardInterrupt:
            print("ending", flush=True)


if __name__ == "__main__":
    run(main)
