"""A synthetic project of any number of pairs: every record that the questions read, none of the pictures."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage import audit, files, records, trail
from lineage.cursors import Cursor

SNAPSHOT = "s1"
MODELS = ("clip-0", "cyclip-0", "scorer")
NUM_HOSTS = 50_000
HOST_SKEW = 3.0
"""Hosts are drawn as u ** HOST_SKEW: the first has about 2.7 % of 10^7 rows, as large hosts of the web have."""
_KEPT, _DUPLICATE = 0.6, 0.7
_SHARD_ROWS = 10_000
"""Rows of a raw shard, and so of a file of signals."""
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def url(row: int, host: int) -> str:
    """Returns the link of a row."""
    return f"http://host{host}.test/{row:012d}.jpg"


def lay_down(root: Path, num_rows: int) -> dict[str, float]:
    """Writes a project of `num_rows` pairs; returns the seconds that trail and exposures took to build."""
    root.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    _write_project(root)
    tables = {
        "source": ("source/s1/source.parquet", records.SOURCE),
        "repeats": ("source/s1/repeats.parquet", records.REPEATS),
        "ledger": ("raw/s1/ledger.parquet", records.LEDGER),
        "embeddings": ("embeddings/s1/00000.parquet", records.EMBEDDINGS),
        "verdicts": ("selection/s1/verdicts.parquet", records.VERDICTS),
        "values": ("selection/s1/values.parquet", pa.schema([("uid", pa.string()), ("side", pa.float64())])),
        "kept": ("selection/s1/kept.parquet", records.KEPT),
        "manifest": ("shards/s1/manifest.parquet", records.MANIFEST),
    }
    writers = {name: records.TableWriter(root / "data" / path, schema) for name, (path, schema) in tables.items()}
    for writer in writers.values():
        writer.__enter__()
    for number, start in enumerate(range(0, num_rows, _SHARD_ROWS)):
        made = _rows(start, min(start + _SHARD_ROWS, num_rows), num_rows)
        signals = _filled(made.pop("signals"), records.SIGNALS)
        records.write_table(signals, root / f"data/signals/{SNAPSHOT}/{number:05d}.parquet")
        for name, columns in made.items():
            writers[name].write(_filled(columns, tables[name][1]))
    for writer in writers.values():
        writer.__exit__(None, None, None)
    return {"trail": _build_trail(root), "exposures": _build_exposures(root)}


def subjects(root: Path, num_rows: int, number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yields rows drawn at random: uid, url, host, sha256 and phash of each."""
    from lineage.questions import rows

    drawn = np.random.default_rng(seed).integers(0, num_rows, number)
    for row in drawn.tolist():
        path = root / f"data/signals/{SNAPSHOT}/{row // _SHARD_ROWS:05d}.parquet"
        found = rows.by_number(path, row % _SHARD_ROWS, ["uid", "sha256", "phash", "host"])
        yield {**found, "url": url(row, int(found["host"].removeprefix("host").removesuffix(".test")))}


def _rows(start: int, end: int, num_rows: int) -> dict[str, dict[str, Any]]:
    """Returns {record: its columns} of some rows; any cut of the rows gives the same."""
    row_n = np.arange(start, end, dtype=np.uint64)
    draw = np.random.default_rng(start)
    place_n = row_n * np.uint64(2**64 // num_rows)
    uid_n = _hex(np.stack([place_n, draw.integers(0, 2**63, len(row_n)).astype(np.uint64)], axis=1))
    host_n = (draw.random(len(row_n)) ** HOST_SKEW * NUM_HOSTS).astype(np.int64)
    hosts = [f"host{host}.test" for host in host_n]
    urls = [url(row, host) for row, host in zip(row_n.tolist(), host_n.tolist(), strict=True)]
    links = {"url_sha256": _sha256(urls), "host": pa.array(hosts), "host_sha256": _sha256(hosts)}
    picture_n = _hex(draw.integers(0, 2**63, (len(row_n), 4)).astype(np.uint64))
    look_n = _hex(draw.integers(0, 2**63, (len(row_n), 1)).astype(np.uint64) * np.uint64(2))
    fate_n = draw.random(len(row_n))
    is_kept_n, is_copy_n = fate_n < _KEPT, (fate_n >= _KEPT) & (fate_n < _DUPLICATE)
    reason_n = np.where(is_kept_n, "kept", np.where(is_copy_n, "duplicate_exact", "too_small"))
    kept = pa.array(is_kept_n)
    shard_n = [f"train/{row // _SHARD_ROWS:05d}.tar" for row in row_n[is_kept_n].tolist()]
    uid, sha256 = uid_n, picture_n
    train = pa.array(["train"] * len(shard_n))
    offset = pa.array((row_n[is_kept_n] % _SHARD_ROWS * 8192).astype(np.int64))
    copy_of = pa.array(np.where(is_copy_n, uid_n[0].as_py(), None), pa.string())
    snapshot_of = pa.array(np.where(is_copy_n, SNAPSHOT, None), pa.string())
    captions = pa.array([f"a synthetic caption of row {row}" for row in row_n.tolist()])
    rule = pa.array(np.where(is_kept_n, None, np.where(is_copy_n, "exact", "side")), pa.string())
    verdict = {"keep": kept, "reason": pa.array(reason_n), "rule": rule}
    return {
        "source": {"uid": uid, "url": pa.array(urls), "caption": captions, **links},
        "repeats": {"uid": uid.slice(0, 0)},
        "ledger": {"uid": uid, "outcome": pa.array(["ok"] * len(row_n)), "sha256": sha256},
        "signals": {"uid": uid, **links, "sha256": sha256, "phash": look_n, "caption": captions},
        "embeddings": {"uid": uid, "clip_score": pa.array(draw.random(len(row_n)))},
        "verdicts": {"uid": uid, **verdict, "duplicate_of": copy_of, "duplicate_of_snapshot": snapshot_of},
        "values": {"uid": uid, "side": pa.array(draw.random(len(row_n)))},
        "kept": {"uid": uid.filter(kept), "split": train},
        "manifest": {
            "uid": uid.filter(kept),
            "split": train,
            "shard": pa.array(shard_n),
            "offset": offset,
            "sha256": sha256.filter(kept),
        },
    }


def _filled(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Returns columns as a table of a schema; those that are not given are null."""
    length = len(next(iter(columns.values())))
    found = [columns.get(field.name, pa.nulls(length, field.type)) for field in schema]
    return pa.table([column.cast(field.type) for column, field in zip(found, schema, strict=True)], schema=schema)


def _build_trail(root: Path) -> float:
    begun, made = time.perf_counter(), root / "data/trail" / SNAPSHOT
    selection = root / "data/selection" / SNAPSHOT
    told = trail.pairs(
        SNAPSHOT,
        Cursor(selection / "verdicts.parquet", records.VERDICTS, trail.VERDICT),
        Cursor(selection / "kept.parquet", records.KEPT, records.KEPT.names),
        Cursor(root / f"data/shards/{SNAPSHOT}/manifest.parquet", records.MANIFEST, trail.PLACE),
    )
    records.write_tables(told, trail.PAIRS, made / "pairs.parquet")
    trail.index(root / "data/signals" / SNAPSHOT, made)
    return time.perf_counter() - begun


def _build_exposures(root: Path) -> float:
    kept = records.read_table(root / f"data/shards/{SNAPSHOT}/manifest.parquet", columns=["uid"])["uid"]
    count = pa.array(np.full(len(kept), 11, np.int64))
    exposure = pa.table([pa.array([SNAPSHOT] * len(kept)), kept, count], schema=records.EXPOSURE)
    begun = time.perf_counter()
    for model in MODELS:
        audit.write_exposures(model, exposure, None, root / "data/trail", [SNAPSHOT], root / "data/audit")
    return time.perf_counter() - begun


def _write_project(root: Path) -> None:
    files.write_text(root / "params.yaml", f"snapshots: [{SNAPSHOT}]\n")
    names = ("source", "raw", "signals", "embeddings", "trail", "shards")
    outs = [*(f"data/{name}/{SNAPSHOT}" for name in names), "data/selection", "data/audit"]
    outs += [f"models/{model}" for model in MODELS]
    locked = {"cmd": "true", "outs": [{"path": out, "md5": "0" * 32 + ".dir"} for out in outs]}
    files.write_text(root / "dvc.yaml", json.dumps({"stages": {"made": {"cmd": "true", "outs": outs}}}))
    files.write_text(root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"made": locked}}))


def _sha256(texts: list[str]) -> pa.Array:
    return pa.array([hashlib.sha256(text.encode()).hexdigest() for text in texts])


def _hex(word_NW: npt.NDArray[np.uint64]) -> pa.Array:
    """Returns (N,) texts of 16 W hex digits."""
    octets = word_NW.astype(">u8").view(np.uint8).reshape(len(word_NW), -1)
    digits = np.empty((len(octets), 2 * octets.shape[1]), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _HEX[octets >> 4], _HEX[octets & 15]
    offsets = np.arange(len(octets) + 1, dtype=np.int32) * digits.shape[1]
    return pa.Array.from_buffers(
        pa.string(), len(octets), [None, pa.py_buffer(offsets), pa.py_buffer(digits.tobytes())]
    )
