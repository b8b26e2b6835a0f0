"""Score responses of the warehouse by a reward model: each as it was trained on, into pref.rewards.

Run as: python -m trainers.score runs/rm/model [--completions raw.completions@v1] [--sources pool_v1 ...]
        torchrun --nproc-per-node 8 -m trainers.score runs/rm/model --sources pool_v1
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import warehouse
from inference.vllm_server import checkpoint_name
from trainers import chat as chats
from trainers import models, ranks
from trainers.batches import packed, padded
from trainers.chat import Chat, Encoded
from trainers.config import Model, RewardModel
from trainers.data import EXAMPLES_OF_PROBLEMS
from trainers.models import Rater
from trainers.packing import Cursor, Plan
from trainers.ranks import Ranks
from trainers.sources import conversation, snapshot
from warehouse.commit import Job, code_version, commit_arrow
from warehouse.errors import CaravanError, run
from warehouse.read import views

TABLE = "pref.rewards"
PORTION = 256  # responses a rank that are packed together
SECONDS = 300.0  # between commits, and so what a kill may lose

EXAMPLES = """examples:
  all responses of the warehouse, by the model of a finished run of trainers.reward_model:
    python -m trainers.score runs/tiny_reward_model/model
  those of one campaign, as they were at a tag, on eight GPUs:
    torchrun --nproc-per-node 8 -m trainers.score runs/rm/model --completions raw.completions@v1 --sources pool_v1

Template, length and precision are those that the model was trained with. What it has scored already is not scored again; Ctrl-C keeps what
is scored, and the same command goes on. Page: docs/tune.md.
"""

# A completion that stands in several places is scored once: its id is of its text.
WANTED = """
create temp table wanted as
select
    completion_id,
    any_value(prompt_id) as prompt_id,
    min({source: source, file: file, row: row, branch: branch, sample: sample}) as place,
    completion_id in (select completion_id from pref.rewards where model_id = $model) as scored,
    any_value(prompt_id) in (select prompt_id from raw.prompts) as answers
from raw.completions
where $sources::varchar[] is null or list_contains($sources::varchar[], source)
group by completion_id
"""
TEXTS = """
with prompts as (
    select prompt_id, min({source: source, file: file, row: row, branch: branch}) as place from raw.prompts group by prompt_id
)

select wanted.completion_id, wanted.prompt_id, c.source, p.messages || [{role: 'assistant', content: c.content}] as messages
from wanted
inner join raw.completions as c
    on {source: c.source, file: c.file, row: c.row, branch: c.branch, sample: c.sample} = wanted.place
inner join prompts on prompts.prompt_id = wanted.prompt_id
inner join raw.prompts as p on {source: p.source, file: p.file, row: p.row, branch: p.branch} = prompts.place
where not scored and answers
"""


class Work:
    """What is to be scored and what has been: the first rank's share of it, which alone reads and writes the warehouse."""

    def __init__(
        self, folder: Path, recipe: RewardModel, chat: Chat, completions: str, sources: list[str] | None
    ) -> None:
        self.folder, self.recipe, self.chat = folder, recipe, chat
        self.completions, self.sources = completions, sources
        self.texts: list[dict[str, Any]] = []  # of the portion that is being scored
        self.scored: list[dict[str, Any]] = []  # and not yet committed
        self.since, self.unreadable = time.monotonic(), 0

    def find(self) -> int:
        """How many responses there are to score. Raises CaravanError where none are there at all."""
        self.w = warehouse.open(create=False)
        names = {"raw.completions": self.completions, "raw.prompts": "raw.prompts", TABLE: TABLE}
        self.inputs = [snapshot(self.w, name, table) for table, name in names.items()]
        self.model_id = checkpoint_name(self.folder)
        self.about = {
            "model_id": self.model_id,
            "template": f"{self.chat.template.name}@{self.chat.template.version}",
            "max_length": self.recipe.data.max_length,
            "precision": self.recipe.model.precision,
            "code": code_version(),
        }
        self.rows = views(self.w, self.inputs)
        self.rows.execute(WANTED, {"model": self.model_id, "sources": self.sources})
        count = "count(*), count(*) filter (scored), count(*) filter (not scored and not answers)"
        found, scored, lone = self.rows.execute(f"select {count} from wanted").fetchall()[0]
        if not found:
            there = self.rows.execute("select distinct source from raw.completions order by 1").fetchall()
            raise CaravanError(
                f"{self.inputs[0]} holds no responses of {', '.join(self.sources or ['any source'])}. "
                f"It holds those of: {', '.join(name for (name,) in there) or 'none'}."
            )
        left: int = found - scored - lone
        print(
            f"{self.model_id}: {found:,} responses, {scored:,} scored already, {lone:,} without their prompt in "
            f"{self.inputs[1]}, {left:,} to score"
        )
        self.rows.execute(TEXTS)
        return left

    def portion(self, size: int) -> list[Encoded]:
        """Tokens of the next responses, cut as in training; none where no more are left."""
        texts: list[dict[str, Any]] = []
        while not texts and (rows := self.rows.fetchmany(size)):
            for completion_id, prompt_id, source, messages in rows:
                try:
                    conversation({"messages": messages})
                except CaravanError as error:
                    self.unreadable += 1
                    if self.unreadable <= EXAMPLES_OF_PROBLEMS:
                        print(f"cannot be scored: {completion_id} of {source}: {error}.", file=sys.stderr)
                    continue
                origin = {"completion_id": completion_id, "prompt_id": prompt_id, "source": source}
                texts.append({**origin, "messages": messages})
        encoded = self.chat.encode([text.pop("messages") for text in texts])
        most = self.recipe.data.max_length
        self.texts = [
            {**text, "tokens": min(len(whole.tokens), most), "cut": len(whole.tokens) > most}
            for text, whole in zip(texts, encoded, strict=True)
        ]
        return [Encoded(whole.tokens[:most], whole.trained[:most], whole.control) for whole in encoded]

    def keep(self, scores: list[float]) -> None:
        """Take the scores of the portion, and commit what there is when it is time. Raises CaravanError on a score that is no number."""
        for text, score in zip(self.texts, scores, strict=True):
            if not np.isfinite(score):
                self.commit()
                raise CaravanError(
                    f"{self.folder} gives {text['completion_id']} of {text['source']} the score {score}: its weights, or "
                    f"{self.recipe.model.precision} for them, are not fit to score with."
                )
            self.scored.append({**text, "score": score, **self.about})
        if time.monotonic() - self.since > SECONDS:
            self.commit()

    def commit(self) -> None:
        if self.scored:
            job = Job("trainers.score", {"model": self.model_id, "sources": self.sources}, self.inputs)
            snapshot = commit_arrow(self.w, TABLE, pa.Table.from_pylist(self.scored), job)
            print(f"wrote {TABLE}@{snapshot}: {len(self.scored):,} more scores", flush=True)
        self.scored, self.since = [], time.monotonic()


def trained(folder: Path) -> RewardModel:
    """The recipe of a finished reward model. Raises CaravanError where a folder holds none."""
    path = folder / "caravan.json"
    told = json.loads(path.read_text()) if path.is_file() else {}
    stage = told.get("recipe", {}).get("stage")
    if stage != "reward_model":
        raise CaravanError(
            f"{folder} {f'was trained as {stage}, and' if stage else 'has no caravan.json that says how it was trained, so it'} is no "
            "reward model to score with. Name the folder model of a finished run of trainers.reward_model."
        )
    return RewardModel.model_validate(told["recipe"])


def score(folder: Path, recipe: RewardModel, completions: str, sources: list[str] | None, joined: Ranks) -> int:
    """Score all that is not scored yet (returns 0), or what there was until asked to stop (130)."""
    chat, _ = chats.load(str(folder), recipe.data.template, recipe.data.pad_token)
    work = Work(folder, recipe, chat, completions, sources)
    total = joined.agree(work.find)
    if not total:
        return 0
    packing = recipe.engine.packing
    start = Model(path=str(folder), precision=recipe.model.precision)
    rater = Rater(models.load(start, recipe.seed, packing=packing, trained=False, scalar=True)).to(joined.device)
    models.probe(rater, rater.model, packing, joined.device)
    rater.eval()
    began, tokens, done, stop = time.monotonic(), 0, 0, False
    columns = (TextColumn("scoring"), MofNCompleteColumn(), TextColumn("responses  {task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=sys.stderr), disable=not joined.first
    ) as bar:
        task = bar.add_task("", total=total)
        while texts := joined.agree(lambda: work.portion(PORTION * joined.count)):
            found = scores(rater, texts, recipe, chat.pad_id, joined)
            joined.agree(partial(work.keep, found))
            tokens += sum(len(text.tokens) for text in texts)
            done += len(texts)
            seconds = time.monotonic() - began
            bar.update(task, completed=done, description=f"{done / seconds:,.1f}/s  {tokens / seconds:,.0f} tokens/s")
            stop = bool(joined.add([float(joined.stopping)])[0])
            if stop:
                break
    joined.agree(work.commit)
    if work.unreadable:
        print(f"{work.unreadable:,} responses cannot be scored", file=sys.stderr)
    if stop:
        print(f"stopped after {done:,} of {total:,}: the same command goes on", flush=True)
        return 130
    return 0


@torch.no_grad()
def scores(rater: Rater, texts: list[Encoded], recipe: RewardModel, pad: int, joined: Ranks) -> list[float]:
    """The score of each text, in parts dealt over the ranks as in training."""
    lengths = np.array([len(text.tokens) for text in texts])
    capacity = recipe.engine.tokens_per_part if recipe.engine.packing else None
    plan = Plan(lengths, lengths, len(texts), recipe.seed, capacity, joined.rank, joined.count)
    found = np.zeros(len(texts))
    for part in plan.step(Cursor(), np.arange(len(texts))).parts:
        if part:
            chosen = [texts[i] for i in part]
            batch = packed(chosen) if recipe.engine.packing else padded(chosen, pad)
            found[part] = rater(batch.to(joined.device)).double().cpu()
    return joined.add(found.tolist())  # each is on one rank and 0 on the others


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    folder = Path(options.model)
    recipe = trained(folder)
    return ranks.together(
        recipe.engine.patience, lambda joined: score(folder, recipe, options.completions, options.sources, joined)
    )


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m trainers.score",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("model", metavar="FOLDER", help="the folder model of a finished run of trainers.reward_model")
    add("--completions", default="raw.completions", metavar="REF", help="raw.completions[@tag] (default: its newest)")
    add("--sources", nargs="+", metavar="SOURCE", help="data sets or campaigns of the responses (default: all)")
    return made


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    run(main)
