"""Thumbnails of a few pairs, made anew from the fetched pictures, or from the signals where no picture is at hand.

What was fetched never gets into a page: a picture is decoded within bounds, shrunk and written as a PNG of our own.
"""

import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from lineage.site.holding import Holding

MAX_PIXELS = 16_000_000
"""Declared by a picture; more is not decoded."""
MAX_BYTES = 30_000_000
SIDE_PX = 64
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_SIGNAL_SIDE = 8
"""Of the thumbnail among the signals."""
_BATCH_ROWS = 1 << 15
Found = dict[tuple[str, str], bytes]
"""PNGs by (snapshot, uid)."""


def thumbnails(holding: Holding, wanted: Iterable[tuple[str, str]]) -> tuple[Found, int]:
    """Returns the thumbnails that could be made, and how many of them of the fetched pictures."""
    by_snapshot: dict[str, set[str]] = {}
    for snapshot, uid in wanted:
        by_snapshot.setdefault(snapshot, set()).add(uid)
    found: Found = {}
    num_fetched = 0
    for snapshot, uids in sorted(by_snapshot.items()):
        fetched = _fetched(holding, snapshot, uids)
        num_fetched += len(fetched)
        rough = _rough(holding, snapshot, uids - set(fetched))
        found |= {(snapshot, uid): png for uid, png in {**rough, **fetched}.items()}
    return found, num_fetched


def shrunk(content: bytes) -> bytes | None:
    """Returns a picture as a small PNG, None if it is no picture or too large to be decoded."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (SIDE_PX, SIDE_PX))
            made = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    made.thumbnail((SIDE_PX, SIDE_PX))
    return _png(Image.frombytes(made.mode, made.size, made.tobytes()))  # without profiles and the like


def _fetched(holding: Holding, snapshot: str, uids: set[str]) -> dict[str, bytes]:
    columns = ["uid", "sha256", "bytes", "shard", "offset"]
    found = {}
    for row in _rows([holding.path(f"data/raw/{snapshot}/ledger.parquet")], columns, uids):
        content = _content(holding, snapshot, row)
        png = None if content is None else shrunk(content)
        if png is not None:
            found[row["uid"]] = png
    return found


def _content(holding: Holding, snapshot: str, row: dict[str, Any]) -> bytes | None:
    """Returns the bytes of a picture as they were fetched, None if they are not at hand or not those."""
    name = f"data/raw/{snapshot}/{row['shard']:05d}.tar" if row["shard"] is not None else ""
    if not name or not 0 < (row["bytes"] or 0) <= MAX_BYTES or (row["offset"] or -1) < 0 or not holding.has(name):
        return None
    with holding.path(name).open("rb") as file:
        file.seek(row["offset"])
        content = file.read(row["bytes"])
    return content if hashlib.sha256(content).hexdigest() == row["sha256"] else None


def _rough(holding: Holding, snapshot: str, uids: set[str]) -> dict[str, bytes]:
    parts = [holding.path(name) for name in holding.names(f"data/signals/{snapshot}", ".parquet")]
    found = {}
    for row in _rows(parts, ["uid", "thumbnail"], uids):
        if len(row["thumbnail"] or b"") == 3 * _SIGNAL_SIDE**2:
            small = Image.frombytes("RGB", (_SIGNAL_SIDE, _SIGNAL_SIDE), row["thumbnail"])
            found[row["uid"]] = _png(small.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
    return found


def _rows(paths: Iterable[Path], columns: list[str], uids: set[str]) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(uids), pa.string())
    for path in paths if uids else ():
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.filter(pc.is_in(batch["uid"], wanted)).to_pylist()


def _png(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return target.getvalue()
