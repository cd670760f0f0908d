"""Models that others trained: by file, by folder, and by name where there is a hub."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from cyclip_model.model import external
from tests.pipelines.models import ARCHITECTURES, PREPROCESS, make_model, write_model

KEYS = external.Keys("scorer.external", "scorer.external_sha256")


def equal(first: Any, second: Any) -> bool:
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.fixture
def registered(tmp_path: Path) -> str:
    """An architecture that open_clip knows by name."""
    path = tmp_path / "configs/tiny-known.json"
    path.parent.mkdir()
    path.write_text(json.dumps(ARCHITECTURES["tiny-vit"]))
    open_clip.add_model_config(path)
    return "tiny-known"


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_with_an_architecture(tmp_path: Path, registered: str, suffix: str) -> None:
    model, weights = make_model("tiny-vit"), tmp_path / f"clip.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, weights)
    else:
        save_file(model.state_dict(), weights)
    found = external.load(f"{registered}/{weights}", tmp_path, KEYS)
    assert equal(found.model, model)
    assert not found.model.training
    assert found.arch == registered
    assert found.model_cfg == ARCHITECTURES["tiny-vit"]
    assert found.preprocess_cfg["resize_mode"] == "shortest"  # a file says nothing of it


def test_a_folder_brings_its_architecture_and_its_preprocessing(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "My CLIP!", "tiny-resnet")
    found = external.load(str(folder), tmp_path, KEYS)
    assert equal(found.model, make_model("tiny-resnet"))
    assert (found.arch, found.model_cfg) == ("tiny-resnet", ARCHITECTURES["tiny-resnet"])
    assert found.preprocess_cfg == PREPROCESS
    (folder / "tiny-resnet.json").unlink()
    assert external.load(str(folder), tmp_path, KEYS).arch == "my-clip-"


def test_a_name_without_a_hub_is_one_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"ViT-B-32/laion2b_s34b_b79k cannot be fetched from here .*no model hub seems"
    ):
        external.load("ViT-B-32/laion2b_s34b_b79k", tmp_path, KEYS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r"'nowhere' is neither a folder nor ARCH/FILE or ARCH/TAG"),
        ("NoSuchArch/x.pt", r"with an architecture that open_clip knows"),
        (
            "ViT-B-32/lost.pt",
            r"'lost.pt' is neither a file nor a pretrained tag of ViT-B-32; tags: .*laion2b_s34b_b79k",
        ),
        ("ViT-B-32", r"'' is neither a file nor a pretrained tag"),
        ("ViT-B-32/openai", r"openai was trained with another activation than ViT-B-32; use ViT-B-32-quickgelu/openai"),
    ],
)
def test_a_name_that_means_nothing_says_what_would(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        external.load(name, tmp_path, KEYS)


def test_weights_that_do_not_fit_are_named(tmp_path: Path, registered: str) -> None:
    weights = tmp_path / "other.safetensors"
    save_file(make_model("tiny-resnet").state_dict(), weights)
    with pytest.raises(ValueError, match=r"other\.safetensors is no checkpoint of tiny-known: "):
        external.load(f"{registered}/{weights}", tmp_path, KEYS)
    weights.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"other\.safetensors is no checkpoint of tiny-known: "):
        external.load(f"{registered}/{weights}", tmp_path, KEYS)


def test_a_folder_without_weights_or_config_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "clip")
    (folder / "open_clip_config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"open_clip_config.json: has no model_cfg"):
        external.load(str(folder), tmp_path, KEYS)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(ValueError, match=r"clip/open_clip_config.json is missing"):
        external.load(str(folder), tmp_path, KEYS)
