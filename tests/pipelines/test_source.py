"""Every row of a list becomes a pair, a reject with its exact reason or a repeat; none is lost."""

import json
import string
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lineage import digests, files, records
from pipelines import lists, source
from pipelines.lists import descriptions, recognition
from tests.builders import contents, enter, write_params


def batch(*rows: dict[str, Any]) -> lists.Batch:
    """Returns rows that could be read, as one batch."""
    values = {field: [row[field] for row in rows] for field in rows[0]}
    return lists.Batch(
        file="a.csv",
        numbers=range(2, len(rows) + 2),
        reasons=[None] * len(rows),
        values=values,
        given=pa.nulls(len(rows), pa.string()),
    )


def row(url: Any, caption: Any = "a cat", **values: Any) -> dict[str, Any]:
    return {"url": url, "caption": caption, **values}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (row("http://a.test/1"), None),
        (row("HTTPS://A.test:8080/x?y#z"), None),
        (row(" http://a.test/1\n"), None),
        (row("http://a.test/" + "x" * 186), None),
        (row("http://a.test/" + "x" * 187), "not_a_url"),
        (row("ftp://a.test/1"), "not_a_url"),
        (row("file:///etc/passwd"), "not_a_url"),
        (row("a.test/1.png"), "not_a_url"),
        (row("http:///1.png"), "not_a_url"),
        (row("http://a.test/a b"), "not_a_url"),
        (row("http://a.test/a\x00b"), "not_a_url"),
        (row("http://a.test:99999/"), "not_a_url"),
        (row("http://[::1/"), "not_a_url"),
        (row(None), "no_url"),
        (row(""), "no_url"),
        (row("  "), "no_url"),
        (row(7), "no_url"),
        (row("http://a.test/1", None), "no_caption"),
        (row("http://a.test/1", " \n"), "no_caption"),
        (row("http://a.test/1", 7), "no_caption"),
        (row(None, None), "no_url"),
        (row("http://a.test/1", expected_sha256="AB" * 32), None),
        (row("http://a.test/1", expected_sha256=""), None),
        (row("http://a.test/1", expected_sha256=None), None),
        (row("http://a.test/1", expected_sha256="ab" * 31), "bad_hash"),
        (row("http://a.test/1", expected_sha256="xy" * 32), "bad_hash"),
        (row("http://a.test/1", expected_sha256="a" * 31 + "x" + "a" * 32), "bad_hash"),
        (row("http://a.test/1", expected_sha256=7), "bad_hash"),
        (row("http://a.test/1", None, expected_sha256=7), "no_caption"),
        (row("http://a.test/1", expected_phash=" 0123456789abcdef "), None),
        (row("http://a.test/1", expected_phash="0123456789abcdeg"), "bad_hash"),
    ],
)
def test_each_reason(values: dict[str, Any], reason: str | None) -> None:
    assert source.judge(batch(values), 200) == [reason]


def test_what_could_not_be_read_keeps_its_reason() -> None:
    unread = batch(row(None, None), row(None, None), row("http://a.test/1"))
    unread.reasons[:2] = ["bad_encoding", "unparsable_row"]
    assert source.judge(unread, 200) == ["bad_encoding", "unparsable_row", None]


URL_CHARS = st.text(st.sampled_from("aZ09.-_~/:?#[]@!%é１。\u212a\x7f\t ") | st.characters(), max_size=12)


@settings(max_examples=500)
@given(st.tuples(st.sampled_from(["http://", "HTTPS://", "http:", "ftp://", ""]), URL_CHARS, URL_CHARS).map("".join))
@example("http://user@a.test/")
@example("http://a.test:99999/")
@example("http://a.test:123456")
@example("http://[::1]:80/")
@example("http://a.test:/")
@example("http://\u212a.test/")
@example("http\u017f://a.test/")
def test_plain_urls_are_told_as_the_slow_way_tells_them(text: str) -> None:
    assert source.is_url(text) == source._is_url(text)
    if source.is_url(text):
        assert source.host_of(text) == (urlsplit(text).hostname or "").lower() != ""


def convert(folder: Path, num_partitions: int = 4) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Returns the account and the rows of every table made of the list in `folder`."""
    config = source.SourceConfig(max_url_chars=200, num_partitions=num_partitions)
    account = source.convert(folder, folder / "made", config, scratch=folder / "aside")
    assert not (folder / "aside").exists()
    schemas = {"source": records.SOURCE, "rejects": records.REJECTS, "repeats": records.REPEATS}
    return account, {n: records.read_table(folder / "made" / f"{n}.parquet", s).to_pylist() for n, s in schemas.items()}


def lay(folder: Path, name: str, content: str | bytes, **options: Any) -> Path:
    """Lays a list into `folder` as `snapshot add` does."""
    files.write_bytes(folder / name, content if isinstance(content, bytes) else content.encode())
    descriptions.save(recognition.describe(folder / name, options.pop("mapping", {}), **options), folder)
    return folder


def test_a_pair(tmp_path: Path) -> None:
    content = {"url": " https://User@A.Test:80/1 ", "caption": " a cat ", "license": "CC0", "origin": 3, "sha256": ""}
    _, made = convert(lay(tmp_path, "a.jsonl", json.dumps(content)))
    url = "https://User@A.Test:80/1"
    assert made["source"] == [
        {
            "uid": records.uid_of(url, " a cat "),
            "url": url,
            "caption": " a cat ",
            "url_sha256": digests.sha256_bytes(url.encode()),
            "host": "a.test",
            "host_sha256": digests.sha256_bytes(b"a.test"),
            "license": "CC0",
            "origin": "3",
            "list_uid": None,
            "expected_sha256": None,
            "expected_phash": None,
            "given": None,
        }
    ]


def test_repeats_are_counted_by_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "BATCH_ROWS", 2)
    urls = ["http://a/1", "http://a/2", "http://a/1", " http://a/1", "http://a/1"]
    lines = [f"{url},{'a dog' if n == 4 else 'a cat'}\n" for n, url in enumerate(urls)]
    account, made = convert(lay(tmp_path, "a.csv", "url,caption\n" + "".join(lines)))
    assert sorted(pair["url"][-1] for pair in made["source"]) == ["1", "1", "2"]
    assert made["repeats"] == [{"uid": records.uid_of("http://a/1", "a cat"), "repeats": 2}]
    assert account == {"rows_in": 5, "kept": 3, "dropped": {"repeat": 2}, "failed": {}}


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("num_partitions", [1, 512])
def test_of_equal_rows_the_first_in_list_order_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int, num_partitions: int
) -> None:
    monkeypatch.setattr(lists, "BATCH_ROWS", batch_rows)
    body = "".join(f"http://a/{n % 3},x,{n},{n / 10},{n:064d}\n" for n in range(9))
    mapping, scores = {"list_uid": "id"}, {"p": "P"}
    lay(tmp_path, "a.csv", f"url,caption,id,P,sha256\n{body}", mapping=mapping, scores=scores)
    _, made = convert(tmp_path, num_partitions)
    found = {(row["url"], row["list_uid"], row["given"], int(row["expected_sha256"])) for row in made["source"]}
    assert found == {
        ("http://a/0", "0", '{"p":0}', 0),
        ("http://a/1", "1", '{"p":0.1}', 1),
        ("http://a/2", "2", '{"p":0.2}', 2),
    }
    assert [row["repeats"] for row in made["repeats"]] == [2, 2, 2]


def test_bytes_are_the_same_whatever_the_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "".join(f"http://a/{n * n % 701},cat {n % 7}\n{'x' * (n % 40)},,\n" for n in range(2000))
    lay(tmp_path, "a.csv", f"url,caption\n{body}")
    made = []
    for num_partitions, batch_rows in ((1, 5000), (4, 7), (61, 300), (512, 1000)):
        monkeypatch.setattr(lists, "BATCH_ROWS", batch_rows)
        account, tables = convert(tmp_path, num_partitions)
        made.append((account, contents(tmp_path / "made")))
    assert made == made[:1] * 4
    assert tables["source"] == sorted(tables["source"], key=lambda row: row["uid"])
    records.write_table(pa.Table.from_pylist(tables["source"], records.SOURCE), tmp_path / "whole.parquet")
    assert made[0][1]["source.parquet"] == (tmp_path / "whole.parquet").read_bytes()


PEAK = """
import re, sys
from pathlib import Path
from pipelines import source
config = source.SourceConfig(max_url_chars=200, num_partitions=int(sys.argv[2]))
folder = Path(sys.argv[1])
source.convert(folder, folder / "made", config, scratch=folder / "aside")
# not ru_maxrss, which a process inherits from the one that starts it
sys.stdout.write(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak_mib(folder: Path, num_partitions: int) -> float:
    """Returns the peak memory of a process of its own that converts the list in `folder`, MiB."""
    command = [sys.executable, "-c", PEAK, str(folder), str(num_partitions)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.slow
def test_memory_is_bounded_by_a_partition(tmp_path: Path) -> None:
    number = 400_000  # of some 500 bytes: 200 MB as text
    caption = pa.array(["words and more words " * 20] * number).dictionary_encode()
    pq.write_table(
        pa.table({"url": [f"http://a/{n}" for n in range(number)], "caption": caption}), tmp_path / "a.parquet"
    )
    descriptions.save(recognition.describe(tmp_path / "a.parquet", {}), tmp_path)
    bounded, whole = peak_mib(tmp_path, 64), peak_mib(tmp_path, 1)
    assert whole > 600
    assert bounded < 480


def test_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    write_params(source={"max_url_chars": 200, "num_partitions": 4})
    body = "url,caption\nhttp://a/1,x\nhttp://a/1,x\n,y\nhttp://a/2\nftp://a,z\n"
    folder = lay(Path("data/lists/s1"), "a.csv", body.encode() + b"http://a/3,\xff\n")
    out, provenance = Path("data/source/s1"), Path("provenance/source/s1.json")
    source.main(folder, out, provenance)
    rejects = records.read_table(out / "rejects.parquet", records.REJECTS).to_pylist()
    assert [(reject["row"], reject["reason"], reject["caption"]) for reject in rejects] == [
        (4, "no_url", "y"),
        (5, "unparsable_row", ""),
        (6, "not_a_url", "z"),
        (7, "bad_encoding", ""),
    ]
    counts = json.loads(provenance.read_text())["counts"]
    failed = dict.fromkeys(["bad_encoding", "no_url", "not_a_url", "unparsable_row"], 1)
    assert counts == {"rows_in": 6, "kept": 1, "dropped": {"repeat": 1}, "failed": failed}
    before = contents(out), provenance.read_bytes()
    source.main(folder, out, provenance)
    assert (contents(out), provenance.read_bytes()) == before


TEXT = st.text(st.characters(exclude_categories=[]), max_size=20) | st.sampled_from(["http://a/1", "a cat", '"', ""])
HOSTILE = st.dictionaries(
    st.sampled_from(["url", "caption", "license"]), TEXT | st.none() | st.integers() | st.lists(TEXT)
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(HOSTILE | st.integers() | TEXT, max_size=20))
def test_no_json_row_is_lost(rows: list[Any]) -> None:
    rows = [{"url": 1, "caption": 2, "license": 3}, *rows]
    for name, text in (("a.jsonl", "\n".join(map(json.dumps, rows))), ("a.json", json.dumps(rows))):
        with tempfile.TemporaryDirectory() as folder:
            check_conserved(lay(Path(folder), name, text), len(rows))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=60) | st.text(string.printable, max_size=200).map(str.encode))
def test_no_line_of_hostile_csv_ends_the_run(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay(folder, "a.csv", b"url,caption\nhttp://a/1,first\n" + body + b"\nhttp://a/2,last\n")
        (found,) = lists.read(folder)
        assert [found.values[field][0] for field in ("url", "caption")] == ["http://a/1", "first"]
        check_conserved(folder, len(found.numbers))


def check_conserved(folder: Path, num_rows: int) -> None:
    account, made = convert(folder)
    repeats = sum(repeat["repeats"] for repeat in made["repeats"])
    assert account["rows_in"] == num_rows == len(made["source"]) + len(made["rejects"]) + repeats
    assert account["kept"] == len(made["source"])
    assert account["dropped"] == {"repeat": repeats}
    assert account["failed"] == Counter(reject["reason"] for reject in made["rejects"])
    assert max(Counter(pair["uid"] for pair in made["source"]).values(), default=1) == 1


def test_what_a_killed_run_left_is_not_taken_up(tmp_path: Path) -> None:
    lay(tmp_path, "a.csv", "url,caption\nhttp://a/1,x\n")
    files.write_bytes(tmp_path / "aside" / "00000.arrow", b"half a stream")
    files.write_bytes(tmp_path / "made" / ".source.parquet.1.partial", b"half a table")
    _, made = convert(tmp_path)
    assert [row["url"] for row in made["source"]] == ["http://a/1"]
    assert sorted(contents(tmp_path / "made")) == ["rejects.parquet", "repeats.parquet", "source.parquet"]
