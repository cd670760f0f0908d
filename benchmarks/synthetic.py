"""Synthetic pairs, the same every time: small distinct pictures with English captions, and snapshots made of them.

An album holds N encoded pictures in one file, so that they are made once and cost nothing while something is measured.
"""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))
from lineage import digests, files, records, stage
from pipelines import raw_shards, source, tar

_PICTURES_PER_CHUNK = 500
_COARSE = 8
"""Cells along a picture's side before it is enlarged: its structure."""
_GRAIN = 8
"""Grey levels of noise, so that a picture has about the bytes of a photograph of its size."""
SMALL_PX, USUAL_PX = (64, 160), (192, 320)
"""Sides from and below: where only bytes are moved; and about 256, what img2dataset is mostly told to make."""
_WORDS = {
    "colour": "red blue green white black golden silver pale dark bright".split(),
    "thing": "bicycle kettle lighthouse tractor violin sofa sparrow teapot bridge lantern jacket mountain".split(),
    "relation": "beside behind under near above opposite".split(),
    "place": "harbour window fence river garden station market chapel stairway meadow".split(),
    "time": "winter summer autumn spring rain snow morning evening".split(),
}


class Album:
    """N pictures as bytes, by number."""

    def __init__(self, folder: Path) -> None:
        """Opens what `make_album` made."""
        self._places = np.load(folder / "places.npy")
        self._bytes = np.memmap(folder / "pictures.bin", np.uint8, "r")

    def __len__(self) -> int:
        return len(self._places) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._bytes[self._places[number] : self._places[number + 1]].tobytes()


def make_album(folder: Path, num_pictures: int, workers: int, sides_px: tuple[int, int] = SMALL_PX) -> Album:
    """Makes an album of pictures 0 to N - 1."""
    folder.mkdir(parents=True)
    chunks = [range(n, min(n + _PICTURES_PER_CHUNK, num_pictures)) for n in range(0, num_pictures, _PICTURES_PER_CHUNK)]
    lengths = [0]
    with multiprocessing.Pool(workers) as pool, (folder / "pictures.bin").open("wb") as file:
        made = pool.imap(partial(_pictures, sides_px), chunks)
        for pictures in stage.progress(made, label="pictures", total=len(chunks)):
            file.write(b"".join(pictures))
            lengths += map(len, pictures)
    np.save(folder / "places.npy", np.cumsum(lengths))
    return Album(folder)


def picture(number: int, sides_px: tuple[int, int]) -> bytes:
    """Returns a picture of smooth colours with some grain: three of four a JPEG, the fourth a PNG."""
    random = np.random.default_rng([1, number])
    width, height = random.integers(*sides_px, 2)
    coarse = random.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8)
    pixels = cv2.resize(coarse, (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
    if number % 4 == 3:  # without grain: a PNG would hold every bit of it
        return cv2.imencode(".png", pixels)[1].tobytes()
    grainy = pixels.astype(np.int16) + random.integers(-_GRAIN, _GRAIN, (*pixels.shape[:2], 1), np.int16)
    return cv2.imencode(".jpg", grainy.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def caption(number: int) -> str:
    """Returns an English caption; no two numbers have the same one."""
    random = np.random.default_rng([2, number])
    words = {kind: listed[random.integers(len(listed))] for kind, listed in _WORDS.items()}
    return "a {colour} {thing} {relation} the old {place} in {time}".format(**words) + f", photograph {number}"


def extension(number: int) -> str:
    """Returns how the name of a picture ends."""
    return "png" if number % 4 == 3 else "jpg"


def source_table(numbers: Sequence[int], url_of: Callable[[int], str]) -> pa.Table:
    """Returns the source rows of some pictures, sorted by uid, with a further column `number`."""
    rows = [_source_row(number, url_of(number)) for number in numbers]
    schema = pa.schema([*records.SOURCE, ("number", pa.int64())])
    return pa.Table.from_pylist(rows, schema=schema).sort_by("uid")


def example_url(number: int) -> str:
    """Returns an address nobody asks."""
    return f"http://{number % 50}.site.test/{number}.{extension(number)}"


def write_source(table: pa.Table, folder: Path) -> None:
    """Writes data/source/S as far as later stages read it."""
    records.write_table(table.select(records.SOURCE.names).cast(records.SOURCE), folder / "source.parquet")


def write_raw(table: pa.Table, album: Album, folder: Path, rows_per_shard: int) -> None:
    """Writes data/raw/S as stage download does, of pictures that all came."""
    files.remove(folder)
    folder.mkdir(parents=True)
    parts = []
    starts = range(0, table.num_rows, rows_per_shard)
    for shard, start in enumerate(stage.progress(starts, label="raw shards")):
        pairs = table.slice(start, rows_per_shard).to_pylist()
        number_of = {pair["uid"]: pair["number"] for pair in pairs}

        def read(uid: str, number_of: dict[str, int] = number_of) -> bytes:
            return album[number_of[uid]]

        with (folder / tar.shard_name(shard)).open("wb") as file:
            judged = ((pair, _ledger_row(pair, shard, read)) for pair in pairs)
            parts += raw_shards.write_raw_shard(file, judged, read)
    records.write_table(records.rows_table(parts, records.LEDGER), folder / "ledger.parquet")


def _pictures(sides_px: tuple[int, int], numbers: range) -> list[bytes]:
    cv2.setNumThreads(1)
    return [picture(number, sides_px) for number in numbers]


def _source_row(number: int, url: str) -> dict[str, Any]:
    words, host = caption(number), source.host_of(url)
    derived = {"url_sha256": digests.sha256_bytes(url.encode()), "host": host}
    derived["host_sha256"] = digests.sha256_bytes(host.encode())
    return {"uid": records.uid_of(url, words), "url": url, "caption": words, "number": number, **derived}


def _ledger_row(pair: dict[str, Any], shard: int, read: Callable[[str], bytes]) -> dict[str, Any]:
    sha256 = digests.sha256_bytes(read(pair["uid"]))
    return {"uid": pair["uid"], "shard": shard, "outcome": "ok", "sha256": sha256, "drift": None}
