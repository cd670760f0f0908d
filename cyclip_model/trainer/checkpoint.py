"""Checkpoints in a stage's scratch: written whole or not at all, checked on reading, the one before kept beside.

A file is the sha256 of what follows, 64 hex digits, and then torch's own form of the state.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger("clipline")

_DIGITS = 64
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state; the checkpoint that was there becomes the one before.

    Raises:
        ValueError: if the disk is full; both older checkpoints stay.
    """
    content = io.BytesIO()
    torch.save(state, content)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            file.write(hashlib.sha256(content.getbuffer()).hexdigest().encode())
            file.write(content.getbuffer())
            os.fsync(file.fileno())
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno not in _NO_ROOM:
            raise
        raise ValueError(
            f"{path}: {error.strerror}: make room and run again, it goes on from the last checkpoint, if there was one"
        ) from None
    if path.exists():
        os.replace(path, _before(path))
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any] | None:
    """The newest state that is whole, on the CPU; None where no checkpoint was ever written.

    Raises:
        ValueError: if there are checkpoints and all of them are damaged.
    """
    found = [each for each in (path, _before(path)) if each.is_file()]
    for each in found:
        state = _read(each)
        if state is not None:
            if each != path:  # else the next save would put the damaged one in place of this
                path.unlink(missing_ok=True)
            return state
        logger.warning("warning: %s is damaged and left out", each)
    if found:
        names = " and ".join(str(each) for each in found)
        raise ValueError(f"{names}: damaged, and there is no other; remove {path.parent} to train from the start")
    return None


def _before(path: Path) -> Path:
    return path.with_suffix(f".before{path.suffix}")


def _read(path: Path) -> dict[str, Any] | None:
    content = path.read_bytes()
    digest, body = content[:_DIGITS], memoryview(content)[_DIGITS:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    return state
