"""Conversations to token ids and masks: a template and a tokenizer together, and the checks on both.

The whole text of a conversation is tokenised once, with the characters that each token stands for; a token is trained if it stands
for a trained character. Tokenising turn by turn would make other tokens than a model meets when it is asked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, processors

from trainers.templates import Spans, Template, template
from warehouse.errors import CaravanError

Messages = Sequence[Mapping[str, str]]
PROBE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One and one?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "And one?"},
    {"role": "assistant", "content": "Three."},
]


@dataclass(frozen=True)
class Encoded:
    """Token ids (uint32), whether each is trained (uint8: 0 or 1), and how many control tokens stood in the contents themselves."""

    tokens: npt.NDArray[np.uint32]
    trained: npt.NDArray[np.uint8]
    control: int


@dataclass(frozen=True)
class Chat:
    """A template bound to a tokenizer. It can be sent to other processes; `bos` is empty where the tokenizer adds none."""

    template: Template
    tokenizer: str = field(repr=False)  # the text of a tokenizer.json
    eos: str
    bos: str
    pad: str

    @cached_property
    def backend(self) -> Tokenizer:
        made = Tokenizer.from_str(self.tokenizer)
        made.no_truncation()
        made.no_padding()
        # A post-processor would add special tokens, which the template does, or take white space out of the offsets.
        made.post_processor = processors.ByteLevel(trim_offsets=False)
        return made

    @property
    def version(self) -> str:
        """32 hexadecimal digits: equal where template and tokenizer make the same tokens of everything."""
        parts = (self.template.version, self.tokenizer, self.eos, self.bos)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def stop_id(self) -> int:
        return self._id(self.template.stop_token(self.eos))

    @property
    def pad_id(self) -> int:
        return self._id(self.pad)

    def _id(self, token: str) -> int:
        found = self.backend.token_to_id(token)
        assert found is not None
        return int(found)

    @cached_property
    def _control(self) -> npt.NDArray[np.uint32]:
        added = self.backend.get_added_tokens_decoder()
        return np.array(sorted(i for i, token in added.items() if token.special), dtype=np.uint32)

    @cached_property
    def _frames(self) -> dict[tuple[str, ...], int]:
        return {}

    def encode(self, conversations: Sequence[Messages], only_last: bool = False) -> list[Encoded]:
        """Tokens and masks of conversations; `only_last`: the last assistant's turn alone is trained. Raises CaravanError on an unknown
        role."""
        rendered = [self.template.render(messages, self.eos, self.bos) for messages in conversations]
        encodings = self.backend.encode_batch([text for text, _ in rendered], add_special_tokens=False)
        found = []
        for messages, (_, spans), encoding in zip(conversations, rendered, encodings, strict=True):
            tokens = np.array(encoding.ids, dtype=np.uint32)
            offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            trained = mask(offsets, spans[-1:] if only_last else spans)
            roles = tuple(message["role"] for message in messages)
            control = int(np.isin(tokens, self._control).sum()) - self._frame(roles)
            found.append(Encoded(tokens, trained, control))
        return found

    def _frame(self, roles: tuple[str, ...]) -> int:
        """Control tokens that the template itself puts around turns of these roles."""
        if roles not in self._frames:
            text, _ = self.template.render([{"role": role, "content": "x"} for role in roles], self.eos, self.bos)
            ids = self.backend.encode(text, add_special_tokens=False).ids
            self._frames[roles] = int(np.isin(np.array(ids, dtype=np.uint32), self._control).sum())
        return self._frames[roles]

    def check(self) -> None:
        """Encode a conversation of two rounds. Raises CaravanError on each of the ways in which training would go wrong unseen."""
        stop, name = self.template.stop_token(self.eos), self.template.name
        for role, token in (("ends turns", stop), ("is the EOS token", self.eos), ("is the padding", self.pad)):
            ids = self.backend.encode(token, add_special_tokens=False).ids
            if len(ids) != 1:
                raise CaravanError(
                    f"{token!r}, which {role} in template {name}, is no token of this tokenizer: it makes {len(ids)} of it, and a model "
                    f"cannot learn to stop or be padded with a text. Choose another template or add {token!r} to the tokenizer."
                )
        if self.pad_id in (self.stop_id, self._id(self.eos)):
            raise CaravanError(
                f"The padding token is {self.pad!r}, which also ends turns: whatever masks padding would mask the stop token, and the "
                'model would never learn to stop. Name another token of the tokenizer: pad_token = "…".'
            )
        (probe,) = self.encode([PROBE])
        if not probe.trained.any():
            raise CaravanError(f"Template {name} marks no token of an assistant's turns for training.")
        stops = int((probe.tokens[probe.trained.astype(bool)] == self.stop_id).sum())
        if stops != 2:
            raise CaravanError(
                f"Template {name} trains {stops} stop tokens {stop!r} of two turns of an assistant: the model would not learn to stop."
            )
        bos = self.backend.token_to_id(self.bos) if self.bos else None
        if bos is not None and (probe.tokens[:2] == bos).all():
            raise CaravanError(
                f"The text begins with two BOS tokens {self.bos!r}: template {name} writes one and the tokenizer adds another. Use a "
                "template without it."
            )


def mask(offsets: npt.NDArray[np.int64], spans: Spans) -> npt.NDArray[np.uint8]:
    """1 for tokens that stand for at least one character of a span; offsets are (start, end) of each token."""
    found = np.zeros(len(offsets), dtype=np.uint8)
    for start, end in spans:
        found |= (offsets[:, 0] < end) & (offsets[:, 1] > start)
    return found


def of(tokenizer: Any, name: str | Template, pad_token: str | None = None) -> Chat:
    """A checked Chat of a fast tokenizer of transformers, which gets the template as Jinja and the padding token.

    The text begins with a BOS token exactly if the tokenizer by itself begins texts with one. Raises CaravanError.
    """
    chosen = template(name) if isinstance(name, str) else name
    if not tokenizer.is_fast:
        raise CaravanError(
            f"{tokenizer.name_or_path} has no fast tokenizer (tokenizer.json), which says what characters a token stands for."
        )
    if tokenizer.eos_token is None:
        raise CaravanError(f"The tokenizer {tokenizer.name_or_path} names no EOS token.")
    pad = pad_token or tokenizer.pad_token
    if pad is None:
        raise CaravanError(
            f'The tokenizer {tokenizer.name_or_path} names no padding token. Name one of its tokens: pad_token = "…".'
        )
    adds_bos = tokenizer.bos_token is not None and tokenizer("x").input_ids[0] == tokenizer.bos_token_id
    chat = Chat(
        chosen, tokenizer.backend_tokenizer.to_str(), tokenizer.eos_token, tokenizer.bos_token if adds_bos else "", pad
    )
    chat.check()
    tokenizer.pad_token = pad
    tokenizer.chat_template = chosen.jinja(bos=adds_bos)
    return chat


def load(path: str, name: str, pad_token: str | None = None, revision: str | None = None) -> tuple[Chat, Any]:
    """A Chat and the tokenizer of a checkpoint folder or hub id. Raises CaravanError."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    return of(tokenizer, name, pad_token), tokenizer
