"""Every format, every kind of damage, and splits that keep exact row numbers."""

import gzip
import json
import struct

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import files
from warehouse.errors import CaravanError


def read(path, format=None, split_bytes=64 << 20, columns=None):
    splits = files.plan([str(path)], format, split_bytes, columns)
    return [record for split in splits for record in files.records(split)]


def values(path, **options):
    return [(r.row, r.value) for r in read(path, **options)]


def errors(found):
    return [(r.row, r.error) for r in found if r.error]


LINE = st.binary(max_size=12).map(lambda b: b.replace(b"\n", b" ").replace(b"\r", b" "))


@settings(max_examples=300, deadline=None)
@given(st.lists(LINE, max_size=25), st.integers(1, 40), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_splits_of_any_size_hold_each_line_once_with_its_number(tmp_path_factory, lines, split_bytes, end, last):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    data = end.join(lines) + (end if last else b"")
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return
    path.write_bytes(data)
    expected = [(i, line.decode("utf-8", "replace")) for i, line in enumerate(lines, 1) if line.strip()]
    found = [(r.row, r.value["text"] if r.value else r.text) for r in read(path, split_bytes=split_bytes)]
    assert found == expected


def test_counting_can_be_spread_and_gives_the_same_plan(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"i": {i}}}\n' for i in range(1_000)))
    calls = []

    def each(function, items):
        calls.append(len(items))
        return [function(i) for i in items]

    splits = files.plan([str(path)], split_bytes=100, each=each)
    assert splits == files.plan([str(path)], split_bytes=100)
    assert calls == [len(splits) - 1]
    assert [r.value["i"] for s in splits for r in files.records(s)] == list(range(1_000))


def test_a_line_longer_than_several_splits_is_one_record(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"t": "x"}, {"t": "y" * 1_000}, {"t": "z"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert values(path, split_bytes=50) == list(enumerate(rows, 1))


FORMS = [(f, c) for f in files.FORMATS for c in ("", ".gz", ".zst") if f != "parquet" or not c]


@pytest.mark.parametrize(("format", "compression"), FORMS)
def test_every_format_and_compression(tmp_path, format, compression):
    rows = [{"a": 'één, "two"', "b": "1"}, {"a": "x;y", "b": "2"}]
    if format == "tsv":
        rows[0]["a"] = '"not quoted'
    text = {
        "jsonl": "\n".join(map(json.dumps, rows)) + "\n",
        "json": json.dumps(rows, indent=1),
        "csv": 'a,b\n"één, ""two""",1\nx;y,2\n',
        "tsv": "a\tb\n" + "".join(f"{r['a']}\t{r['b']}\n" for r in rows),
        "text": "one\n\nthree",
    }
    path = tmp_path / f"f.{'txt' if format == 'text' else format}{compression}"
    if format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        data = text[format].encode()
        compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[compression]
        path.write_bytes(compress(data))
    found = values(path)
    if format == "text":
        assert found == [(1, {"text": "one"}), (3, {"text": "three"})]
    else:
        first = 2 if format in ("csv", "tsv") else 1  # the header is line 1
        assert found == list(enumerate(rows, first))


def test_parquet_splits_count_rows_over_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"i": list(range(1_000))}), path, row_group_size=70)
    splits = files.plan([str(path)], split_bytes=1_500)
    assert len(splits) > 3
    assert [(r.row, r.value["i"]) for s in splits for r in files.records(s)] == [(i + 1, i) for i in range(1_000)]


def test_bad_json_lines_are_named_and_their_neighbours_read(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": ',
        b"",
        b'{"a": "\xff"}',
        b"[1]",
        b'"s"',
        b'{"a": "\\ud83d"}',
        b"[" * 100_000,
    ]
    path.write_bytes(b"\n".join([*lines, b'{"a": "\\ud83d\\ude00"}\r\n']))
    found = read(path)
    assert [(r.row, r.value) for r in found if not r.error] == [(1, {"a": 1}), (9, {"a": "😀"})]
    reasons = dict(errors(found))
    assert sorted(reasons) == [2, 4, 5, 6, 7, 8]
    assert "not valid JSON" in reasons[2] and "byte 0xff at position 7" in reasons[4]
    assert "an array" in reasons[5] and "a string" in reasons[6] and "surrogate" in reasons[7]
    assert next(r for r in found if r.row == 4).text == '{"a": "\ufffd"}'
    assert len(next(r for r in found if r.row == 8).text) == 1_000


def test_csv_rows_with_the_wrong_number_of_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfq,a\n1,2\n1\n"two\nlines",3\n1,2,3\n\nlatin \xe9,4\n5,6\n')
    found = read(path)
    assert [(r.row, r.value) for r in found if not r.error] == [
        (2, {"q": "1", "a": "2"}),
        (4, {"q": "two\nlines", "a": "3"}),
        (9, {"q": "5", "a": "6"}),
    ]
    assert [row for row, _ in errors(found)] == [3, 6, 8]
    assert "1 columns where the header has 2 (q, a)" in errors(found)[0][1]
    assert "not UTF-8" in errors(found)[2][1]


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('q,a\n1,"open\n2,b\n3,"c"\n4,"last open\n5,e\n')
    found = read(path)
    assert [r.value["q"] for r in found if r.value] == ["2", "3", "5"]
    assert [row for row, _ in errors(found)] == [2, 5]


@given(
    st.lists(
        st.lists(st.text(st.sampled_from('a,"\n; é'), max_size=6), min_size=2, max_size=2), min_size=1, max_size=12
    )
)
@settings(max_examples=200, deadline=None)
def test_csv_that_python_writes_is_read_back(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["q", "a"], *rows])
    assert [list(r.value.values()) for r in read(path)] == rows


def test_files_without_a_header(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("q1\ta1\nq2\ta2\nq3\n")
    found = read(path, columns=("q", "a"), split_bytes=4)
    assert [(r.row, r.value) for r in found if r.value] == [(1, {"q": "q1", "a": "a1"}), (2, {"q": "q2", "a": "a2"})]
    assert errors(found)[0][0] == 3
    path.write_text("x\tx\ny\tz\n")
    with pytest.raises(CaravanError, match="names columns twice: 'x'"):
        read(path)


def test_json_shapes(tmp_path):
    path = tmp_path / "a.json"
    for data, expected in [
        ('{"canary": "c", "examples": [{"a": 1}, {"a": 2}]}', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"t": {"u": ["q"]}, "v": {"w": []}}', [(1, {"t": {"u": ["q"]}, "v": {"w": []}})]),
        ('{"messages": [{"role": "user", "content": "x"}]}', [(1, {"messages": [{"role": "user", "content": "x"}]})]),
        ('{"a": 1}\n{"a": 2}\n{"a"', [(1, {"a": 1}), (2, {"a": 2}), (3, None)]),
        ('[{"a": 1}, 3]', [(1, {"a": 1}), (2, None)]),
    ]:
        path.write_text(data)
        assert values(path) == expected


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b'[{"a": 1}, {"a"', "not valid JSON"),
        ("a.json", b'[\n{"a": "\xe9"}]', "not UTF-8 .line 2: byte 0xe9"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16"),
        ("a.csv", "a,b".encode("utf-16"), "UTF-16"),
        ("a.csv", b"\xe9,b\n1,2\n", "header of .*a.csv is not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1_000, mtime=0)[:-12], "damaged, incomplete"),
        ("a.jsonl.gz", b'{"a": 1}\n', "damaged, incomplete"),
        ("a.jsonl.zst", zstandard.compress(b'{"a": 1}\n' * 1_000)[:-3], "ends in the middle of a frame"),
        ("a.jsonl.zst", b'{"a": 1}\n', "not Zstandard"),
        ("a.parquet", b"PAR1 no", "as Parquet"),
    ],
)
def test_a_file_that_is_unreadable_as_a_whole(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CaravanError, match=message) as caught:
        read(path)
    assert name in str(caught.value)


def test_zstandard_frames_of_any_kind(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    line = b'{"a": "some text"}\n'
    long_window = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    path.write_bytes(
        zstandard.compress(line)
        + struct.pack("<II", 0x184D2A50, 5)
        + b"skip!"
        + zstandard.compress(b"")
        + zstandard.ZstdCompressor(compression_params=long_window).compress(line * 500)
        + zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(line * 50_000)
    )
    assert [r.row for r in read(path)] == list(range(1, 50_502))


def test_rows_of_50_mb_pass_in_every_format(tmp_path):
    big = "é" * (25 << 20)
    row = json.dumps({"t": big}, ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(f'{{"t": "x"}}\n{row}\n{{"t": "y"}}\n')
    (tmp_path / "a.json").write_text(f"[{row}]")
    (tmp_path / "a.csv").write_text(f't,u\n"{big}\n",1\n')
    (tmp_path / "a.txt").write_text(big)
    pq.write_table(pa.table({"t": [big, "x"]}), tmp_path / "a.parquet")
    assert [(r.row, len(r.value["t"])) for r in read(tmp_path / "a.jsonl")] == [(1, 1), (2, len(big)), (3, 1)]
    assert len(read(tmp_path / "a.json")[0].value["t"]) == len(big)
    assert len(read(tmp_path / "a.csv")[0].value["t"]) == len(big) + 1
    assert len(read(tmp_path / "a.txt")[0].value["text"]) == len(big)
    assert [len(r.value["t"]) for r in read(tmp_path / "a.parquet")] == [len(big), 1]


def test_expand_finds_files_globs_folders_and_urls(tmp_path, monkeypatch):
    for name in ["b.jsonl", "a.jsonl.gz", "deep/c.parquet", "_SUCCESS", ".hidden.json", "README.md", "x[1].csv"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = {str(tmp_path / n) for n in ["b.jsonl", "a.jsonl.gz", "deep/c.parquet", "x[1].csv"]}
    assert set(files.expand(str(tmp_path))) == names
    assert files.expand(str(tmp_path / "*.jsonl*")) == [str(tmp_path / "a.jsonl.gz"), str(tmp_path / "b.jsonl")]
    assert files.expand(str(tmp_path / "x[1].csv")) == [str(tmp_path / "x[1].csv")]
    monkeypatch.chdir(tmp_path)
    assert files.expand("b.jsonl") == [str(tmp_path / "b.jsonl")]
    assert files.expand(f"file://{tmp_path}/**/*.parquet") == [f"file://{tmp_path}/deep/c.parquet"]
    with pytest.raises(CaravanError, match="No file at 'none"):
        files.expand("none.jsonl")
    with pytest.raises(CaravanError, match="does not tell its format"):
        files.plan([str(tmp_path / "README.md")])
    with pytest.raises(CaravanError, match="Unknown format 'xml'"):
        files.plan([str(tmp_path / "b.jsonl")], "xml")


def test_urls_of_any_file_system():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/store/a.jsonl", b"".join(b'{"i": %d}\n' % i for i in range(100)))
    memory.pipe("/store/b.jsonl.zst", zstandard.compress(b'{"i": 0}\n'))
    assert files.expand("memory://store/*.jsonl*") == ["memory:///store/a.jsonl", "memory:///store/b.jsonl.zst"]
    assert files.expand("memory://store") == ["memory:///store/a.jsonl", "memory:///store/b.jsonl.zst"]
    assert [r.value["i"] for r in read("memory:///store/a.jsonl", split_bytes=64)] == list(range(100))
    assert values("memory:///store/b.jsonl.zst") == [(1, {"i": 0})]
    with pytest.raises(CaravanError, match="Drivers are Python packages"):
        files.expand("nosuch://bucket/a.jsonl")


class Silent(MemoryFileSystem):
    """Answers as a web server does that sends no Content-Length."""

    protocol = "silent"

    def size(self, path):
        return None


def test_a_server_that_does_not_say_how_long_a_file_is():
    fsspec.register_implementation("silent", Silent, clobber=True)
    with pytest.raises(CaravanError, match=r"silent://a.jsonl: its server does not say how long it is. Download it"):
        files.size("silent://a.jsonl")


def test_names_relative_to_what_the_files_share():
    assert files.relative(["/x/a.jsonl"]) == {"/x/a.jsonl": "a.jsonl"}
    assert list(files.relative(["/x/y/a.jsonl", "/x/z/a.jsonl"]).values()) == ["y/a.jsonl", "z/a.jsonl"]
    assert files.relative(["s3://bucket/d/a.parquet"]) == {"s3://bucket/d/a.parquet": "a.parquet"}
