"""Every row of a list becomes a pair, a reject with its exact reason or a repeat; none is lost."""

import json
import string
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage import digests, files, records
from pipelines import descriptions, lists, source
from tests.builders import contents, enter


def row(url: Any, caption: Any = "a cat", **values: Any) -> lists.ListRow:
    return lists.ListRow(file="a.csv", number=2, values={"url": url, "caption": caption, **values})


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
        (lists.ListRow(file="a", number=1, values=None, reason="bad_encoding"), "bad_encoding"),
        (lists.ListRow(file="a", number=1, values=None, reason="unparsable_row"), "unparsable_row"),
    ],
)
def test_each_reason(values: lists.ListRow, reason: str | None) -> None:
    assert source.judge(values, 200) == reason


def test_a_pair() -> None:
    pair = source.as_pair(row(" https://User@A.Test:80/1 ", " a cat ", license="CC0", origin=3, expected_sha256=""))
    url = "https://User@A.Test:80/1"
    assert pair == {
        "uid": records.uid_of(url, " a cat "),
        "url": url,
        "caption": " a cat ",
        "url_sha256": digests.sha256_bytes(url.encode()),
        "host": "a.test",
        "host_sha256": digests.sha256_bytes(b"a.test"),
        "license": "CC0",
        "origin": "3",
        "expected_sha256": None,
    }


def test_repeats_are_counted_by_uid() -> None:
    rows = [row("http://a/1"), row("http://a/2"), row("http://a/1"), row(" http://a/1"), row("http://a/1", "a dog")]
    pairs, rejects, repeats, num_rows = source.sort_rows(rows, 200)
    assert ([pair["url"][-1] for pair in pairs], rejects, num_rows) == (["1", "2", "1"], [], 5)
    assert repeats == [{"uid": records.uid_of("http://a/1", "a cat"), "repeats": 2}]


def add_list(name: str, text: str | bytes) -> Path:
    folder = Path("data/lists/s1")
    files.write_bytes(folder / name, text if isinstance(text, bytes) else text.encode())
    files.write_json(folder / descriptions.DESCRIPTION, vars(descriptions.describe(folder / name, {})))
    return folder


def test_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    body = "url,caption\nhttp://a/1,x\nhttp://a/1,x\n,y\nhttp://a/2\nftp://a,z\n"
    folder = add_list("a.csv", body.encode() + b"http://a/3,\xff\n")
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
def test_no_jsonl_row_is_lost(rows: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = "".join(json.dumps(content) + "\n" for content in [{"url": 1, "caption": 2, "license": 3}, *rows])
        (folder / "a.jsonl").write_text(text)
        files.write_json(folder / descriptions.DESCRIPTION, vars(descriptions.describe(folder / "a.jsonl", {})))
        check_conserved(folder, len(rows) + 1)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=60) | st.text(string.printable, max_size=200).map(str.encode))
def test_no_line_of_hostile_csv_ends_the_run(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.csv").write_bytes(b"url,caption\nhttp://a/1,first\n" + body + b"\nhttp://a/2,last\n")
        files.write_json(folder / descriptions.DESCRIPTION, vars(descriptions.describe(folder / "a.csv", {})))
        found = list(lists.read(folder))
        assert found[0].values == {"url": "http://a/1", "caption": "first"}
        check_conserved(folder, len(found))


def check_conserved(folder: Path, num_rows: int) -> None:
    pairs, rejects, repeats, counted = source.sort_rows(lists.read(folder), 200)
    assert counted == num_rows == len(pairs) + len(rejects) + sum(repeat["repeats"] for repeat in repeats)
    assert max(Counter(pair["uid"] for pair in pairs).values(), default=1) == 1
    records.rows_table(pairs, records.SOURCE)
    records.rows_table(rejects, records.REJECTS)
