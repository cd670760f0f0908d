import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from lineage import records
from lineage.site import holding, pictures
from tests.lineage.site.trail_project import png, uid


def test_a_thumbnail_is_small_and_carries_nothing_along() -> None:
    made = pictures.shrunk(png("plain"))
    assert made is not None
    with Image.open(io.BytesIO(made)) as thumbnail:
        assert max(thumbnail.size) == pictures.SIDE_PX
        assert not thumbnail.info
    assert b"SECRET" not in made


@pytest.mark.parametrize("content", [b"", b"<script>", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, png("plain")[:60]])
def test_what_is_no_picture_has_no_thumbnail(content: bytes) -> None:
    assert pictures.shrunk(content) is None


def test_a_picture_that_declares_too_many_pixels_is_not_decoded() -> None:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    assert pictures.shrunk(b"\x89PNG\r\n\x1a\n" + chunk + png("plain")[33:]) is None


def test_a_format_that_is_not_listed_is_not_decoded() -> None:
    target = io.BytesIO()
    Image.new("RGB", (4, 4)).save(target, "TIFF")
    assert pictures.shrunk(target.getvalue()) is None


def test_bytes_that_are_not_those_fetched_are_not_shown(project: Path) -> None:
    tar = project / "data/raw/s1/00000.tar"
    tar.write_bytes(bytes(byte ^ 1 for byte in tar.read_bytes()))
    assert pictures.thumbnails(holding.holding(project, None), [("s1", uid("plain"))]) == ({}, 0)


def test_without_the_picture_the_signals_have_a_rough_one(project: Path) -> None:
    path = project / "data/signals/s1/00000.parquet"
    rows = [{**row, "thumbnail": bytes(range(192))} for row in records.read_table(path).to_pylist()]
    records.write_table(records.rows_table(rows, records.SIGNALS), path)
    wanted = [("s1", uid("plain")), ("s1", uid("copy")), ("s2", uid("plain"))]
    held = holding.holding(project, None)
    assert pictures.thumbnails(held, wanted)[1] == 3
    (project / "data/raw/s1/00000.tar").unlink()
    found, num_fetched = pictures.thumbnails(held, wanted)
    assert (set(found), num_fetched) == (set(wanted), 1)
    assert found[wanted[0]] == found[wanted[1]] != found[wanted[2]]
