import json
from pathlib import Path

import pytest

from lineage import digests
from pipelines.web import journal
from pipelines.web.journal import Journal


def test_what_was_appended_is_read_and_what_was_cut_off_is_not(tmp_path: Path) -> None:
    first = Journal(tmp_path, "s1")
    first.append({"b": 1, "a": "ä☃\n"})
    first.append({"b": 2})
    first.close()
    with first.index.open("ab") as file:
        file.write(b'{"b": 3')
    assert [(line.number, json.loads(line.content)) for line in journal.lines(first.index)] == [
        (1, {"a": "ä☃\n", "b": 1}),
        (2, {"b": 2}),
    ]
    second = Journal(tmp_path, "s1")
    second.append({"b": 4})
    second.close()
    assert [json.loads(line.content)["b"] for line in journal.lines(first.index)] == [1, 2, 4]
    assert list(journal.lines(tmp_path / "no such file")) == []


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_half_written_line_is_cut_off_however_long(tmp_path: Path, lines: int) -> None:
    first = Journal(tmp_path, "s1")
    starts = [first.append({"b": "x" * 40_000, "number": number}) for number in range(lines)]
    first.close()
    whole = first.index.read_bytes()
    with first.index.open("ab") as file:
        file.write(b'{"b": "' + b"y" * 200_000)
    second = Journal(tmp_path, "s1")
    assert second.index.read_bytes() == whole
    assert second.append({"number": lines}) == len(whole)
    second.close()
    assert [line.start for line in journal.lines(first.index)] == [*starts, len(whole)]


def test_bodies_of_every_run_lie_in_a_segment_of_their_own(tmp_path: Path) -> None:
    places = []
    for body in (b"one", b"two"):
        one = Journal(tmp_path, "s1")
        places.append(one.add_body("http://A.example/ä", status=200, headers={}, body=body))
        places.append(one.add_body("http://a.example/", status=None, headers={}, body=body + b"!"))
        one.close()
    assert [segment for segment, _ in places] == ["s1/00000.warc.gz"] * 2 + ["s1/00001.warc.gz"] * 2
    found = [
        journal.read_body(tmp_path, *place, digests.sha256_bytes(body))
        for place, body in zip(places, (b"one", b"one!", b"two", b"two!"), strict=True)
    ]
    assert found == [b"one", b"one!", b"two", b"two!"]


def test_damage_is_named_with_what_to_do(tmp_path: Path) -> None:
    one = Journal(tmp_path, "s1")
    segment, offset = one.add_body("http://a/", status=200, headers={}, body=b"one")
    one.close()
    with pytest.raises(
        ValueError, match=r"s1/00000\.warc\.gz: the record at byte 0 has another sha256; bring the store"
    ):
        journal.read_body(tmp_path, segment, offset, digests.sha256_bytes(b"two"))
    with pytest.raises(ValueError, match=r"s1/00001\.warc\.gz: no record at byte 7 \(FileNotFoundError\)"):
        journal.read_body(tmp_path, "s1/00001.warc.gz", 7, "")


def test_one_process_appends(tmp_path: Path) -> None:
    one = Journal(tmp_path, "s1")
    with pytest.raises(ValueError, match="another download of this snapshot is at work"):
        Journal(tmp_path, "s1")
    one.close()
    Journal(tmp_path, "s1").close()
