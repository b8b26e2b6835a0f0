"""Fixtures of the trainers' tests: a tokenizer trained on the spot, real conversations, a tiny model in float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Small tensors: a second thread costs more than it does, the more so where tests run beside one another.
os.environ["OMP_NUM_THREADS"] = "1"
pytest.importorskip("torch", reason="the extra `train` is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def command(recipe, rows_file, output, *settings, stage="sft"):
    return [
        sys.executable, "-m", f"trainers.{stage}", str(recipe), "--data", str(rows_file), "--output", str(output),
        "--set", "log.tensorboard=false", *settings,
    ]  # fmt: skip


def finished(arguments, environment, code=0, cwd=REPOSITORY):
    """What a command printed, which ends with this status."""
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def losses(output):
    """Loss, norm of the gradient and learning rate of each step, and the held-out losses, to the bit."""
    from trainers.loop import curve

    kept = ("step", "loss", "gradient_norm", "learning_rate", "held_out_loss")
    return [{name: line[name] for name in kept if name in line} for line in curve(output)]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    return {
        **os.environ,
        "CARAVAN_CACHE": str(folder),
        "CARAVAN_WAREHOUSE": str(folder / "nowhere"),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture(scope="session")
def conversations(shared_data: Path) -> list[list[dict[str, str]]]:
    """Real conversations of one and of many turns: the longest path of each oasst tree, and rows of the Tülu 3 SFT mixture."""
    found = []
    folder = shared_data / "train"
    for line in (folder / "oasst_trees_sample/en_100_tree.jsonl").read_text().splitlines():
        turns, node = [], json.loads(line)["prompt"]
        while node:
            turns.append({"role": "user" if node["role"] == "prompter" else "assistant", "content": node["text"]})
            node = max(node.get("replies") or [], key=depth, default=None)
        found.append(turns[: len(turns) // 2 * 2])
    for line in (folder / "tulu3_samples/sft_sample.jsonl").read_text().splitlines():
        found.append([{"role": m["role"], "content": m["content"]} for m in json.loads(line)["messages"]])
    return [turns for turns in found if turns]


def depth(node: dict) -> int:
    return 1 + max(map(depth, node.get("replies") or []), default=0)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory, conversations):
    return make_tokenizer(conversations)


def make_tokenizer(
    conversations, specials=("<s>", "</s>", "<pad>", "<|eot_id|>", "<|im_start|>", "<|im_end|>"), bos=True
):
    """A byte-level BPE tokenizer of 1,000 tokens in the way of Llama 3: it begins texts with <s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((turn["content"] for turns in conversations for turn in turns), trainer)
    if bos:
        begin = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))])
        backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, tokenizer) -> Path:
    """Folder of a Llama of 60,000 random weights in float32 with tied embeddings, and the tokenizer above."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def other(tmp_path_factory, tokenizer) -> Path:
    """Folder of a Mistral of one layer with a window of 16 tokens and a matrix of the vocabulary of its own."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    folder = tmp_path_factory.mktemp("other")
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(1)
    MistralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def recipe(tiny, tmp_path_factory) -> Path:
    """A recipe for that model that ends in seconds."""
    path = tmp_path_factory.mktemp("recipe") / "quick.toml"
    path.write_text(QUICK.format(stage="sft", model=tiny, epochs=1))
    return path


QUICK = """
stage = "{stage}"
[model]
path = "{model}"
precision = "fp32"
[data]
max_length = 256
held_out = 10
[train]
epochs = {epochs}
steps = 12
batch = 8
learning_rate = 1e-3
[engine]
tokens_per_part = 512
[save]
every = 4
"""


@pytest.fixture(scope="session", params=["dpo", "reward_model"])
def pair_recipe(request, tiny, tmp_path_factory) -> Path:
    """The same for each stage over pairs."""
    path = tmp_path_factory.mktemp("recipe") / f"{request.param}.toml"
    path.write_text(QUICK.format(stage=request.param, model=tiny, epochs=3))
    return path


@pytest.fixture(scope="session")
def pairs_file(shared_data, tmp_path_factory) -> Path:
    """Pairs of the Tülu 3 preference mixture, most of them cut."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text((shared_data / "train/tulu3_samples/preference_sample.jsonl").read_text())
    return path


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory, conversations) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": turns, "source": "real"}) + "\n" for turns in conversations))
    return path
