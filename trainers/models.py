"""Causal language models of transformers, asked for log-probabilities of a batch and never for whole logits."""

from typing import Any

import torch
from torch import Tensor, nn

from trainers import attention
from trainers.batches import Batch
from trainers.config import Lora, Model
from trainers.ops import linear_log_prob
from warehouse.errors import CaravanError

KINDS = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}
# Settings of models that change logits after the matrix of the vocabulary, and the values that change nothing.
AFTERWARDS = {"final_logit_softcapping": (None, 0), "logit_scale": (None, 1), "logits_scaling": (None, 1)}


class Scorer(nn.Module):
    """Batch -> log-probabilities (rows, length) of its targets, float32 or more, 0 where nothing is trained."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        whole = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._decoder, self._head = [whole.get_decoder()], [whole.get_output_embeddings()]

    @property
    def head(self) -> Tensor:
        """The matrix of the vocabulary (V, D)."""
        return self._head[0].weight

    def forward(self, batch: Batch, temperature: float = 1.0) -> Tensor:
        packed = {} if batch.starts is None else {"starts": batch.starts, "longest": batch.longest}
        hidden = self._decoder[0](
            input_ids=batch.tokens,
            position_ids=batch.positions,
            attention_mask=batch.attention,
            use_cache=False,
            **packed,
        ).last_hidden_state
        return linear_log_prob(hidden, self.head, batch.targets, temperature=temperature)[0]


def load(model: Model, seed: int, *, packing: bool = True, recompute: bool = False, trained: bool = True) -> Any:
    """A model on the CPU (under ZeRO-3 spread over ranks), in its precision. Raises CaravanError where it cannot be had or used."""
    from transformers import AutoConfig, AutoModelForCausalLM

    how = {"dtype": KINDS[model.precision], "attn_implementation": attention.NAME if packing else "sdpa"}
    try:
        config = AutoConfig.from_pretrained(model.path, revision=model.revision)
        _check(config)
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


def _check(config: Any) -> None:
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
