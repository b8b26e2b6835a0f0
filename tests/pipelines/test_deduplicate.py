"""Duplicates, against a comparison of every pair; and the job, run as people run it."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from itertools import combinations

import duckdb
import pyarrow as pa
import pytest
import zstandard

import warehouse
from pipelines import deduplicate, duplicates, minhash, neighbours
from warehouse.commit import Job, commit_arrow
from warehouse.errors import CaravanError
from warehouse.refs import resolve

SCHEMA = "prompt_id string, source string, revision string, file string, row long, branch int, text string"
COLUMNS = ["source", "row", "kind", "cluster_id", "cluster_rows", "keeper"]


def md5(text):
    return hashlib.md5(f"user\x1f{text}".encode()).hexdigest()


def frame(spark, texts, source="a", parts=2):
    """Texts -> rows of one source; (source, text) pairs -> rows of several."""
    pairs = [text if isinstance(text, tuple) else (source, text) for text in texts]
    rows = [(md5(text), name, "r1", "f", number, 0, text) for number, (name, text) in enumerate(pairs, 1)]
    return duplicates.normalised(spark.createDataFrame(rows, SCHEMA).repartition(parts))


def listed(found, kind=None):
    rows = sorted(tuple(row) for row in found.select(*COLUMNS).collect())
    return [row for row in rows if kind in (None, row[2])]


def clusters(found, kind):
    """The sets of row numbers of the clusters of a kind."""
    sets = {}
    for row in found.where(f"kind = '{kind}'").collect():
        sets.setdefault(row.cluster_id, set()).add(row.row)
    return sorted(map(sorted, sets.values()))


def brute_force(texts, threshold):
    """Row numbers of clusters, by comparing the shingle sets of all pairs."""
    normal = [minhash.normalise(text) for text in texts]
    sets = {text: {text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in normal}
    # Two sets can reach the threshold only if their sizes do.
    ordered = sorted(sets, key=lambda text: len(sets[text]))
    parent = {text: text for text in sets}

    def find(text):
        while parent[text] != text:
            text = parent[text]
        return text

    for place, one in enumerate(ordered):
        for other in ordered[place + 1 :]:
            if len(sets[one]) < threshold * len(sets[other]):
                break
            both = len(sets[one] & sets[other])
            if both >= threshold * (len(sets[one]) + len(sets[other]) - both):
                parent[find(one)] = find(other)
    found = {}
    for number, text in enumerate(normal, 1):
        found.setdefault(find(text), []).append(number)
    return sorted(rows for rows in found.values() if len(rows) > 1)


@pytest.fixture(scope="module")
def real(shared_data):
    """2,000 real prompts: Alpaca and selections from it (equal rows), T0 (templates), MATH (formulas, some nearly equal)."""
    train = shared_data / "train"
    t0 = zstandard.open(train / "t0_train_50k" / "t0_train_50k.jsonl.zst", "rt", encoding="utf-8")
    texts = [json.loads(line)["prompt"] for line, _ in zip(t0, range(700), strict=False)]
    texts += [record["problem"] for record in json.loads((train / "math_train" / "math.json").read_text())[:500]]
    for name in ("alpaca_parts/alpaca_5000.json", "alpagasus/claude_t45.json"):
        records = json.loads((train / name).read_text())[:400]
        texts += [f"{record['instruction']}\n{record['input']}" for record in records]
    return texts


@pytest.mark.parametrize("threshold", [0.8, 0.6])
def test_clusters_of_real_prompts_are_those_of_all_pairs(spark, real, threshold):
    found = duplicates.within(frame(spark, real), threshold).cache()
    assert clusters(found, "near") == brute_force(real, threshold)
    assert clusters(found, "exact") == brute_force(real, 1.0)
    assert len(clusters(found, "near")) > 50
    found.unpersist()


def test_exact_means_equal_after_normalisation(spark):
    texts = ["What is 2 + 2?", "  what IS\n2 +\t2?", "What is 2 + 3?", "Ｗｈａｔ is 2 + 2?", "What is 2+2?"]
    assert clusters(duplicates.within(frame(spark, texts), 0.99), "exact") == [[1, 2, 4]]


def test_planted_near_duplicates_are_found(spark, real):
    """One word less, one more, one other, other punctuation, a sentence behind: whatever is at the threshold is found."""
    rng = random.Random(7)
    originals = [text for text in real[700:1200] if len(text) > 150]
    texts, pairs = [], []
    for text in originals:
        words = text.split(" ")
        place = rng.randrange(len(words))
        edited = {
            "less": words[:place] + words[place + 1 :],
            "more": [*words[:place], "furthermore", *words[place:]],
            "other": [*words[:place], "otherwise", *words[place + 1 :]],
            "punctuation": [word.rstrip(".,") for word in words],
            "behind": [*words, "Explain."],
        }
        copy = " ".join(edited[rng.choice(sorted(edited))])
        similarity = minhash.jaccard(minhash.normalise(text), minhash.normalise(copy))
        texts += [text, copy]
        pairs.append((len(texts) - 1, len(texts), similarity))
    found = clusters(duplicates.within(frame(spark, texts), 0.8), "near")
    together = {pair for rows in found for pair in combinations(rows, 2)}
    assert sum(similarity >= 0.8 for *_, similarity in pairs) > 120
    assert [pair for pair in pairs if pair[2] >= 0.8 and pair[:2] not in together] == []


def test_a_template_costs_in_proportion_to_its_texts(spark):
    """3,000 texts of one template are 4.5 million pairs; each text meets a few dozen others."""
    texts = [
        f"Please work out, step by step, what {n} plus {n * 7} makes, and show your work at the end."
        for n in range(3000)
    ]
    rows = frame(spark, texts)
    bucketed = neighbours.buckets(rows.select("text_id", "text"), 0.7).cache()
    stars = neighbours.candidates(bucketed, [neighbours.hub()])
    windows = neighbours.candidates(bucketed, [neighbours.before(n) for n in range(1, neighbours.WINDOW + 1)])
    bands = minhash.shape(0.7)[0]
    assert stars.count() < 3000 * bands
    assert windows.count() < 3000 * bands * neighbours.WINDOW
    found = duplicates.within(rows, 0.7).cache()
    assert {row.cluster_rows for row in found.collect()} == {3000}
    assert found.where("keeper").count() == 1


def test_the_same_whatever_the_partitions_and_the_order(spark, real):
    texts = [(f"s{number % 3}", text) for number, text in enumerate(real[600:900] + real[1500:])]
    expected = None
    for parts in (1, 3):
        rows = frame(spark, texts, parts=parts).orderBy("prompt_id" if parts == 1 else "text")
        found = listed(duplicates.within(rows, 0.8))
        assert expected in (None, found)
        expected = found
    assert len(expected) > 100


def test_the_first_row_is_kept_and_priority_goes_first(spark):
    texts = [("b", "one text"), ("c", "one text"), ("a", "one text"), ("a", "One  text")]

    def keeper(priority):
        found = duplicates.within(frame(spark, texts), 0.8, priority)
        return [(source, row) for source, row, kind, *_, kept in listed(found, "exact") if kept]

    assert keeper([]) == [("a", 3)]
    assert keeper(["x", "c", "b"]) == [("c", 2)]


def test_rows_of_a_cluster(spark):
    near = "Tell me in detail about the history of the city of Lisbon"
    texts = [("a", near + "!"), ("b", near), ("b", near.upper()), ("b", "Something else")]
    found = duplicates.within(frame(spark, texts), 0.8)
    smallest = min(md5(text) for _, text in texts[:3])
    exact = min(md5(text) for _, text in texts[1:3])
    assert listed(found) == [
        ("a", 1, "near", smallest, 3, True),
        ("b", 2, "exact", exact, 2, True),
        ("b", 2, "near", smallest, 3, False),
        ("b", 3, "exact", exact, 2, False),
        ("b", 3, "near", smallest, 3, False),
    ]


def test_against_marks_one_side_only(spark):
    near = "Tell me in detail about the history of the city of Lisbon"
    train = [near + "!", "Only here", "only  here", near, "Nothing like it at all"]
    others = [near, near.lower(), "Another of theirs", "another of THEIRS"]
    rows, theirs = frame(spark, train, "a"), frame(spark, others, "b")
    smallest = min(md5(near), md5(near + "!"))
    assert listed(duplicates.against(rows, theirs, 0.8)) == [
        ("a", 1, "near", smallest, 3, False),
        ("a", 4, "exact", md5(near), 2, False),
        ("a", 4, "near", smallest, 3, False),
        ("b", 1, "exact", md5(near), 2, True),
        ("b", 1, "near", smallest, 3, True),
    ]


def test_against_does_not_chain_and_takes_the_nearest(spark):
    base = [f"word{n:02d}" for n in range(60)]
    steps = [" ".join(base[n : n + 40]) for n in (0, 3, 6)]
    theirs = frame(spark, [steps[0], " ".join([*base[1:40], "x"])], "b")
    rows = frame(spark, [*steps[1:], " ".join(base[:39])], "a")
    assert minhash.jaccard(steps[0], steps[1]) > 0.8 > minhash.jaccard(steps[0], steps[2])
    found = duplicates.against(rows, theirs, 0.8)
    members = {row.row: row.cluster_id for row in found.where("source = 'a'").collect()}
    assert set(members) == {1, 3}
    assert members[3] == min(md5(steps[0]), md5(" ".join(base[:39])))


def test_against_finds_what_all_pairs_find(spark, real):
    train, others = real[:350], real[350:700]
    found = duplicates.against(frame(spark, train, "a"), frame(spark, others, "b"), 0.8)
    normal = [minhash.normalise(text) for text in others]
    expected = {
        row
        for row, text in enumerate(train, 1)
        if any(minhash.jaccard(minhash.normalise(text), other, 0.8) >= 0.8 for other in normal)
    }
    assert {row.row for row in found.where("kind = 'near' and source = 'a'").collect()} == expected
    assert len(expected) > 50


def test_a_row_that_is_on_both_sides_is_left_alone(spark):
    rows = frame(spark, ["one text", "One text", "two"], "a")
    found = duplicates.against(rows, rows.where("row != 2"), 0.8)
    assert {(row.row, row.keeper) for row in found.collect()} == {(1, True), (2, False)}


def test_no_rows_and_empty_texts(spark):
    assert duplicates.within(frame(spark, ["a"]).limit(0), 0.8).count() == 0
    assert clusters(duplicates.within(frame(spark, ["", "  \n", "a"]), 0.8), "near") == [[1, 2]]


@pytest.fixture
def filled(warehouse_root):
    """A warehouse with prompts of three sources."""
    texts = {
        "alpha": [
            "What is the tallest mountain in Europe?",
            "Name three rivers.",
            "Count to ten, slowly and in French.",
        ],
        "beta": ["what is the tallest mountain in  Europe?", "Count to ten, slowly and in French!"],
        "gamma": ["Name three rivers.", "A prompt of its own."],
    }
    w = warehouse.open()
    rows = [
        {
            "prompt_id": md5(text), "source": source, "revision": "r1", "file": "f", "row": row, "branch": 0,
            "messages": [{"role": "system", "content": source}, {"role": "user", "content": text}], "licence": "CC0-1.0",
        }
        for source, own in texts.items()
        for row, text in enumerate(own, 1)
    ]  # fmt: skip
    commit_arrow(w, "raw.prompts", pa.Table.from_pylist(rows), Job("test"))
    return w


def job(*arguments):
    """Run the job; it inherits the small Spark of the tests."""
    command = [sys.executable, "-m", "pipelines.deduplicate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def here(spark, *arguments):
    """Run the job in this process, on the session of the tests."""
    deduplicate.main(arguments)


def rows_of():
    query = "select source, row, kind, cluster_rows, keeper from attr.duplicates order by all"
    return warehouse.connect().sql(query).fetchall()


def test_the_job_replaces_what_it_found_before(spark, filled):
    done = job("--priority", "gamma")
    assert done.returncode == 0, done.stderr
    assert f"reads {resolve(filled, 'raw.prompts')}" in done.stdout
    assert f"wrote {resolve(filled, 'attr.duplicates')}" in done.stdout
    first = rows_of()
    assert first == [
        ("alpha", 1, "exact", 2, True),
        ("alpha", 1, "near", 2, True),
        ("alpha", 2, "exact", 2, False),
        ("alpha", 2, "near", 2, False),
        ("alpha", 3, "near", 2, True),
        ("beta", 1, "exact", 2, False),
        ("beta", 1, "near", 2, False),
        ("beta", 2, "near", 2, False),
        ("gamma", 1, "exact", 2, True),
        ("gamma", 1, "near", 2, True),
    ]
    here(spark, "--priority", "gamma")
    assert rows_of() == first
    here(spark, "--sources", "alpha", "--against", "raw.prompts", "--against-sources", "beta,gamma")
    marked = {(source, row) for source, row, *_, keeper in rows_of() if not keeper}
    assert marked == {("alpha", 1), ("alpha", 2), ("alpha", 3)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sources", "alpha,delta"], "holds no rows of delta"),
        (["--threshold", "80"], "--threshold is 80"),
        (["--train", "raw.prompts@v9"], "no tag 'v9'"),
        (["--train", "raw.promts"], "'raw.promts' is no table"),
    ],
)
def test_what_the_job_refuses(spark, filled, arguments, words):
    with pytest.raises(CaravanError, match=re.escape(words)):
        here(spark, *arguments)
    assert resolve(filled, "attr.duplicates").snapshot_id is None


def test_help_teaches():
    done = job("--help")
    assert done.returncode == 0
    assert "--against" in done.stdout
    assert "examples:" in done.stdout


def table(pattern, order="all"):
    return duckdb.sql(f"from '{pattern}' order by {order}").fetchall()


def test_files(spark, tmp_path):
    """Rows of two sets in files: the first is preferred, what cannot be read is put aside, all else stays as it came."""
    first = [{"prompt": "One and the same question?", "n": 1}, {"prompt": "Another thing", "n": [1, 2]}]
    (tmp_path / "first.json").write_text(json.dumps(first))
    second = ['{"prompt": "one and the same  question", "n": 3}', "broken", '{"prompt": "A third thing", "n": null}']
    (tmp_path / "second.jsonl").write_text("\n".join(second))
    files = [f"mine={tmp_path}/first.json", f"{tmp_path}/second.jsonl"]
    done = job("--train", *files, "--output", str(tmp_path / "out"), "--priority", "mine")
    assert done.returncode == 0, done.stderr
    assert table(f"{tmp_path}/out/clean/mine-*.parquet") == [
        ("Another thing", "[1, 2]"),
        ("One and the same question?", "1"),
    ]
    assert table(f"{tmp_path}/out/clean/second-*.parquet", "1")[0][0] == "A third thing"
    clusters = duckdb.sql(
        f"select source, row, kind, keeper from '{tmp_path}/out/duplicates/*.parquet' order by all"
    ).fetchall()
    assert clusters == [("mine", 1, "near", True), ("second", 1, "near", False)]
    assert duckdb.sql(f"select source, row from '{tmp_path}/out/rejects/*.parquet'").fetchall() == [("second", 2)]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["rows"], report["kept"], report["rejects"]) == (4, 3, 1)

    with pytest.raises(CaravanError, match="exists already"):
        here(spark, "--train", *files, "--output", str(tmp_path / "out"))

    here(spark, "--train", files[1], "--against", files[0], "--output", str(tmp_path / "against"))
    assert [row[0] for row in table(f"{tmp_path}/against/clean/*.parquet")] == ["A third thing"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train", "nothing.jsonl", "--output", "out"], "No file at 'nothing.jsonl'"),
        (["--train", "x.jsonl"], "--output"),
        (["--train", "x.jsonl", "--train-field", "absent", "--output", "out"], "absent"),
        (["--train", "broken.json", "--output", "out"], "broken.json"),
        (["--against", "x.jsonl"], "ingest the other side first"),
        (["--train", "x.jsonl", "--against", "x.jsonl", "--output", "out"], "both have a set called 'x'"),
    ],
)
def test_what_is_refused_of_files(spark, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "broken.json").write_text('[{"prompt": "x"}, {"prom')
    with pytest.raises(CaravanError, match=re.escape(words)):
        here(spark, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.json", "x.jsonl"]
