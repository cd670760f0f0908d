"""Decoded rows on a disk: one file of pictures and one of tokens, kept whole or not at all.

They lie in a stage's scratch, whose name stands for everything that decides what is in them: a run finds again what a
killed one had written, and leaves nothing where it ends well.

Shapes: N rows, C = 3 channels, S pixels, L tokens.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclip_model.rows.data import Batch, Numbers, Packed
from lineage import files

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OnDisk:
    """N decoded rows in the two files of a folder."""

    def __init__(self, folder: Path, rows: Packed) -> None:
        self.snapshot, self.uid = rows.snapshot, rows.uid
        self._images, self._tokens = folder / "images.u8", folder / "tokens.i8"
        self._image_shape = (len(rows), 3, *rows.side)
        self._token_shape = (len(rows), rows.num_tokens)

    def is_whole(self) -> bool:
        """Whether both files are there, as long as they should be."""
        wanted = ((self._images, np.prod(self._image_shape)), (self._tokens, 8 * np.prod(self._token_shape)))
        return all(path.is_file() and path.stat().st_size == size for path, size in wanted)

    def take(self, numbers: Numbers) -> Batch:
        """The batch of these rows."""
        # Mapped anew for every batch: pages of a mapping that stays would count as memory of this process.
        images = np.memmap(self._images, np.uint8, "r", shape=self._image_shape)[numbers]
        tokens = np.memmap(self._tokens, np.int64, "r", shape=self._token_shape)[numbers]
        return Batch(torch.from_numpy(np.asarray(images)), torch.from_numpy(np.asarray(tokens)))

    def write(self, batches: Iterable[Batch]) -> None:
        """Writes both files, of the batches that the rows make in order."""
        with self._images.open("wb") as images, self._tokens.open("wb") as tokens:
            for batch in batches:
                images.write(_bytes(batch.images_RCSS))
                tokens.write(_bytes(batch.tokens_RL))
            for file in (images, tokens):
                file.flush()
                os.fsync(file.fileno())


def kept(folder: Path, rows: Packed, batches: Iterable[Batch]) -> OnDisk:
    """The rows in a folder: those that are there, or else written now. Of several processes one writes, others wait.

    Args:
        batches: what the rows make in order; not asked for where they are there.

    Raises:
        ValueError: the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.partial")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = OnDisk(folder, rows)
        if found.is_whole():
            return found
        files.remove(folder)
        files.remove(partial)
        partial.mkdir()
        try:
            OnDisk(partial, rows).write(batches)
        except OSError as error:
            files.remove(partial)
            if error.errno not in _NO_ROOM:
                raise
            raise ValueError(f"{folder}: {error.strerror}: make room, or set loader.cache to none") from None
        os.replace(partial, folder)
    return found


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.contiguous().numpy().data
