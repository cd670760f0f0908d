import json
from pathlib import Path

import pytest

from lineage import digests, files
from lineage.site import cards, holding
from lineage.site.cards import Metric


def metric(protocol: str, part: str, name: str, n: int, value: float = 0.5) -> Metric:
    return Metric(set="emoji", protocol=protocol, part=part, variant="all", name=name, value=value, chance=None, n=n)


def test_one_metric_stands_for_a_protocol() -> None:
    found = [metric("knn", "a", "top_5", 900), metric("knn", "a", "top_1", 10), metric("knn", "b", "top_1", 20)]
    odd = [metric("geometry", "a", "uniformity", 5)]
    assert cards.headline([*found, *odd]) == [found[2]]


@pytest.fixture
def trained(project: Path) -> Path:
    """The small project where clip-0 has a provenance file, a run record and a lock entry."""
    files.write_json(project / "data/dataset/root.json", {"digest": "d" * 64})
    md5 = digests.md5_file(project / "data/dataset/root.json")
    outs = {"models/clip-0": "a" * 32 + ".dir", "provenance/train/clip-0.json": "b" * 32}
    described = {
        "params": {"train": {"lr": 0.1, "towers": {"arch": "<b>"}}},
        "counts": {"kept": 8},
        "parents": {"data/dataset/root.json": md5},
        "outs": {"models/clip-0": {"md5": outs["models/clip-0"], "files": {"open_clip_model.safetensors": "c" * 32}}},
    }
    files.write_json(project / "provenance/train/clip-0.json", described)
    ran = {"cmd": "x", "outs": [{"path": path, "md5": md5} for path, md5 in outs.items()]}
    root = {"cmd": "y", "outs": [{"path": "data/dataset/root.json", "md5": md5}]}
    files.write_json(project / "dvc.lock", {"stages": {"train@clip-0": ran, "dataset": root}})
    stages = {
        "train": {"matrix": {"o": ["clip-0"]}, "cmd": "x", "outs": list(outs)},
        "dataset": {"cmd": "y", "outs": ["data/dataset/root.json"]},
    }
    files.write_json(project / "dvc.yaml", {"stages": stages})
    record = {"instance": "clip-0", "outs": outs, "python": "3.11.7", "device": "cpu", "versions": {"torch": "2.0"}}
    lines = [{**record, "outs": {}, "python": "2.7"}, record, {**record, "instance": "clip-1", "device": "gpu"}]
    files.write_text(project / "runs/train.jsonl", "".join(json.dumps(line) + "\n" for line in lines) + "{damaged\n")
    return project


def test_a_card_tells_what_the_records_do(trained: Path) -> None:
    card = cards.card(holding.holding(trained, None), "clip-0", {11: 8, 3: 1}, 0)
    assert (card.objective, card.seed, card.dataset) == ("clip", "0", "d" * 64)
    assert (card.pairs, card.exposures) == (9, 91)
    assert card.params == [("train.lr", "0.1"), ("train.towers.arch", '"<b>"')]
    assert card.machine == "cpu, Python 3.11.7, torch 2.0"
    assert card.weights == "c" * 32
    assert [(one.name, one.value, one.chance, one.n) for one in card.headline] == [("top_1", 0.125, 0.01, 100)]


def test_a_model_of_another_data_set_says_so(trained: Path) -> None:
    lock = trained / "dvc.lock"
    md5 = digests.md5_file(trained / "data/dataset/root.json")
    lock.write_text(lock.read_text().replace(md5, "e" * 32))
    card = cards.card(holding.holding(trained, None), "clip-0", {}, 0)
    assert card.dataset == f"another than this revision's: root.json was {md5}"


def test_without_a_record_of_these_outs_it_is_unattested(trained: Path) -> None:
    lock = trained / "dvc.lock"
    lock.write_text(lock.read_text().replace("a" * 32, "9" * 32))
    assert cards.card(holding.holding(trained, None), "clip-0", {}, 0).environment == []


def test_models_are_compared_where_one_has_the_metric(trained: Path) -> None:
    one = cards.card(holding.holding(trained, None), "clip-0", {}, 0)
    other = cards.card(holding.holding(trained, None), "scorer", {}, 0)
    ((found, values),) = cards.compared([one, other])
    assert found.key == ("emoji", "naming", "novel", "names", "top_1")
    assert [value and value.value for value in values] == [0.125, None]
