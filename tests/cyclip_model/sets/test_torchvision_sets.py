"""Sets of torchvision, read by torchvision itself from files in their own format."""

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cyclip_model.sets import building, prompts, torchvision_sets
from tests.cyclip_model.sets import laying

CIFAR = np.arange(3 * 3072, dtype=np.uint32).astype(np.uint8).reshape(3, 3072)


def lay_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-100 with three pictures a part; torchvision then wants the hashes of these files, not of the real ones."""
    from torchvision.datasets import CIFAR100

    classes = sorted(word for names in prompts.CIFAR100_SUPERCLASSES.values() for word in names.split())
    batch = {"data": CIFAR, "fine_labels": [0, 99, 4], "coarse_labels": [4, 14, 0]}
    contents: dict[str, Any] = {"train": batch, "test": batch, "meta": {"fine_label_names": classes}}
    md5 = {}
    for name, content in contents.items():
        path = laying.put(root / "cifar-100-python" / name, pickle.dumps(content))
        md5[name] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5["meta"]})
    return root


def test_cifar_100_is_kept_to_the_pixel_with_its_superclasses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay_cifar100(tmp_path / "root", monkeypatch)
    laying.describe(tmp_path / "cifar100", "torchvision", path=str(root), settings={"dataset": "CIFAR100"})
    assert building.build(tmp_path / "cifar100", tmp_path / "out", 2000).parts == {"test": 3, "train": 3}
    rows = pq.read_table(tmp_path / "out/test/test.parquet").to_pylist()
    found = np.asarray(Image.open(io.BytesIO(rows[1]["image"])))
    np.testing.assert_array_equal(found, CIFAR[1].reshape(3, 32, 32).transpose(1, 2, 0))
    told = json.loads((tmp_path / "out/set.json").read_text())
    assert (told["classnames"][0], told["classnames"][99], len(told["templates"])) == ("apple", "worm", 18)
    names, of = told["superclasses"]["names"], told["superclasses"]["of"]
    assert (names[of[0]], names[of[99]], names[of[4]]) == (
        "fruit and vegetables",
        "non-insect invertebrates",
        "aquatic mammals",
    )
    assert np.bincount(of).tolist() == [5] * 20


def test_a_damaged_file_is_an_error_and_a_missing_set_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay_cifar100(tmp_path / "root", monkeypatch)
    source = laying.describe(tmp_path / "cifar100", "torchvision", path=str(root), settings={"dataset": "CIFAR100"})
    laying.put(root / "cifar-100-python/test", b"short")
    with pytest.raises(ValueError, match="cifar-100-python: torchvision cannot read CIFAR100"):
        building.build(source, tmp_path / "out", 2000)
    laying.describe(source, "torchvision", path=str(root), settings={"dataset": "CIFAR10"})
    assert building.build(source, tmp_path / "out", 2000).is_absent


def test_files_stay_as_they_are_and_a_set_without_a_split_gets_one(tmp_path: Path) -> None:
    names = ("AnnualCrop", "Forest")
    for label, name in enumerate(names):
        for number in range(3):
            content = laying.picture(10 * label + number, "JPEG")
            laying.put(tmp_path / f"root/eurosat/2750/{name}/{name}_{number}.jpg", content)
    settings = {"dataset": "EuroSAT", "train_per_class": 1}
    source = laying.describe(tmp_path / "eurosat", "torchvision", path=str(tmp_path / "root"), settings=settings)
    assert building.build(source, tmp_path / "out", 99).parts == {"test": 4, "train": 2}
    rows = pq.read_table(tmp_path / "out/train/train.parquet").to_pylist()
    assert [row["label"] for row in rows] == [0, 1]
    laid = {path.read_bytes() for path in (tmp_path / "root").rglob("*.jpg")}
    assert {row["image"] for row in rows} <= laid


def test_an_unknown_dataset_is_named(tmp_path: Path) -> None:
    source = laying.describe(tmp_path / "rooms", "torchvision", settings={"dataset": "LSUN"})
    with pytest.raises(ValueError, match=r"settings\.dataset must be one of CIFAR10, .* not 'LSUN'"):
        building.build(source, tmp_path / "out", 99)


def test_every_known_set_has_published_templates_and_a_class_of_torchvision() -> None:
    from torchvision import datasets

    for name, known in torchvision_sets.KNOWN.items():
        assert hasattr(datasets, name)
        assert all(text.count("{}") == 1 for text in prompts.packaged_templates(known.words))
