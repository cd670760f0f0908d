"""Rows go from a list of whatever form, and nothing else changes: not a byte of the text, not a column of parquet."""

import csv
import gzip
import io
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lineage import digests, records
from pipelines import lists, source
from pipelines.lists import descriptions, purge, recognition, tombstones
from pipelines.lists.purge import OptedOut

ONE, TWO, OTHER = "http://a.test/1.png", "http://img.b.test/2.png", "https://c.test/3.png"
MAPPING = {"url": "url", "caption": "caption"}


def sha(text: str) -> str:
    return digests.sha256_bytes(text.encode())


def opted_out(*urls: str, hosts: tuple[str, ...] = (), uids: tuple[str, ...] = ()) -> OptedOut:
    return OptedOut(uids=frozenset(uids), url_sha256=frozenset(map(sha, urls)), host_sha256=frozenset(map(sha, hosts)))


def laid(folder: Path, files: dict[str, bytes], mapping: dict[str, str] | None = None) -> Path:
    """Lays a list down as `snapshot add` does."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    descriptions.save(recognition.describe(folder, mapping or {}), folder)
    return folder


def purged(folder: Path, what: OptedOut) -> purge.Purged:
    return purge.purge(folder, what, 200, folder.parent / "scratch")


def rows(folder: Path) -> list[tuple[Any, ...]]:
    return [
        row
        for batch in lists.read(folder)
        for row in zip(source.judge(batch, 200), batch.values["url"], batch.values["caption"], strict=True)
    ]


CSV = (
    b"\xef\xbb\xbfurl,caption,more\r\n"
    b'http://a.test/1.png,"a ""cat"", asleep\r\n\r\non a mat",x\r\n'
    b"\r\n"
    b"https://c.test/3.png,a dog\xe2\x80\xa8barks,y\r\n"
    b"http://img.b.test/2.png,b,z\r\n"
    b"http://a.test/1.png,not \xff text,x\r\n"
    b"http://a.test/1.png,too few\r\n"
    b'http://a.test/1.png,"a ""cat"", asleep\r\n\r\non a mat",copy\r\n'
    b"http://a.test/1.png,,no caption\n"
    b"https://c.test/3.png,last,without end"
)
LEFT = (
    b"\xef\xbb\xbfurl,caption,more\r\n"
    b"\r\n"
    b"https://c.test/3.png,a dog\xe2\x80\xa8barks,y\r\n"
    b"https://c.test/3.png,last,without end"
)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst"])
def test_of_a_text_file_every_other_byte_stays(tmp_path: Path, name: str) -> None:
    packers: dict[str, Any] = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    unpackers: dict[str, Any] = {
        ".gz": gzip.decompress,
        ".zst": lambda content: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read(),
    }
    folder = laid(tmp_path / "s1", {name: packers.get(Path(name).suffix, bytes)(CSV)})
    gone = purged(folder, opted_out(ONE, hosts=("b.test",)))
    assert unpackers.get(Path(name).suffix, bytes)((folder / name).read_bytes()) == LEFT
    assert gone == purge.Purged(pairs=3, rejects=3, files=[name])
    captions = {(ONE, 'a "cat", asleep\r\n\r\non a mat'), (TWO, "b")}
    assert tombstones.read(folder).to_pylist() == sorted(
        (
            {
                "uid": records.uid_of(url, caption),
                "url_sha256": sha(url),
                "host_sha256": sha(source.host_of(url)),
            }
            for url, caption in captions
        ),
        key=lambda row: row["uid"],
    )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert purged(folder, opted_out(ONE, hosts=("b.test",))) == purge.Purged(pairs=0, rejects=0, files=[])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_pair_goes_by_its_uid_and_its_neighbour_of_the_same_url_stays(tmp_path: Path) -> None:
    folder = laid(tmp_path / "s1", {"a.tsv": b"url\tcaption\nhttp://a.test/1.png\tcat\nhttp://a.test/1.png\tdog\n"})
    assert purged(folder, opted_out(uids=(records.uid_of(ONE, "cat"),))).pairs == 1
    assert (folder / "a.tsv").read_bytes() == b"url\tcaption\nhttp://a.test/1.png\tdog\n"


JSONL = (
    b'{"url": "http:\\/\\/a.test\\/1.png", "caption": "a\\u2028b", "n": 1}\n'
    b"\n"
    b'{"url": "https://c.test/3.png",   "caption": "caf\xc3\xa9"}\r\n'
    b'{"url": "http://a.test/1.png", "caption": broken\n'
    b'["http://a.test/1.png"]\n'
    b'{"url": "http://a.test/1.png"}\n'
    b'{"url": "https://c.test/3.png", "caption": "last"}'
)


def test_of_jsonl_broken_lines_that_hold_the_url_go_too(tmp_path: Path) -> None:
    folder = laid(tmp_path / "s1", {"a.jsonl": JSONL})
    assert purged(folder, opted_out(ONE)) == purge.Purged(pairs=1, rejects=3, files=["a.jsonl"])
    assert (folder / "a.jsonl").read_bytes() == (
        b'\n{"url": "https://c.test/3.png",   "caption": "caf\xc3\xa9"}\r\n'
        b'{"url": "https://c.test/3.png", "caption": "last"}'
    )


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ({0}, '\n [ {"url": "u1", "caption": "c"} ,\n{"url": "u2", "caption": "c"} ]\n'),
        ({1}, '\n [ {"url": "u0", "caption": "c"},{"url": "u2", "caption": "c"} ]\n'),
        ({2}, '\n [ {"url": "u0", "caption": "c"},{"url": "u1", "caption": "c"} ]\n'),
        ({1, 2}, '\n [ {"url": "u0", "caption": "c"} ]\n'),
        ({0, 1, 2}, "\n [  ]\n"),
    ],
)
def test_of_a_json_array_items_go_with_one_comma_each(tmp_path: Path, gone: set[int], left: str) -> None:
    urls = [f"http://h{number}.test/" for number in range(3)]
    text = '\n [ {"url": "u0", "caption": "c"},{"url": "u1", "caption": "c"} ,\n{"url": "u2", "caption": "c"} ]\n'
    for number, url in enumerate(urls):
        text, left = (one.replace(f"u{number}", url) for one in (text, left))
    folder = laid(tmp_path / "s1", {"a.json": text.encode()})
    assert purged(folder, opted_out(*(urls[number] for number in gone))).pairs == len(gone)
    assert (folder / "a.json").read_text() == left
    assert len(rows(folder)) == 3 - len(gone)


def test_of_a_coco_file_the_picture_goes_with_its_captions(tmp_path: Path) -> None:
    images = [{"id": n, "coco_url": f"http://h{n}.test/", "flickr_url": f"http://f{n}.test/"} for n in range(3)]
    captions = [{"id": 10 + n, "image_id": n % 3, "caption": f"caption {n}"} for n in range(6)]
    content = {"info": {"x": "[]"}, "images": images, "annotations": captions}
    folder = laid(tmp_path / "s1", {"a.json": json.dumps(content, indent=1).encode()}, {"url": "coco_url"})
    assert purged(folder, opted_out("http://h1.test/")).pairs == 2
    left = {**content, "images": [images[0], images[2]]}
    left["annotations"] = [one for one in captions if one["image_id"] != 1]
    assert json.loads((folder / "a.json").read_text()) == left
    assert b"f1.test" not in (folder / "a.json").read_bytes()


def test_of_txt_lines_go(tmp_path: Path) -> None:
    folder = laid(tmp_path / "s1", {"a.txt": b"http://a.test/1.png a cat\rhttps://c.test/3.png a dog\r\n"})
    assert purged(folder, opted_out(ONE)).pairs == 1
    assert (folder / "a.txt").read_bytes() == b"https://c.test/3.png a dog\r\n"


def test_of_parquet_schema_order_groups_and_compression_stay(tmp_path: Path) -> None:
    schema = pa.schema(
        [("url", pa.large_string()), ("caption", pa.dictionary(pa.int32(), pa.string())), ("n", pa.list_(pa.int8()))],
        metadata={"k": "v"},
    )
    table = pa.table(
        {"url": [OTHER, ONE, None, TWO, ONE], "caption": ["a", "b", "c", "d", None], "n": [[1], None, [], [2], [3]]}
    ).cast(schema)
    made = io.BytesIO()
    pq.write_table(table, made, row_group_size=2, compression="gzip")
    folder = laid(tmp_path / "s1", {"a.parquet": made.getvalue()})
    assert purged(folder, opted_out(ONE, hosts=("img.b.test",))) == purge.Purged(
        pairs=2, rejects=1, files=["a.parquet"]
    )
    left = pq.ParquetFile(folder / "a.parquet")
    assert left.schema_arrow.equals(pq.read_schema(io.BytesIO(made.getvalue())), check_metadata=True)
    assert left.read().to_pylist() == table.take([0, 2]).to_pylist()
    assert left.read_row_group(0)["caption"].chunk(0).dictionary.to_pylist() == ["a"]
    assert left.metadata.row_group(0).column(0).compression == "GZIP"


def test_of_a_parquet_row_that_is_no_text_the_url_still_counts(tmp_path: Path) -> None:
    table = pa.table({"url": [ONE.encode(), OTHER.encode()], "caption": [b"\xff", b"\xff"]})
    made = io.BytesIO()
    pq.write_table(table, made)
    folder = laid(tmp_path / "s1", {"a.parquet": made.getvalue()})
    assert purged(folder, opted_out(ONE)) == purge.Purged(pairs=0, rejects=1, files=["a.parquet"])
    assert pq.read_table(folder / "a.parquet").equals(table.slice(1))


def test_a_file_without_header_keeps_its_width_when_its_first_rows_go(tmp_path: Path) -> None:
    content = b"a cat\thttp://a.test/1.png\na dog\nno\tpair\tat all\na dog\thttps://c.test/3.png\n"
    folder = laid(tmp_path / "s1", {"a.tsv": content}, {"url": "2", "caption": "1"})
    assert not descriptions.load(folder).header
    before = rows(folder)
    assert purged(folder, opted_out(ONE)).pairs == 1
    assert rows(folder) == before[1:]
    assert purged(folder, opted_out(OTHER)).pairs == 1
    assert [reason for reason, *_ in rows(folder)] == ["unparsable_row"] * 2


def test_all_rows_may_go(tmp_path: Path) -> None:
    files = {"a.tsv": b"a cat\thttp://a.test/1.png\n", "b.tsv": b"a cow\thttp://a.test/1.png\n"}
    folder = laid(tmp_path / "s1", files, {"url": "2", "caption": "1"})
    assert purged(folder, opted_out(ONE)) == purge.Purged(pairs=2, rejects=0, files=["a.tsv", "b.tsv"])
    assert rows(folder) == []
    assert tombstones.read(folder).num_rows == 2


def test_a_stray_mark_swallows_nothing_when_what_broke_it_is_gone(tmp_path: Path) -> None:
    content = (
        b"url,caption\n"
        b'https://c.test/3.png,"first\n'
        b'http://a.test/1.png,"a" cat\n'
        b'https://c.test/3.png,second"\n'
        b"https://c.test/3.png,third\n"
    )
    folder = laid(tmp_path / "s1", {"a.csv": content})
    before = rows(folder)
    assert [caption for _, _, caption in before] == ['"first', '"a" cat', 'second"', "third"]
    assert purged(folder, opted_out(ONE)).pairs == 1
    assert rows(folder) == [before[0], *before[2:]]
    assert (folder / "a.csv").read_bytes().endswith(b"\nhttps://c.test/3.png,third\n")


CELLS = st.sampled_from(
    ["", "a cat", '"', 'a "cat"', '"open', 'close"', '"whole"', "x\ny", "x\r\ny", "tab\there", "comma, here"]
    + ["\u2028line\x85end", "\ufeffbom", "nul\0", "\\", "'", "café", "\v\f", " lead", "trail ", '""']
)
URLS = st.sampled_from(
    [ONE, TWO, OTHER, "http://a.test/", " http://a.test/1.png ", "not a url", "", "HTTP://A.test/1.png"]
)


@st.composite
def hostile_lists(draw: st.DrawFn) -> tuple[str, bytes]:
    """Returns the name and the content of a list: rows quoted by the book, or put together as they are."""
    name = draw(st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.csv.gz"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    listed = draw(st.lists(st.tuples(URLS, CELLS, CELLS, st.booleans()), min_size=1, max_size=12))
    delimiter = "\t" if name == "a.tsv" else ","
    lines = [delimiter.join(("url", "caption", "more"))]
    for url, caption, more, by_the_book in listed:
        made = io.StringIO()
        csv.writer(made, delimiter=delimiter, lineterminator="").writerow([url, caption, more])
        lines.append(made.getvalue() if by_the_book else delimiter.join((url, caption, more)))
    if name == "a.jsonl":
        lines = [
            json.dumps({"url": url, "caption": caption, "more": more}) if whole else f'{{"url": "{url}", "{caption}'
            for url, caption, more, whole in listed
        ]
    text = draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(st.sampled_from(["", end, end * 2]))
    return name, gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()


@settings(max_examples=400, deadline=None)
@given(hostile_lists(), st.sets(st.sampled_from([ONE, TWO, OTHER])), st.sampled_from([(), ("b.test",)]))
@example(("a.csv", b'url,caption,more\n"http://a.test/1.png",,"\nhttps://c.test/3.png,a,"b"'), {ONE}, ())
def test_hostile_rows_go_alone(listed: tuple[str, bytes], urls: set[str], hosts: tuple[str, ...]) -> None:
    name, content = listed
    description = descriptions.ListDescription(
        format="jsonl" if name == "a.jsonl" else name[2:5], files=[name], columns=MAPPING
    )
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "s1"
        folder.mkdir()
        (folder / name).write_bytes(content)
        descriptions.save(description, folder)
        before, what = rows(folder), opted_out(*urls, hosts=hosts)
        gone = purged(folder, what)
        named = [row for row in before if row[0] is None and what.names_url(row[1])]
        assert gone.pairs == len(named)
        assert set(tombstones.read(folder)["uid"].to_pylist()) == {
            records.uid_of(url.strip(), caption) for _, url, caption in named
        }
        after = rows(folder)
        left = [row for row in before if row not in named]
        assert [row for row in after if row[0] is None] == [row for row in left if row[0] is None]
        assert not Counter(after) - Counter(left)
        assert len(before) == len(after) + gone.pairs + gone.rejects
        assert not any(what.names_url(url) for _, url, _ in after)
        if name == "a.jsonl" and urls == {ONE}:
            assert ONE.encode() not in (folder / name).read_bytes()
        again = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert purged(folder, what).files == []
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == again


def test_a_description_tells_widths_only_where_there_are_some(tmp_path: Path) -> None:
    folder = laid(tmp_path / "s1", {"a.csv": b"url,caption\nhttp://a.test/1.png,a cat\n"})
    assert "widths" not in json.loads((folder / "list.json").read_text())
