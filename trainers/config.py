"""Recipes: what a run is, in TOML, and settings of the command line over it. A key that does not exist is an error.

recipe = load("recipes/tulu3_8b_sft.toml", Sft, ["train.learning_rate=1e-5", "engine.zero=2"])
"""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from warehouse.errors import CaravanError

Share = Annotated[float, Field(ge=0, lt=1)]
BETAS = {"dpo": "0.1", "simpo": "2", "ipo": "0.1"}  # of the papers
ROWS_OF = {1: "an example", 2: "a pair of examples"}
Recompute = Literal["nothing", "cheap", "all"]
Seed = Annotated[int, Field(ge=0, lt=1 << 24)]  # shares 64 bits with the step and the rank


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Strict):
    """The model to start from: a checkpoint folder or hub id. With `random` its weights are drawn, by the seed."""

    path: str
    revision: str | None = None
    random: bool = False
    # What is computed in. Weights and the optimiser's state are kept in float32 whichever it is.
    precision: Literal["bf16", "fp32", "fp64"] = "bf16"


class Rows(Strict):
    """What is trained on. `held_out` rows, chosen by the seed, are kept apart to measure the loss on, with all that share their prompt."""

    template: str = "tulu"
    pad_token: str | None = None
    mixture: str | None = None
    max_length: PositiveInt = 4096
    long: Literal["truncate", "drop", "split"] = "truncate"
    held_out: NonNegativeInt = 0


class Pairs(Rows):
    """Rows of a better and a worse response. `max_length` is that of each response with its prompt."""

    max_length: PositiveInt = 2048
    long: Literal["truncate", "drop"] = "truncate"


class Train(Strict):
    """How the weights change. `batch` is rows a step, over all ranks; `warmup` a share of all steps."""

    epochs: PositiveInt = 1
    steps: PositiveInt | None = None  # end after so many, schedule included
    batch: PositiveInt = 128
    learning_rate: PositiveFloat = 5e-6
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: Share = 0.03
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    clip: PositiveFloat | None = (
        None  # largest norm of a step's gradient; with `sum` it grows with the tokens of a step
    )


class SftTrain(Train):
    epochs: PositiveInt = 2
    loss: Literal["sum", "token_mean", "seq_mean", "tulu_microbatch_mean"] = "sum"


class RewardTrain(Train):
    batch: PositiveInt = 256
    learning_rate: PositiveFloat = 3e-6


class DpoTrain(Train):
    """`loss` is one of those of trainers.preference; `margin` the γ of SimPO, `smoothing` the share of pairs taken to be the wrong way round."""

    learning_rate: PositiveFloat = 5e-7
    warmup: Share = 0.1
    loss: Literal["dpo", "dpo_norm", "simpo", "ipo"] = "dpo_norm"
    beta: PositiveFloat = 5.0
    margin: NonNegativeFloat = 0.0
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class Lora(Strict):
    """Adapters of low rank in the place of all weights: what `peft` calls r, lora_alpha, lora_dropout, target_modules."""

    rank: PositiveInt = 64
    alpha: PositiveInt = 16
    dropout: Share = 0.0
    targets: str | list[str] = "all-linear"


class Engine(Strict):
    """What a step is computed with: nothing of this changes its result, but for rounding."""

    kind: Literal["torch", "deepspeed"] = "torch"
    zero: Literal[0, 1, 2, 3] = 0
    offload: bool = False  # DeepSpeed: the optimiser's state, and with ZeRO-3 the weights, in the memory of the host
    tokens_per_part: PositiveInt = 8192  # tokens that a rank computes at once
    packing: bool = True  # off: every example by itself
    # What of a layer is computed a second time in the backward pass, in the place of keeping it; cheap: all but products and attention.
    recompute: Recompute = "nothing"
    compile: bool = False
    patience: PositiveFloat = 120  # seconds without a sign of life after which a rank counts as lost


class PairEngine(Engine):
    """`forward`: better and worse responses in a pass each, or all in one."""

    forward: Literal["separate", "concatenated"] = "separate"


class DpoEngine(PairEngine):
    """`reference`: its log-probabilities computed once and kept, or by a second model in memory with every part."""

    reference: Literal["cached", "live"] = "cached"


class Save(Strict):
    """Checkpoints: every so many steps, which of them stay; which becomes the finished model, and in which type it is written."""

    every: PositiveInt = 500
    keep_last: PositiveInt = 2
    keep_best: NonNegativeInt = 1  # by the loss on held-out rows
    model: Literal["last", "best"] = "last"
    export: Literal["bf16", "fp32"] = "bf16"


class Log(Strict):
    every: PositiveInt = 1  # steps between lines where output is no terminal
    tensorboard: bool = True
    wandb: str | None = None  # project of wandb; none by default


class Hardware(Strict):
    """What the published run was made on; `python -m trainers.plan` compares its prediction with `hours`."""

    gpus: str
    hours: PositiveFloat | None = None
    examples: PositiveInt | None = None  # rows of the mixture
    mean_tokens: PositiveFloat | None = None  # of a row
    spread: PositiveFloat | None = None  # standard deviation of the logarithm of a row's tokens


class Recipe(Strict):
    """What all stages have. `sides` is how many examples a row makes."""

    sides: ClassVar[int] = 1
    stage: str
    seed: Seed = 42
    model: Model
    data: Rows = Rows()
    train: Train = Train()
    lora: Lora | None = None
    engine: Engine = Engine()
    save: Save = Save()
    log: Log = Log()
    hardware: Hardware | None = None

    @property
    def passes(self) -> int:
        """Forward passes of a part: one, or one a side."""
        return 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        room = self.sides * self.data.max_length
        if self.engine.packing and self.engine.tokens_per_part < room:
            raise ValueError(
                f"engine.tokens_per_part ({self.engine.tokens_per_part:,}) has no room for {ROWS_OF[self.sides]} of data.max_length "
                f"({self.data.max_length:,}) tokens"
            )
        if self.engine.kind == "torch" and (self.engine.zero or self.engine.offload):
            raise ValueError("engine.zero and engine.offload are DeepSpeed's: they need engine.kind = 'deepspeed'")
        if self.engine.kind == "deepspeed" and self.engine.zero == 0:
            if self.engine.offload:
                raise ValueError("engine.offload needs engine.zero of 1, 2 or 3: without shards all stays on the GPU")
            if self.model.precision == "bf16":
                raise ValueError(
                    "DeepSpeed without ZeRO keeps no float32 sums of bf16 gradients: set engine.zero to 1, 2 or 3, or engine.kind = 'torch', "
                    "which keeps them"
                )
        if self.model.precision == "fp64" and self.engine.kind == "deepspeed":
            raise ValueError("DeepSpeed has no float64: model.precision fp64 needs engine.kind = 'torch'")
        if self.save.model == "best" and not (self.data.held_out and self.save.keep_best):
            raise ValueError(
                "save.model = 'best' goes by the loss on held-out rows: set data.held_out and save.keep_best"
            )
        if self.engine.recompute == "cheap" and self.engine.zero == 3:
            raise ValueError(
                "ZeRO-3 frees weights within a layer, which selective recomputation takes for a result of it: with engine.zero = 3 set "
                "engine.recompute to 'nothing' or 'all'"
            )
        if self.lora and self.engine.zero == 3:
            raise ValueError("adapters need whole weights on every rank: [lora] goes with engine.zero up to 2")
        return self


class Sft(Recipe):
    """Supervised fine-tuning."""

    stage: Literal["sft"]
    train: SftTrain = SftTrain()


class OfPairs(Recipe):
    """What the stages over pairs have."""

    sides: ClassVar[int] = 2
    data: Pairs = Pairs()
    engine: PairEngine = PairEngine()

    @property
    def passes(self) -> int:
        return 2 if self.engine.forward == "separate" else 1


class RewardModel(OfPairs):
    """A model that gives a response one number."""

    stage: Literal["reward_model"]
    train: RewardTrain = RewardTrain()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.lora:
            raise ValueError("a reward model is trained whole: leave out [lora]")
        return self


class Dpo(OfPairs):
    """Preference tuning without a reward model: DPO and its relatives."""

    stage: Literal["dpo"]
    train: DpoTrain = DpoTrain()
    engine: DpoEngine = DpoEngine()

    @model_validator(mode="after")
    def _reference(self) -> Self:
        if self.train.loss != "dpo_norm" and "beta" not in self.train.model_fields_set:
            raise ValueError(
                f"train.beta says nothing, and its default, {self.train.beta:g}, is dpo_norm's: say which β, such as {BETAS[self.train.loss]}"
            )
        if self.engine.reference == "live" and self.train.loss == "simpo":
            raise ValueError("SimPO has no reference: leave out engine.reference")
        if self.engine.reference == "live" and self.engine.zero == 3:
            raise ValueError(
                "a live reference is whole on every rank: with engine.zero = 3 use engine.reference = 'cached'"
            )
        if self.train.margin and self.train.loss != "simpo":
            raise ValueError("train.margin is SimPO's: it needs train.loss = 'simpo'")
        if self.train.smoothing and self.train.loss == "ipo":
            raise ValueError("train.smoothing is for the losses of a logistic, not for IPO's square")
        return self


class Sweep(Strict):
    """Runs of one recipe: its path from the file of the sweep, settings of all runs, and those of each by its name."""

    recipe: str
    settings: dict[str, Any] = Field(default_factory=dict)
    runs: dict[str, dict[str, Any]]


Kind = TypeVar("Kind", bound=Strict)


def load(path: str | Path, kind: type[Kind], changes: Sequence[str] = ()) -> Kind:
    """A recipe of a file with changes `a.b=value` over it. Raises CaravanError naming every key that is wrong, and its neighbours."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CaravanError(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise CaravanError(f"The recipe {path} is no TOML: {error}.") from error
    for change in changes:
        _set(found, change)
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        known = list(keys(kind))
        raise CaravanError(
            f"The recipe {path} is wrong: " + "; ".join(_said(e, known) for e in error.errors())
        ) from error


def _set(found: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise CaravanError(f"A setting is key=value, such as train.learning_rate=1e-5, not {change!r}.")
    *path, last = key.strip().split(".")
    for name in path:
        found = found.setdefault(name, {})
        if not isinstance(found, dict):
            raise CaravanError(f"{change!r}: {name} is a value and has no keys.")
    try:
        found[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        found[last] = text
    if text == "none":
        del found[last]


def _said(error: Any, known: list[str]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, 1, 0.5)
        return f"there is no {name!r}" + (f", but {near[0]!r}" if near else f"; there are {', '.join(known)}")
    if error["type"] == "missing":
        return f"{name!r} is missing"
    return f"{name + ': ' if name else ''}{error['msg'].removeprefix('Value error, ')}"


def keys(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Names of all settings, with dots."""
    for name, field in kind.model_fields.items():
        inner = [each for each in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(each)]
        if inner:
            yield from keys(inner[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
