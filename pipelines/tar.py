"""Plain tar with the same bytes for the same members: USTAR headers with every changeable field zeroed."""

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lineage import records

_BLOCK = 512
_BUFFER_BYTES = 1 << 17
"""Read at once: some small samples, or a part of a large one."""
_NAME, _SIZE, _SUM = slice(0, 100), slice(124, 135), slice(148, 154)
"""Where a header has the member's name, its size and the checksum; all else is alike in every header."""
_OCTAL = re.compile(rb"[0-7]{11}")
_REMEDY = "the shard is damaged; `dvc checkout` or `dvc repro` brings it back"


def _plain_header() -> bytes:
    info = tarfile.TarInfo()
    info.mode, info.mtime = 0o644, 0
    return info.tobuf(tarfile.USTAR_FORMAT)


_PLAIN = _plain_header()
_PLAIN_SUM = sum(_PLAIN) - sum(_PLAIN[_NAME]) - sum(_PLAIN[_SIZE]) - sum(_PLAIN[148:156]) + 8 * ord(" ")
"""The checksum without name and size: it counts its own eight bytes as spaces."""


def add(file: BinaryIO, name: str, content: bytes) -> int:
    """Appends one member and returns the offset of its content in bytes.

    Args:
        file: open for binary writing at the end of the last member.
        name: ASCII, below 100 bytes.

    Raises:
        ValueError: if the name is longer, or the content 8 GiB or more: the format has no room for them.
    """
    file.write(_header(name, len(content)))
    offset = file.tell()
    file.write(content)
    file.write(bytes(-len(content) % _BLOCK))
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
        raise ValueError(f"{file.name}: ends at byte {offset + len(content)}, inside a member; {_REMEDY}")
    return content


def read_sample(file: BinaryIO, row: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns a raw sample's members by extension: the picture under `picture`, then `json` and `txt`.

    Args:
        file: a raw shard open for reading.
        row: its ledger row; key, offset, bytes, uid and sha256 are read.

    Raises:
        ValueError: if the members are not there as written, the picture's digest differs, or URL and caption are not
            those of the uid, naming the shard.
    """
    start = row["offset"] - _BLOCK
    picture, start = _read_member(file, start, row["key"])
    if hashlib.sha256(picture).hexdigest() != row["sha256"]:
        raise ValueError(f"{file.name}: the bytes of {row['key']} differ from the ledger's sha256; {_REMEDY}")
    facts, start = _read_member(file, start, f"{row['uid']}.json")
    caption, start = _read_member(file, start, f"{row['uid']}.txt")
    found = {"picture": picture, "json": facts, "txt": caption}
    if not _is_pair(found, row["uid"]):
        raise ValueError(f"{file.name}: URL and caption of {row['uid']} are not those it names; {_REMEDY}")
    return found


def _is_pair(sample: Mapping[str, bytes], uid: str) -> bool:
    """Returns whether a sample's facts and text give its uid."""
    try:
        facts, caption = json.loads(sample["json"]), sample["txt"].decode()
        return bool(facts["caption"] == caption and records.uid_of(facts["url"], caption) == facts["uid"] == uid)
    except (ValueError, KeyError, TypeError):
        return False


def _read_member(file: BinaryIO, start: int, name: str) -> tuple[bytes, int]:
    """Returns the content of the member whose header is at `start`, and where the next header is."""
    header = read_at(file, start, _BLOCK)
    length = int(header[_SIZE], 8) if _OCTAL.fullmatch(header[_SIZE]) else 0
    if header != _header(name, length):  # every bit of it, not the checksum alone
        raise ValueError(f"{file.name}: no header of {name} at byte {start}; {_REMEDY}")
    return read_at(file, start + _BLOCK, length), start + _BLOCK + length + -length % _BLOCK


def _header(name: str, size: int) -> bytes:
    """Returns the USTAR header of a member; the same as tarfile's, several times faster."""
    name_bytes, size_bytes = name.encode("ascii"), b"%011o" % size
    if len(name_bytes) >= _NAME.stop or len(size_bytes) > 11:
        raise ValueError(f"member {name!r} of {size} bytes: a name below 100 bytes and a size below 8 GiB fit into tar")
    checksum = _PLAIN_SUM + sum(name_bytes) + sum(size_bytes)
    filled = name_bytes.ljust(_NAME.stop, b"\0") + _PLAIN[_NAME.stop : _SIZE.start] + size_bytes
    return filled + _PLAIN[_SIZE.stop : _SUM.start] + b"%06o" % checksum + _PLAIN[_SUM.stop :]


def shard_name(number: int) -> str:
    """Returns the file name of a shard: five digits and `.tar`."""
    return f"{number:05d}.tar"


def open_shard(path: Path) -> BinaryIO:
    """Returns a shard open for reading.

    Raises:
        ValueError: if it is not there, naming it.
    """
    try:
        return path.open("rb", _BUFFER_BYTES)
    except FileNotFoundError:
        raise ValueError(f"{path}: this shard is missing; `dvc checkout` or `dvc repro` brings it back") from None
