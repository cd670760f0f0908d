"""What stage benchmarks writes of a published set: one layout, every row accounted for, absent sets by name."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cyclip_model.sets import building
from lineage import digests
from tests.cyclip_model.sets import laying

BOUND = 4096


def folders(source: Path, names: list[str]) -> Path:
    laying.describe(source, "image_folder", templates=["a {}"], settings={"folders": "name", "test": "val"})
    for name in names:
        for number in (1, 2):
            shade = 10 * sorted(names).index(name) + number
            laying.put(source / f"val/{name}/{number}.png", laying.picture(shade))
    return source


def test_a_classification_set_is_laid_out_alike_whatever_the_order_of_its_files(tmp_path: Path) -> None:
    for where, names in (("one", ["sea_lion", "ant"]), ("two", ["ant", "sea_lion"])):
        building.build(folders(tmp_path / where / "beasts", names), tmp_path / where / "out", BOUND)
    assert digests.dvc_digest(tmp_path / "one/out") == digests.dvc_digest(tmp_path / "two/out")
    told = json.loads((tmp_path / "one/out/set.json").read_text())
    assert (told["classnames"], told["parts"], told["absent"]) == (["ant", "sea lion"], {"test": 4}, None)
    rows = pq.read_table(tmp_path / "one/out/test/test.parquet").to_pylist()
    assert [row["label"] for row in rows] == [0, 0, 1, 1]
    assert {(row["width"], row["height"]) for row in rows} == {(6, 5)}
    hashes = pq.read_table(tmp_path / "one/out/test_hashes.parquet").to_pylist()
    assert {row["uid"] for row in hashes} == {row["uid"] for row in rows}


def test_every_row_is_kept_dropped_or_failed(tmp_path: Path) -> None:
    source = folders(tmp_path / "beasts", ["ant", "bee"])
    laying.put(source / "val/ant/3.png", b"no picture")
    gone = digests.sha256_bytes(laying.picture(1))
    account = building.build(source, tmp_path / "out", BOUND, {gone})
    assert (account.rows_in, account.kept) == (5, 3)
    assert account.dropped == {"opt_out": 1}
    assert account.failed == {"undecodable": 1}


def test_a_bound_of_the_set_itself_goes_first(tmp_path: Path) -> None:
    source = folders(tmp_path / "beasts", ["ant"])
    content = json.loads((source / "set.json").read_text())
    (source / "set.json").write_text(json.dumps({**content, "max_pixels": 29}))
    with pytest.raises(ValueError, match="part test has no row that can be used"):
        building.build(source, tmp_path / "out", BOUND)
    assert building.build(folders(tmp_path / "beasts", ["ant"]), tmp_path / "out", 30).kept == 2


@pytest.mark.parametrize("family", sorted(building.FAMILIES))
def test_an_absent_set_is_written_as_such(tmp_path: Path, family: str) -> None:
    settings = {"torchvision": {"dataset": "CIFAR10"}, "karpathy": {"annotations": "dataset_coco.json"}}
    laying.describe(tmp_path / "far", family, settings=settings.get(family, {}))
    account = building.build(tmp_path / "far", tmp_path / "out", BOUND)
    assert (account.is_absent, account.rows_in) == (True, 0)
    told = json.loads((tmp_path / "out/set.json").read_text())
    assert told["parts"] == {}
    assert set(told["absent"]) == {"why", "how"}
    assert pq.read_table(tmp_path / "out/test_hashes.parquet").num_rows == 0


def test_superclasses_must_cover_the_classes(tmp_path: Path) -> None:
    source = folders(tmp_path / "beasts", ["ant", "bee"])
    content = json.loads((source / "set.json").read_text())
    (source / "set.json").write_text(json.dumps({**content, "superclasses": {"names": ["insects"], "of": [0]}}))
    with pytest.raises(ValueError, match="set beasts: superclasses must be"):
        building.build(source, tmp_path / "out", BOUND)


def test_an_unknown_family_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="family 'lsun' is not known; known: torchvision"):
        building.build(laying.describe(tmp_path / "rooms", "lsun"), tmp_path / "out", BOUND)
