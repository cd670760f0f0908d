"""Roots in a bucket: the mirror holds what the pointers name, whatever was killed, damaged or left over before."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, remote, runs, stage
from tests.buckets import BUCKET, RAW, ROOT, emptied, head, held, lay, objects, push, put, served_bucket

REPO = Path(__file__).parents[2]
CONTENT = {"ledger": b"rows", "train/0": b"first" * 1000, "train/1": b""}


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, str]]:
    with served_bucket() as environment:
        yield environment


@pytest.fixture(autouse=True)
def bucket(served: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket, the current folder a new one."""
    monkeypatch.chdir(tmp_path)
    return emptied(served, monkeypatch)


@pytest.mark.parametrize(
    ("argument", "path", "place"),
    [
        ("s3://pairs/a/b/./data/raw/s1", RAW, "data/raw/s1"),
        ("s3://pairs/./models/clip-0", Path(".mirror/s3/pairs/-/models/clip-0"), "models/clip-0"),
        ("s3://my.own-pairs/x=1/./data", Path(".mirror/s3/my.own-pairs/x=1/-/data"), "data"),
    ],
)
def test_a_path_in_a_bucket_has_a_mirror_a_place_and_a_url(argument: str, path: Path, place: str) -> None:
    assert Path(remote.mirrored(argument)) == path
    assert remote.is_mirrored(path)
    assert remote.logical(path) == Path(place)
    assert remote.url_of(path) == argument.replace("/./", "/")


@pytest.mark.parametrize("argument", ["data/raw/s1", "/abs/data", "./data", "--what-if", "clip.min=0.3", "a/./b", ""])
def test_what_is_no_url_stays_as_it_is(argument: str) -> None:
    assert remote.mirrored(argument) == argument
    assert remote.logical(Path(argument)) == Path(argument)
    assert not remote.is_mirrored(Path(argument))


@pytest.mark.parametrize(
    "argument",
    [
        "s3://pairs/data/raw/s1",
        "s3://pairs/./",
        "s3:///./data",
        "s3://pairs/-/./data",
        "s3://pairs/.././data",
        "s3://pairs/a//b/./data",
        "s3://pairs/./data/../../etc",
        "s3://pairs/$(x)/./data",
        "s3://pairs/a b/./data",
        "s3://pairs/./data\n",
        "gs://pairs/./data",
        "https://pairs/./data",
    ],
)
def test_a_url_of_another_form_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{argument}: a path in a bucket is written s3://")):
        remote.mirrored(argument)


def test_what_is_put_comes_back_and_only_pointers_stay(served: dict[str, str]) -> None:
    push(CONTENT)
    assert objects(served, "a/b/data/raw/s1/") == CONTENT
    for name, content in CONTENT.items():
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert json.loads(Path("data/raw/s1", name).read_text()) == {"bytes": len(content), "md5": md5}
    assert not RAW.exists()
    remote.fetch(RAW)
    assert held() == CONTENT


def test_a_single_file_and_an_empty_folder(served: dict[str, str]) -> None:
    file, folder = RAW.parent / "one.parquet", RAW.parent / "none"
    Path("made.parquet").write_bytes(b"one")
    remote.push(Path("made.parquet"), file)
    push({}, folder)
    assert objects(served) == {"a/b/data/raw/one.parquet": b"one"}
    assert list(Path("data/raw/none").iterdir()) == []
    remote.fetch(file)
    remote.fetch(folder)
    assert file.read_bytes() == b"one"
    assert folder.is_dir()


def test_equal_objects_are_not_sent_again_and_others_go(bucket: Any, served: dict[str, str]) -> None:
    for name in ("s1", "s10", "s1.old"):
        push(CONTENT, RAW.parent / name)
    pointers = digests.dvc_digest(Path("data/raw/s1"))
    put(bucket, "ledger", CONTENT["ledger"], md5=json.loads(Path("data/raw/s1/ledger").read_text())["md5"])
    put(bucket, "train/0", CONTENT["train/0"])  # as another tool puts it: nothing says what its md5 is
    put(bucket, "train/1", b"longer", md5=json.loads(Path("data/raw/s1/train/1").read_text())["md5"])
    put(bucket, "stray", b"stray")
    push(CONTENT)
    assert digests.dvc_digest(Path("data/raw/s1")) == pointers
    marked = {name: "by" in head(bucket, name)["Metadata"] for name in CONTENT}
    assert marked == {"ledger": True, "train/0": False, "train/1": False}
    for name in ("s1", "s10", "s1.old"):
        assert objects(served, f"a/b/data/raw/{name}/") == CONTENT
    push({"ledger": b"other"})
    assert objects(served, "a/b/data/raw/s1/") == {"ledger": b"other"}
    assert held(Path("data/raw/s1")).keys() == {"ledger"}
    assert objects(served, "a/b/data/raw/s10/") == CONTENT


def test_the_mirror_is_made_to_hold_what_the_pointers_say() -> None:
    push(CONTENT)
    remote.fetch(RAW)
    untouched = (RAW / "train/1").stat().st_mtime_ns
    (RAW / "ledger").write_bytes(b"sowr")
    (RAW / "train/0").unlink()
    (RAW / "train/surplus").touch()
    (RAW / "train/.0.partial").write_bytes(b"fir")
    remote.fetch(RAW)
    assert held() == CONTENT
    assert (RAW / "train/1").stat().st_mtime_ns == untouched


def test_a_parent_folder_brings_every_snapshot_but_no_gitignore() -> None:
    for name in ("s1", "s2"):
        push({"x": name.encode()}, RAW.parent / name)
    Path("data/raw/.gitignore").write_text("/s1\n")
    remote.fetch(RAW.parent)
    assert held(RAW.parent) == {"s1/x": b"s1", "s2/x": b"s2"}


def test_an_object_that_is_not_what_its_pointer_says_is_named(bucket: Any) -> None:
    push(CONTENT)
    put(bucket, "ledger", b"sowr")
    wanted = rf"^{ROOT}/data/raw/s1/ledger: not the bytes that data/raw/s1/ledger points to; bring the object back, or"
    with pytest.raises(ValueError, match=wanted):
        remote.fetch(RAW)
    assert "ledger" not in held()
    assert not list(RAW.rglob(".*"))
    push(CONTENT)  # what its stage does when it is run again
    remote.fetch(RAW)
    assert held() == CONTENT


def test_an_object_that_is_gone_is_named(bucket: Any) -> None:
    push(CONTENT)
    bucket.delete_object(Bucket=BUCKET, Key="a/b/data/raw/s1/train/0")
    with pytest.raises(FileNotFoundError, match=rf"^{ROOT}/data/raw/s1/train/0: .*; bring the object back, or make"):
        remote.fetch(RAW)


def test_without_pointers_the_mirror_is_worth_nothing() -> None:
    push(CONTENT)
    remote.fetch(RAW)
    shutil.rmtree("data")
    with pytest.raises(FileNotFoundError, match=r"^data/raw/s1: no such file or folder; `dvc repro` makes"):
        remote.fetch(RAW)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b'{"md5": "x"}', b"url,caption\n"])
def test_data_in_the_place_of_a_pointer_are_named(content: bytes) -> None:
    lay({"x": content}, Path("data/raw/s1"))
    with pytest.raises(ValueError, match=r"^data/raw/s1/x: not a pointer to an object; make it anew"):
        remote.fetch(RAW)


def test_a_bucket_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"^s3://other/data/raw/s1: .*bucket.*; make the bucket first$"):
        push(CONTENT, Path(".mirror/s3/other/-/data/raw/s1"))


def test_old_pointers_go_before_objects_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    push(CONTENT)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("killed")

    monkeypatch.setattr(remote, "_put", fail)
    with pytest.raises(ValueError, match="killed"):
        push({"ledger": b"new"})
    assert not Path("data/raw/s1").exists()


def test_two_stages_may_fetch_one_snapshot_at_once() -> None:
    content = {f"{number:03d}": os.urandom(1000) for number in range(40)}
    push(content)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: remote.fetch(RAW), range(4)))
    assert held() == content


def test_the_frame_of_a_stage_works_on_the_mirror_and_records_the_pointers(served: dict[str, str]) -> None:
    push({"x": b"1", "gone": b"2"}, RAW.parent / "in")
    dep, out = RAW.parent / "in", RAW.parent / "out"
    stage.prune(dep, ["x"])
    with stage.run("audit", "all", params={}, deps=[dep], outs=[out], provenance=Path("provenance/audit.json")) as this:
        assert held(dep) == {"x": b"1"}
        stage.prune(dep, ["x"])
        made = lay({"y": b"made", "z/.w.partial": b"half"}, this.scratch / "out")
        this.publish(made, out)
        this.account(rows_in=1, kept=1)
    assert objects(served, "a/b/data/raw/out/") == {"y": b"made"} == held(out)
    content = json.loads(Path("provenance/audit.json").read_text())
    assert content["parents"] == {"data/raw/in": digests.dvc_digest(Path("data/raw/in"))}
    assert content["outs"] == {"data/raw/out": digests.described(Path("data/raw/out"))}
    (record,) = runs.read("audit")
    assert record["deps"] == content["parents"]
    assert record["outs"]["data/raw/out"] == digests.dvc_digest(Path("data/raw/out"))


def test_prune_takes_what_a_snapshot_left_from_mirror_and_pointers() -> None:
    for name in ("s1", "s2"):
        push({"x": name.encode()}, RAW.parent / name)
    remote.fetch(RAW.parent)
    stage.prune(RAW.parent, ["s1"])
    assert held(RAW.parent) == {"s1/x": b"s1"}
    assert [path.name for path in Path("data/raw").iterdir()] == ["s1"]
    stage.prune(Path("data/raw"), [])
    assert list(Path("data/raw").iterdir()) == []


def test_without_a_bucket_nothing_is_imported_or_made() -> None:
    lay({"x": b"1"}, Path("in"))
    with contextlib.ExitStack() as stack:
        options = {"params": {}, "deps": [Path("in")], "outs": [], "provenance": Path("provenance/audit.json")}
        this = stack.enter_context(stage.run("audit", "all", **options))  # type: ignore[arg-type]
        this.account(rows_in=0, kept=0)
    assert not remote.MIRROR.exists()
    code = "import sys, lineage.stage; assert not {'s3fs', 'fsspec', 'botocore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPO)}, check=True)
