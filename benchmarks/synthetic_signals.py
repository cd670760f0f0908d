"""Signals and CLIP scores of synthetic rows, the same every time, for what looks at metadata alone.

Of every hundred rows a few fail, and a few more fall under each rule of the demo's recipe; hashes are those of distinct
pictures but for the copies.
"""

import functools
import multiprocessing
import sys
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).parents[1]))
from lineage import digests, records, stage

Column: TypeAlias = npt.NDArray[Any] | pa.Array
_PAIRS = np.frombuffer("".join(f"{octet:02x}" for octet in range(256)).encode(), np.uint16)
"""The two hex digits of each octet."""
_NUM_HOSTS = 5000
_COPY_FRACTION = 0.1
"""Of rows with a picture that an earlier one has."""
_OPTOUT_FRACTION = 0.0002
_FAILED = ("http_404", "timeout", "undecodable")
_CAPTIONS = ("a picture of", "photograph of", "view of the", "old postcard of", "detail of a", "portrait of the")
_THINGS = ("harbour", "kettle", "red bicycle", "mountain village", "wooden chair", "brass lantern", "market street")


def write_snapshot(data: Path, name: str, num_rows: int, rows_per_part: int, workers: int) -> None:
    """Writes data/signals/NAME and data/embeddings/NAME; parts are ranges of uids, as the stages make them."""
    num_parts = -(-num_rows // rows_per_part)
    write = partial(_write_part, data, name, num_rows, num_parts, rows_per_part)
    with multiprocessing.Pool(workers) as pool:
        for _ in stage.progress(pool.imap_unordered(write, range(num_parts)), label="signals", total=num_parts):
            pass


def write_optouts(path: Path, num_rows: int) -> None:
    """Writes opt-outs by URL of some rows, and by host of a few hosts."""
    asked = range(0, num_rows, round(1 / _OPTOUT_FRACTION))
    rows = [{"kind": "url_sha256", "value": value} for value in hashes(np.array(asked), 1).to_pylist()]
    rows += [{"kind": "host_sha256", "value": digests.sha256_bytes(host(n).encode())} for n in range(5)]
    rows.sort(key=lambda row: (row["kind"], row["value"]))
    records.write_table(pa.Table.from_pylist(rows, schema=records.OPTOUTS), path)


def hashes(numbers: npt.NDArray[np.int64], kind: int, num_digits: int = 64) -> pa.Array:
    """Returns hex digits that look random, the same for the same number and kind."""
    return _spelt(np.stack([_mixed(numbers, kind * 16 + place) for place in range(num_digits // 16)], axis=1))


def host(number: int) -> str:
    """Returns the name of a host."""
    return f"site{number}.test"


def _spelt(words_NW: npt.NDArray[np.uint64]) -> pa.Array:
    """Returns N texts of 16 hex digits a word."""
    pairs = _PAIRS[words_NW.byteswap().view(np.uint8)]
    num_digits = 16 * words_NW.shape[1]
    offsets = np.arange(0, pairs.size * 2 + 1, num_digits, np.int32)
    return pa.StringArray.from_buffers(len(words_NW), pa.py_buffer(offsets), pa.py_buffer(pairs))


def _mixed(numbers: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.uint64]:
    """Returns the numbers one to one as 64 bits that look random (splitmix64's finaliser)."""
    words = numbers.astype(np.uint64) + (np.uint64(salt + 1) << np.uint64(40))
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _write_part(data: Path, name: str, num_rows: int, num_parts: int, rows_per_part: int, part: int) -> None:
    start = part * rows_per_part
    numbers = np.arange(start, min(start + rows_per_part, num_rows))
    table = _signals(numbers, part, num_parts, num_rows)
    records.write_table(table, data / "signals" / name / f"{part:05d}.parquet")
    measured = table.filter(pc.is_null(table["error"]))["uid"]
    scores = np.random.default_rng([6, part]).normal(0.28, 0.05, len(measured)).round(6)
    columns = {
        "uid": measured,
        "clip_score": scores,
        "reason": pa.nulls(len(measured), pa.string()),
        "row": np.arange(len(measured)),
    }
    embedded = pa.table(columns, schema=records.EMBEDDINGS)
    records.write_table(embedded, data / "embeddings" / name / f"{part:05d}.parquet")


def _uids(numbers: npt.NDArray[np.int64], part: int, num_parts: int) -> pa.Array:
    """Returns random uids in a range that is the part's own, sorted."""
    low, high = ((number << 64) // num_parts for number in (part, part + 1))
    first = np.random.default_rng([5, part]).integers(low, high, len(numbers), np.uint64)
    return _spelt(np.stack([np.sort(first), _mixed(numbers, 99)], axis=1))


def _signals(numbers: npt.NDArray[np.int64], part: int, num_parts: int, num_rows: int) -> pa.Table:
    random, size = np.random.default_rng([4, part]), len(numbers)
    pictures = np.where(random.random(size) < _COPY_FRACTION, random.integers(0, num_rows, size), numbers)
    failed = random.random(size) < 0.08
    columns: dict[str, Column] = {
        "uid": _uids(numbers, part, num_parts),
        "url_sha256": hashes(numbers, 1),
        **_hosts(random.integers(0, _NUM_HOSTS, size)),
        "url_chars": random.integers(20, 200, size),
        **_caption(numbers, random),
        "error": pa.array(np.array(_FAILED)[random.integers(0, 3, size)], mask=~failed),
    }
    for name, column in _picture(pictures).items():
        columns[name] = pa.array(column, mask=failed) if isinstance(column, np.ndarray) else _masked(column, failed)
    nulls = {name: pa.nulls(size, records.SIGNALS.field(name).type) for name in records.SIGNALS.names}
    filled = {name: columns.get(name, null) for name, null in nulls.items()}
    return pa.table(filled, schema=records.SIGNALS)


def _masked(column: pa.Array, out: npt.NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(out), pa.scalar(None, column.type), column)


def _hosts(chosen: npt.NDArray[np.int64]) -> dict[str, Column]:
    taken = {name: listed.take(pa.array(chosen)) for name, listed in _all_hosts().items()}
    return {**taken, "tld": pa.array(["test"] * len(chosen))}


@functools.cache
def _all_hosts() -> dict[str, pa.Array]:
    names = [host(number) for number in range(_NUM_HOSTS)]
    return {
        "host": pa.array(names),
        "host_sha256": pa.array([digests.sha256_bytes(name.encode()) for name in names]),
    }


def _picture(pictures: npt.NDArray[np.int64]) -> dict[str, Column]:
    """Returns what a picture has, a function of its number: copies agree in it."""
    draws = (_mixed(pictures, 200) % np.uint64(1000)).astype(np.int64)
    width = 200 + (_mixed(pictures, 201) % np.uint64(300)).astype(np.int64)
    height = np.where(draws < 10, 20, np.where(draws < 30, 4 * width, width - 10))
    return {
        "format": pa.array(["jpg"] * len(pictures)),
        "bytes": 5000 + draws,
        "width": width,
        "height": height,
        "sha256": hashes(pictures, 2),
        "pixel_sha256": hashes(pictures - pictures % 2 * (draws < 50), 3),
        "phash": hashes(pictures, 4, 16),
        "blur": draws / 2,
        "flatness": draws / 1000,
    }


def _caption(numbers: npt.NDArray[np.int64], random: np.random.Generator) -> dict[str, Column]:
    size = len(numbers)
    draws = random.random(size)
    text = _texts(numbers, draws)
    chars = pc.utf8_length(text).to_numpy()
    letters = np.where(draws < 0.01, 0, chars * 3 // 4)
    foreign, script = random.random(size) < 0.15, random.random(size) < 0.02
    return {
        "caption": text,
        # one caption stands everywhere, others at two or three pictures
        "caption_sha256": hashes(np.where(draws > 0.98, -1, numbers // 2), 5),
        "caption_chars": chars,
        "caption_letters": letters,
        "caption_words": random.integers(1, 20, size),
        "caption_repetition": random.random(size).round(6) * 0.62,
        "caption_letter_frac": np.full(size, 0.9),
        "script": pa.array(np.where(script, "greek", "latin"), mask=letters == 0),
        "script_frac": pa.array(np.full(size, 1.0), mask=letters == 0),
        "language": pa.array(np.where(foreign, "de", "en"), mask=letters == 0),
        "language_probability": pa.array(random.random(size).round(6), mask=letters == 0),
    }


def _texts(numbers: npt.NDArray[np.int64], draws: npt.NDArray[np.float64]) -> pa.Array:
    """Returns captions: of words and, a few, of a file's name or of two letters."""
    words = [pa.array(listed).take(pa.array(numbers % len(listed))) for listed in (_CAPTIONS, _THINGS)]
    spelt = pa.array(numbers).cast(pa.string())
    plain = pc.binary_join_element_wise(*words, spelt, " ")
    file = pc.binary_join_element_wise("DSC_", pc.binary_join_element_wise(spelt, "jpg", "."), "")
    text = pc.if_else(pa.array(draws > 0.99), file, plain)
    return pc.if_else(pa.array((draws > 0.01) & (draws < 0.02)), "ab", text)
