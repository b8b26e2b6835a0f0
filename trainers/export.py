"""A trained model as a folder that transformers and vLLM read: weights, tokenizer with its template, and a card that says of what it is made."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import warehouse
from trainers.chat import Chat
from trainers.checkpoints import State, settle
from trainers.config import Recipe
from trainers.data import Examples
from trainers.engines import Engine
from trainers.models import KINDS
from trainers.ranks import Ranks
from trainers.sources import Data
from warehouse.read import dataset


def write(
    folder: Path, engine: Engine, chat: Chat, tokenizer: Any, recipe: Recipe, card: str, state: State, ranks: Ranks
) -> None:
    """Write the folder, complete or not at all; all ranks take part."""
    kind, model = KINDS[recipe.save.export], engine.model
    part = folder.with_name(f".{folder.name}.part")
    if ranks.first:
        shutil.rmtree(part, ignore_errors=True)
        if recipe.lora:
            model.save_pretrained(part / "adapter")
    if recipe.lora:
        model.merge_adapter()  # training cannot go on after that
    weights: dict[str, Tensor] = {}
    for name, tensor in engine.weights():
        if ranks.first:
            weights[name] = tensor.to("cpu", kind, copy=True).contiguous()
    if ranks.first:
        weights |= _buffers(model)
        if recipe.lora:
            weights, model = merged(weights), model.get_base_model()
        model.config.use_cache = True
        model.config.eos_token_id, model.config.pad_token_id = chat.stop_id, chat.pad_id
        if model.can_generate():
            settings = model.generation_config
            settings.eos_token_id, settings.pad_token_id = chat.stop_id, chat.pad_id
            settings.use_cache = True
        model.save_pretrained(part, state_dict=weights)
        config = part / "config.json"
        # transformers writes the type that the model was trained in.
        config.write_text(
            json.dumps({**json.loads(config.read_text()), "dtype": str(kind).removeprefix("torch.")}, indent=2)
        )
        tokenizer.save_pretrained(part)
        (part / "README.md").write_text(card, encoding="utf-8")
        told = {"step": state.step, "tokens": state.tokens, "held_out": state.held_out}
        # What asks the model later has to ask it as it was trained: template, length, precision.
        (part / "caravan.json").write_text(json.dumps({**told, "recipe": recipe.model_dump(mode="json")}))
        shutil.rmtree(folder, ignore_errors=True)
        settle(part, folder)
    ranks.wait()


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds beside parameters, each in its own type."""
    kept = model.state_dict().keys()
    return {name: buffer.to("cpu", copy=True) for name, buffer in model.named_buffers() if name in kept}


def merged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a model with adapters merged into it by `merge_adapter`, under the names of the model without them."""
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): tensor
        for name, tensor in weights.items()
        if ".lora_" not in name
    }


def card(recipe: Recipe, data: Data, examples: Examples, told: dict[str, Any], state: State) -> str:
    """The model card, with the lineage of every source that was trained on."""
    licences = of_sources(data)
    lines = ["| source | rows | examples | tokens | trained | licences |", "|---|---:|---:|---:|---:|---|"]
    for source, n in examples.about["counts"].items():
        counts = " | ".join(f"{n.get(name, 0):,}" for name in ("rows", "examples", "tokens", "targets"))
        lines.append(f"| {source} | {counts} | {', '.join(licences.get(source, ['not stated']))} |")
    settings = json.dumps(recipe.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False)
    unit = "pair" if recipe.sides == 2 else "trained token"
    loss = f"{state.held_out:.4f} nats a {unit}" if state.held_out is not None else "not measured"
    table = data.table.table if data.table else "mixtures.sft"
    versions = ", ".join(f"{name} {value}" for name, value in told["environment"].items())
    return f"""---
base_model: {recipe.model.path}
library_name: transformers
pipeline_tag: {"text-classification" if recipe.stage == "reward_model" else "text-generation"}
tags: [caravan, {recipe.stage}]
---

# {told["run"]}

{recipe.model.path}, {"with adapters " if recipe.lora else ""}trained ({recipe.stage}) for {state.step:,} steps on {state.tokens:,} tokens
({state.targets:,} of them trained). Loss on held-out rows: {loss}.

| what | which |
|---|---|
| run | `{told["run"]}` in `train.runs` |
| data | `{data.identity if data.table else data.name}` |
| tokens | `{examples.fingerprint}` |
| weights at the start | `{told["fixed"]["weights"] or recipe.model.path}` |
| template | `{examples.about["template"]}`, in the tokenizer |
| code | `{told["code"]}` |
| environment | {versions} |

## Sources

{chr(10).join(lines)}

Every trained token can be traced: `select * from train.runs join {table} using (mixture)`, at the snapshot above, names the source,
file, row and licence of each row of the mixture; {state.step:,} steps of {recipe.train.batch:,} rows were taken, in the order of the seed.

## Recipe

```json
{settings}
```
"""


def of_sources(data: Data) -> dict[str, list[str]]:
    """Licences of the rows of each source of a mixture; nothing is known of plain files."""
    if data.table is None:
        return {}
    rows = dataset(warehouse.open(create=False), data.table).to_table(columns=["mixture", "source", "licence"])
    found: dict[str, Counter[str]] = {}
    for row in rows.group_by(["mixture", "source", "licence"]).aggregate([([], "count_all")]).to_pylist():
        if row["mixture"] == data.mixture:
            found.setdefault(row["source"], Counter())[row["licence"]] += row["count_all"]
    return {source: [licence for licence, _ in counts.most_common()] for source, counts in found.items()}
