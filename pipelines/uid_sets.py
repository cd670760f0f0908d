"""Sets of uids as sorted arrays, and the files they come in: parquet, text, and DataComp's subset format.

A set is an array of dtype S16: each uid's 16 bytes, big-endian, so that bytes sort as the 32 hex digits do. A uid may
stand more than once: its repeats are how often a pair is to be seen, as in DataComp.

DataComp's format (mlfoundations/datacomp, resharder.py): one numpy array of dtype `u8,u8`, a uid's upper and lower 64
bits, sorted; with numpy's header (.npy) or without it, as a raw memory map. The resharder writes a pair as often as
its uid stands there, and finds it by bisection, so the order matters.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import digests

Uids = npt.NDArray[np.bytes_]
SUFFIXES: Final = (".npy", ".bin", ".parquet", ".txt")
"""What a set can be written as: DataComp's form with and without numpy's header, and ours."""

_PAIR, _UID, _NUM_DIGITS = np.dtype("u8,u8"), np.dtype("S16"), 32
_NO_DIGIT = 255
_DIGIT = np.full(256, _NO_DIGIT, np.uint8)
_DIGIT[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_NUMPY_MAGIC = b"\x93NUMPY"


def union(first: Uids, *others: Uids) -> Uids:
    """Returns the uids of any set, each as often as in the set that repeats it most."""
    uids, counts = np.unique(np.concatenate([first, *others]), return_counts=True)
    counts[:] = 0
    for operand in (first, *others):
        found, repeats = np.unique(operand, return_counts=True)
        places = np.searchsorted(uids, found)
        counts[places] = np.maximum(counts[places], repeats)
    return np.repeat(uids, counts)


def intersect(first: Uids, *others: Uids) -> Uids:
    """Returns the uids of the first set that every other has, as often as in the first."""
    for operand in others:
        first = first[contains(operand, first)]
    return first


def minus(first: Uids, *others: Uids) -> Uids:
    """Returns the uids of the first set that no other has, as often as in the first."""
    for operand in others:
        first = first[~contains(operand, first)]
    return first


def sample(uids: Uids, num: int, seed: int) -> Uids:
    """Returns `num` distinct uids with their repeats: those that come first in an order drawn from the seed.

    A uid's place in the order depends on nothing but the uid and the seed: a smaller sample is part of a larger one.

    Raises:
        ValueError: if there are not so many.
    """
    distinct = np.unique(uids)
    if not 0 <= num <= len(distinct):
        raise ValueError(f"a sample of {num} cannot be drawn from {len(distinct)} uids")
    high, low = _halves(distinct)
    order = np.lexsort((high, low, _mix(high ^ _mix(low + np.uint64(seed)))))
    return uids[contains(np.sort(distinct[order[:num]]), uids)]


def contains(pool: Uids, uids: Uids) -> npt.NDArray[np.bool_]:
    """Returns (N,) whether each uid is in the sorted pool."""
    if not len(pool):
        return np.zeros(len(uids), bool)
    places = np.minimum(np.searchsorted(pool, uids), len(pool) - 1)
    found: npt.NDArray[np.bool_] = pool[places] == uids
    return found


def num_distinct(uids: Uids) -> int:
    """Returns how many distinct uids a set has."""
    return int((uids[1:] != uids[:-1]).sum()) + 1 if len(uids) else 0


def digest(uids: Uids) -> str:
    """Returns the sha256 of a set's bytes: the same whatever file it comes in."""
    return digests.sha256_bytes(uids.tobytes())


def of_texts(texts: pa.ChunkedArray, where: str) -> Uids:
    """Returns uids given as 32 hex digits as a set.

    Raises:
        ValueError: if one is something else, naming its row.
    """
    lower = pc.utf8_lower(texts.cast(pa.string()))
    bad = pc.index(pc.fill_null(pc.match_substring_regex(lower, f"^[0-9a-f]{{{_NUM_DIGITS}}}$"), False), False).as_py()
    if bad >= 0:
        raise ValueError(f"{where}, row {bad + 1}: {lower[bad].as_py()!r} is no uid of {_NUM_DIGITS} hex digits")
    parts = [_unhex(chunk) for chunk in lower.chunks if len(chunk)]
    return np.sort(np.concatenate([np.empty(0, _UID), *parts]))


def as_texts(uids: Uids) -> pa.Array:
    """Returns a set as 32 hex digits each, in order."""
    octets = np.frombuffer(uids.tobytes(), np.uint8)
    digits = _HEX[np.stack([octets >> 4, octets & 15], axis=1).ravel()].tobytes()
    offsets = np.arange(0, len(digits) + 1, _NUM_DIGITS, dtype=np.int64)
    array = pa.LargeStringArray.from_buffers(len(uids), pa.py_buffer(offsets), pa.py_buffer(digits))
    return array.cast(pa.string())


def read(path: Path) -> Uids:
    """Returns the set at `path`: a folder of snapshots with kept.parquet, one such snapshot, or a file of SUFFIXES.

    A parquet file has a column `uid` and may have `count`.

    Raises:
        ValueError: if it cannot be read so, naming file and row.
    """
    if path.is_dir():
        tables = sorted(path.glob("kept.parquet")) or sorted(path.glob("*/kept.parquet"))
        if not tables:
            raise ValueError(f"{path}: no kept.parquet in it, nor in a folder below it")
        return np.sort(np.concatenate([_read_parquet(table) for table in tables]))
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".txt":
        lines = path.read_bytes().decode("utf-8", "replace").split()
        return of_texts(pa.chunked_array([pa.array(lines, pa.string())]), str(path))
    return _of_pairs(_read_pairs(path))


def write(uids: Uids, path: Path) -> None:
    """Writes a set in the form its suffix names, one of SUFFIXES, by a rename.

    Raises:
        ValueError: for another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: name a file that ends in {', '.join(SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        _write(uids, path.suffix, file)
    partial.replace(path)


def _write(uids: Uids, suffix: str, file: Any) -> None:
    if suffix == ".npy":
        np.save(file, _as_pairs(uids), allow_pickle=False)
    elif suffix == ".bin":
        file.write(_as_pairs(uids).tobytes())
    elif suffix == ".txt":
        file.write("".join(f"{text}\n" for text in as_texts(uids).to_pylist()).encode())
    else:
        distinct, counts = np.unique(uids, return_counts=True)
        table = pa.table({"uid": as_texts(distinct), "count": counts})
        pq.write_table(table, file, compression="zstd", version="2.6", store_schema=False)


def _read_parquet(path: Path) -> Uids:
    try:
        columns = [name for name in pq.read_schema(path).names if name in ("uid", "count")]
        table = pq.read_table(path, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None
    if "uid" not in columns:
        raise ValueError(f"{path}: column uid is missing")
    if "count" not in columns:
        return of_texts(table["uid"], str(path))
    ordered = table.sort_by("uid")
    return np.repeat(of_texts(ordered["uid"], str(path)), ordered["count"].to_numpy())


def _read_pairs(path: Path) -> npt.NDArray[np.void]:
    with path.open("rb") as file:
        has_header = file.read(len(_NUMPY_MAGIC)) == _NUMPY_MAGIC
    if not has_header:
        if path.stat().st_size % _PAIR.itemsize:
            raise ValueError(f"{path}: neither a .npy file nor a raw array of {_PAIR.itemsize} bytes a uid")
        return np.fromfile(path, _PAIR)
    try:
        pairs = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as .npy ({error})") from None
    if pairs.ndim != 1 or pairs.dtype.names is None or pairs.dtype.newbyteorder("=") != _PAIR:
        raise ValueError(f"{path}: holds {pairs.dtype} of {pairs.ndim} dimensions, not `u8,u8` in one")
    found: npt.NDArray[np.void] = pairs.astype(_PAIR)
    return found


def _of_pairs(pairs: npt.NDArray[np.void]) -> Uids:
    halves = np.stack([pairs["f0"], pairs["f1"]], axis=1).astype(">u8")
    return np.sort(np.frombuffer(halves.tobytes(), _UID))


def _as_pairs(uids: Uids) -> npt.NDArray[np.void]:
    pairs = np.empty(len(uids), _PAIR)
    pairs["f0"], pairs["f1"] = _halves(uids)
    return pairs


def _halves(uids: Uids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    halves = np.frombuffer(uids.tobytes(), ">u8").reshape(-1, 2).astype(np.uint64)
    return halves[:, 0], halves[:, 1]


def _unhex(texts: pa.StringArray) -> Uids:
    octets = texts.cast(pa.binary(_NUM_DIGITS)).buffers()[1]
    digits = _DIGIT[np.frombuffer(octets, np.uint8, len(texts) * _NUM_DIGITS)].reshape(-1, 2)
    return np.frombuffer((digits[:, 0] << 4 | digits[:, 1]).tobytes(), _UID)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns each number well scrambled: the finaliser of splitmix64 (Steele et al., OOPSLA 2014, figure 16)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)
