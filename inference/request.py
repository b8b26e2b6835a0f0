"""What is asked of a model, named by a hash of its content, and what came back."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from inference.models import PROVIDERS
from warehouse.errors import CaravanError

OURS = {"model", "messages", "prompt", "n", "best_of", "stream"}  # what a request says otherwise, or the engine decides
STATUSES = ("ok", "refused", "failed")


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a model: a chat (`messages`) or a raw completion (`prompt`), never both.

    `parameters` have the names of OpenAI's chat API (temperature, top_p, max_tokens, stop, seed, logprobs …); values are JSON.
    `sample` tells several answers to one question apart. `request_id` is the md5 of the canonical JSON of all other fields, as 32
    hexadecimal digits: equal requests have equal names wherever they are made. Raises CaravanError where the fields are no request.
    """

    provider: str
    model: str
    messages: tuple[Mapping[str, str], ...] | None = None
    prompt: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sample: int = 0
    template: str = ""
    request_id: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise CaravanError(f"A request's provider is one of {', '.join(PROVIDERS)}, not {self.provider!r}.")
        if (self.messages is None) == (self.prompt is None):
            raise CaravanError(f"A request to {self.model} needs messages or a prompt, and has both or none.")
        for name in OURS & self.parameters.keys():
            raise CaravanError(
                f"{name!r} is no parameter of a request: one request has one answer, `sample` tells several apart."
            )
        if self.messages is not None:
            object.__setattr__(self, "messages", tuple(self.messages))
            for message in self.messages or ():
                if set(message) != {"role", "content"}:
                    raise CaravanError(f"A message has role and content, and nothing else: {dict(message)}.")
        object.__setattr__(self, "request_id", hashlib.md5(self.canonical().encode()).hexdigest())

    def canonical(self) -> str:
        """JSON of all fields but the id: keys sorted, no spaces, no escapes beyond JSON's own, floats by `repr`."""
        return canonical(
            {
                "provider": self.provider,
                "model": self.model,
                "messages": None if self.messages is None else [dict(message) for message in self.messages],
                "prompt": self.prompt,
                "parameters": dict(self.parameters),
                "sample": self.sample,
                "template": self.template,
            }
        )

    def row(self) -> dict[str, Any]:
        """The request as a row of llm.requests."""
        return {
            "request_id": self.request_id,
            "provider": self.provider,
            "model": self.model,
            "messages": None if self.messages is None else [dict(message) for message in self.messages],
            "prompt": self.prompt,
            "parameters": canonical(dict(self.parameters)),
            "sample": self.sample,
            "template": self.template,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The request of a row of llm.requests; `parameters` is JSON text there."""
        messages = row["messages"]
        return cls(
            provider=row["provider"],
            model=row["model"],
            messages=None
            if messages is None
            else tuple({"role": m["role"], "content": m["content"]} for m in messages),
            prompt=row["prompt"],
            parameters=json.loads(row["parameters"]),
            sample=row["sample"],
            template=row["template"],
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for a request: a row of llm.responses. `cost` is in US dollars at the price of the day, `seconds` of the
    attempt that succeeded, `logprobs` JSON as the provider gave it."""

    request_id: str
    status: str
    content: str | None = None
    finish_reason: str | None = None
    served_model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    endpoint: str = ""
    batch_id: str | None = None
    logprobs: str | None = None
    error: str | None = None
    attempts: int = 1
    seconds: float | None = None
    received_at: datetime = field(kw_only=True)

    def to_json(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "received_at": self.received_at.isoformat()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(**{**fields, "received_at": datetime.fromisoformat(fields["received_at"])})


def canonical(value: Any) -> str:
    """Canonical JSON. Raises CaravanError for what JSON cannot say."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()  # halves of surrogate pairs are no text
        return text
    except (TypeError, ValueError) as error:
        raise CaravanError(f"A request holds only what JSON can say: {error}.") from error
