"""Asking for a set by a set.json, laying it out, and reading what came of it."""

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from cyclip_model.sets import laying
from cyclip_model.sets.pictures import HASHES
from lineage import files

MAX_PIXELS = 4096


def picture(shade: int, suffix: str = "PNG", side: int = 8) -> bytes:
    """A picture of one shade; shades apart by 8 stay apart in JPEG."""
    target = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 255 - shade, 7)).save(target, suffix)
    return target.getvalue()


def ask(folder: Path, family: str, **more: Any) -> Path:
    """A set.json of a family."""
    files.write_json(folder / "set.json", {"name": folder.name, "family": family, "sources": ["a test"], **more})
    return folder


def lay(source: Path) -> tuple[Path, laying.Laid]:
    """The set laid out beside its folder."""
    out = source.parent / f"{source.name}-out"
    return out, laying.lay(laying.entry_of(source), out, MAX_PIXELS)


def described(out: Path) -> dict[str, Any]:
    """set.json of what was laid out."""
    found: dict[str, Any] = files.read_json(out / "set.json")
    return found


def rows(out: Path, part: str = "test") -> list[dict[str, Any]]:
    """The rows of a part."""
    folder = out / "texts" if (out / "texts").is_dir() else out / part
    return list(pq.read_table(folder / f"{part}.parquet").to_pylist())


def hashes(out: Path) -> list[dict[str, Any]]:
    """The rows of test_hashes.parquet, whose columns are checked."""
    table = pq.read_table(out / "test_hashes.parquet")
    assert table.schema.names == HASHES.names
    return list(table.to_pylist())
