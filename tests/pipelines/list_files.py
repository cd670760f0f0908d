"""Small URL lists for tests, read as from data/lists."""

from pathlib import Path
from typing import Any

from pipelines import lists
from pipelines.lists import descriptions, recognition

Cells = list[tuple[str | None, Any, Any]]


def read(path: Path, mapping: dict[str, str] | None = None) -> Cells:
    """Returns (reason, url, caption) of each row, read as from data/lists."""
    folder = path if path.is_dir() else path.parent
    descriptions.save(recognition.describe(path, mapping or {}), folder)
    return [
        row
        for batch in lists.read(folder)
        for row in zip(batch.reasons, batch.values["url"], batch.values["caption"], strict=True)
    ]


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
