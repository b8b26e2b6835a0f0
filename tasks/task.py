"""An evaluation task: how it asks, how it reads the answer, how it counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tasks.verdict import Verdict

Variant = Literal["paper", "fixed"]


def known_variant(variant: str) -> None:
    """Raises ValueError for what is no Variant."""
    if variant not in get_args(Variant):
        raise ValueError(f"variant is {variant!r}, not {' or '.join(get_args(Variant))}")


@dataclass(frozen=True)
class Instance:
    """A row of `raw.eval_instances`: `fields` by name, `reference` as the evaluation states it, `record` as it came (parsed).

    `row` is the record's number in its file, from 1.
    """

    fields: Mapping[str, str]
    reference: Any = None
    subset: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    row: int = 1


@dataclass(frozen=True)
class Shot:
    """A worked example: the user's turn and the assistant's."""

    user: str
    assistant: str


@dataclass(frozen=True)
class Prompt:
    """What a model is given: chat messages (role, content), or plain `text` for a task without chat template.

    `prefill` starts the assistant's turn. `choices`, for tasks scored by log-likelihood, are the continuations to score.
    """

    messages: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    prefill: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How a model answers: `max_tokens` new tokens at most, stops, and `samples` responses an instance."""

    max_tokens: int
    stop: tuple[str, ...] = ()
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Task:
    """One evaluation in one variant.

    `paper` keeps what the reference implementation does where that is a bug; `fixed` mends it. Tasks without such a difference have
    the variant `paper` alone. `verify(instance, response)` is pure; a task that a judge model or log-probabilities decide has `score`
    instead, whose arguments its module documents. `aggregate(scores, subsets)` gives the figure that the paper reports, in [0, 1].
    """

    name: str
    version: str
    suite: Literal["development", "unseen"]
    prompt: Callable[[Instance, Sequence[Shot]], Prompt]
    sampling: Sampling
    metric: str
    aggregate: Callable[[Sequence[float], Sequence[str | None]], float]
    verify: Callable[[Instance, str], Verdict] | None = None
    score: Callable[..., Verdict] | None = None
    variant: Variant = "paper"
    shots: Sequence[Shot] | Callable[[Instance], Sequence[Shot]] = ()
    request: Literal["generate", "loglikelihood"] = "generate"
