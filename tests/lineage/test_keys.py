import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage import keys

DIGITS = st.text("0123456789abcdef", min_size=32, max_size=64)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def chunked(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array(
        [pa.array(values[: len(values) // 2], pa.string()), pa.array(values[len(values) // 2 :], pa.string())]
    )


@given(
    st.lists(st.none() | st.sampled_from(["00" * 16, "00" * 15 + "01", "ff" * 16, "ff" * 32]) | DIGITS, max_size=40),
    DIGITS,
)
def test_every_row_is_found_by_its_digest_and_no_other(values: list[str | None], other: str) -> None:
    made = keys.of([chunked(*values[:7]), chunked(*values[7:])])
    for digest in {value for value in values if value} | {other}:
        expected = [row for row, value in enumerate(values) if value and value[:32] == digest[:32]]
        assert made.find(digest).tolist() == expected
        assert made.count(digest) == len(expected)


def test_saved_keys_are_found_in_the_map_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    digests = chunked(*(sha(str(number % 700)) for number in range(1000)))
    made = keys.of([digests])
    keys.save(made, tmp_path / "a", "url")
    keys.save(keys.of([digests]), tmp_path / "b", "url")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    loaded = keys.load(tmp_path / "a", "url")
    assert isinstance(loaded.key_N, np.memmap)
    assert loaded.find(sha("3")).tolist() == [3, 703]
    assert loaded.find(sha("nobody")).tolist() == []


def test_no_rows_are_no_keys(tmp_path: Path) -> None:
    keys.save(keys.of([chunked()]), tmp_path, "url")
    assert keys.load(tmp_path, "url").find(sha("a")).tolist() == []


@pytest.mark.parametrize("bad", ["", "ab", "g" * 32, "é" * 32, "A" * 64, "0" * 31 + "\0"])
def test_what_is_no_digest_is_told(bad: str) -> None:
    with pytest.raises(ValueError, match="is no digest"):
        keys.of([chunked(sha("a"), bad, sha("b"))])
    if bad != "A" * 64:
        with pytest.raises(ValueError, match="is no digest"):
            keys.of([chunked(sha("a"))]).find(bad)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"url\.keys\.npy: not there"):
        keys.load(tmp_path, "url")
    keys.save(keys.of([chunked(sha("a"), sha("b"))]), tmp_path, "url")
    keys.save(keys.of([chunked(sha("a"))]), tmp_path, "sha256")
    (tmp_path / "url.rows.npy").write_bytes((tmp_path / "sha256.rows.npy").read_bytes())
    with pytest.raises(ValueError, match="2 keys for 1 rows"):
        keys.load(tmp_path, "url")
    (tmp_path / "url.rows.npy").write_bytes((tmp_path / "url.keys.npy").read_bytes())
    with pytest.raises(ValueError, match=r"url\.rows\.npy: holds"):
        keys.load(tmp_path, "url")
    (tmp_path / "url.keys.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"url\.keys\.npy: damaged"):
        keys.load(tmp_path, "url")
