"""From the pairs of the scan to evidence: which pairs are kept, with the counts of all of them."""

from collections.abc import Sequence
from typing import Any

from pyspark import SparkContext

from pipelines.output import make, query
from pipelines.overlap import task
from pipelines.overlap.keep import Keeping, keep, schema
from pipelines.overlap.task import Plan, Scanned, SetFound

FILE_BYTES = 64 << 20  # of pairs in one file of evidence
SPLITS_A_TASK = 16  # at most: what has to be read again where a task fails
TASKS_A_CORE = 2
MERGED_BY_DRIVER = 64  # tasks


def scan(context: SparkContext, plan: Plan) -> Scanned:
    """What all tasks found together. No text of training rows leaves its task."""
    tasks = _dealt(plan, max(TASKS_A_CORE * context.defaultParallelism, -(-len(plan.splits) // SPLITS_A_TASK)))
    make(plan.staging)
    shared = context.broadcast(plan)
    scanned = context.parallelize(tasks, len(tasks)).map(lambda numbers: task.run(shared.value, numbers))
    # Where there are many tasks, what they found is merged by tasks before it comes to the driver.
    return scanned.treeReduce(task.merge, 2 if len(tasks) > MERGED_BY_DRIVER else 1)


def _dealt(plan: Plan, tasks: int) -> list[list[int]]:
    """Split numbers for each task."""
    return [hand for start in range(tasks) if (hand := list(range(start, len(plan.splits), tasks)))]


def write(
    context: SparkContext, found: dict[str, SetFound], directory: str, tokenizer: str, ngram: int, with_ids: bool
) -> dict[str, list[str]]:
    """Write the pairs to keep, as attr.contamination has them, and return the files of each training set that has any.

    Kept are the best pairs of each row, and the best of each instance.
    """
    make(directory)
    best = {name: each.best for name, each in found.items()}
    shared = context.broadcast(Keeping(best, schema(with_ids), tokenizer, ngram))
    groups = [
        (name, group, f"{directory}/{number:04d}-{part:04d}.parquet")
        for number, (name, each) in enumerate(sorted(found.items()))
        for part, group in enumerate(_grouped(each.pairs))
    ]
    if groups:
        context.parallelize(groups, len(groups)).foreach(lambda group: keep(shared.value, *group))
    files: dict[str, list[str]] = {}
    for name, _, path in groups:
        files.setdefault(name, []).append(path)
    return files


def _grouped(pairs: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Files of pairs that become one file of evidence."""
    groups: list[list[str]] = []
    room = 0
    for path, size in sorted(pairs):
        if room < size:
            groups.append([])
            room = FILE_BYTES
        groups[-1].append(path)
        room -= size
    return groups


def examples(found: dict[str, SetFound], each: int) -> list[dict[str, Any]]:
    """The pairs with the highest coverage of each training set and evaluation, with an excerpt of the training text."""
    files = [path for one in found.values() for path, _ in one.pairs]
    if not files:
        return []
    rows = query(
        files,
        f"""
        select train_set, train_file, train_row, eval_set, eval_row, instance, eval_spans[1] as eval_span, coverage, kind, excerpt
        from pairs
        where row_kept
        qualify row_number() over (partition by train_set, eval_set order by {_BEST_FIRST}) <= {each}
        order by train_set, eval_set, {_BEST_FIRST}
        """,
    )
    return rows.to_arrow_table().to_pylist()


_BEST_FIRST = "coverage desc, total_tokens desc, train_file, train_row, train_branch, eval_file, eval_row"
