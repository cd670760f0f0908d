"""Plain tar with the same bytes for the same members: USTAR headers with every changeable field zeroed."""

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lineage import records

_BLOCK = 512


def add(file: BinaryIO, name: str, content: bytes) -> int:
    """Appends one member and returns the offset of its content in bytes.

    Args:
        file: open for binary writing at the end of the last member.
        name: ASCII, below 100 bytes.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o644, 0
    file.write(info.tobuf(tarfile.USTAR_FORMAT))
    offset = file.tell()
    file.write(content + bytes(-len(content) % _BLOCK))
    return offset


def close(file: BinaryIO) -> None:
    """Writes the end of the archive: two empty blocks."""
    file.write(bytes(2 * _BLOCK))


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Returns `length` bytes of a member's content at a recorded offset.

    Raises:
        ValueError: if the file ends before them.
    """
    file.seek(offset)
    content = file.read(length)
    if len(content) != length:
        raise ValueError(f"{file.name}: ends at byte {offset + len(content)}, inside a member; the file is damaged")
    return content


def read_sample(file: BinaryIO, row: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns a raw sample's members by extension: the picture under `picture`, then `json` and `txt`.

    Args:
        file: a raw shard open for reading.
        row: its ledger row; offset, bytes, uid and sha256 are read.

    Raises:
        ValueError: if the members are not there as written, the picture's digest differs, or URL and caption are not
            those of the uid, naming the shard.
    """
    picture = read_at(file, row["offset"], row["bytes"])
    if hashlib.sha256(picture).hexdigest() != row["sha256"]:
        raise ValueError(
            f"{file.name}: the bytes of {row['key']} differ from the ledger's sha256; the shard is damaged"
        )
    place = (row["offset"], row["bytes"])
    found = {"picture": picture}
    for extension in ("json", "txt"):
        place = _next_member(file, *place, name=f"{row['uid']}.{extension}")
        found[extension] = read_at(file, *place)
    if not _is_pair(found, row["uid"]):
        raise ValueError(f"{file.name}: URL and caption of {row['uid']} are not those it names; the shard is damaged")
    return found


def _is_pair(sample: Mapping[str, bytes], uid: str) -> bool:
    """Returns whether a sample's facts and text give its uid."""
    try:
        facts, caption = json.loads(sample["json"]), sample["txt"].decode()
        return bool(facts["caption"] == caption and records.uid_of(facts["url"], caption) == facts["uid"] == uid)
    except (ValueError, KeyError, TypeError):
        return False


def _next_member(file: BinaryIO, offset: int, length: int, *, name: str) -> tuple[int, int]:
    """Returns offset and length of the content of the member that follows the one at (offset, length)."""
    start = offset + length + (-length % _BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(read_at(file, start, _BLOCK), "utf-8", "strict")
    except tarfile.HeaderError as error:
        raise ValueError(f"{file.name}: no tar header at byte {start} ({error}); the file is damaged") from None
    if info.name != name:
        raise ValueError(f"{file.name}: expected member {name} at byte {start}, found {info.name!r}")
    return start + _BLOCK, info.size


def shard_name(number: int) -> str:
    """Returns the file name of a shard: five digits and `.tar`."""
    return f"{number:05d}.tar"


def open_shard(path: Path) -> BinaryIO:
    """Returns a shard open for reading.

    Raises:
        ValueError: if it is not there, naming it.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ValueError(f"{path}: this shard is missing; `dvc checkout` or `dvc repro` brings it back") from None
