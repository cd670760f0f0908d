"""One WARC record a body, each a gzip member of its own: written and read by hand, for speed, in the form of any tool.

warcio writes and reads the same form (tests hold the two equal), several times slower: at its highest compression,
which pictures do not yield to, and through a temporary file.
"""

import datetime
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_END = b"\r\n\r\n"
_GZIP = 31
"""zlib's word for the largest window and gzip's own frame."""
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)


def encode(uri: str, *, status: int | None, headers: Mapping[str, str], body: bytes, sha256: str) -> bytes:
    """Returns a response record as one gzip member, stored, not compressed: pictures are compressed already."""
    lines = [f"HTTP/1.1 {status or 0} -", *(f"{name}: {value}" for name, value in headers.items())]
    head = b"\r\n".join(_line(line) for line in lines) + _END
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = [
        "WARC/1.0",
        "WARC-Type: response",
        f"WARC-Record-ID: <urn:uuid:{uuid.uuid4()}>",
        f"WARC-Target-URI: {uri}",
        f"WARC-Date: {now}",
        f"WARC-Payload-Digest: sha256:{sha256}",
        "Content-Type: application/http; msgtype=response",
        f"Content-Length: {len(head) + len(body)}",
    ]
    packer = zlib.compressobj(0, zlib.DEFLATED, _GZIP)
    start = b"\r\n".join(_line(fact) for fact in facts) + _END + head
    return b"".join([packer.compress(start), packer.compress(body), packer.compress(_END), packer.flush()])


def read_body(path: Path, offset: int) -> bytes:
    """Returns the body of the response record that begins at byte `offset`.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if there is no whole record.
    """
    member = _unpacked(path, offset)
    facts, found, block = member.partition(_END)
    length = _LENGTH.search(facts)
    if not facts.startswith(b"WARC/") or not found or length is None or len(block) < int(length[1]):
        raise ValueError("no WARC record")
    _, found, body = block[: int(length[1])].partition(_END)
    if not found:
        raise ValueError("no HTTP response in the record")
    return body


def end_of(path: Path, offset: int) -> int:
    """Returns the byte after the gzip member that begins at byte `offset`.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if there is no whole member.
    """
    return offset + sum(read - unused for read, unused, _ in _pieces(path, offset))


def blank(num_bytes: int) -> bytes:
    """Returns a gzip member of so many bytes, at least 180, in the place of a record that was taken out.

    It is a WARC record without content, for tools that read on, and made long by a comment in the gzip header.
    """
    facts = f"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Record-ID: <urn:uuid:{uuid.UUID(int=0)}>\r\n"
    content = f"{facts}WARC-Date: 1970-01-01T00:00:00Z\r\nContent-Length: 0".encode() + _END + _END
    stored = b"\1" + len(content).to_bytes(2, "little") + (len(content) ^ 0xFFFF).to_bytes(2, "little") + content
    sums = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    head = b"\x1f\x8b\x08\x10" + bytes(4) + b"\0\xff"
    num_missing = num_bytes - len(head) - 1 - len(stored) - len(sums)
    assert num_missing >= 0, "a record is longer than an empty one"
    return head + b" " * num_missing + b"\0" + stored + sums


def _unpacked(path: Path, offset: int) -> bytes:
    """Returns the content of one gzip member; its check sum is right."""
    return b"".join(part for _, _, part in _pieces(path, offset))


def _pieces(path: Path, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """Yields (bytes read, bytes of them behind the member, content) of one gzip member, piece by piece."""
    unpacker = zlib.decompressobj(_GZIP)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while not unpacker.eof:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                raise ValueError("the file ends within the record")
            try:
                part = unpacker.decompress(chunk)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            yield len(chunk), len(unpacker.unused_data), part


def _line(text: str) -> bytes:
    """Returns one header line; a line end within would be read as the next line."""
    return " ".join(text.splitlines()).encode("utf-8", "replace")
