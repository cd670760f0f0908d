"""Where the store lies, and what is looked up in it beyond the record of a uid."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from lineage import digests
from pipelines.web import store
from pipelines.web.store import FetchStore
from tests.pipelines.web.test_store import failed, filled, ok, opened

__all__ = ["opened"]


def test_copies_are_of_good_records_and_lead_to_the_first_body(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    second = FetchStore(tmp_path, "s2")
    second.put(ok("u3", b"own"), b"own")
    assert second.copy_from("s1", ["u1", "u2", "u3", "u4"]) == 1
    assert second.copy_from("s1", ["u1", "u2", "u3", "u4"]) == 0
    assert "u2" not in second
    assert second.body("u3") == b"own"
    second.close()
    opened.append(third := FetchStore(tmp_path, "s3"))
    assert third.copy_from("s2", ["u1"]) == 1
    assert (third["u1"].copied_from, third["u1"].warc) == ("s1", "s1/00000.warc.gz")
    assert third.body("u1") == b"one"
    assert not list((tmp_path / "fetch/s3").glob("*.warc.gz"))


def test_a_copy_is_of_the_uid_asked_for_whatever_a_url_spells(tmp_path: Path, opened: list[FetchStore]) -> None:
    first = FetchStore(tmp_path, "s1")
    url = 'http://a.example/", "uid": "u2", "url": "x'
    first.put(dataclasses.replace(ok("u1", b"one"), url=url, final_url=url), b"one")
    first.close()
    opened.append(second := FetchStore(tmp_path, "s2"))
    assert second.copy_from("s1", ["u2"]) == 0
    assert second.copy_from("s1", ["u1"]) == 1
    assert second["u1"].url == url


def test_a_copy_of_bytes_that_are_gone_says_whose_they_were(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    opened.append(second := FetchStore(tmp_path, "s2"))
    second.copy_from("s1", ["u1"])
    (tmp_path / "fetch/s1/00000.warc.gz").write_bytes(b"other bytes")
    with pytest.raises(ValueError, match=r"s2's copy of a record of s1: once s1 is in order again, move .*/fetch/s2"):
        second.body("u1")


def test_a_store_that_is_replayed_is_only_read(tmp_path: Path) -> None:
    filled(tmp_path)
    first = FetchStore(tmp_path, "s1")
    first.put(failed("u4", "address_not_allowed"), None)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    replayed = FetchStore(tmp_path, "s1", replay=True)  # though another process has it open
    assert [uid in replayed for uid in ("u1", "u2", "u4", "u5")] == [True, True, True, False]
    assert replayed["u4"].reason == "address_not_allowed", "what our own params refused is answered so again"
    assert (len(replayed), replayed.body("u1")) == (4, b"one")
    later = FetchStore(tmp_path, "s2", replay=True)
    assert later.copy_from("s1", ["u1", "u2"]) == 1
    assert later.body("u1") == b"one"
    with pytest.raises(AssertionError, match="takes no new bodies"):
        later.put(ok("u9", b"nine"), b"nine")
    first.close()
    later.close()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(FetchStore(tmp_path / "nowhere", "s1", replay=True)) == 0
    assert not (tmp_path / "nowhere").exists()


def test_a_reader_needs_no_lock(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    opened.append(FetchStore(tmp_path, "s1"))
    read = store.reader(tmp_path, "s1")
    assert read("u3") == b"three"
    for uid in ("u2", "u9"):
        with pytest.raises(KeyError, match=uid):
            read(uid)


def test_a_body_is_found_by_its_hash_in_this_snapshot_and_earlier_ones(
    tmp_path: Path, opened: list[FetchStore]
) -> None:
    for snapshot, body in (("s1", b"one"), ("s2", b"two"), ("s3", b"three")):
        one = FetchStore(tmp_path, snapshot)
        one.put(ok("u1", body), body)
        one.close()
    opened.append(fetched := FetchStore(tmp_path, "s2", earlier=["s1"]))
    found = [fetched.find_by_sha256(digests.sha256_bytes(body)) for body in (b"one", b"two", b"three", b"four")]
    assert found == [b"one", b"two", None, None], "never from a later one: bytes must not depend on the order of runs"
    fetched.put(ok("u4", b"four"), b"four")
    assert fetched.find_by_sha256(digests.sha256_bytes(b"four")) == b"four"


def test_the_same_url_is_known_under_any_uid_but_not_from_an_earlier_snapshot(
    tmp_path: Path, opened: list[FetchStore]
) -> None:
    filled(tmp_path)
    opened.append(fetched := FetchStore(tmp_path, "s2"))
    fetched.copy_from("s1", ["u1"])
    assert fetched.same_url(ok("u1", b"").url) is None
    fetched.put(failed("u2"), None)
    known = fetched.same_url(failed("u2").url)
    assert known is not None and known.uid == "u2"
    fetched.retry_failed()
    assert fetched.same_url(failed("u2").url) is None


def test_copies_from_a_snapshot_that_was_never_fetched_are_none(tmp_path: Path, opened: list[FetchStore]) -> None:
    opened.append(fetched := FetchStore(tmp_path, "s2"))
    assert fetched.copy_from("s1", ["u1"]) == 0


def test_a_worktree_shares_the_main_checkouts_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CLIPLINE_STORE", raising=False)
    main, side, alone = tmp_path / "main", tmp_path / "side", tmp_path / "alone"
    for folder in (main / "data", alone):
        folder.mkdir(parents=True)
    monkeypatch.chdir(main)
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    git("worktree", "add", str(side))
    for checkout in (main, main / "data", side):
        monkeypatch.chdir(checkout)
        assert store.root() == main / "store"
    monkeypatch.chdir(alone)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert store.root() == alone / "store"


def test_the_store_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPLINE_STORE", str(tmp_path / "elsewhere"))
    assert store.root() == tmp_path / "elsewhere"
