"""Text compressed or not, JSON in pieces: what is damaged or endless is one error that names the file."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import lists
from pipelines.lists import formats
from tests.pipelines.list_files import read, write


@pytest.mark.parametrize("chunk_chars", [1, 2, 3, 7, 1000])
def test_a_json_array_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_chars: int) -> None:
    items = [
        {"url": "http://a/1", "caption": 'a "cat", {or} [two]'},
        12345,
        "x,y",
        None,
        [],
        {"url": 1, "caption": "ü"},
    ]
    monkeypatch.setattr(formats, "_CHUNK_CHARS", chunk_chars)
    for indent in (None, 1):
        path = write(tmp_path / "a.json", json.dumps(items, indent=indent))
        assert list(formats.json_items(path)) == items
    assert [(reason, url) for reason, url, _ in read(path)] == [
        (None, "http://a/1"),
        *[("unparsable_row", None)] * 4,
        (None, 1),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".GZ"])
def test_every_text_format_may_be_compressed(tmp_path: Path, name: str, suffix: str) -> None:
    content = {
        "a.csv": "url,caption\nhttp://a/1,a cat\nhttp://a/2,\n",
        "a.tsv": "http://a/1\ta cat\nhttp://a/2\t\n",
        "a.jsonl": '{"url": "http://a/1", "caption": "a cat"}\n{"url": "http://a/2", "caption": ""}\n',
        "a.json": '[{"url": "http://a/1", "caption": "a cat"},\n {"url": "http://a/2", "caption": ""}]\n',
        "a.txt": "http://a/1 a cat\n\nhttp://a/2\n",
    }[name].encode()
    packed = {
        "": content,
        ".gz": gzip.compress(content),
        ".GZ": gzip.compress(content[:9]) + gzip.compress(content[9:]),
    }
    path = write(tmp_path / f"{name}{suffix}", packed.get(suffix) or pa.compress(content, "zstd", asbytes=True))
    assert read(path) == [(None, "http://a/1", "a cat"), (None, "http://a/2", "")]


@pytest.mark.parametrize(("suffix", "damage"), [(".gz", "cut"), (".gz", "changed"), (".zst", "cut")])
def test_damaged_compressed_data_are_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, damage: str
) -> None:
    monkeypatch.setattr(lists, "BATCH_ROWS", 100)
    monkeypatch.setattr(formats, "_BUFFER_BYTES", 1000)
    rows = "".join(f"http://a/{n},{n * n * n}\n" for n in range(20_000))
    content = f"url,caption\n{rows}".encode()
    packed = gzip.compress(content) if suffix == ".gz" else pa.compress(content, "zstd", asbytes=True)
    path = write(tmp_path / f"a.csv{suffix}", packed)
    read(path)
    half = len(packed) // 2
    path.write_bytes(packed[:half] if damage == "cut" else packed[:half] + bytes(100) + packed[half + 100 :])
    with pytest.raises(ValueError, match=rf"a\.csv\{suffix}: cannot be read after row [0-9]+ \(.+\)") as caught:
        list(lists.read(tmp_path))
    assert "after row 0 " not in str(caught.value)


def test_a_line_too_long_for_memory_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(write(tmp_path / "a.csv", "url,caption\nhttp://a/1,x\n"))
    monkeypatch.setattr(formats, "MAX_RECORD_CHARS", 1000)
    write(tmp_path / "a.csv", f"url,caption\nhttp://a/1,{'x' * 980}\nhttp://a/1,{'x' * 1000}\n")
    with pytest.raises(ValueError, match=r"a\.csv: cannot be read after row 0 \(a line of more than 1000 characters\)"):
        list(lists.read(tmp_path))
