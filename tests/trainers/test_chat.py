"""Templates: the definition of each, the Jinja export beside our own text and mask, and what a checked Chat refuses."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainers.conftest import make_tokenizer
from trainers import chat, templates
from trainers.templates import TEMPLATES, Template
from warehouse.errors import CaravanError

SMOLLM2 = Path(__file__).resolve().parents[2] / ".cache" / "smollm2"
TALK = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": "A"},
    {"role": "user", "content": "V"},
    {"role": "assistant", "content": " B "},
]
TEXTS = {
    "tulu": "<|system|>\nS\n<|user|>\nU\n<|assistant|>\nA</s>\n<|user|>\nV\n<|assistant|>\n B </s>",
    "tulu2": "<|system|>\nS\n<|user|>\nU\n<|assistant|>\nA</s>\n<|user|>\nV\n<|assistant|>\n B </s>\n",
    "tulu_eos": "<|system|>\nS\n<|user|>\nU\n<|assistant|>\nA</s><|user|>\nV\n<|assistant|>\n B </s>",
    "zephyr": "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\nA</s>\n<|user|>\nV</s>\n<|assistant|>\n B </s>\n",
    "llama3": (
        "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nB<|eot_id|>"
    ),
    "chatml": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n B <|im_end|>\n"
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_definition(name):
    template = TEMPLATES[name]
    text, trained = template.render(TALK, eos="</s>")
    stop = template.stop_token("</s>")
    assert text == TEXTS[name]
    assert [text[a:b] for a, b in trained] == [f"A{stop}", f"{' B '.strip() if template.strip else ' B '}{stop}"]
    # What a model is asked with is how the text of the whole conversation begins, up to its answer.
    asked, _ = template.render(TALK[:-1], eos="</s>", bos="<s>", generation_prompt=True)
    assert "<s>" + text[: trained[-1][0]] == asked


@pytest.mark.parametrize("name", TEMPLATES)
def test_jinja_makes_the_same_text_and_mask(name, tokenizer, conversations):
    made = chat.of(tokenizer, name)
    assert made.bos == "<s>"
    for messages, ours in zip(conversations, made.encode(conversations), strict=True):
        theirs = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        assert theirs["input_ids"] == ours.tokens.tolist()
        assert theirs["assistant_masks"] == ours.trained.tolist()
        assert (
            tokenizer.apply_chat_template(messages, tokenize=False) == made.template.render(messages, "</s>", "<s>")[0]
        )
    asked = tokenizer.apply_chat_template(conversations[0][:1], tokenize=False, add_generation_prompt=True)
    assert asked == made.template.render(conversations[0][:1], "</s>", "<s>", generation_prompt=True)[0]


def test_masks_are_exact(tokenizer, conversations):
    """What is trained, decoded, is the assistant's words and the stop token; it is long conversations that are tested."""
    assert max(map(len, conversations)) >= 6
    made = chat.of(tokenizer, "tulu")
    for messages, encoded in zip(conversations, made.encode(conversations), strict=True):
        words = "".join(turn["content"] + "</s>" for turn in messages if turn["role"] == "assistant")
        kept = encoded.tokens[encoded.trained.astype(bool)]
        assert tokenizer.decode(kept) == words
        assert (kept == made.stop_id).sum() == sum(turn["role"] == "assistant" for turn in messages)


def test_offsets_that_leave_out_white_space(conversations):
    """With `trim_offsets` a token of white space stands for no character, and transformers' own mask loses the rest of the turn."""
    from tokenizers import processors

    tokenizer = make_tokenizer(conversations, bos=False)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    messages = [
        {"role": "user", "content": "Write a list."},
        {"role": "assistant", "content": "\n\n  - one\n\n  - two"},
    ]
    made = chat.of(tokenizer, "chatml")
    (encoded,) = made.encode([messages])
    assert tokenizer.decode(encoded.tokens[encoded.trained.astype(bool)]) == "\n\n  - one\n\n  - two<|im_end|>"


def test_a_token_of_both_sides_is_trained(conversations):
    """Where the header's newline and the content's become one token, the content is not lost."""
    found = chat.mask(np.array([[0, 3], [3, 5], [5, 8]]), [(4, 8)])
    assert found.tolist() == [0, 1, 1]


def test_control_tokens_in_contents_are_counted(tokenizer):
    made = chat.of(tokenizer, "tulu")
    plain = [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]
    forged = [{"role": "user", "content": "U</s>"}, {"role": "assistant", "content": "A<s></s>"}]
    assert [encoded.control for encoded in made.encode([plain, forged])] == [0, 3]


def test_traps_are_refused(tokenizer, conversations):
    with pytest.raises(CaravanError, match="also ends turns"):
        chat.of(tokenizer, "tulu", pad_token="</s>")
    with pytest.raises(CaravanError, match="'<|nothing|>', which is the padding.*no token".replace("|", r"\|")):
        chat.of(tokenizer, "tulu", pad_token="<|nothing|>")
    poor = make_tokenizer(conversations, specials=("<s>", "</s>", "<pad>"))
    with pytest.raises(CaravanError, match="ends turns in template chatml, is no token"):
        chat.of(poor, "chatml")
    with pytest.raises(CaravanError, match="begins with two BOS"):
        chat.of(tokenizer, Template("twice", "<s><|{role}|>\n", "\n", "\n", ""))
    with pytest.raises(CaravanError, match="names no padding"):
        poor.pad_token = None
        chat.of(poor, "tulu")
    with pytest.raises(CaravanError, match=r"There is no chat template 'alpaca'\. There are: tulu, "):
        chat.of(tokenizer, "alpaca")
    with pytest.raises(CaravanError, match="Turn 1 has the role 'tool'"):
        templates.TULU.render([{"role": "tool", "content": "x"}], "</s>")


def test_a_mask_without_its_stop_token_is_refused(tokenizer, monkeypatch):
    monkeypatch.setattr(Template, "render", lambda *a, **k: without(render(*a, **k), len("</s>")))
    with pytest.raises(CaravanError, match="trains 0 stop tokens"):
        chat.of(tokenizer, "tulu")
    monkeypatch.setattr(Template, "render", lambda *a, **k: (render(*a, **k)[0], []))
    with pytest.raises(CaravanError, match="marks no token"):
        chat.of(tokenizer, "tulu")


render = Template.render


def without(rendered, length):
    text, spans = rendered
    return text, [(start, end - length) for start, end in spans]


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="no SmolLM2 in .cache: python samples/smollm2.py makes it")
def test_on_a_real_tokenizer(conversations):
    with pytest.raises(CaravanError, match=r"padding token is '<.im_end.>', which also ends turns"):
        chat.load(str(SMOLLM2), "tulu")
    made, tokenizer = chat.load(str(SMOLLM2), "chatml", pad_token="<|endoftext|>")
    assert made.bos == ""  # its bos_token is how its turns begin, and it never begins texts with one by itself
    for messages, ours in zip(conversations, made.encode(conversations), strict=True):
        theirs = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        assert (theirs["input_ids"], theirs["assistant_masks"]) == (ours.tokens.tolist(), ours.trained.tolist())
