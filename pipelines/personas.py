"""Personas, and the prompts, solutions and preference pairs that models write for them; constraints added to prompts; how diverse it is.

Which persona, template and constraints a request has is decided by a hash of --seed and its number: the same command asks the same,
and a larger --count asks only what is new. Answers are read strictly, and what cannot be used goes to raw.rejects with the reason and
the request. What was answered before is never asked again, so a run that was stopped goes on. A source is replaced as a whole.

Run as: spark-submit pipelines/personas.py ingest|make|prompts|rewrite|constrain|detect|diversity … [--dry-run]
    or: python -m pipelines.personas …
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.table import Table

import warehouse
from inference.models import Card
from pipelines import asking, registry
from pipelines.synthesis import (
    augment,
    diversity,
    labels,
    made_personas,
    persona_files,
    plan,
    publish,
    replies,
    rewrites,
    rows,
)
from pipelines.synthesis.options import PERSONAS, PROMPTS, parser
from pipelines.synthesis.skills import SKILLS, Skill
from pipelines.templates import template
from warehouse.commit import Job, commit, staged
from warehouse.errors import CaravanError, run
from warehouse.refs import Resolved, resolve
from warehouse.show import console
from warehouse.spark import read, session, write

EXAMPLES = 3  # requests that --dry-run shows
ROWS_A_TASK = 5_000  # prompts that one task adds constraints to
SOLVING = 0.0  # temperature of solutions
READER = 1  # of how replies become rows; another one makes another revision


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(arguments)
    COMMANDS[options.command](options)


def ingest(options: argparse.Namespace) -> None:
    """Personas from files or the hub -> raw.personas."""
    w, known = warehouse.open(), registry.load()
    declared = known.sources.get(options.source)
    if declared is None and not options.licence:
        raise CaravanError(f"The registry does not know '{options.source}': state its licence with --licence SPDX.")
    publish.known(w, options.source)
    if options.input:
        parts, revision = persona_files.from_files(options.input, options.format)
    elif declared and declared.hub:
        parts, revision = persona_files.from_hub(replace(declared, config=options.config))
    else:
        raise CaravanError(f"Where are the personas of '{options.source}'? Name files with --input.")
    licence = options.licence or (known.licence(declared) if declared else "")
    told = {"field": options.field, "licence": licence, "bytes": revision}
    if publish.unchanged(w, options.source, publish.revision_of(told)):
        return
    spark = session("personas")
    found = persona_files.records(spark, parts, options.field)
    row = publish.described(
        options.source,
        "personas",
        publish.revision_of(told),
        f"ingest {options.field or 'persona'}",
        declared.parents if declared else [],
        declared.models if declared else [],
        location=" ".join(options.input or [declared.location if declared else ""]),
        consent=declared.consent if declared else None,
    )
    personas = persona_files.personas(found, options.source, row["revision"], licence)
    rejects = persona_files.rejects(found, options.source, row["revision"])
    publish.publish(spark, w, _job(options), row, {PERSONAS: personas, "raw.rejects": rejects})


def make(options: argparse.Namespace) -> None:
    """Texts or personas -> personas that a model writes, in raw.personas."""
    w = warehouse.open()
    cards = asking.cards(options, [options.model])
    ref = resolve(w, options.texts)
    if ref.table not in (PROMPTS, PERSONAS):
        raise CaravanError(f"--from is {ref.table}: personas are made from {PROMPTS} or {PERSONAS}.")
    form = made_personas.form_of(ref.table)
    revision = _revision(options, [ref], [form.id])
    print("reads", ref)
    if publish.unchanged(w, options.source, revision) and not options.dry_run:
        return
    spark = session("personas")
    given, parents = _chosen(spark, ref, options.sources)
    texts = made_personas.known(given) if ref.table == PERSONAS else made_personas.texts(given)
    wanted = made_personas.asked(texts, form, options.count, options.seed)
    asked = _asked(wanted, options, cards, F.lit(form.id))
    job = _job(options, [ref])
    answers = _answers(spark, w, asked, options, job, cards)
    if answers is None:
        return
    made = replies.tagged(replies.answered(asked, answers), "persona").persist(StorageLevel.DISK_ONLY)
    personas = made_personas.rows(made, options.source, revision, form.id, options.model, _bound(cards.values()))
    rejects = rows.rejects(made.withColumn("file", F.lit(form.id)), options.source, revision, "persona")
    how, share = f"make from {ref.table}", _share(made, asked)
    row = publish.described(options.source, "personas", revision, how, parents, cards, filter=share)
    publish.publish(spark, w, job, row, {PERSONAS: personas, "raw.rejects": rejects})


def prompts(options: argparse.Namespace) -> None:
    """Personas and templates -> prompts of a skill in raw.prompts, and their solutions in raw.completions."""
    w, skill, personas = warehouse.open(), SKILLS[options.skill], not options.without_personas
    source = options.source or skill.source(personas)
    cards = asking.cards(options, [name for name in (options.model, options.solver) if name])
    inputs = [resolve(w, options.personas)] if personas else []
    print("reads", *(map(str, inputs) if personas else ["no personas"]))
    revision = _revision(options, inputs, _templates(skill, personas))
    if publish.unchanged(w, source, revision) and not options.dry_run:
        return
    spark = session("personas")
    parents: list[str] = []
    if personas:
        given, parents = _chosen(spark, inputs[0], options.sources)
        numbered = plan.personas(given, options.count, options.seed)
    else:
        numbered = plan.nobody(spark, options.count)
    asked = _asked(plan.planned(numbered, skill, options.seed), options, cards, F.col("file"))
    job = _job(options, inputs)
    answers = _answers(spark, w, asked, options, job, cards)
    if answers is None:
        return
    found = replies.tagged(replies.answered(asked, answers), "prompt")
    made = rows.finished(found) if skill.constrained else found.withColumn("ground_truth", F.lit(None).cast("string"))
    made = made.persist(StorageLevel.DISK_ONLY)
    licence = _bound([cards[options.model]])
    written = rows.prompts(made, source, revision, skill.teaches, licence).persist(StorageLevel.DISK_ONLY)
    rejects = rows.rejects(made, source, revision, "prompt")
    tables = {PROMPTS: written, "raw.rejects": rejects}
    if options.solver:
        messages, told = plan.solution(skill)
        kept = written.select("prompt_id", "source", "revision", "file", "row", "branch", "licence", "messages")
        solving = asking.with_requests(
            kept,
            cards,
            model=options.solver,
            messages=messages,
            parameters=_parameters(options, SOLVING),
            template=told,
        )
        solving = solving.persist(StorageLevel.DISK_ONLY)
        answers = _answers(spark, w, solving, options, job, cards)
        assert answers is not None
        solved = replies.whole(replies.answered(solving, answers)).persist(StorageLevel.DISK_ONLY)
        tables["raw.completions"] = rows.completions(solved, options.solver, _bound([cards[options.solver]]))
        tables["raw.rejects"] = rejects.union(rows.rejects(solved, source, revision, "solution", "row"))
    how, share = f"prompts {skill.name}", _share(made, asked)
    row = publish.described(source, "training", revision, how, parents, cards, filter=share, skill=skill.teaches)
    publish.publish(spark, w, job, row, tables)


def rewrite(options: argparse.Namespace) -> None:
    """Prompts with constraints and their answers -> pairs of chosen and rejected answers."""
    w, source = warehouse.open(), options.source or f"{options.of}_preference"
    solver = options.solver or options.model
    cards = asking.cards(options, [options.model, solver])
    inputs = [resolve(w, options.prompts), resolve(w, options.completions)]
    print("reads", *inputs)
    revision = _revision(options, inputs, [template(rewrites.TEMPLATE).id])
    if publish.unchanged(w, source, revision) and not options.dry_run:
        return
    spark = session("personas")
    given, answered = (_chosen(spark, ref, [options.of])[0] for ref in inputs)
    wanted = rewrites.asked(rewrites.chosen(given, answered, options.count, options.seed), options.seed)
    asked = _asked(wanted, options, cards, F.col("file"))
    if asked.isEmpty():
        raise CaravanError(
            f"'{options.of}' has no prompt with constraints and a solution. Make some: prompts --skill if --solver MODEL."
        )
    job = _job(options, inputs)
    answers = _answers(spark, w, asked, options, job, cards)
    if answers is None:
        return
    found = replies.tagged(replies.answered(asked, answers), "prompt")
    found = rewrites.rewritten(found).persist(StorageLevel.DISK_ONLY)
    messages = asking.chat(F.col("rewrite"))
    told = _parameters(options, SOLVING)
    solving = asking.with_requests(rewrites.good(found), cards, model=solver, messages=messages, parameters=told)
    answers = _answers(spark, w, solving, options, job, cards)
    assert answers is not None
    pairs = replies.whole(replies.answered(solving, answers))
    pairs = rewrites.verified(pairs).persist(StorageLevel.DISK_ONLY)
    licence = _bound(cards.values())
    rejects = rows.rejects(found, source, revision, "rewrite")
    tables = {
        PROMPTS: rewrites.prompts(pairs, source, revision),
        "raw.completions": rewrites.completions(pairs, source, revision, solver, licence),
        "raw.rejects": rejects.union(rows.rejects(pairs, source, revision, "pair")),
    }
    share = _share(found, asked)
    how = f"rewrite {options.of}"
    row = publish.described(source, "training", revision, how, [options.of], cards, filter=share, skill="precise_if")
    publish.publish(spark, w, job, row, tables)


def constrain(options: argparse.Namespace) -> None:
    """Prompts -> prompts with constraints, in raw.prompts."""
    w = warehouse.open()
    ref = resolve(w, options.prompts)
    print("reads", ref)
    revision = _revision(options, [ref], [augment.VERSION])
    if publish.unchanged(w, options.source, revision):
        return
    spark = session("personas")
    given, parents = _chosen(spark, ref, options.sources)
    chosen = augment.chosen(given.where(F.col("source") != options.source), options.count, options.seed)
    parts = max(spark.sparkContext.defaultParallelism, options.count // ROWS_A_TASK)
    made = augment.augmented(chosen.repartition(parts), options.source, revision, options.seed)
    made = made.persist(StorageLevel.DISK_ONLY)
    parents = [name for name in parents if name != options.source]
    row = publish.described(
        options.source, "training", revision, "constrain", parents, consent=None, skill="precise_if"
    )
    tables = {PROMPTS: made.where("problem is null").drop("problem"), "raw.rejects": augment.rejects(made)}
    publish.publish(spark, w, _job(options, [ref]), row, tables)


def detect(options: argparse.Namespace) -> None:
    """Prompts -> whether they state constraints, as a model says, in attr.labels. Rows of other prompts, models and templates stay."""
    w = warehouse.open()
    cards = asking.cards(options, [options.model])
    ref, before = resolve(w, options.prompts), resolve(w, labels.TABLE)
    print("reads", ref, before)
    spark, job = session("personas"), _job(options, [ref])
    left = labels.asked(_chosen(spark, ref, options.sources)[0], options.count, options.seed)
    found: DataFrame | None = None
    for attempt in range(labels.ATTEMPTS):
        asked = asking.with_requests(
            left.select("prompt_id", "question"), cards, model=options.model, messages=asking.chat(F.col("question")),
            parameters={"temperature": 0.0 if attempt == 0 else 1.0, "max_tokens": 8}, sample=attempt,
            template=template(labels.TEMPLATE).id,
        )  # fmt: skip
        answers = _answers(spark, w, asked, options, job, cards)
        if answers is None:
            return
        told = replies.yes_or_no(replies.answered(asked, answers)).persist(StorageLevel.DISK_ONLY)
        left = told.where("value is null")
        last = attempt == labels.ATTEMPTS - 1 or left.isEmpty()
        new = labels.rows(told if last else told.where("value is not null"), options.model)
        found = new if found is None else found.unionByName(new)
        if last:
            break
    assert found is not None
    kept = read(spark, before).join(found.select(*labels.KEY), on=list(labels.KEY), how="left_anti")
    with staged(w, labels.TABLE) as folder:
        files = write(kept.select(*found.columns).unionByName(found).coalesce(4), folder, partition="label")
        snapshot = commit(w, labels.TABLE, files, job, replace={"label": [labels.LABEL]}, only_after=before)
    counts = {row.value: row["count"] for row in found.groupBy("value").count().collect()}
    print(
        f"wrote {labels.TABLE}@{snapshot}: {counts.get(True, 0):,} yes, {counts.get(False, 0):,} no, {counts.get(None, 0):,} without an answer"
    )


def diversify(options: argparse.Namespace) -> None:
    """Print how different the prompts of sources are, over equally many of each."""
    w = warehouse.open()
    ref = resolve(w, options.prompts)
    print("reads", ref)
    spark = session("personas")
    given, _ = _chosen(spark, ref, options.sources)
    counts = {row.source: row["count"] for row in given.groupBy("source").count().collect()}
    size = min(counts.values())
    found = [diversity.measured(diversity.sample(given, name, size, options.seed), name) for name in options.sources]
    grams = [f"distinct {n}-grams" for n in range(1, diversity.LONGEST + 1)]
    table = Table("source", "prompts", "words", *grams, "similarity", "nearest", "equal", "near duplicates", box=None)
    for one in found:
        shares = (*one.distinct, one.similarity, one.nearest, one.equal, one.near)
        table.add_row(one.source, f"{one.prompts:,}", f"{one.words:g}", *(f"{share:.3f}" for share in shares))
    console.print(table)
    if options.output:
        told = {"prompts": str(ref), "seed": options.seed, "sources": [asdict(one) for one in found]}
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=1)
        print(f"wrote {options.output}")


COMMANDS = {
    "ingest": ingest,
    "make": make,
    "prompts": prompts,
    "rewrite": rewrite,
    "constrain": constrain,
    "detect": detect,
    "diversity": diversify,
}


def _asked(planned: DataFrame, options: argparse.Namespace, cards: Mapping[str, Card], form: Column) -> DataFrame:
    """Rows with number, round and question -> the same with their requests to the model that writes, on disk."""
    asked = asking.with_requests(
        planned,
        cards,
        model=options.model,
        messages=asking.chat(F.col("question")),
        parameters=_parameters(options, options.temperature),
        sample=F.col("round"),
        template=form,
    )
    return asked.persist(StorageLevel.DISK_ONLY)


def _answers(
    spark: SparkSession,
    w: warehouse.Warehouse,
    asked: DataFrame,
    options: argparse.Namespace,
    job: Job,
    cards: Mapping[str, Card],
) -> DataFrame | None:
    """The answers; on --dry-run None, with the estimate and some requests on the screen."""
    answers = asking.ask(spark, w, asked, options, job, cards)
    if answers is None:
        for row in (
            asked.orderBy(*(name for name in ("number", "prompt_id") if name in asked.columns))
            .limit(EXAMPLES)
            .collect()
        ):
            print(
                f"\n--- request {row.request_id}, {row.template}, to {row.model}, {row.parameters}\n{row.messages[-1].content}"
            )
        if getattr(options, "solver", None) or options.command == "rewrite":
            print("\nThe second model's requests follow from the first one's answers and are not in the estimate.")
    return answers


def _parameters(options: argparse.Namespace, temperature: float) -> dict[str, Any]:
    return {"temperature": temperature, "max_tokens": options.max_tokens}


def _chosen(spark: SparkSession, ref: Resolved, sources: Sequence[str] | None) -> tuple[DataFrame, list[str]]:
    """The rows of a reference, of these sources, and which sources these are. Raises CaravanError where there are none."""
    given = read(spark, ref)
    there = sorted(row.source for row in given.select("source").distinct().collect())
    if unknown := sorted(set(sources or []) - set(there)):
        raise CaravanError(f"{ref} holds no rows of {', '.join(unknown)}. Its sources: {', '.join(there) or 'none'}.")
    if not there:
        what = "python -m pipelines.personas ingest" if ref.table == PERSONAS else "python -m pipelines.ingest"
        raise CaravanError(f"{ref} is empty: ingest something first ({what} --help).")
    return (given.where(F.col("source").isin(list(sources))), sorted(sources)) if sources else (given, there)


def _templates(skill: Skill, personas: bool) -> list[str]:
    named = {kind.path for kind in skill.kinds} | {f"synthesis/{kind.solve}" for kind in skill.kinds if kind.solve}
    return sorted(template(name).id for name in named | ({"synthesis/persona"} if personas else set()))


def _revision(options: argparse.Namespace, inputs: Sequence[Resolved], forms: Sequence[str]) -> str:
    """A hash of all that decides which rows there will be."""
    names = ("command", "skill", "count", "seed", "model", "solver", "temperature", "max_tokens", "sources", "of")
    told = {name: getattr(options, name, None) for name in names}
    return publish.revision_of({**told, "inputs": list(map(str, inputs)), "templates": list(forms), "reader": READER})


def _share(made: DataFrame, asked: DataFrame) -> str | None:
    """How many requests were answered, where some were not (--partial)."""
    answered, count = made.count(), asked.count()
    return f"{answered:,} of {count:,} requests answered" if answered < count else None


def _bound(cards: Iterable[Card]) -> Column:
    """The licence of a row of these models' text: that of what it is made from, and what binds the models' text."""
    return rows.bound(F.col("licence"), [(card.name, card.text_licence) for card in cards], registry.load().terms)


def _job(options: argparse.Namespace, inputs: Sequence[Resolved] = ()) -> Job:
    return Job(f"pipelines.personas {options.command}", {k: v for k, v in vars(options).items() if v}, list(inputs))


if __name__ == "__main__":
    run(main)
