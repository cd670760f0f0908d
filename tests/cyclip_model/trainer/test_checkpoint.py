"""Checkpoints survive what can happen to a file."""

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from cyclip_model.trainer import checkpoint


def state(number: int) -> dict[str, Any]:
    return {"learner": {"w": torch.full((3,), float(number))}, "history": [{"loss": 0.5}], "average": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "checkpoint.pt", state(1))
    checkpoint.save(tmp_path / "checkpoint.pt", state(2))
    return tmp_path / "checkpoint.pt"


def number_of(path: Path) -> float:
    found = checkpoint.load(path)
    assert found is not None
    assert found["history"] == [{"loss": 0.5}]
    return float(found["learner"]["w"][0])


def test_the_newest_is_read_and_none_is_none(path: Path, tmp_path: Path) -> None:
    assert number_of(path) == 2
    assert checkpoint.load(tmp_path / "other.pt") is None


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_one_is_told_and_the_one_before_is_used(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    harmed = {"flipped": bytes(content), "cut": bytes(content[:-9]), "empty": b""}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(harmed[damage])
    with caplog.at_level(logging.WARNING, logger="clipline"):
        assert number_of(path) == 1
    assert ("is damaged and left out" in caplog.text) == (damage != "gone")


def test_where_both_are_damaged_it_says_what_to_do(path: Path) -> None:
    for each in path.parent.iterdir():
        each.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"pt: damaged, and there is no other; remove .* to train from the start"):
        checkpoint.load(path)


def test_a_full_disk_leaves_both_as_they_are(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ValueError, match=r"No space left on device: make room and run again"):
            checkpoint.save(path, state(3))
    assert number_of(path) == 2
    assert not list(path.parent.glob("*.partial"))


def test_a_save_after_falling_back_keeps_the_good_one(path: Path) -> None:
    path.write_bytes(b"x")
    assert number_of(path) == 1
    checkpoint.save(path, state(3))
    path.unlink()
    assert number_of(path) == 1
