"""Fixtures of the trainers' tests: a tokenizer trained on the spot, real conversations, a tiny model in float64."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

MARKS = ("<|system|>", "<|user|>", "<|assistant|>")


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
