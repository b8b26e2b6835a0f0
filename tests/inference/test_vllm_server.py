"""vLLM itself, serving a small model: what it answers, and that it ends when it should. Takes a minute or two: an engine starts slowly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anthropic
import openai
import psutil
import pytest

from inference import guard, vllm_server
from inference.models import Card, cards
from inference.vllm_server import FREE, VllmServer, checkpoint_name, executable
from tests.machine import REPOSITORY
from warehouse.errors import CaravanError

SMALL = ["--max-model-len", "2048", "--enforce-eager"]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass
class Owner:
    """The command that serves, and the card that it wrote."""

    process: subprocess.Popen[str]
    card: Card


@pytest.fixture(scope="module")
def owner(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    path = tmp_path_factory.mktemp("served") / "cards.toml"
    command = [
        *("-m", "inference.vllm_server", str(smollm2), "--licence", "Apache-2.0"),
        "--card",
        str(path),
        "--",
        *SMALL,
    ]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="")
        if line.startswith("its model card"):
            break
    else:
        pytest.fail("the server did not start")
    yield Owner(process, cards(path)[checkpoint_name(smollm2)])
    process.kill()
    process.wait()


def test_chat_completion_and_message_are_answered(owner):
    url, name = owner.card.urls[0], owner.card.name
    client = openai.OpenAI(base_url=url, api_key="none")
    chat = client.chat.completions.create(model=name, messages=QUESTION, temperature=0, max_tokens=20, logprobs=True)
    assert "Paris" in chat.choices[0].message.content
    assert chat.choices[0].finish_reason == "stop"
    assert chat.model == name
    assert len(chat.choices[0].logprobs.content) == chat.usage.completion_tokens
    raw = client.completions.create(model=name, prompt="The capital of France is", temperature=0, max_tokens=4)
    assert "Paris" in raw.choices[0].text
    other = anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="none")
    message = other.messages.create(model=name, messages=QUESTION, max_tokens=20, extra_body={"temperature": 0})
    assert message.content[0].text == chat.choices[0].message.content
    assert message.stop_reason == "end_turn"


def test_an_answer_can_be_held_to_a_schema(owner):
    schema = {
        "type": "object",
        "properties": {"rating": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
        "required": ["rating"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "rating", "schema": schema}}
    client = openai.OpenAI(base_url=owner.card.urls[0], api_key="none")
    asked = [{"role": "user", "content": "Rate this answer to 2 + 2 from 1 to 5: 4."}]
    # A small model may fill the space between tokens of JSON with blanks until its tokens end.
    chat = client.chat.completions.create(
        model=owner.card.name, messages=asked, temperature=0, max_tokens=200, response_format=form
    )
    assert chat.choices[0].finish_reason == "stop"
    assert json.loads(chat.choices[0].message.content)["rating"] in {1, 2, 3, 4, 5}


def test_the_card_says_what_is_served(owner, smollm2):
    assert owner.card.provider == "openai"
    assert owner.card.licence == "Apache-2.0"
    assert owner.card.context == 2048
    assert owner.card.prices == FREE
    assert owner.card.key is None


def test_the_engine_ends_with_its_owner(owner):
    family = psutil.Process(owner.process.pid).children(recursive=True)
    assert len(family) > 3, "the guard, the server, the engine, a worker"
    owner.process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=guard.GRACE + 10)
    assert alive == []


def test_vllm_says_why_it_does_not_start(smollm2):
    with pytest.raises(CaravanError, match=r"vLLM has ended \(code \d+\) .*max_model_len") as error:
        VllmServer(smollm2, arguments=["--max-model-len", "1000000"]).__enter__()
    log = Path(str(error.value).rpartition("Its log: ")[2])
    assert "1000000" in log.read_text()
    log.unlink()


def test_a_killed_server_is_reported(smollm2):
    server = VllmServer(smollm2, arguments=SMALL)

    def kill() -> None:
        while server._guard is None or not (children := psutil.Process(server._guard.pid).children()):
            time.sleep(0.05)
        children[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(CaravanError, match=r"code 137"):
        server.__enter__()
    killer.join()
    server.log.unlink()


def test_a_port_that_another_server_has_is_refused(server, smollm2):
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(CaravanError, match=f"Port {port} is taken by a server of loop, loop-large"):
        VllmServer(smollm2, port=port).__enter__()


def test_the_guard_ends_all_that_its_command_started():
    command = ["sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000 & echo ready; wait"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from inference import guard; guard.GRACE = 1; guard.main()", *command],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 3
    process.stdin.close()
    _, alive = psutil.wait_procs(family, timeout=guard.GRACE + 10)
    assert alive == []


def test_the_guard_ends_as_its_command_does():
    for command, code in (("exit 3", 3), ("kill -9 $$", 137)):
        with subprocess.Popen([sys.executable, guard.__file__, "sh", "-c", command], stdin=subprocess.PIPE) as process:
            assert process.wait(30) == code


def write_tensors(path: Path, tensors: dict[str, bytes], **metadata: str) -> None:
    """A file of safetensors with tensors of bytes."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors.values()))


def test_a_checkpoints_name_is_its_content(tmp_path):
    def named(folder: str, files: dict[str, dict[str, bytes]], template: str = "one", **metadata: str) -> str:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
        (tmp_path / folder / "chat_template.jinja").write_text(template)
        for file, tensors in files.items():
            write_tensors(tmp_path / folder / file, tensors, **metadata)
        return checkpoint_name(tmp_path / folder)

    a, b = os.urandom(1000), os.urandom(70)
    whole = named("whole", {"model.safetensors": {"a": a, "b": b}})
    assert whole.startswith("checkpoint/")
    assert len(whole) == len("checkpoint/") + 16
    assert named("cut", {"1.safetensors": {"b": b}, "2.safetensors": {"a": a}}, format="pt") == whole
    assert named("turned", {"model.safetensors": {"a": b, "b": a}}) != whole
    assert named("trained", {"model.safetensors": {"a": a, "b": b[:-1] + bytes([b[-1] ^ 1])}}) != whole
    assert named("template", {"model.safetensors": {"a": a, "b": b}}, template="two") != whole


def test_a_folder_without_weights_is_no_checkpoint(tmp_path):
    with pytest.raises(CaravanError, match=r"config\.json"):
        checkpoint_name(tmp_path)


def test_vllm_is_looked_for_where_the_user_says(tmp_path, monkeypatch):
    program = tmp_path / "vllm"
    shutil.copy("/bin/true", program)
    monkeypatch.setenv("CARAVAN_VLLM", str(program))
    assert executable() == str(program)
    monkeypatch.setenv("CARAVAN_VLLM", str(tmp_path / "nothing"))
    with pytest.raises(CaravanError, match="which is no program"):
        executable()
    monkeypatch.delenv("CARAVAN_VLLM")
    monkeypatch.setattr(vllm_server, "REPOSITORY", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert executable() == str(program)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CaravanError, match="make engine"):
        executable()
