"""What is laid out has the form that stage evaluate reads, and is written a few pictures at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cyclip_model.evaluation import stored
from cyclip_model.sets import entry, laying
from lineage import params, reasons
from tests.cyclip_model import kinds_of_sets
from tests.cyclip_model.sets.laid import ask, described, lay, picture


def folder_of(root: Path, number: int = 6) -> Path:
    for place in range(number):
        path = root / ("gull", "wren")[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(8 * place))
    return root


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return ask(tmp_path / "birds", "image_folder", path=str(folder_of(tmp_path / "data")), labels="name")


def test_columns_are_those_that_evaluate_is_tried_on() -> None:
    assert entry.SCHEMAS["classification"].equals(kinds_of_sets.LABELLED)
    assert entry.SCHEMAS["retrieval"].equals(kinds_of_sets.CAPTIONED)
    assert entry.SCHEMAS["winoground"].equals(kinds_of_sets.TWOS)


def test_evaluate_reads_what_is_laid_out(asked: Path) -> None:
    out, _ = lay(asked)
    said = stored.description(out)
    assert not stored.has_train(said)
    assert stored.labels(out, "test").tolist() == [0, 0, 0, 1, 1, 1]
    made = kinds_of_sets.write_labelled(asked.parent / "made")
    assert set(stored.description(made)) <= set(said)


def test_row_groups_are_bounded_by_bytes(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = lay(asked)
    whole = pq.read_table(out / "test/test.parquet")
    assert pq.read_metadata(out / "test/test.parquet").num_row_groups == 1
    monkeypatch.setattr(laying, "_GROUP_BYTES", 200)
    monkeypatch.setattr(laying, "_ROWS_AT_ONCE", 2)
    out, _ = lay(asked)
    assert pq.read_metadata(out / "test/test.parquet").num_row_groups == 3
    assert pq.read_table(out / "test/test.parquet").equals(whole)


def test_rows_are_read_as_they_are_written(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 rows no more than the rows of one write are waiting at any time."""
    waiting = {"now": 0, "most": 0}

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(40):
            waiting["now"] += 1
            waiting["most"] = max(waiting.values())
            yield {"image": picture(number), "label": 0}

    write = laying._PictureWriter.write

    def note(self: laying._PictureWriter, table: Any) -> None:
        waiting["now"] -= table.num_rows
        write(self, table)

    opened = entry.Opened(kind="classification", parts={"test": rows}, facts=kinds())
    monkeypatch.setattr(laying, "LOADERS", {**laying.LOADERS, "image_folder": (lambda _: opened, {"labels"}, "")})
    monkeypatch.setattr(laying, "_ROWS_AT_ONCE", 4)
    monkeypatch.setattr(laying._PictureWriter, "write", note)
    assert lay(asked)[1].parts == {"test": 40}
    assert waiting == {"now": 0, "most": 4}


def kinds(**more: Any) -> dict[str, Any]:
    facts = {"classnames": ["gull"], "templates": ["a {}"], "superclasses": None, "shift_of": None}
    return {**facts, "parent_classes": None, **more}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (kinds(templates=["no place"]), "every template must have one place"),
        (kinds(parent_classes=[1, 2]), "1 classes, but 2 numbers in the parent"),
        (kinds(classnames=["gull", ""]), "a class has no name"),
    ],
)
def test_what_a_set_says_of_itself_is_checked(
    asked: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], message: str
) -> None:
    rows = [{"image": picture(1), "label": 0}]
    opened = entry.Opened(kind="classification", parts={"test": lambda: iter(rows)}, facts=facts)
    monkeypatch.setattr(laying, "LOADERS", {**laying.LOADERS, "image_folder": (lambda _: opened, {"labels"}, "")})
    with pytest.raises(ValueError, match=message):
        lay(asked)


def test_a_part_that_the_set_does_not_have_is_an_error(asked: Path) -> None:
    ask(asked, "image_folder", path=str(asked.parent / "data"), labels="name", parts=["train", "test"])
    with pytest.raises(ValueError, match="the set has no part train"):
        lay(asked)


def test_a_set_of_which_no_picture_can_be_used_is_an_error(asked: Path) -> None:
    for path in (asked.parent / "data").rglob("*.png"):
        path.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="part test has no row that can be used"):
        lay(asked)


def test_every_family_says_what_is_absent(tmp_path: Path) -> None:
    settings = {"torchvision": {"dataset": "CIFAR10"}}
    for family in laying.LOADERS:
        out, laid = lay(ask(tmp_path / family, family, path="nowhere", **settings.get(family, {})))
        assert laid.absent is not None
        assert laid.absent["why"] == "nowhere is not there"
        assert described(out)["kind"] in entry.SCHEMAS
        assert params.check_name(family)


def test_reasons_are_of_the_closed_set(asked: Path) -> None:
    (asked.parent / "data/gull/0.png").write_bytes(picture(0, side=99))
    (asked.parent / "data/gull/2.png").write_bytes(picture(0)[:45])
    failed = lay(asked)[1].failed
    assert failed.total() == 2
    assert all(reasons.check(reason) for reason in failed)
