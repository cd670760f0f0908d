"""Shards are plain tar with the same bytes every time, readable by everyone; damage is one error naming the file."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import records
from pipelines import tar
from tests.builders import make_pairs, write_raw


def write_shard(path: Path) -> dict[str, bytes]:
    members = {f"{n:032x}.{kind}": bytes([n]) * (500 * n) for n in range(3) for kind in ("json", "png")}
    members["0" * 31 + "0.json"] = b"{}"
    with path.open("wb") as file:
        for name, content in members.items():
            offset = tar.add(file, name, content)
            assert file.tell() % 512 == 0
            assert offset % 512 == 0
        tar.close(file)
    return members


def test_bytes_are_the_same_every_time_and_read_by_tarfile_and_gnu_tar(tmp_path: Path) -> None:
    members = write_shard(tmp_path / "a.tar")
    write_shard(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
        assert found == members
        assert all((info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644) for info in archive)
    listed = subprocess.run(["tar", "tf", tmp_path / "a.tar"], capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines() == list(members)
    assert listed.stderr == ""


@settings(deadline=None)
@given(st.text("abc./-0123", min_size=1, max_size=99), st.integers(0, 8**11 - 1))
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    assert tar._header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("n" * 100, 1), ("n", 8**11)])
def test_what_the_format_has_no_room_for_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="a name below 100 bytes and a size below 8 GiB"):
        tar._header(name, size)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the file open
def test_webdataset_reads_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar")
    samples = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{n:032x}" for n in range(3)]
    assert samples[2]["png"] == bytes([2]) * 1000


def test_read_at_ends_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"0123456789")
    with tar.open_shard(tmp_path / "a.tar") as file:
        assert tar.read_at(file, 2, 8) == b"23456789"
        with pytest.raises(ValueError, match=r"a\.tar: ends at byte 10, inside a member"):
            tar.read_at(file, 2, 9)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"00003\.tar: this shard is missing; `dvc checkout`"):
        tar.open_shard(tmp_path / tar.shard_name(3))


def test_a_sample_has_its_members(tmp_path: Path) -> None:
    (pair,) = make_pairs(1)
    write_raw(tmp_path, [pair])
    row = records.read_table(tmp_path / "ledger.parquet").to_pylist()[0]
    with tar.open_shard(tmp_path / "00000.tar") as file:
        sample = tar.read_sample(file, row)
    assert (sample["picture"], sample["txt"]) == (pair.picture, pair.caption.encode())
    assert pair.url.encode() in sample["json"]


def test_no_flipped_byte_of_a_sample_goes_unseen(tmp_path: Path) -> None:
    (pair,) = make_pairs(1)
    write_raw(tmp_path, [pair])
    path, row = tmp_path / "00000.tar", records.read_table(tmp_path / "ledger.parquet").to_pylist()[0]
    good = path.read_bytes()
    assert pair.picture is not None
    json_at = good.index(b'{"caption"')
    unread = good.index(b'"license"') - json_at, good.index(b'"uid"') - json_at  # licence and origin have no digest
    unseen = []
    for place in range(row["offset"] - 512, good.index(pair.caption.encode(), json_at + 512) + len(pair.caption), 7):
        file = io.BytesIO(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        file.name = "00000.tar"
        try:
            assert tar.read_sample(file, row)["picture"] == pair.picture
        except ValueError as error:
            assert re.match(r"00000\.tar: .*damaged; `dvc checkout` or `dvc repro` brings it back", str(error))
        else:
            unseen.append(place)
    # between members there are bytes that nobody reads, and licence and origin have no digest
    assert all(good[place] == 0 or unread[0] <= place - json_at < unread[1] for place in unseen)
    assert not any(json_at - 512 <= place < json_at for place in unseen)


@pytest.mark.parametrize("length", [0, 600, 1500, -2000])
def test_a_shard_cut_off_is_one_error(tmp_path: Path, length: int) -> None:
    (pair,) = make_pairs(1)
    write_raw(tmp_path, [pair])
    path, row = tmp_path / "00000.tar", records.read_table(tmp_path / "ledger.parquet").to_pylist()[0]
    path.write_bytes(path.read_bytes()[:length])
    with tar.open_shard(path) as file, pytest.raises(ValueError, match=r"00000\.tar: .*damaged"):
        tar.read_sample(file, row)
