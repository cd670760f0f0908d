"""From the files of a set as handed out to its numbers: stage benchmarks' side and stage evaluate's meet."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclip_model.evaluation import kinds
from cyclip_model.evaluation.answers import Results
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.model import towers
from cyclip_model.sets import laying, wording
from tests.cyclip_model import small_set
from tests.cyclip_model.sets.laid import ask, lay, picture
from tests.cyclip_model.sets.torchvision_forms import cifar100, write


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(towers.load(small_set.write_model(tmp_path_factory.mktemp("models") / "clip-0")), None, 4)


def numbers(encoder: Encoder, source: Path) -> Results:
    out, _ = lay(source)
    return kinds.run(lambda _: encoder, out, kinds.description(out), small_set.PROTOCOLS)


def test_cifar100(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar100(tmp_path / "root", monkeypatch)
    found = numbers(encoder, ask(tmp_path / "c", "torchvision", dataset="CIFAR100", path=str(tmp_path / "root")))
    test = {"zero_shot", "hierarchy", "geometry", "linear_probe", "knn", "consistency"}
    assert test <= set(found.metrics)
    assert found.metrics["zero_shot"]["test"]["prompt"]["top_1"]["n"] == 2
    assert {row["label"] for row in found.predictions} == {"lawn mower", "aquarium fish"}


def test_a_shift_stands_beside_its_parent(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of ImageNet's classes, of which the shift has all but the first."""
    monkeypatch.setattr(wording, "wnids", lambda subset="all": ("n1", "n2", "n3") if subset == "all" else ("n2", "n3"))
    monkeypatch.setattr(wording, "imagenet_names", lambda: ["tench", "goldfish", "shark"])
    for name, shades in (("imagenet", {"n1": 0, "n2": 200, "n3": 90}), ("imagenet_a", {"n2": 190, "n3": 80})):
        for wnid, shade in shades.items():
            for number in range(2):
                write(tmp_path / f"files/{name}/{wnid}/{number}.png", picture(shade + number))
        more = {} if name == "imagenet" else {"classes": "a", "shift_of": "imagenet"}
        asked = laying.entry_of(ask(tmp_path / name, "image_folder", path=str(tmp_path / "files" / name), **more))
        laying.lay(asked, tmp_path / "laid" / name, 4096)
    shifted = tmp_path / "laid/imagenet_a"
    found = kinds.run(lambda _: encoder, shifted, kinds.description(shifted), small_set.PROTOCOLS)
    beside = found.metrics["shift"]["test"]["imagenet"]
    assert (beside["parent_top_1"]["n"], beside["parent_top_1"]["chance"]) == (4, 1 / 2)
    assert beside["top_1"] == found.metrics["zero_shot"]["test"]["prompt"]["top_1"]


def karpathy(folder: Path) -> Path:
    images = [
        {"filename": f"{n}.jpg", "split": "test", "sentences": [{"raw": f"{n} of {m}"} for m in range(5)]}
        for n in range(3)
    ]
    write(folder / "dataset_flickr30k.json", json.dumps({"images": images}))
    for n in range(3):
        write(folder / f"{n}.jpg", picture(60 * n, "JPEG"))
    return ask(folder, "karpathy")


def winoground(folder: Path) -> Path:
    example = {"id": 7, "tag": "Object", "image_0": "a", "image_1": "b", "caption_0": "x on y", "caption_1": "y on x"}
    write(folder / "examples.jsonl", json.dumps(example))
    for place, name in enumerate("ab"):
        write(folder / f"images/{name}.png", picture(90 * place))
    return ask(folder, "winoground")


def sts(folder: Path) -> Path:
    lines = [f"main\tMSRvid\t2012\t{n}\t{n}.0\tsentence {n}\tword {n * n}" for n in range(5)]
    write(folder / "sts-test.csv", "\n".join(lines))
    return ask(folder, "sts")


def sst(folder: Path) -> Path:
    for name in ("train", "dev"):
        write(folder / f"{name}.tsv", "sentence\tlabel\na fine film\t1\nan awful film\t0\n")
    return ask(folder, "sst")


@pytest.mark.parametrize(
    ("make", "protocol", "num_rows"),
    [
        (karpathy, ("retrieval", "text_to_image", "recall_1"), 15),
        (winoground, ("winoground", "all", "group"), 1),
        (sts, ("sts", "tower", "spearman"), 5),
        (sst, ("sentences", "linear_probe", "top_1"), 2),
    ],
)
def test_sets_of_other_kinds(
    encoder: Encoder, tmp_path: Path, make: Callable[[Path], Path], protocol: tuple[str, str, str], num_rows: int
) -> None:
    name, variant, metric = protocol
    found = numbers(encoder, make(tmp_path / "asked"))
    assert found.metrics[name]["test"][variant][metric]["n"] == num_rows
