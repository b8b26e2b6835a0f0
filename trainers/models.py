"""Causal language models of transformers, asked for log-probabilities of a batch and never for whole logits."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers import attention, batches
from trainers.batches import Batch
from trainers.chat import Encoded
from trainers.config import Lora, Model, Sft
from trainers.ops import linear_log_prob
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
        packed: dict[str, Any] = {}
        if batch.starts is not None:
            packed = {"cu_seq_lens_q": batch.starts, "cu_seq_lens_k": batch.starts}
            packed |= {"max_length_q": batch.longest, "max_length_k": batch.longest}
        hidden = self._decoder[0](
            input_ids=batch.tokens,
            position_ids=batch.positions,
            attention_mask=batch.attention,
            use_cache=False,
            **packed,
        ).last_hidden_state
        return linear_log_prob(hidden, self.head, batch.targets, temperature=temperature)[0]


def bare(model: Any) -> Any:
    """The model without adapters around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def of(recipe: Sft) -> Scorer:
    """The Scorer of the model that a recipe starts from."""
    engine = recipe.engine
    model = load(recipe.model, recipe.seed, packing=engine.packing, recompute=engine.recompute)
    return Scorer(adapt(model, recipe.lora, recipe.seed, engine.recompute) if recipe.lora else model)


@torch.no_grad()
def probe(scorer: Any, model: Any, packing: bool, device: torch.device) -> None:
    """Raise CaravanError where the log-probabilities that `scorer` gives are not those of the model's own logits.

    A short text and its first half, in one batch, are held against the text alone. Where one sequence saw the other, a trained model
    would repeat it; what a model does to its logits at the end, or keeps along a sequence, would be missing.
    """
    whole = bare(model)
    tokens = (np.arange(1, PROBE + 1) * 7919 % whole.get_input_embeddings().num_embeddings).astype(np.uint32)
    text, half = (Encoded(part, np.ones(len(part), np.uint8), 0) for part in (tokens, tokens[: PROBE // 2]))
    batch = (batches.packed([text, half]) if packing else batches.padded([text, half], 0)).to(device)
    scorer.eval()
    found = scorer(batch)[batch.mask]
    used = whole.config._attn_implementation
    whole.set_attn_implementation("eager")
    ids = torch.from_numpy(tokens.astype(np.int64)).to(device)[None]
    logs = model(input_ids=ids, use_cache=False).logits[0, :-1].to(found.dtype).log_softmax(-1)
    whole.set_attn_implementation(used)
    scorer.train()
    alone = logs.gather(-1, ids[0, 1:, None])[:, 0]
    expected = torch.cat([alone, alone[: PROBE // 2 - 1]])
    off = float((found - expected).abs().mean() / expected.std())
    if not off < CLOSE[logs.dtype if logs.dtype == torch.float64 else whole.dtype]:
        raise CaravanError(
            f"Log-probabilities of two {'packed' if packing else 'padded'} sequences are not those that {type(whole).__name__} itself gives "
            f"of each alone: they differ by {off:.2g} of their spread. "
            + ("Set engine.packing=false, or train another model." if packing else "It cannot be trained here.")
        )


def load(model: Model, seed: int, *, packing: bool = True, recompute: bool = False, trained: bool = True) -> Any:
    """A model on the CPU (under ZeRO-3 spread over ranks), in its precision. Raises CaravanError where it cannot be had or used."""
    from transformers import AutoConfig, AutoModelForCausalLM

    how: dict[str, Any] = {"dtype": KINDS[model.precision]} | (
        {"attn_implementation": attention.NAME} if packing else {}
    )
    try:
        config = AutoConfig.from_pretrained(model.path, revision=model.revision)
        _check(config.get_text_config(), packing)
        if model.random:
            torch.manual_seed(seed)
            made = AutoModelForCausalLM.from_config(config, **how)
        else:
            made = AutoModelForCausalLM.from_pretrained(model.path, revision=model.revision, **how)
    except (OSError, ValueError) as error:
        raise CaravanError(f"The model {model.path} cannot be loaded: {str(error).splitlines()[0][:300]}") from error
    if getattr(made.get_output_embeddings(), "bias", None) is not None:
        raise CaravanError(f"{model.path}: the matrix of its vocabulary has a bias, which is not computed here.")
    made.config.use_cache = False
    if recompute:
        made.gradient_checkpointing_enable({"use_reentrant": False})
    return made.train(trained)


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


def adapt(model: Any, lora: Lora, seed: int, recompute: bool = False) -> Any:
    """The model with adapters of low rank, which alone are trained."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    if recompute:
        model.enable_input_require_grads()
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
