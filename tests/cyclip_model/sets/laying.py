"""Small published sets as they lie on a disk."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image


def picture(number: int, suffix: str = "PNG") -> bytes:
    """A 6 x 5 px picture of one shade, another one for each number."""
    target = io.BytesIO()
    Image.new("RGB", (6, 5), (number % 256, 30, number // 256)).save(target, suffix)
    return target.getvalue()


def describe(folder: Path, family: str, **more: Any) -> Path:
    """The set.json of a set in `folder`, which is named as the folder is."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": folder.name, "family": family, "sources": [{"name": "drawn by a test"}], **more}
    (folder / "set.json").write_text(json.dumps(content))
    return folder


def put(path: Path, content: bytes | str) -> Path:
    """A file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A tar of some members in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
