"""Commits: what a table holds afterwards, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warehouse_rows import JOB, contents, prompts

import warehouse
from warehouse import storage
from warehouse.catalogue import Warehouse
from warehouse.commit import Job, commit, commit_arrow, stage, staged
from warehouse.errors import CaravanError
from warehouse.refs import resolve

TABLE = "raw.prompts"


def write(w: Warehouse, rows: pa.Table, name: str = "part.parquet") -> str:
    path = f"{stage(w, TABLE)}/{name}"
    pq.write_table(rows, path)
    return path


def test_append_then_replace_in_one_snapshot(w: Warehouse) -> None:
    first = commit(w, TABLE, [write(w, prompts("a", 3)), write(w, prompts("b", 2))], JOB)
    second = commit(w, TABLE, [write(w, prompts("a", 4, text="new"))], JOB, replace={"source": ["a"]})
    assert [text for _, _, text in contents(w, f"{TABLE}@{first}")] == [
        "hello 1", "hello 2", "hello 3", "hello 1", "hello 2"
    ]  # fmt: skip
    assert contents(w, TABLE) == [
        *(("a", n, f"new {n}") for n in (1, 2, 3, 4)),
        ("b", 1, "hello 1"),
        ("b", 2, "hello 2"),
    ]
    assert [entry.snapshot_id for entry in warehouse.history.log(w, TABLE)] == [second, first]


def test_the_same_replacement_again_doubles_nothing(w: Warehouse) -> None:
    for _ in range(3):
        commit_arrow(w, TABLE, prompts("a", 5), JOB, replace={"source": ["a"]})
    assert len(contents(w, TABLE)) == 5


def test_replacing_with_nothing_empties_the_partition(w: Warehouse) -> None:
    commit_arrow(w, TABLE, pa.concat_tables([prompts("a", 3), prompts("b", 2)]), JOB)
    commit(w, TABLE, [], JOB, replace={"source": ["a"]})
    assert {source for source, _, _ in contents(w, TABLE)} == {"b"}
    assert resolve(w, TABLE).rows == 2


def test_an_empty_commit_to_an_empty_table_is_a_snapshot(w: Warehouse) -> None:
    snapshot_id = commit(w, TABLE, [], JOB)
    assert resolve(w, TABLE).snapshot_id == snapshot_id
    assert resolve(w, TABLE).files == ()


def test_files_without_rows_are_left_out(w: Warehouse) -> None:
    commit(w, TABLE, [write(w, prompts("a", 0).cast(prompts("a", 1).schema)), write(w, prompts("b", 1))], JOB)
    assert len(resolve(w, TABLE).files) == 1


def test_what_made_a_snapshot_is_recorded(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 2), JOB)
    source = resolve(w, TABLE)
    commit_arrow(w, "raw.rejects", REJECT, Job("pipelines.x", {"n": 8, "path": Path("/p")}, [source]))
    entry = warehouse.history.log(w, "raw.rejects")[0]
    assert (entry.job, entry.arguments, entry.inputs) == ("pipelines.x", {"n": 8, "path": "/p"}, [str(source)])
    git = ["git", "-C", str(Path(warehouse.__file__).parent), "rev-parse", "HEAD"]
    assert entry.code.startswith(subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip())
    assert (entry.rows, entry.added, entry.removed) == (1, 1, 0)


REJECT = pa.table({"source": ["a"], "revision": ["r"], "file": ["f"], "row": [1], "reason": ["broken"]})


def changed(column: str, values: list[object], kind: pa.DataType | None = None) -> pa.Table:
    rows = prompts("a", 3)
    return rows.set_column(rows.column_names.index(column), column, pa.array(values, kind))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed("licence", ["MIT", None, "MIT"], pa.string()), r"licence is required and is null in 1 row.*row=2"),
        (
            changed("messages", [[], None, []], prompts("a", 1)["messages"].type),
            r"messages is required.*in 1 row.*row=2",
        ),
        (
            changed("row", [1, 7, 7], pa.int64()),
            r"key \(source, file, row, branch\) must be unique.*row=7, branch=0 \(2 times\)",
        ),
        (changed("row", [1, 2, 3], pa.int32()), r"column 'row' of .* is int32, the contract says int64"),
        (changed("source", ["a", "b", "b"], pa.string()), r"must hold one value of 'source' only"),
        (prompts("a", 3).drop(["licence"]), r"lacks the required column 'licence'"),
        (
            prompts("a", 3).append_column("colour", pa.array(["red"] * 3)),
            r"column 'colour', which the contract has not",
        ),
    ],
    ids=["null", "null list", "repeated key", "type", "two partitions", "lacks a column", "column too many"],
)
def test_a_violation_is_refused_and_named(w: Warehouse, rows: pa.Table, words: str) -> None:
    commit_arrow(w, TABLE, prompts("z", 1), JOB)
    before = resolve(w, TABLE)
    with pytest.raises(CaravanError, match=words):
        commit(w, TABLE, [write(w, rows)], JOB)
    assert resolve(w, TABLE) == before


def test_at_most_five_offending_rows_are_named_and_all_are_counted(w: Warehouse) -> None:
    rows = prompts("a", 50).drop(["licence"]).append_column("licence", pa.nulls(50, pa.string()))
    with pytest.raises(CaravanError) as caught:
        commit_arrow(w, TABLE, rows, JOB)
    assert "in 50 rows" in str(caught.value)
    assert str(caught.value).count("row=") == 5


def test_an_enumeration_is_checked(w: Warehouse) -> None:
    row = {"source": "a", "kind": "tuning", "location": "l", "revision": "r", "adapter": "x", "licence": "MIT"}
    rows = pa.Table.from_pylist([{**row, "parents": [], "models": [], "rows": 1, "rejects": 0}])
    rows = rows.set_column(6, "parents", pa.array([[]], pa.list_(pa.string())))
    rows = rows.set_column(7, "models", pa.array([[]], pa.list_(pa.string())))
    with pytest.raises(CaravanError, match=r"kind must be one of training, evaluation.*in 1 row: source='a'"):
        commit_arrow(w, "raw.sources", rows, JOB)
    right = rows.set_column(1, "kind", pa.array(["training"]))
    commit_arrow(w, "raw.sources", right, JOB)
    assert resolve(w, "raw.sources").rows == 1


def test_files_may_lack_an_optional_column_with_an_enumeration(w: Warehouse) -> None:
    row = {"completion_id": "c", "prompt_id": "p", "source": "a", "revision": "r", "file": "f", "row": 1}
    row |= {"branch": 0, "sample": 0, "content": "x", "licence": "MIT", "preference": "chosen"}
    schema = warehouse.contracts.load("raw.completions").arrow_schema()
    whole = pa.Table.from_pylist([row, {**row, "row": 2, "preference": "liked"}], schema)
    lacking, right, wrong = Path(stage(w, "raw.completions")), whole[:1], whole[1:]
    pq.write_table(right.drop(["preference"]), lacking / "lacking.parquet")
    pq.write_table(wrong, lacking / "wrong.parquet")
    with pytest.raises(CaravanError, match=r"preference must be one of .*in 1 row: .*row=2"):
        commit(w, "raw.completions", [str(path) for path in lacking.iterdir()], JOB)
    commit(w, "raw.completions", [str(lacking / "lacking.parquet")], JOB)
    assert resolve(w, "raw.completions").rows == 1


def test_keys_are_unique_over_the_whole_table_but_not_what_is_replaced(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 10), JOB)
    commit_arrow(w, TABLE, prompts("a", 10, start=10), JOB)
    commit_arrow(w, TABLE, prompts("b", 10), JOB)
    with pytest.raises(CaravanError, match=r"more than once for: .*row=20, branch=0 \(2 times\)"):
        commit_arrow(w, TABLE, prompts("a", 5, start=19), JOB)
    with pytest.raises(CaravanError, match="row=5"):
        commit_arrow(w, TABLE, prompts("a", 1, start=4), JOB, replace={"source": ["b"]})
    commit_arrow(w, TABLE, prompts("a", 5, start=19), JOB, replace={"source": ["a"]})
    assert resolve(w, TABLE).rows == 15


def test_a_refused_table_leaves_no_file(w: Warehouse) -> None:
    w.table(TABLE)
    with pytest.raises(CaravanError):
        commit_arrow(w, TABLE, changed("row", [7, 7, 7], pa.int64()), JOB)
    assert [s.path for s in storage.listing(w, f"{w.root}/raw/prompts/data")] == []


def test_a_staged_folder_goes_with_an_exception_but_not_what_was_committed(w: Warehouse) -> None:
    with pytest.raises(KeyboardInterrupt), staged(w, TABLE) as first:
        kept = Path(first, "kept.parquet")
        pq.write_table(prompts("a", 1), kept)
        commit(w, TABLE, [str(kept)], JOB)
        Path(first, "deep", "deeper").mkdir(parents=True)
        Path(first, "deep", "deeper", "half.parquet").write_bytes(b"PAR1")
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="x"), staged(w, TABLE) as second:
        Path(second, "half.parquet").write_bytes(b"PAR1")
        raise ValueError("x")
    with staged(w, TABLE) as third:
        pass
    data = Path(w.root, "raw", "prompts", "data")
    assert sorted(data.rglob("*")) == [Path(first), kept]
    assert not Path(second).exists() and not Path(third).exists()
    assert contents(w, TABLE) == [("a", 1, "hello 1")]


def test_files_that_cannot_be_committed(w: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(CaravanError, match=r"gone\.parquet is not there"):
        commit(w, TABLE, [str(tmp_path / "gone.parquet")], JOB)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(CaravanError, match="not a whole Parquet file"):
        commit(w, TABLE, [str(tmp_path / "torn.parquet")], JOB)
    path = write(w, prompts("a", 1))
    with pytest.raises(CaravanError, match="named twice"):
        commit(w, TABLE, [path, path], JOB)
    commit(w, TABLE, [path], JOB)
    with pytest.raises(CaravanError, match="already holds the file"):
        commit(w, TABLE, [path], JOB)
    # A table without a key refuses the same file too.
    reject = f"{stage(w, 'raw.rejects')}/part.parquet"
    pq.write_table(REJECT, reject)
    commit(w, "raw.rejects", [reject], JOB)
    with pytest.raises(CaravanError, match="already holds the file"):
        commit(w, "raw.rejects", [reject], JOB)


def test_only_partitions_can_be_replaced(w: Warehouse) -> None:
    with pytest.raises(CaravanError, match="values of 'source' only, not of revision"):
        commit(w, TABLE, [], JOB, replace={"revision": ["r1"]})


def test_a_column_that_does_not_fit(w: Warehouse) -> None:
    with pytest.raises(CaravanError, match="column 'row' does not fit"):
        commit_arrow(w, TABLE, changed("row", ["one", "two", "three"]), JOB)
    with pytest.raises(CaravanError, match="no column 'colour'"):
        commit_arrow(w, TABLE, prompts("a", 1).append_column("colour", pa.array(["red"])), JOB)


def test_a_column_new_in_the_contract_is_added(w: Warehouse) -> None:
    commit_arrow(w, TABLE, prompts("a", 2), JOB)
    with w.table(TABLE).update_schema() as update:
        update.delete_column("skill")
    commit_arrow(w, TABLE, prompts("b", 1).append_column("skill", pa.array(["math"])), JOB)
    rows = warehouse.read.arrow(w, resolve(w, TABLE)).sort_by("source").to_pylist()
    assert [row["skill"] for row in rows] == [None, None, "math"]


def test_many_appends_stay_fast_and_leave_no_litter(w: Warehouse) -> None:
    for number in range(45):
        commit_arrow(w, TABLE, prompts("a", 1, start=number), JOB)
    table = w.table(TABLE)
    assert len(table.snapshots()) == 45
    current = table.current_snapshot()
    assert current is not None and len(current.manifests(table.io)) <= 20
    used = storage.reachable(table)
    stored = {s.path for s in storage.listing(w, table.location())}
    assert stored == used.data | used.metadata


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "replace", "empty"]), st.sampled_from(["a", "b", "ç/%=[x]"]), st.integers(1, 4)
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_snapshot_stays_readable_as_it_was(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    w = warehouse.open(str(tmp_path_factory.mktemp("lake [1] *")))
    held: dict[str, list[tuple[str, int, str]]] = {}
    expected = {}
    start = 0
    for kind, source, count in steps:
        rows = [(source, start + n, f"{kind} {start + n}") for n in range(1, count + 1)]
        table = prompts(source, count, start, text=kind)
        match kind:
            case "append":
                held[source] = held.get(source, []) + rows
                snapshot_id = commit_arrow(w, TABLE, table, JOB)
            case "replace":
                held[source] = rows
                snapshot_id = commit_arrow(w, TABLE, table, JOB, replace={"source": [source]})
            case _:
                held[source] = []
                snapshot_id = commit(w, TABLE, [], JOB, replace={"source": [source]})
        start += count
        expected[snapshot_id] = sorted(row for rows in held.values() for row in rows)
    for snapshot_id, rows in expected.items():
        assert contents(w, f"{TABLE}@{snapshot_id}") == rows
        assert resolve(w, f"{TABLE}@{snapshot_id}").rows == len(rows)


def test_a_full_disk_is_one_sentence_and_no_commit(w: Warehouse, tmp_path: Path) -> None:
    """A real limit on file size stands in for the disk: the write fails half-way with an OSError."""
    commit_arrow(w, TABLE, prompts("a", 1), JOB)
    before = resolve(w, TABLE)
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "import warehouse; from warehouse.commit import commit_arrow; from warehouse_rows import JOB, prompts\n"
        "w = warehouse.open(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "commit_arrow(w, 'raw.prompts', prompts('b', 50_000), JOB)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, w.root, str(Path(__file__).parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "File too large" in done.stderr, done.stderr
    assert resolve(w, TABLE) == before
    assert json.dumps(contents(w, TABLE)) == '[["a", 1, "hello 1"]]'
