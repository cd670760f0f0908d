"""Small files written whole or not at all, in one canonical form."""

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` by a rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def write_text(path: Path, content: str) -> None:
    """Writes text as UTF-8 with `\\n` line ends, by a rename."""
    write_bytes(path, content.encode("utf-8"))


def canonical_json(content: Any) -> str:
    """Returns JSON text that equal content always spells alike: keys sorted, no NaN, one space of indent."""
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Writes canonical JSON, by a rename."""
    write_text(path, canonical_json(content))


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        ValueError: if the file is not JSON, naming it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None


def prune(folder: Path, keep: Collection[str]) -> list[str]:
    """Removes the children of `folder` whose name without `.json` is not in `keep`; returns what went, sorted.

    DVC leaves the outputs of a removed matrix entry in the workspace and hashes them with their parent folder:
    an aggregate prunes first. What goes is in DVC's cache and comes back with its entry.
    """
    if not folder.is_dir():
        return []
    gone = sorted(
        child.name
        for child in folder.iterdir()
        if child.name.removesuffix(".json") not in keep and child.name != ".gitignore"
    )
    for name in gone:
        remove(folder / name)
    return gone


def remove(path: Path) -> None:
    """Removes a file or a whole folder, if there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
