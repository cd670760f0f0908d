"""A clock tells waiting from augmenting, and a summary is of the training told of last."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclip_model.trainer.timings import Clock, path, summary


def slow(count: int) -> Iterator[int]:
    for number in range(count):
        time.sleep(0.02)
        yield number


def test_waiting_is_for_the_feed_and_augmenting_is_not_waiting(tmp_path: Path) -> None:
    clock, made = Clock(), []
    for item in clock.waiting_for(slow(5)):
        with clock.augmenting():
            time.sleep(0.04)
        time.sleep(0.04)
        made.append(item)
    clock.tell(tmp_path / "a" / "t.jsonl", 1, 10)
    (line,) = [json.loads(line) for line in (tmp_path / "a" / "t.jsonl").read_text().splitlines()]
    assert made == [0, 1, 2, 3, 4]
    # At least 0.1 s of waiting, 0.2 s of augmenting and 0.2 s of neither; a busy machine makes each of them longer.
    waited_s, augmented_s = (line[share] * line["seconds"] for share in ("data_wait", "augmentation"))
    assert waited_s > 0.099
    assert augmented_s > 0.199
    assert line["seconds"] - waited_s - augmented_s > 0.199
    assert line["samples_per_s"] == pytest.approx(10 / line["seconds"], rel=0.01)


def test_what_the_feed_raises_comes_through() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("shard, key")

    with pytest.raises(ValueError, match="shard, key"):
        list(Clock().waiting_for(broken()))


def told(file: Path, *lines: tuple[int, float, float, int]) -> None:
    with file.open("a") as target:
        for epoch, seconds, wait, peak in lines:
            line = {"epoch": epoch, "samples": 100, "seconds": seconds, "data_wait": wait, "augmentation": 0.1}
            target.write(json.dumps({**line, "peak_mib": peak, "samples_per_s": 100 / seconds}) + "\n")


def test_a_summary_is_of_the_last_epochs_of_the_last_training(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    assert summary(file) == {}
    told(file, (1, 1.0, 1.0, 999), (2, 1.0, 1.0, 999), (3, 1.0, 1.0, 999))
    told(file, (1, 9.0, 0.9, 70))
    one = {"epochs": 1, "samples_per_s": 11.1, "data_wait": 0.9, "augmentation": 0.1, "peak_mib": 70}
    assert summary(file) == one
    told(file, (2, 1.0, 0.0, 50), (3, 1.0, 0.0, 50), (4, 2.0, 0.1, 50))
    assert summary(file) == {
        "epochs": 3,
        "samples_per_s": 75.0,
        "data_wait": 0.05,
        "augmentation": 0.1,
        "peak_mib": 70,
    }


def test_a_training_has_its_file(tmp_path: Path) -> None:
    assert path("clip-0").parts == (".work", "timings", "train-clip-0.jsonl")
    assert summary(tmp_path / path("clip-0")) == {}


@pytest.mark.parametrize(
    "torn",
    ['{"epoch": 2, "samp', "", "[]", "7", "{}", '{"epoch": 2, "samples": 100, "seconds": null}', "\x00\x00", "\udcff"],
)
def test_lines_that_are_no_whole_record_are_left_out(tmp_path: Path, torn: str) -> None:
    file = tmp_path / "t.jsonl"
    told(file, (1, 1.0, 0.0, 50))
    with file.open("ab") as target:
        target.write(torn.encode(errors="surrogateescape") + b"\n")
    told(file, (2, 1.0, 0.0, 60))
    assert summary(file) == {
        "epochs": 2,
        "samples_per_s": 100.0,
        "data_wait": 0.0,
        "augmentation": 0.1,
        "peak_mib": 60,
    }


def test_a_torn_line_takes_no_other_with_it(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"epoch": 1, "sam')
    for epoch in (1, 2):
        clock = Clock()
        time.sleep(0.01)
        clock.tell(file, epoch, 10)
    assert len(file.read_text().splitlines()) == 3
    assert summary(file)["epochs"] == 2


def test_what_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    for _ in range(2):
        Clock().tell(tmp_path / "full", 1, 10)
    (record,) = caplog.records
    assert record.getMessage().endswith("full: No space left on device: how fast the training goes is not told")
    (tmp_path / "file").touch()
    Clock().tell(tmp_path / "file" / "t.jsonl", 1, 10)
    assert summary(tmp_path / "file" / "t.jsonl") == {}
