"""Every format and every kind of damage: what can be read is read, what cannot is a row with a reason or one error."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import files
from pipelines import lists
from pipelines.lists import descriptions, recognition
from tests.pipelines.list_files import read, write


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "A.CSV"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_formats(tmp_path: Path, name: str, bom: bytes, end: str) -> None:
    comma = "\t" if name.endswith("tsv") else ","
    lines = [["url", "caption"], ["http://a/1", "a cat"], [], ["http://a/2", '"two\nlines, and a ""word"""'], ["x"]]
    path = write(tmp_path / name, bom + end.join(comma.join(cells) for cells in lines).encode())
    assert read(path) == [
        (None, "http://a/1", "a cat"),
        (None, "http://a/2", 'two\nlines, and a "word"'),
        ("unparsable_row", None, None),
    ]


def test_rows_are_numbered_by_their_last_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'url,caption\nhttp://a/1,"two\nlines"\n\nhttp://a/2,b\n')
    read(path)
    assert [(batch.file, list(batch.numbers)) for batch in lists.read(tmp_path)] == [("a.csv", [3, 5])]


def test_bad_utf8_nul_and_other_hostile_rows_stay_rows(tmp_path: Path) -> None:
    body = b"url,caption\nhttp://a/1,caf\xe9\nhttp://a/2,a\x00b\nhttp://a/3,x,y\nhttp://a/4," + "日本".encode() + b"\n"
    assert read(write(tmp_path / "a.csv", body)) == [
        ("bad_encoding", None, None),
        (None, "http://a/2", "a\x00b"),
        ("unparsable_row", None, None),
        (None, "http://a/4", "日本"),
    ]


def test_a_stray_quotation_mark_costs_no_other_row(tmp_path: Path) -> None:
    body = 'caption\turl\n"Stay" he said\thttp://a/1\n"never closed\thttp://a/2\n' + "".join(
        f'dog {n}\thttp://b/{n}\n"x {n}\thttp://c/{n}\n' for n in range(300)
    )
    found = read(write(tmp_path / "a.tsv", body))
    assert found[:2] == [(None, "http://a/1", '"Stay" he said'), (None, "http://a/2", '"never closed')]
    assert len(found) == 602
    assert all(reason is None for reason, _, _ in found)


@pytest.mark.parametrize("caption", ['"Stay" he said', '"never closed'])
def test_a_headless_tsv_may_begin_with_a_quotation_mark(tmp_path: Path, caption: str) -> None:
    path = write(tmp_path / "a.tsv", f"{caption}\thttp://a/1\n" + "dog\thttp://a/2\n" * 200)
    assert read(path)[:2] == [(None, "http://a/1", caption), (None, "http://a/2", "dog")]


def test_cc12m_has_no_header(tmp_path: Path) -> None:
    path = write(tmp_path / "cc12m.tsv", "http://a/1\ta cat\nhttp://a/2\ta dog\n")
    assert read(path) == [(None, "http://a/1", "a cat"), (None, "http://a/2", "a dog")]
    path.write_text("a cat\tHTTP://a/1\n")  # as CC3M
    assert read(path) == [(None, "HTTP://a/1", "a cat")]
    path.write_text("7\thttp://a/1\ta cat\n")
    assert read(path, {"caption": "3"}) == [(None, "http://a/1", "a cat")]
    with pytest.raises(ValueError, match=r"no caption column; columns: 1, 2, 3; name one with --map caption=COLUMN"):
        recognition.describe(path, {})


def test_jsonl(tmp_path: Path) -> None:
    good = {"url": "http://a/1", "text": "a cat", "license": "CC0"}
    lines = [
        json.dumps(good),
        "",
        "[1, 2]",
        '"text"',
        "null",
        "{broken",
        "1" * 5000,
        "[" * 100_000,
        '{"url": "http://a/2", "text": "\\ud800"}',
        '{"url": 3, "text": null}',
        '{"url": "http://a/3"}',
    ]
    rows = read(write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b'\n{"url":"\xff"}\n'))
    assert rows[0] == (None, "http://a/1", "a cat")
    assert [reason for reason, _, _ in rows[1:7]] == ["unparsable_row"] * 6
    assert rows[7:] == [
        ("bad_encoding", None, None),
        (None, 3, None),
        (None, "http://a/3", None),
        ("bad_encoding", None, None),
    ]


def test_jsonl_fields_are_looked_for_beyond_the_first_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.ndjson", 'broken\n{"url": "http://a/1"}\n{"url": "http://a/2", "caption": "x", "source": 1}\n'
    )
    assert recognition.describe(path, {}).columns == {"url": "url", "caption": "caption", "origin": "source"}


def test_parquet(tmp_path: Path) -> None:
    texts = pa.array([b"a cat", None, b"caf\xe9", b""], pa.binary())
    offsets, data = texts.buffers()[1:]
    captions = pa.Array.from_buffers(pa.string(), 4, [texts.buffers()[0], offsets, data])
    urls = pa.array(["http://a/1", "http://a/2", "http://a/3", None]).dictionary_encode()
    pq.write_table(pa.table({"URL": urls, "TEXT": captions, "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [
        (None, "http://a/1", "a cat"),
        (None, "http://a/2", None),
        ("bad_encoding", None, None),
        (None, None, ""),
    ]
    assert read(tmp_path / "a.parquet", {"caption": "n"})[1] == (None, "http://a/2", 2)
    pq.write_table(pa.table({"url": urls, "caption": texts}), tmp_path / "b.parquet")  # text that is not told to be
    assert read(tmp_path / "b.parquet") == read(tmp_path / "a.parquet")


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array(["http://a/1"]), pa.array(["x"]), pa.array(["y"])], ["url", "caption", "caption"])
    pq.write_table(table, tmp_path / "a.parquet")
    csv = write(tmp_path / "a.csv", "url,caption,caption\nhttp://a/1,x,y\n")
    for path in (tmp_path / "a.parquet", csv):
        with pytest.raises(ValueError, match=r"2 columns are called caption \(caption\); rename the others"):
            recognition.describe(path, {})


def test_a_folder_of_several_files_is_read_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / f"{name}.csv", f"url,caption\nhttp://{name}/,x\n")
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / ".DS_Store", "")
    (tmp_path / "folder").mkdir()
    assert [url for _, url, _ in read(tmp_path)] == ["http://a/", "http://b/"]


def test_an_empty_list_with_a_header_has_no_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.csv", "url,caption\n")) == []
    (tmp_path / "a.csv").unlink()
    pq.write_table(
        pa.table({"url": pa.array([], pa.string()), "caption": pa.array([], pa.string())}), tmp_path / "a.parquet"
    )
    (tmp_path / descriptions.DESCRIPTION).unlink()
    assert read(tmp_path / "a.parquet") == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "a.csv: the list is empty"),
        ("a.jsonl", "", "a.jsonl: the list is empty"),
        ("a.jsonl", "\n\n[]\n", "no url column; columns: none"),
        ("a.csv", "url,words\n", "no caption column; columns: url, words; name one with --map caption=COLUMN"),
        ("a.csv", "caption,words\n", "no url column"),
        ("a.csv", b"\xff\xfeu\x00r\x00l\x00", "not text; is it parquet, or compressed"),
        ("a.csv", 'url,"caption', "cannot be read as csv"),
        ("a.parquet", "url", "a.parquet: cannot be read as parquet"),
        ("a.xlsx", "url", "a.xlsx: expected files of one of the formats .csv, .tsv, .jsonl, .ndjson, .json, .txt, "),
        ("a.parquet.gz", "url", "expected files of one of the formats"),
        ("a.csv.gz", "url,caption\n", "a.csv.gz: cannot be read as csv"),
        ("a.json", "", "a.json: the list is empty"),
        ("a.json", "[]", "a.json: the list is empty"),
        ("a.json", "url", "a.json: cannot be read as json (neither an array of objects nor a COCO captions file)"),
        ("a.json", "[{", "a.json: cannot be read as json (the array is broken or cut off)"),
        ("a.json", '[{"url": 1} {"url": 2}]', "no comma between two items"),
        ("a.json", '[{"url": 1}] x', "something follows the array"),
        ("a.txt", "\n", "a.txt: the list is empty"),
        ("a.txt", "http://a/1\nhttp://a/2\n", "a.txt: URLs without captions; give `URL caption` on a line"),
    ],
)
def test_what_is_no_list_is_one_clear_error(tmp_path: Path, name: str, content: bytes | str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        recognition.describe(write(tmp_path / name, content), {})
    assert "\n" not in str(caught.value)


def test_a_pattern_names_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x/b.csv", "x/a.csv.gz", "y.csv", "x/_c.csv", "x/a.txt"):
        content = f"url,caption\nhttp://{name}/,x\n".encode()
        write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    assert recognition.describe(tmp_path / "x" / "*.csv*", {}).files == ["a.csv.gz", "b.csv"]
    monkeypatch.chdir(tmp_path)
    assert recognition.find(Path("**/*.csv")) == [Path("x/b.csv"), Path("y.csv")]


def test_bad_mappings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "url,caption\n")
    with pytest.raises(ValueError, match=r"--map picture=url: unknown field picture; fields: url, caption"):
        recognition.describe(path, {"picture": "url"})
    with pytest.raises(ValueError, match=r"--map url=link: no such column; columns: url, caption"):
        recognition.describe(path, {"url": "link"})


def test_files_that_are_missing_or_differ(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: no such file"):
        recognition.describe(tmp_path / "nowhere.csv", {})
    with pytest.raises(ValueError, match="an empty folder"):
        recognition.describe(tmp_path, {})
    with pytest.raises(ValueError, match=r"list\.json: not there; add lists with"):
        descriptions.load(tmp_path)
    write(tmp_path / "a.csv", "url,caption\n")
    write(tmp_path / "b.csv", "caption,url\n")
    with pytest.raises(ValueError, match=r"b\.csv: its columns .* differ from those of a\.csv"):
        recognition.describe(tmp_path, {})
    write(tmp_path / "b.tsv", "")
    with pytest.raises(ValueError, match="expected files of one format, not of csv and tsv"):
        recognition.describe(tmp_path, {})
    write(tmp_path / "deeper" / "a.csv", "url,caption\n")
    with pytest.raises(ValueError, match=r"a\.csv and .*deeper/a\.csv have one name; rename one of them"):
        recognition.describe(tmp_path / "**" / "a.csv", {})
    with pytest.raises(FileNotFoundError, match=r"\*\.parquet: no file matches the pattern"):
        recognition.describe(tmp_path / "*.parquet", {})


def test_a_damaged_folder_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "url,caption\n")
    files.write_json(tmp_path / descriptions.DESCRIPTION, vars(recognition.describe(path, {})))
    path.write_text("caption,link\n")
    with pytest.raises(ValueError, match=r"a\.csv: no column url, which list\.json names; add the list again"):
        list(lists.read(tmp_path))
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.csv: listed in list\.json but not there"):
        list(lists.read(tmp_path))
    files.write_json(tmp_path / descriptions.DESCRIPTION, {"format": "csv"})
    with pytest.raises(ValueError, match=r"list\.json: not the description of a list"):
        descriptions.load(tmp_path)


def test_a_parquet_file_cut_off_is_one_error(tmp_path: Path) -> None:
    table = pa.table({"url": [f"http://a/{n}" for n in range(1000)], "caption": ["x"] * 1000})
    pq.write_table(table, tmp_path / "a.parquet")
    files.write_json(tmp_path / descriptions.DESCRIPTION, vars(recognition.describe(tmp_path / "a.parquet", {})))
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[8:600] = bytes(592)
    (tmp_path / "a.parquet").write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"a\.parquet: cannot be read after row 0"):
        list(lists.read(tmp_path))
