"""Models of transformers: causal ones, asked for log-probabilities of a batch and never for whole logits, and ones with a scalar head."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from inference.vllm_server import checkpoint_name
from trainers import attention, batches
from trainers.batches import Batch
from trainers.chat import Encoded
from trainers.config import Lora, Model, Recipe, Recompute
from trainers.ops import linear_log_prob
from trainers.recompute import keep_less
from warehouse.errors import CaravanError

KINDS = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}
# Settings of models that change logits after the matrix of the vocabulary, and the values that change nothing. `probe` finds others.
AFTERWARDS = {"final_logit_softcapping": (None, 0), "logit_scale": (None, 1), "logits_scaling": (None, 1)}
# Tokens of the text that a model is probed with, and how far from its own the log-probabilities may be: their mean difference as a share
# of their spread. Float32 may be multiplied as TF32, norms of float64 are float32; what is wrong in a trained model is wrong by more than 1.
PROBE = 24
CLOSE = {torch.bfloat16: 0.1, torch.float32: 1e-2, torch.float64: 1e-5}


class Scorer(nn.Module):
    """Batch -> log-probabilities (rows, length) of its targets, float32 or more, 0 where nothing is trained."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        whole = bare(model)
        self._decoder, self._head = [whole.get_decoder()], [whole.get_output_embeddings()]

    @property
    def head(self) -> Tensor:
        """The matrix of the vocabulary (V, D)."""
        return self._head[0].weight

    def forward(self, batch: Batch, temperature: float = 1.0) -> Tensor:
        hidden = hidden_states(self._decoder[0], batch)
        return linear_log_prob(hidden, self.head, batch.targets, temperature=temperature)[0]


class Rater(nn.Module):
    """Batch -> the score (S,) of each of its sequences, float32 or more, read at its last token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def head(self) -> Tensor:
        """The scalar head (1, D)."""
        head: Tensor = self.model.score.weight
        return head

    def forward(self, batch: Batch) -> Tensor:
        hidden = hidden_states(self.model.base_model, batch)
        last = hidden.reshape(-1, hidden.shape[-1])[batch.ends]
        kind = torch.promote_types(last.dtype, torch.float32)
        return (last.to(kind) @ self.head.to(kind).T)[:, 0]


def hidden_states(decoder: Any, batch: Batch) -> Tensor:
    """(rows, length, D) of the last layer."""
    packed: dict[str, Any] = {}
    if batch.starts is not None:
        packed = {"cu_seq_lens_q": batch.starts, "cu_seq_lens_k": batch.starts}
        packed |= {"max_length_q": batch.longest, "max_length_k": batch.longest}
    found: Tensor = decoder(
        input_ids=batch.tokens,
        position_ids=batch.positions,
        attention_mask=batch.attention,
        use_cache=False,
        **packed,
    ).last_hidden_state
    return found


def bare(model: Any) -> Any:
    """The model without adapters around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder(model: Any) -> Any:
    """The part of a model that makes hidden states."""
    whole = bare(model)
    return whole.get_decoder() if whole.get_output_embeddings() is not None else whole.base_model


def of(recipe: Recipe) -> Scorer:
    """The Scorer of the model that a recipe starts from."""
    engine = recipe.engine
    # Of a pair, what is dropped on one side alone would be a difference between the sides.
    how: dict[str, Any] = {"recompute": engine.recompute, "dropout": recipe.sides == 1}
    model = load(recipe.model, recipe.seed, packing=engine.packing, **how)
    return Scorer(adapt(model, recipe.lora, recipe.seed) if recipe.lora else model)


def rater(recipe: Recipe) -> Rater:
    """The Rater of the model that a recipe starts from."""
    engine = recipe.engine
    how: dict[str, Any] = {"recompute": engine.recompute, "dropout": False, "scalar": True}
    return Rater(load(recipe.model, recipe.seed, packing=engine.packing, **how))


@torch.no_grad()
def probe(scorer: Any, model: Any, packing: bool, device: torch.device) -> None:
    """Raise CaravanError where what `scorer` gives of sequences is not what the model itself makes of each: log-probabilities or scores.

    Short texts, in one batch, are held against each alone. Where one sequence saw the other, a trained model would repeat it; what a
    model does to its logits at the end, or keeps along a sequence, would be missing.
    """
    whole = bare(model)
    tokens = (np.arange(1, PROBE + 1) * 7919 % whole.get_input_embeddings().num_embeddings).astype(np.uint32)
    texts = [Encoded(tokens[:length], np.ones(length, np.uint8), 0) for length in (PROBE, PROBE // 2)]
    batch = (batches.packed(texts) if packing else batches.padded(texts, 0)).to(device)
    scorer.eval()
    found = scorer(batch)
    scalar = found.shape != batch.mask.shape
    # Two scores have no spread to speak of; those of all places have.
    spread = whole.score(hidden_states(whole.base_model, batch)).std() if scalar else None
    found = found if scalar else found[batch.mask]
    used = whole.config._attn_implementation
    whole.set_attn_implementation("eager")
    expected = torch.cat([_alone(model, text, found, device) for text in texts])
    whole.set_attn_implementation(used)
    scorer.train()
    off = float((found - expected).abs().mean() / (expected.std() if spread is None else spread))
    if not off < CLOSE[torch.float64 if found.dtype == torch.float64 else whole.dtype]:
        raise CaravanError(
            f"What is computed of {'packed' if packing else 'padded'} sequences is not what {type(whole).__name__} itself gives "
            f"of each alone: it differs by {off:.2g} of its spread. "
            + ("Set engine.packing=false, or train another model." if packing else "It cannot be trained here.")
        )


def _alone(model: Any, text: Encoded, like: Tensor, device: torch.device) -> Tensor:
    """Log-probabilities of the tokens of a text after its first, or its score where there is a scalar head."""
    ids = torch.from_numpy(text.tokens.astype(np.int64)).to(device)[None]
    logits = model(input_ids=ids, use_cache=False).logits.to(like.dtype)
    if logits.dim() == 2:
        return logits[0]
    return logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]


def load(
    model: Model,
    seed: int,
    *,
    packing: bool = True,
    recompute: Recompute = "nothing",
    trained: bool = True,
    scalar: bool = False,
    dropout: bool = True,
) -> Any:
    """A model on the CPU (under ZeRO-3 spread over ranks), in its precision. Raises CaravanError where it cannot be had or used.

    `scalar`: with a head of one number in the place of the vocabulary's. A model that has none gets one drawn from
    a normal distribution of standard deviation 1 / √(d + 1), d the width (Tülu 3, arXiv 2411.15124, on PPO against DPO).
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    how: dict[str, Any] = {"dtype": KINDS[model.precision]} | (
        {"attn_implementation": attention.NAME} if packing else {}
    )
    kind: Any = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(model.path, revision=model.revision)
        _check(config.get_text_config(), packing)
        if scalar:
            config.num_labels = 1
        if not dropout:
            for name in [name for name, value in vars(config).items() if "drop" in name and isinstance(value, float)]:
                setattr(config, name, 0.0)
        torch.manual_seed(seed)
        if model.random:
            made, drawn = kind.from_config(config, **how), True
        else:
            how |= {"config": config, "revision": model.revision, "output_loading_info": True}
            with _quiet() if scalar else nullcontext():  # that a causal model has no scalar head is no news
                made, told = kind.from_pretrained(model.path, **how)
            drawn = any(name.endswith("score.weight") for name in told["missing_keys"])
    except (OSError, ValueError, RuntimeError) as error:
        raise CaravanError(f"The model {model.path} cannot be loaded: {str(error).splitlines()[0][:300]}") from error
    if scalar and not hasattr(made, "score"):
        raise CaravanError(f"{type(made).__name__}, which {model.path} becomes, has no scalar head called score.")
    if scalar and drawn:
        _draw(made.score.weight, seed)
    if not scalar and getattr(made.get_output_embeddings(), "bias", None) is not None:
        raise CaravanError(f"{model.path}: the matrix of its vocabulary has a bias, which is not computed here.")
    made.config.use_cache = False
    keep_less(made, recompute)
    return made.train(trained)


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _draw(head: nn.Parameter, seed: int) -> None:
    size = head.ds_shape if hasattr(head, "ds_shape") else head.shape
    whole = torch.randn(size, generator=torch.Generator().manual_seed(seed)) / math.sqrt(size[-1] + 1)
    with torch.no_grad():
        if hasattr(head, "ds_shape"):  # spread over ranks by ZeRO-3
            import deepspeed

            with deepspeed.zero.GatheredParameters([head], modifier_rank=0):
                head.copy_(whole)
        else:
            head.copy_(whole)


def pinned(model: Model) -> Model:
    """The same model, with the commit that its revision on the hub means now. Raises CaravanError where there is none."""
    if Path(model.path).is_dir():
        return model
    try:
        snapshot = snapshot_download(model.path, revision=model.revision, allow_patterns=["config.json"])
    except (OSError, ValueError) as error:
        raise CaravanError(
            f"{model.path} is no folder, and as a model of the hub it cannot be had: {str(error).splitlines()[0][:300]}"
        ) from error
    return model.model_copy(update={"revision": Path(snapshot).name})


def identity(model: Model, seed: int) -> str:
    """A name that the weights of a pinned model alone have: a hash of those of a folder, the commit of a hub's, or configuration and seed
    of random ones."""
    from transformers import AutoConfig

    if model.random:
        config = AutoConfig.from_pretrained(model.path, revision=model.revision).to_json_string()
        return f"random/{hashlib.sha256(config.encode()).hexdigest()[:32]}/{seed}"
    folder = Path(model.path)
    return checkpoint_name(folder) if folder.is_dir() else f"{model.path}@{model.revision}"


def check_tokens(model: Any, largest: int) -> None:
    """Raise CaravanError where there is no row of the embedding for a token of this id."""
    rows = bare(model).get_input_embeddings().num_embeddings
    if largest >= rows:
        raise CaravanError(
            f"The tokenizer makes a token {largest:,} and the model has embeddings of {rows:,}: they do not belong together."
        )


def _check(config: Any, packing: bool) -> None:
    if packing and "chunked_attention" in (getattr(config, "layer_types", None) or ()):
        raise CaravanError(
            f"Models of type {config.model_type} see chunks of a sequence, which is not computed of packed ones: set engine.packing=false."
        )
    for name, harmless in AFTERWARDS.items():
        if getattr(config, name, None) not in harmless:
            raise CaravanError(
                f"Models of type {config.model_type} with {name} = {getattr(config, name)} change their logits after the matrix of the "
                "vocabulary, which is not computed here."
            )


def adapt(model: Any, lora: Lora, seed: int) -> Any:
    """The model with adapters of low rank, which alone are trained."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    made: Any = get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets,
            task_type="CAUSAL_LM",
        ),
    )
    if made.get_base_model().get_output_embeddings().weight.requires_grad:
        raise CaravanError(
            "Adapters of the output embeddings are not computed here: leave lm_head out of lora.targets."
        )
    return made
