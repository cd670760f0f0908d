"""Sets of uids obey the laws of sets, and DataComp's own way of reading a subset finds every uid."""

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import uid_sets

UIDS = [f"{n:032x}" for n in (0, 1, 1 << 63, 0xFF00 << 48, 1 << 64, (1 << 64) + 1, (1 << 128) - 1)]
"""Zero bytes at either end and in between, and both halves in play."""
LISTS = st.lists(st.sampled_from(UIDS), max_size=12)


def made(texts: list[str]) -> uid_sets.Uids:
    return uid_sets.of_texts(
        pa.chunked_array([pa.array(texts[:2], pa.string()), pa.array(texts[2:], pa.string())]), "x"
    )


def texts(uids: uid_sets.Uids) -> list[str]:
    found: list[str] = uid_sets.as_texts(uids).to_pylist()
    return found


@settings(deadline=None)
@given(LISTS)
def test_texts_come_back_sorted(given_texts: list[str]) -> None:
    assert texts(made(given_texts)) == sorted(given_texts)
    assert uid_sets.num_distinct(made(given_texts)) == len(set(given_texts))


@settings(deadline=None)
@given(LISTS, LISTS, LISTS)
def test_the_operations_are_those_of_sets(a: list[str], b: list[str], c: list[str]) -> None:
    first, *others = made(a), made(b), made(c)
    counts = [Counter(one) for one in (a, b, c)]
    assert texts(uid_sets.union(first, *others)) == sorted((counts[0] | counts[1] | counts[2]).elements())
    assert texts(uid_sets.intersect(first, *others)) == sorted(uid for uid in a if uid in b and uid in c)
    assert texts(uid_sets.minus(first, *others)) == sorted(uid for uid in a if uid not in b and uid not in c)


@settings(deadline=None)
@given(LISTS, st.integers(0, 2**63))
def test_a_smaller_sample_is_part_of_a_larger_one(given_texts: list[str], seed: int) -> None:
    uids, num = made(given_texts), len(set(given_texts))
    samples = [texts(uid_sets.sample(uids, size, seed)) for size in range(num + 1)]
    for size, drawn in enumerate(samples):
        assert len(set(drawn)) == size
        assert set(drawn) <= set(samples[-1])
        assert all(Counter(drawn)[uid] == given_texts.count(uid) for uid in drawn)
    for smaller, larger in itertools.pairwise(samples):
        assert set(smaller) < set(larger)


def test_samples_differ_by_seed_and_are_even() -> None:
    uids = made([f"{n:032x}" for n in range(4000)])
    drawn = [set(texts(uid_sets.sample(uids, 1000, seed))) for seed in (0, 1)]
    assert 150 < len(drawn[0] & drawn[1]) < 350  # 250 expected of two independent draws
    assert 400 < sum(int(text, 16) < 2000 for text in drawn[0]) < 600
    with pytest.raises(ValueError, match="a sample of 4001 cannot be drawn from 4000 uids"):
        uid_sets.sample(uids, 4001, 0)


@pytest.mark.parametrize("suffix", uid_sets.SUFFIXES)
@pytest.mark.parametrize("given_texts", [[], UIDS, [UIDS[3]] * 3 + UIDS[4:]])
def test_a_set_comes_back_from_every_form(tmp_path: Path, suffix: str, given_texts: list[str]) -> None:
    path = tmp_path / "deep" / f"set{suffix}"
    uids = made(given_texts)
    uid_sets.write(uids, path)
    assert [path] == list(path.parent.iterdir())
    found = uid_sets.read(path)
    assert texts(found) == sorted(given_texts)
    assert uid_sets.digest(found) == uid_sets.digest(uids)


@pytest.mark.parametrize("suffix", [".npy", ".bin"])
def test_datacomps_reader_finds_each_uid_as_often_as_it_stands(tmp_path: Path, suffix: str) -> None:
    given_texts = [UIDS[1], UIDS[4], UIDS[4], UIDS[6]]
    path = tmp_path / f"set{suffix}"
    uid_sets.write(made(given_texts), path)
    wanted = np.dtype("u8,u8")
    subset = np.load(path, mmap_mode="r") if suffix == ".npy" else np.memmap(path, wanted, mode="r")
    assert subset.dtype == wanted
    for uid in UIDS:
        key = np.array([divmod(int(uid, 16), 2**64)], wanted)[0]
        count = np.searchsorted(subset, key, "right") - np.searchsorted(subset, key, "left")
        assert count == given_texts.count(uid)


def test_a_subset_that_datacomps_baselines_wrote(tmp_path: Path) -> None:
    pairs = np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in UIDS[::-1]], np.dtype("u8,u8"))
    np.save(tmp_path / "theirs.npy", pairs)  # not sorted
    assert texts(uid_sets.read(tmp_path / "theirs.npy")) == UIDS


def test_folders_of_kept_pairs(tmp_path: Path) -> None:
    for snapshot, uid in (("s1", UIDS[4]), ("s2", UIDS[1])):
        (tmp_path / snapshot).mkdir()
        pq.write_table(pa.table({"uid": [uid], "split": ["train"]}), tmp_path / snapshot / "kept.parquet")
    assert texts(uid_sets.read(tmp_path)) == [UIDS[1], UIDS[4]]
    assert texts(uid_sets.read(tmp_path / "s2")) == [UIDS[1]]


def test_mistakes_name_file_and_row(tmp_path: Path) -> None:
    def refused(name: str, content: bytes, words: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{re.escape(str(path) + words)}"):
            uid_sets.read(path)

    refused("a.txt", f"{UIDS[0]}\n{UIDS[1]}\nxyz\n".encode(), ", row 3: 'xyz' is no uid of 32 hex digits")
    refused("a.txt", b"\xff\n", ", row 1: '\ufffd' is no uid of 32 hex digits")
    refused("a.bin", b"x" * 17, ": neither a .npy file nor a raw array of 16 bytes a uid")
    refused("a.npy", b"\x93NUMPY\x01", ": cannot be read as .npy")
    refused("a.parquet", b"PAR1", ": cannot be read as parquet")
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    refused("b.npy", (tmp_path / "b.npy").read_bytes(), ": holds float64 of 2 dimensions, not `u8,u8` in one")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "b.parquet")
    refused("b.parquet", (tmp_path / "b.parquet").read_bytes(), ": column uid is missing")
    for path, words in ((tmp_path / "lost", "no such file or folder"), (tmp_path, r"no kept\.parquet in it")):
        with pytest.raises(ValueError, match=words):
            uid_sets.read(path)
    with pytest.raises(ValueError, match=r"a\.csv: name a file that ends in \.npy, \.bin, \.parquet, \.txt"):
        uid_sets.write(made(UIDS), tmp_path / "a.csv")
