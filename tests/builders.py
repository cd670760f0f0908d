"""Small real things for tests: pictures, URL lists, raw snapshots, signals rows, a project folder to run stages in."""

import dataclasses
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lineage import digests, files, records
from pipelines import engine, tar
from pipelines.pictures import sniff

PARAMS: dict[str, Any] = {
    "seeds": [0],
    "snapshots": ["s1"],
    "runner": {
        "name": "FnApiRunner",
        "num_workers": 1,
        "running_mode": "in_memory",
        "options": [],
        "download_processes": 1,
        "download_threads": 1,
    },
    "source": {"max_url_chars": 200, "num_partitions": 4},
    "measure": {"max_pixels": 10_000},
    "select": {
        "rules": [
            {"rule": "side", "min_px": 8},
            {"rule": "aspect", "max_ratio": 3.0},
            {"rule": "caption_length", "min_chars": 3, "max_chars": 40},
            {"rule": "caption_letters", "min_letters": 1, "min_frac": 0.0},
            {"rule": "script", "scripts": ["latin"]},
            {"rule": "language", "languages": ["en"], "min_probability": 0.9, "min_letters": 12},
            {"rule": "exact", "same_image_captions": "keep_one"},
        ],
        "decontaminate_against": [],
        "val_frac": 0.3,
        "num_partitions": 4,
        "max_drop_frac": 1.0,
        "on_excess": "warn",
        "min_group_rows": 1,
    },
    "pack": {"rows_per_shard": 3, "num_shards": None, "max_side_px": None},
    "dataset": {"name": "tiny", "description": "A tiny data set."},
}

RUNNER = engine.RunnerConfig(**PARAMS["runner"])
TWO_WORKERS = dataclasses.replace(RUNNER, num_workers=2, running_mode="multi_processing")


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `folder` the project that stages run in; worker processes still find our packages."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    write_params()


def write_params(**changes: Any) -> None:
    """Writes params.yaml in the current folder; a mapping in `changes` replaces single keys of its section."""
    content = dict(PARAMS)
    for section, change in changes.items():
        content[section] = {**content[section], **change} if isinstance(change, dict) else change
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def make_picture(seed: int = 0, size: tuple[int, int] = (20, 16), kind: str = "PNG", **options: Any) -> bytes:
    """Returns a picture's bytes, noise drawn from `seed`; `size` is (width, height) in pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawPair:
    """One pair of a raw snapshot; without a picture it failed, for `reason`."""

    url: str
    caption: str
    picture: bytes | None = None
    reason: str = "http_404"
    license: str | None = None
    origin: str | None = None

    @property
    def uid(self) -> str:
        return records.uid_of(self.url, self.caption)


def make_pairs(number: int, start: int = 0) -> list[RawPair]:
    """Returns pairs with a picture each, of all four formats by turns."""
    kinds = ("PNG", "JPEG", "WEBP", "GIF")
    return [
        RawPair(
            url=f"https://a.test/{n}", caption=f"the drawing number {n}", picture=make_picture(n, kind=kinds[n % 4])
        )
        for n in range(start, start + number)
    ]


def write_raw(folder: Path, pairs: Sequence[RawPair], rows_per_shard: int = 4, seed: int | None = None) -> Path:
    """Writes data/raw/S as stage download does; with a seed the pairs lie in the shards in a shuffled order."""
    ordered = sorted(pairs, key=lambda pair: pair.uid)
    if seed is not None:
        random.Random(seed).shuffle(ordered)
    files.remove(folder)
    folder.mkdir(parents=True)
    ledger = []
    for number, start in enumerate(range(0, len(ordered), rows_per_shard)):
        with (folder / tar.shard_name(number)).open("wb") as file:
            ledger += [_add_raw(file, number, pair) for pair in ordered[start : start + rows_per_shard]]
            tar.close(file)
    records.write_table(records.rows_table(ledger, records.LEDGER), folder / "ledger.parquet")
    return folder


def _add_raw(file: Any, shard: int, pair: RawPair) -> dict[str, Any]:
    row: dict[str, Any] = {"uid": pair.uid, "shard": shard}
    if pair.picture is None:
        return {**row, "outcome": "failed", "reason": pair.reason}
    key = f"{pair.uid}.{sniff(pair.picture) or 'bin'}"
    offset = tar.add(file, key, pair.picture)
    names = ("uid", "url", "caption", "license", "origin")
    facts = json.dumps({name: getattr(pair, name) for name in names}, sort_keys=True, ensure_ascii=False)
    tar.add(file, f"{pair.uid}.json", facts.encode())
    tar.add(file, f"{pair.uid}.txt", pair.caption.encode())
    place = {"sha256": digests.sha256_bytes(pair.picture), "bytes": len(pair.picture), "key": key, "offset": offset}
    return {**row, "outcome": "ok", **place}


def write_kept(path: Path, splits: dict[str, str]) -> Path:
    """Writes kept.parquet of {uid: split}."""
    rows = [{"uid": uid, "split": split} for uid, split in splits.items()]
    records.write_table(records.rows_table(rows, records.KEPT), path)
    return path


def make_signals(uid: str, sha256: str = "", **changes: Any) -> dict[str, Any]:
    """Returns a signals row that every rule of PARAMS keeps, but for `changes`."""
    caption = changes.get("caption", f"the drawing of {uid[-6:]}")
    row: dict[str, Any] = dict.fromkeys(records.SIGNALS.names) | {
        "uid": uid,
        "url_sha256": digests.sha256_bytes(f"url {uid}".encode()),
        "host": "a.test",
        "host_sha256": digests.sha256_bytes(b"a.test"),
        "tld": "test",
        "url_chars": 20,
        "format": "png",
        "bytes": 500,
        "width": 20,
        "height": 16,
        "sha256": sha256 or digests.sha256_bytes(uid.encode()),
        "pixel_sha256": digests.sha256_bytes(f"pixels {sha256 or uid}".encode()),
        "phash": digests.sha256_bytes(f"look {sha256 or uid}".encode())[:16],
        "thumbnail": digests.sha256_bytes(f"thumbnail {sha256 or uid}".encode()).encode() * 3,
        "blur": 100.0,
        "flatness": 0.25,
        "caption": caption,
        "caption_sha256": digests.sha256_bytes(f"{caption}".casefold().encode()),
        "caption_chars": 20,
        "caption_letters": 16,
        "caption_words": 4,
        "caption_repetition": 0.0,
        "caption_letter_frac": 1.0,
        "script": "latin",
        "script_frac": 1.0,
        "language": "en",
        "language_probability": 0.99,
    }
    assert set(changes) <= set(row)
    return {**row, **changes}


def write_signals(folder: Path, rows: Sequence[dict[str, Any]], num_parts: int = 2) -> Path:
    """Writes data/signals/S in some parts."""
    files.remove(folder)
    for part in range(num_parts):
        table = records.rows_table(rows[part::num_parts], records.SIGNALS)
        records.write_table(table, folder / f"{part:05d}.parquet")
    return folder


def write_account(root: Path, stage: str, instance: str, **counts: Any) -> None:
    """Writes a provenance file with nothing but its counts."""
    account = {"dropped": {}, "failed": {}, **counts}
    files.write_json(root / stage / f"{instance}.json", {"counts": account})


def contents(folder: Path) -> dict[str, bytes]:
    """Returns {relative path: bytes} of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def init_repository(folder: Path) -> None:
    """Makes a folder a repository of git and DVC, whatever the user's own settings are."""
    settings = dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, env={**os.environ, "DVC_NO_ANALYTICS": "1", **settings}, check=True)
