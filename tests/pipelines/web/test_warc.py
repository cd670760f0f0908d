import io
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from lineage import digests
from pipelines.web import warc

BODY = b"body\r\n\r\nmore"


def encoded(body: bytes, uri: str = "http://a.example/x", **headers: str) -> bytes:
    return warc.encode(uri, status=200, headers=headers, body=body, sha256=digests.sha256_bytes(body))


def test_any_tool_reads_what_we_write() -> None:
    record = encoded(BODY, ETag='"ä"')
    found = next(iter(ArchiveIterator(io.BytesIO(record + record))))
    facts: Any = found.rec_headers
    assert (found.rec_type, facts["WARC-Target-URI"], found.http_headers.get_statuscode()) == (
        "response",
        "http://a.example/x",
        "200",
    )
    assert found.raw_stream.read() == BODY
    assert facts["WARC-Payload-Digest"] == f"sha256:{digests.sha256_bytes(BODY)}"
    assert uuid.UUID(facts["WARC-Record-ID"].strip("<>"))


def test_we_read_what_warcio_writes(tmp_path: Path) -> None:
    path = tmp_path / "00000.warc.gz"
    offsets = []
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for body in (b"one", b"", bytes(300_000)):
            offsets.append(file.tell())
            head = StatusAndHeaders("200 -", [("etag", "x")], protocol="HTTP/1.1")
            record = writer.create_warc_record("http://a/", "response", payload=io.BytesIO(body), http_headers=head)
            writer.write_record(record)
            record.raw_stream.close()
    assert [warc.read_body(path, offset) for offset in offsets] == [b"one", b"", bytes(300_000)]


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_no_header_or_address_ends_a_record_early(body: bytes, value: str, uri: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00000.warc.gz"
        path.write_bytes(b"before" + encoded(body, uri="http://a/" + uri, note=value))
        assert warc.read_body(path, 6) == body


def test_a_record_that_is_not_whole_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    whole = encoded(b"some body")
    for content in (b"", whole[:-1], whole[:30], b"no gzip" * 9, whole[:40] + b"\xff" + whole[41:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"record|check|header|block|stor"):
            warc.read_body(path, 0)
    with pytest.raises(OSError, match="No such file"):
        warc.read_body(tmp_path / "gone", 0)
