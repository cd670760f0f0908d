"""A raw shard read by its ledger; what is damaged in it comes from the store instead, and data/raw stays as it is."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from lineage import digests, files
from pipelines import raw_shards, tar
from pipelines.web import store


class RawShard:
    """One raw shard, open for reading its pictures.

    At the first damage the whole shard is built again from the store, in a place of its own, and read from there.
    Where the store lacks some picture, each is taken from whichever of the two has it whole.

    Attributes:
        damage: what is wrong with the shard in words, None where nothing is.
    """

    def __init__(
        self, path: Path, rows: Sequence[Mapping[str, Any]], read_body: Callable[[str], bytes], *, mended: Path
    ) -> None:
        """Opens the shard at `path`.

        Args:
            rows: its rows, each with the columns of source and ledger.
            read_body: gives the stored bytes of a uid; raises KeyError or ValueError where it has none.
            mended: where the shard is built again if need be.
        """
        self.damage: str | None = None
        self._rows, self._read_body, self._mended = {row["uid"]: row for row in rows}, read_body, mended
        self._file: BinaryIO | None = None
        try:
            self._file = tar.open_shard(path)
        except (ValueError, OSError) as error:
            self._mend(error)

    def picture(self, row: Mapping[str, Any]) -> bytes | None:
        """Returns the bytes of a fetched picture, with the ledger's sha256; None where they are nowhere."""
        try:
            if self._file is not None:
                return tar.read_sample(self._file, row)["picture"]
        except (ValueError, OSError) as error:
            if self.damage is None:
                self._mend(error)
        try:
            return self._body(row["uid"])
        except (KeyError, ValueError):
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def _mend(self, damage: Exception) -> None:
        self.damage = str(damage)
        try:
            content = raw_shards.rebuild_shard_bytes(self._rows.values(), self._rows.values(), self._body)
        except ValueError:
            return
        files.write_bytes(self._mended, content)
        if self._file is not None:
            self._file.close()
        self._file = tar.open_shard(self._mended)

    def _body(self, uid: str) -> bytes:
        """Returns a picture's bytes from the shard as it is, or from the store.

        Raises:
            KeyError, ValueError: if neither has them whole.
        """
        row = self._rows[uid]
        try:
            if self._file is not None:
                return _checked(tar.read_at(self._file, row["offset"], row["bytes"]), row)
        except (ValueError, OSError):
            pass
        return _checked(self._read_body(uid), row)


def stored_bodies(root: Path, snapshot: str) -> Callable[[str], bytes]:
    """Returns what gives the bytes that a snapshot's store holds of a uid; the store is opened, to read, at first use.

    What is returned raises KeyError where the store has none, or is not there, and ValueError where it is damaged.
    """

    @functools.cache
    def opened() -> Callable[[str], bytes]:
        return store.reader(root, snapshot)

    return lambda uid: opened()(uid)


def _checked(content: bytes, row: Mapping[str, Any]) -> bytes:
    if digests.sha256_bytes(content) != row["sha256"]:
        raise ValueError(f"{row['uid']}: other bytes than the ledger's sha256 stands for")
    return content
