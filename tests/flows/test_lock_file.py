import subprocess
import threading
from pathlib import Path

import pytest

from flows import lock_file

WHOLE = b"schema: '2.0'\nstages:\n  select:\n    cmd: x\n  pack:\n    cmd: y\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "_SETTLED_S", 0.0)


def say(_: str) -> None:
    """Says nothing."""


@pytest.mark.parametrize("cut", [b"", WHOLE[:20], WHOLE[:40], b"stages:\n", b"\0" * 30])
def test_a_lock_that_was_cut_off_is_again_what_was_put_aside(tmp_path: Path, cut: bytes) -> None:
    (tmp_path / "dvc.lock").write_bytes(WHOLE)
    lock_file.keep(tmp_path)
    (tmp_path / "dvc.lock").write_bytes(cut)
    lock_file.keep(tmp_path)
    said: list[str] = []
    lock_file.mend(tmp_path, said.append)
    assert (tmp_path / "dvc.lock").read_bytes() == WHOLE
    assert "cut off by a kill" in said[0]


def test_with_nothing_put_aside_it_is_the_last_commits_and_else_none(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_bytes(b"")
    lock_file.mend(tmp_path, say)
    assert not (tmp_path / "dvc.lock").exists()
    (tmp_path / "dvc.lock").write_bytes(WHOLE)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["init", "--quiet"], ["add", "dvc.lock"], [*identity, "commit", "--quiet", "-m", "locked"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "dvc.lock").write_bytes(b"")
    lock_file.mend(tmp_path, say)
    assert (tmp_path / "dvc.lock").read_bytes() == WHOLE


def test_one_that_is_being_written_is_left_to_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "_SETTLED_S", 1.0)
    (tmp_path / "dvc.lock").write_bytes(WHOLE[:20])
    writer = threading.Timer(0.3, (tmp_path / "dvc.lock").write_bytes, (WHOLE,))
    writer.start()
    said: list[str] = []
    lock_file.mend(tmp_path, said.append)
    assert (tmp_path / "dvc.lock").read_bytes() == WHOLE
    assert said == []


def test_a_whole_one_and_none_stay_as_they_are(tmp_path: Path) -> None:
    lock_file.mend(tmp_path, say)
    assert not (tmp_path / "dvc.lock").exists()
    (tmp_path / "dvc.lock").write_bytes(WHOLE)
    lock_file.keep(tmp_path)
    (tmp_path / "dvc.lock").write_bytes(other := WHOLE.replace(b"y", b"z"))
    lock_file.mend(tmp_path, say)
    assert (tmp_path / "dvc.lock").read_bytes() == other


@pytest.mark.parametrize("cut", [b"", b'{"a": '])
def test_an_rwlock_that_was_cut_off_goes(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_bytes(cut)
    said: list[str] = []
    lock_file.mend_rwlock(tmp_path, said.append)
    assert not path.exists()
    assert "cut off by a kill" in said[0]


@pytest.mark.parametrize("content", [None, b"{}", b'{"data/x": {"write": {"pid": 1, "cmd": "dvc add"}}}'])
def test_an_rwlock_that_is_whole_stays(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    lock_file.mend_rwlock(tmp_path, say)
    assert (path.read_bytes() if path.exists() else None) == content
