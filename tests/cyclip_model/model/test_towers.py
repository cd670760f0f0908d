import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from cyclip_model.model import backbone, towers
from cyclip_model.model.towers import PreprocessConfig, TowersConfig

Section = Callable[..., dict[str, Any]]


@pytest.fixture
def made(tmp_path: Path, train_section: Section) -> tuple[Path, towers.Loaded]:
    section = train_section()
    model_cfg = TowersConfig(**section["towers"]).model_cfg()
    preprocess_cfg = towers.preprocess_cfg(PreprocessConfig(**{**section["preprocess"], "mean": [0.5, 0.4, 0.3]}))
    built = towers.build(model_cfg, preprocess_cfg, seed=3)
    towers.save(built.model, tmp_path / "model", model_cfg, preprocess_cfg, arch="emoji-tiny")
    return tmp_path / "model", built


def inputs(loaded: towers.Loaded) -> tuple[torch.Tensor, torch.Tensor]:
    picture = Image.radial_gradient("L").convert("RGB").crop((0, 0, 200, 150))
    return loaded.preprocess(picture)[None], loaded.tokenizer(["a red circle"])


@torch.no_grad()
def embeddings(model: Any, images: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return model.encode_image(images), model.encode_text(tokens)


def test_weights_are_a_function_of_the_seed(train_section: Section) -> None:
    section = train_section()
    model_cfg = TowersConfig(**section["towers"]).model_cfg()
    before = torch.random.get_rng_state()
    first, again, other = (towers.build(model_cfg, section["preprocess"], seed).model for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.text_projection, other.text_projection)
    assert first.logit_scale.item() == pytest.approx(2.6592600)  # ln(1 / 0.07)


def test_a_saved_model_loads_bit_for_bit(made: tuple[Path, towers.Loaded]) -> None:
    folder, built = made
    loaded = towers.load(folder)
    assert not loaded.model.training
    images, tokens = inputs(loaded)
    assert torch.equal(images, inputs(built)[0])
    for found, wanted in zip(
        embeddings(loaded.model, images, tokens), embeddings(built.model, images, tokens), strict=True
    ):
        assert torch.equal(found, wanted)


def test_memory_format_does_not_change_the_bytes(made: tuple[Path, towers.Loaded], tmp_path: Path) -> None:
    folder, built = made
    config = json.loads((folder / towers.HUB_CONFIG).read_text())
    built.model.to(memory_format=torch.channels_last)
    towers.save(built.model, tmp_path / "again", config["model_cfg"], config["preprocess_cfg"], arch="emoji-tiny")
    first, again = (sorted((path / "").iterdir()) for path in (folder, tmp_path / "again"))
    assert [path.name for path in first] == ["emoji-tiny.json", towers.HUB_CONFIG, towers.WEIGHTS]
    for one, other in zip(first, again, strict=True):
        assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()


def test_open_clip_loads_the_folder_by_its_flat_config(
    made: tuple[Path, towers.Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    folder, built = made
    open_clip.add_model_config(folder)
    model, _, _ = open_clip.create_model_and_transforms("emoji-tiny", pretrained=str(folder / towers.WEIGHTS))
    images, tokens = inputs(built)
    assert torch.equal(open_clip.get_tokenizer("emoji-tiny")(["a red circle"]), tokens)
    wanted = embeddings(built.model, images, tokens)
    for one, other in zip(embeddings(model.eval(), images, tokens), wanted, strict=True):
        assert torch.equal(one, other)


def test_open_clip_loads_the_folder_as_the_hub_has_it(
    made: tuple[Path, towers.Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub form with its transform, from a local copy of the hub's cache layout: nothing is fetched."""
    import huggingface_hub.constants
    import open_clip

    folder, built = made
    revision = "0" * 40
    repository = tmp_path / "cache" / "models--clipline--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / revision)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    name, cache = "hf-hub:clipline/tiny", str(tmp_path / "cache")
    model, preprocess = open_clip.create_model_from_pretrained(name, cache_dir=cache)
    tokens = open_clip.get_tokenizer(name, cache_dir=cache)(["a red circle"])
    picture = Image.radial_gradient("L").convert("RGB").crop((0, 0, 200, 150))
    images, wanted_tokens = inputs(built)
    assert torch.equal(preprocess(picture)[None], images)
    assert torch.equal(tokens, wanted_tokens)
    wanted = embeddings(built.model, images, tokens)
    for one, other in zip(embeddings(model.eval(), images, tokens), wanted, strict=True):
        assert torch.equal(one, other)


def test_a_folder_without_weights_is_refused_by_name(made: tuple[Path, towers.Loaded]) -> None:
    folder, _ = made
    (folder / towers.WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=r"open_clip_model.safetensors is missing: .* is not a model"):
        towers.load(folder)


def test_weights_of_other_towers_are_refused_by_name(made: tuple[Path, towers.Loaded]) -> None:
    folder, _ = made
    config = json.loads((folder / towers.HUB_CONFIG).read_text())
    config["model_cfg"]["embed_dim"] = 24
    (folder / towers.HUB_CONFIG).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"safetensors does not fit .*open_clip_config.json"):
        towers.load(folder)


def test_towers_that_open_clip_does_not_know_are_refused(train_section: Section) -> None:
    section = train_section()
    model_cfg = TowersConfig(**section["towers"]).model_cfg()
    model_cfg["vision_cfg"]["depth"] = 3
    with pytest.raises(ValueError, match=r"train.towers: open_clip cannot build these towers: .*depth"):
        towers.build(model_cfg, section["preprocess"], seed=0)


def test_settings_out_of_range_are_refused(train_section: Section) -> None:
    section = train_section()
    with pytest.raises(ValueError, match="it names a file"):
        TowersConfig(**{**section["towers"], "arch": "../x"})
    with pytest.raises(ValueError, match="three numbers each"):
        PreprocessConfig(**{**section["preprocess"], "std": [0.5]})


def test_a_text_tower_of_another_kind_is_built_as_open_clip_does(tmp_path: Path) -> None:
    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    coca = {
        "vision_cfg": {**vision, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**text, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    for name, config in {"siglip": {"vision_cfg": vision, "text_cfg": text}, "coca": coca}.items():
        model_cfg = {"embed_dim": 16, "custom_text": True, **config}
        made = towers.build(model_cfg, preprocess, seed=0)
        towers.save(made.model, tmp_path / name, model_cfg, preprocess, arch=name)
        loaded = towers.load(tmp_path / name)
        tokens, pixels = loaded.tokenizer(["a red ball"]), torch.zeros(2, 3, 32, 32)
        with torch.inference_mode():
            assert torch.equal(loaded.model.encode_text(tokens), made.model.encode_text(tokens))
            image = backbone.both(loaded.model.visual, pixels)[0]  # CoCa's encode_image normalises what it returns
            torch.testing.assert_close(normalize(image, dim=1), normalize(loaded.model.encode_image(pixels), dim=1))


def test_a_tokenizer_that_lies_on_a_hub_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model_cfg = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32},
        "text_cfg": {"context_length": 12, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
        | {"hf_tokenizer_name": str(tmp_path / "no-such-tokenizer")},
    }
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    with pytest.raises(ValueError, match=r"its tokenizer .*no-such-tokenizer cannot be had here"):
        towers.build(model_cfg, preprocess, seed=0)
