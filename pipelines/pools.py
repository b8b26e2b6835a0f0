"""Pools of models that answer the same prompts: which there are, and which of them answer which prompt.

A pool is a TOML file:

    each = 4                       # models that answer a prompt
    parameters = { max_tokens = 2048 }

    [[model]]
    name = "gpt-4o-2024-08-06"     # of a model card
    [[model]]
    name = "llama-3.1-tulu-3-8b-sft"
    policy = "on"                  # the model that is being trained: it answers every prompt
    parameters = { temperature = 1.0 }
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from inference.models import Card
from inference.request import canonical
from pipelines import registry
from warehouse import licences
from warehouse.errors import CaravanError

EACH = 4
MAX_TOKENS = 2048  # of a response, where nothing else is said
ON, OFF = "on", "off"


@dataclass(frozen=True)
class Member:
    """A model of a pool, by the name of its card; `checkpoint` is the hash of its weights where it is one."""

    name: str
    policy: str = OFF
    parameters: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None


@dataclass(frozen=True)
class Pool:
    """The models, `each` of which answer a prompt: all with policy "on", and others chosen by a hash."""

    members: tuple[Member, ...]
    each: int

    def check(self) -> "Pool":
        """The pool itself. Raises CaravanError where it cannot be."""
        names = [member.name for member in self.members]
        on = sum(member.policy == ON for member in self.members)
        if not names:
            raise CaravanError("The pool has no model. Name models with --pool, or a checkpoint with --checkpoint.")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise CaravanError(f"The pool names {repeated[0]} twice. Ask one model several times with --samples.")
        if not max(1, on) <= self.each <= len(names):
            raise CaravanError(
                f"{self.each} models cannot answer each prompt: the pool has {len(names)}, and {on} of them are on-policy, which "
                f"answer every prompt. Give --each a number from {max(1, on)} to {len(names)}."
            )
        return self

    def told(self) -> dict[str, Any]:
        """All that decides what is asked, for the record."""
        members = [
            {"name": member.name, "policy": member.policy, "parameters": dict(member.parameters)}
            for member in sorted(self.members, key=lambda member: member.name)
        ]
        return {"each": self.each, "models": members}


def read(path: Path) -> tuple[list[Member], int | None]:
    """The members of a pool file and its `each`. Raises CaravanError naming file and key for what cannot be read."""
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaravanError(
            f"There is no pool file {path}. Give --pool a file, or names of models with commas."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaravanError(f"{path} is not valid TOML: {error}.") from error
    _known(declared, {"each": int, "parameters": dict, "model": list}, str(path))
    shared = declared.get("parameters", {})
    members = []
    for number, table in enumerate(declared.get("model", []), 1):
        where = f"{path}, model {number}"
        _known(table, {"name": str, "policy": str, "parameters": dict}, where)
        policy = table.get("policy", OFF)
        if "name" not in table or policy not in (ON, OFF):
            raise CaravanError(f'{where}: a model has a name, and policy is "{ON}" or "{OFF}".')
        members.append(Member(table["name"], policy, {**shared, **table.get("parameters", {})}))
    return members, declared.get("each")


def pool(
    text: str | None, each: int | None, on_policy: Sequence[str], parameters: Mapping[str, Any], more: Sequence[Member]
) -> Pool:
    """The pool of a command line: a file or names with commas, and `more`. `parameters` are for all and replace the file's.

    Raises CaravanError where that is no pool.
    """
    members: list[Member] = []
    stated = None
    if text and text.endswith(".toml"):
        members, stated = read(Path(text))
    elif text:
        members = [Member(name.strip()) for name in text.split(",") if name.strip()]
    if unknown := sorted(set(on_policy) - {member.name for member in members}):
        raise CaravanError(f"--on-policy names {unknown[0]}, which is not in the pool.")
    members = [replace(m, policy=ON) if m.name in on_policy else m for m in [*members, *more]]
    members = [
        replace(m, parameters=_floats({"max_tokens": MAX_TOKENS, **m.parameters, **parameters})) for m in members
    ]
    return Pool(tuple(members), each or stated or min(EACH, len(members))).check()


def chosen(prompts: DataFrame, pool: Pool, seed: int, samples: int) -> DataFrame:
    """Rows with a prompt_id -> a row for each answer: `model`, `sample` (which answer of the model) and `number` (of the prompt).

    The choice is by rendezvous: of the models that are not on-policy those whose hash with seed and prompt_id is smallest answer. So
    it does not depend on other prompts, and a model that joins or leaves a pool changes no more choices than it must.
    """
    on = [member.name for member in pool.members if member.policy == ON]
    off = [member.name for member in pool.members if member.policy == OFF]
    drawn = F.array(
        *(
            F.struct(F.md5(F.concat_ws("\x1f", F.lit(str(seed)), "prompt_id", F.lit(name))), F.lit(name).alias("model"))
            for name in sorted(off)
        )
    )
    others = F.slice(F.sort_array(drawn)["model"], 1, pool.each - len(on)) if off else F.array().cast("array<string>")
    models = F.concat(F.array(*map(F.lit, sorted(on))).cast("array<string>"), others)
    placed = prompts.select("*", F.posexplode(models).alias("place", "model"))
    taken = placed.withColumn("sample", F.explode(F.sequence(F.lit(0), F.lit(samples - 1))))
    return taken.withColumn("number", F.col("place") * samples + F.col("sample")).drop("place")


def members(pool: Pool) -> list[tuple[str, str, str | None, str]]:
    """(model, policy, checkpoint_id, parameters as canonical JSON) of each member."""
    return [(m.name, m.policy, m.checkpoint, canonical(dict(m.parameters))) for m in pool.members]


def binding(card: Card) -> str | None:
    """What binds text of a model: its card, and the terms by which ingestion binds text of that name; None where nothing does."""
    terms = registry.terms_of(card.name, registry.load().terms) or []
    own = [card.text_licence] if card.text_licence else []
    return licences.combine([*terms, *own]) if terms or own else None


def _floats(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """1 and 1.0 are the same temperature, and shall be the same request."""
    return {k: float(v) if k in ("temperature", "top_p") else v for k, v in parameters.items()}


def _known(table: Mapping[str, Any], keys: Mapping[str, type], where: str) -> None:
    for key, value in table.items():
        if key not in keys or not isinstance(value, keys[key]):
            wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in keys.items())
            raise CaravanError(f"{where}: '{key}' is unknown or of the wrong kind. Keys: {wanted}.")
