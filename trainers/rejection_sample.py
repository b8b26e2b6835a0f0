"""Rejection sampling: of the samples of a prompt and its original response the best one is trained on, and the others become pairs with it.

Run as: python -m trainers.rejection_sample --prompts mixtures.sft@v1 --samples pool_v1 --by pref.rewards:checkpoint/0123456789abcdef \\
            --name tulu3_sft_best

As Tülu 3 tried it (arXiv 2411.15124, section 8), and left it out because it gained little for its cost: a reward model or a judge picks the
best of n samples and the original response. Prompts are rows of a published SFT mixture, so they have passed its gates already.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
from rich.table import Table

import warehouse
from trainers.sources import mixture_of, snapshot
from warehouse.commit import Job, commit_arrow
from warehouse.errors import CaravanError, run
from warehouse.licences import combine
from warehouse.read import views
from warehouse.show import console

EXAMPLES = """examples:
  samples are a campaign of pipelines.complete over the prompts of the mixture; a reward model scores them and the original responses:
    python -m trainers.score runs/rm/model --sources pool_v1 flan_v2
    python -m trainers.rejection_sample --prompts mixtures.sft@v1 --samples pool_v1 --by pref.rewards:checkpoint/0123456789abcdef \\
        --name tulu3_sft_best
  a judge's campaign of pipelines.judge in its place, by the mean of its aspects:
    python -m trainers.rejection_sample --prompts mixtures.sft@v1 --samples pool_v1 --by pref.judgments@v1:gpt-4o --name tulu3_sft_best

Both mixtures are called --name: mixtures.sft gets the best responses, mixtures.preference each with a worse one. Page: docs/tune.md.
"""

# Texts stay in their tables until the best are known: those of all samples would have to fit into memory. Two are one text where only white
# space at their ends tells them apart.
TEXT = "md5(trim({}, E' \\t\\r\\n'))"

# Where the row of a prompt is gone, its licence is that of the whole row, which is no weaker.
ROWS = f"""
create temp table mixture_rows as
select
    m.position, m.prompt_id, m.completion_id, m.source, m.model, m.licence,
    coalesce(p.licence, m.licence) as prompt_licence, {TEXT.format("m.messages[-1].content")} as text
from mixtures.sft as m
left join raw.prompts as p using (source, file, row, branch, prompt_id)
where m.mixture = $mixture and m.prompt_id in (select prompt_id from raw.completions where list_contains($samples, source))
"""

# What a judge gives is bound by its terms. As in int_ratings: a mean is of all aspects that the campaign was judged on, or is none.
SCORES = {
    "pref.rewards": """
create temp table scores as
select completion_id, score, model_id as judge, []::varchar[] as terms from pref.rewards where model_id = $by
""",
    "pref.judgments": """
create temp table scores as
with aspects as (
    select completion_id, judge, aspect, avg(score) as score, list(licence) filter (licence is not null) as terms
    from pref.judgments
    where campaign = $by
    group by all
)

select
    completion_id,
    round(avg(score), 9) as score,
    array_to_string(list_sort(list(distinct judge)), ', ') as judge,
    list_sort(list_distinct(flatten(list(terms)))) as terms
from aspects
group by completion_id
having count(score) = (select count(distinct (judge, aspect)) from aspects)
""",
}
CHOOSERS = {"pref.rewards": "model_id", "pref.judgments": "campaign"}

# The original response, and samples that are whole, not blank, and of another text.
CANDIDATES = f"""
create temp table candidates as
with responses as (
    select position, completion_id, text, model, source, [licence] as terms, true as original from mixture_rows
    union all
    select r.position, c.completion_id, {TEXT.format("c.content")}, c.model, c.source, [r.prompt_licence, c.licence], false
    from mixture_rows as r
    inner join raw.completions as c using (prompt_id)
    where
        list_contains($samples, c.source)
        and c.finish_reason is distinct from 'length'
        and regexp_matches(c.content, '[^\\s\\p{{Z}}\\p{{C}}]')
)

select responses.* exclude (terms), score, judge, list_distinct(responses.terms || coalesce(scores.terms, [])) as terms
from responses
left join scores using (completion_id)
qualify row_number() over (
    partition by position, text order by original desc, md5(concat_ws(chr(31), 'chosen', $seed, completion_id)), source
) = 1
"""

# A response without a score neither wins nor loses: where the original has none, or no sample has one, nothing is decided.
BEST = """
create temp table best as
select * from candidates
where
    score is not null
    and position in (select position from candidates where original and score is not null)
    and position in (select position from candidates where not original and score is not null)
qualify row_number() over (
    partition by position order by score desc, original desc, md5(concat_ws(chr(31), 'chosen', $seed, completion_id))
) = 1
"""
REJECTED = """
create temp table rejected as
select c.* from candidates as c
inner join best using (position)
where c.score < best.score
qualify row_number() over (partition by position order by md5(concat_ws(chr(31), 'rejected', $seed, c.completion_id))) = 1
"""
TEXTS = """
create temp table texts as
select completion_id, any_value(content) as content
from raw.completions
where
    list_contains($samples, source)
    and completion_id in (select completion_id from best union all select completion_id from rejected)
group by completion_id
"""

SFT = """
select
    $name as mixture, row_number() over (order by r.position) - 1 as position, r.prompt_id, best.completion_id,
    r.source, r.revision, r.file, r.row, r.branch,
    if(best.original, r.messages, r.messages[:-2] || [{role: 'assistant', content: texts.content}]) as messages,
    best.terms as licence, r.skill, r.language, best.model
from best
inner join mixtures.sft as r on r.mixture = $mixture and r.position = best.position
left join texts on texts.completion_id = best.completion_id
order by r.position
"""
PREFERENCE = """
select
    $name as mixture, row_number() over (order by r.position) - 1 as position, r.source as part, r.prompt_id,
    best.completion_id as chosen_completion_id, rejected.completion_id as rejected_completion_id,
    r.source, r.revision, r.file, r.row, r.branch,
    if(best.source = rejected.source, best.source, best.source || ', ' || rejected.source) as completion_source,
    r.messages[:-2] as messages,
    if(best.original, r.messages[-1].content, chosen.content) as chosen,
    if(rejected.original, r.messages[-1].content, worse.content) as rejected,
    best.model as chosen_model, rejected.model as rejected_model,
    best.score as chosen_score, rejected.score as rejected_score,
    best.judge, list_distinct(best.terms || rejected.terms) as licence, r.skill, r.language
from best
inner join rejected on rejected.position = best.position
inner join mixtures.sft as r on r.mixture = $mixture and r.position = best.position
left join texts as chosen on chosen.completion_id = best.completion_id
left join texts as worse on worse.completion_id = rejected.completion_id
order by r.position
"""

# The last row is of all sources.
SUMMARY = """
select
    coalesce(r.source, 'all'), count(*), count(best.position), count(*) filter (best.original), count(rejected.position),
    avg(o.score) filter (best.position is not null), avg(best.score), avg(rejected.score)
from mixture_rows as r
inner join (select position, score from candidates where original) as o using (position)
left join best using (position)
left join rejected using (position)
group by grouping sets ((r.source), ())
order by r.source nulls last
"""
HEADS = ("prompts", "decided", "original won", "pairs", "score: original", "best", "rejected")
MISSING = """
select
    count(distinct position) filter (original and score is null),
    count(distinct completion_id) filter (not original and score is null),
    string_agg(distinct source, ' ' order by source) filter (score is null)
from candidates
"""


def choose(rows: duckdb.DuckDBPyConnection, table: str, values: dict[str, Any]) -> None:
    """Make the tables mixture_rows, scores, candidates, best, rejected and texts of a connection over the warehouse.

    `table`: of CHOOSERS; `values`: mixture, samples, by, seed. Raises CaravanError where that has no scores, or no prompt has samples.
    """
    chooser = CHOOSERS[table]
    there = [name for (name,) in rows.execute(f"select distinct {chooser} from {table} order by 1").fetchall()]
    if values["by"] not in there:
        raise CaravanError(f"{table} has no {chooser} {values['by']!r}. It has: {', '.join(there) or 'none'}.")
    known = [name for (name,) in rows.execute("select distinct source from raw.completions order by 1").fetchall()]
    if unknown := sorted({*values["samples"]} - {*known}):
        raise CaravanError(
            f"raw.completions has no responses of {', '.join(unknown)}. It has those of: {', '.join(known)}."
        )
    for statement in (ROWS, SCORES[table], CANDIDATES, BEST, REJECTED, TEXTS):
        rows.execute(statement, {name: value for name, value in values.items() if f"${name}" in statement})
    if not rows.execute("select count(*) from mixture_rows").fetchall()[0][0]:
        raise CaravanError(
            f"No prompt of the mixture {values['mixture']} has a response in {', '.join(values['samples'])}. Ask for some: "
            "pipelines/complete.py."
        )


def licensed(found: pa.Table) -> pa.Table:
    """A table whose column `licence`, a list of all expressions that bind a row, is the expression of them together."""
    column = found["licence"].to_pylist()
    known = {terms: combine(terms) for terms in {tuple(terms) for terms in column}}
    at = found.schema.get_field_index("licence")
    return found.set_column(at, "licence", pa.array([known[tuple(terms)] for terms in column]))


def report(rows: duckdb.DuckDBPyConnection, table: str, by: str) -> None:
    """Print what was decided, by source, and what scores are missing. Raises CaravanError where nothing was decided."""
    originals, samples, sources = rows.execute(MISSING).fetchall()[0]
    remedy = (
        f"`python -m trainers.score MODEL --sources {sources}`" if table == "pref.rewards" else "pipelines/judge.py"
    )
    if originals or samples:
        print(
            f"{originals:,} original responses and {samples:,} samples have no score by {by}; a prompt whose original response has none is "
            f"left out, and so is one of which no sample has one. {remedy} gives them."
        )
    shown = Table("source", *HEADS, title="prompts that have samples, and mean scores of those that were decided")
    for source, *numbers in rows.execute(SUMMARY).fetchall():
        counts, means = numbers[:4], numbers[4:]
        said = ["" if mean is None else f"{mean:.4f}" for mean in means]
        shown.add_row(source, *(f"{count:,}" for count in counts), *said)
    console.print(shown)
    if not rows.execute("select count(*) from best").fetchall()[0][0]:
        raise CaravanError(f"No prompt has scores of both its original response and a sample. {remedy} gives them.")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    reference, _, by = options.by.partition(":")
    table = reference.partition("@")[0]
    if table not in CHOOSERS or not by:
        raise CaravanError(f"--by is pref.rewards[@tag]:MODEL_ID or pref.judgments[@tag]:CAMPAIGN, not {options.by!r}.")
    w = warehouse.open(create=False)
    prompts = snapshot(w, options.prompts, "mixtures.sft")
    inputs = [prompts, *(snapshot(w, name) for name in ("raw.prompts", "raw.completions", reference))]
    mixture = mixture_of(w, prompts, options.mixture, "--mixture ")
    if options.name == mixture:
        raise CaravanError(f"--name is {mixture}, which is what is read: give the new mixtures another name.")
    rows = views(w, inputs)
    choose(rows, table, {"mixture": mixture, "samples": options.samples, "by": by, "seed": options.seed})
    report(rows, table, by)
    told = {
        "mixture": mixture,
        "samples": options.samples,
        "by": options.by,
        "name": options.name,
        "seed": options.seed,
    }
    for target, query in (("mixtures.sft", SFT), ("mixtures.preference", PREFERENCE)):
        found = licensed(rows.execute(query, {"name": options.name, "mixture": mixture}).to_arrow_table())
        job = Job("trainers.rejection_sample", told, inputs)
        made = commit_arrow(w, target, found, job, {"mixture": [options.name]})
        print(f"wrote {target}@{made}: {len(found):,} rows of {options.name}")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m trainers.rejection_sample",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--prompts", required=True, metavar="REF", help="a published SFT mixture: mixtures.sft[@tag]")
    add("--mixture", metavar="NAME", help="which mixture of it, where it holds several")
    add("--samples", required=True, nargs="+", metavar="SOURCE", help="whose responses compete: raw.completions.source")
    add(
        "--by",
        required=True,
        metavar="REF:WHO",
        help="what picks the best: pref.rewards[@tag]:MODEL_ID, or pref.judgments[@tag]:CAMPAIGN by the mean of its aspects",
    )
    add("--name", required=True, metavar="NEW", help="name of the new mixtures; those of that name are replaced")
    add(
        "--seed", type=int, default=42, help="of the lots: among the equally good, and which worse one is rejected (42)"
    )
    return made


if __name__ == "__main__":
    run(main)
