"""What a training has so far is a model that can be read, and reading it changes nothing of the training."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cyclip_model import train
from cyclip_model.evaluation import brought
from cyclip_model.model import heads, towers
from cyclip_model.trainer import checkpoint, half_trained
from lineage import digests
from tests.cyclip_model import kinds_of_sets, small_set
from tests.cyclip_model.breaking import BrokenOff
from tests.cyclip_model.losses.settings import CONFIGS


@pytest.fixture
def root(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """root.json of packed drawings, in a folder with params.yaml."""
    monkeypatch.chdir(tmp_path)
    losses = {name: dataclasses.asdict(config) for name, config in CONFIGS.items()}
    loader = {"cache": "ram", "workers": 0, "prefetch": 2}
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump({"train": train_section(), "losses": losses, "loader": loader})
    )
    made: Path = shards.pack(Path("data"), {"train": shards.drawings(20), "val": shards.drawings(3)})
    return made


def run(root: Path, name: str) -> None:
    train.main(root, root.parent / "shards", Path("models") / name, Path(f"provenance/train/{name}.json"))


@pytest.mark.parametrize("name", ["clip-0", "nclip-0"])
def test_the_newest_checkpoint_becomes_a_model_folder(
    root: Path, broken_off: BrokenOff, tmp_path: Path, name: str
) -> None:
    assert half_trained.scratch_of(name) is None
    with broken_off():
        run(root, name)
    scratch = half_trained.scratch_of(name)
    assert scratch is not None
    before = digests.dvc_digest(scratch)
    said = half_trained.write(scratch, tmp_path / "seen" / name)
    assert digests.dvc_digest(scratch) == before
    assert said["epochs_done"] + said["steps_of_next"] > 0
    assert said["epochs_done"] < said["epochs"]
    towers.load(tmp_path / "seen" / name)
    assert (heads.load(tmp_path / "seen" / name) is not None) == (name == "nclip-0")
    run(root, name)
    assert half_trained.scratch_of(name) is None


def test_a_training_at_work_is_evaluated_and_goes_on_as_if_it_had_not_been(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, "clip-0")
    undisturbed = digests.dvc_digest(Path("models/clip-0"))
    sections = yaml.safe_load(Path("params.yaml").read_text())
    sections |= {"sets": ["toys"], "evaluate": {"threads": 1, "batch_size": 16, "device": "cpu"}}
    sections["evaluate"]["protocols"] = small_set.plain_protocols()
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    kinds_of_sets.write_labelled(Path("data/benchmarks/toys"), train=False)
    shutil.rmtree("models")
    save, said = checkpoint.save, []

    def save_and_look(path: Path, state: dict[str, Any]) -> None:
        save(path, state)
        brought.main("models/clip-0", Path("data/benchmarks"), Path("looked-at"))
        said.append(json.loads(Path("looked-at/metrics.json").read_text()))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_look)
        run(root, "clip-0")
    assert digests.dvc_digest(Path("models/clip-0")) == undisturbed
    assert [each["model"]["half_trained"]["epochs_done"] for each in said] == list(range(1, len(said) + 1))
    assert said[0]["sets"]["toys"]["geometry"] != said[-1]["sets"]["toys"]["geometry"]


def test_a_model_of_a_longer_name_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f".work/train-clip-01-{'a' * 16}").mkdir(parents=True)
    assert half_trained.scratch_of("clip-0") is None


def test_a_training_without_a_checkpoint_is_told(tmp_path: Path) -> None:
    scratch = tmp_path / f"train-clip-0-{'a' * 16}"
    scratch.mkdir()
    with pytest.raises(ValueError, match="no checkpoint yet"):
        half_trained.write(scratch, tmp_path / "out")
