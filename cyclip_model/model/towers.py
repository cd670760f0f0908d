"""The two towers: open_clip's CLIP from a config, written to and read from a folder that open_clip reads too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from lineage import files

if TYPE_CHECKING:
    from open_clip import CLIP
    from open_clip.tokenizer import SimpleTokenizer
    from PIL.Image import Image

WEIGHTS = "open_clip_model.safetensors"
HUB_CONFIG = "open_clip_config.json"
ARCH_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")

Preprocess = Callable[["Image"], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class TowersConfig:
    """Section train.towers: the words are open_clip's own, so any of its CLIP configs can stand here."""

    arch: str
    """Name of the flat config file, and what open_clip.create_model is called with."""
    embed_dim: int
    """Width D of the shared space."""
    vision_cfg: dict[str, object]
    """open_clip's CLIPVisionCfg; a list of layers makes a ModifiedResNet, a number a ViT."""
    text_cfg: dict[str, object]
    """open_clip's CLIPTextCfg."""

    def __post_init__(self) -> None:
        if not ARCH_PATTERN.fullmatch(self.arch):
            raise ValueError(f"arch {self.arch!r} must match {ARCH_PATTERN.pattern}: it names a file")

    def model_cfg(self) -> dict[str, Any]:
        """What open_clip calls a model_cfg: the section without its name."""
        return {"embed_dim": self.embed_dim, "vision_cfg": dict(self.vision_cfg), "text_cfg": dict(self.text_cfg)}


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """Section train.preprocess: how a picture becomes the towers' input, in training and in every evaluation."""

    mean: list[float]
    """Per channel R, G, B, of values in 0..1."""
    std: list[float]
    """Per channel R, G, B, above 0."""
    interpolation: Literal["bicubic", "bilinear"]
    """Filter of the resize."""
    resize_mode: Literal["shortest", "longest", "squash"]
    """open_clip's words: centre crop, pad, or distort."""

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std take three numbers each (R, G, B), std above 0")


class Loaded(NamedTuple):
    """A model folder, ready to use."""

    model: CLIP
    """In eval mode, float32, on the CPU."""
    preprocess: Preprocess
    """PIL picture -> float tensor (3, S, S): open_clip's own transform for the folder's preprocess_cfg."""
    tokenizer: SimpleTokenizer
    """Text or list of texts -> int64 tensor (N, context length); longer captions are cut and keep their end token."""


def build(
    model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], seed: int, where: str = "params.yaml: train.towers"
) -> Loaded:
    """Freshly initialised towers: weights are a function of (model_cfg, seed), and the global generator is left alone.

    Args:
        model_cfg: open_clip's, of whatever text tower.
        preprocess_cfg: open_clip's.
        seed: of the weights.
        where: model_cfg stands, for errors.

    Raises:
        ValueError: open_clip does not take model_cfg, or its tokenizer cannot be had here.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _clip(model_cfg, where)
    size = model.visual.image_size
    preprocess = image_transform_v2(PreprocessCfg(size=size, **preprocess_cfg), is_train=False)
    return Loaded(model.eval(), preprocess, _tokenizer(model_cfg["text_cfg"], model.context_length, where))


def _clip(model_cfg: dict[str, Any], where: str) -> CLIP:
    from open_clip import CLIP, CoCa, CustomTextCLIP

    kinds: dict[str, Any] = dict(model_cfg)
    is_custom = kinds.pop("custom_text", False) or "hf_model_name" in model_cfg["text_cfg"]
    made: Any = CoCa if is_custom and "multimodal_cfg" in kinds else CustomTextCLIP if is_custom else CLIP
    try:
        return made(**kinds)  # type: ignore[no-any-return]
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError, OSError) as error:
        raise ValueError(f"{where}: open_clip cannot build these towers: {error}") from error


def _tokenizer(text_cfg: dict[str, Any], context_length: int, where: str) -> SimpleTokenizer:
    """The tokenizer that open_clip takes for such a text tower: its own BPE, or one of a model hub."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    options = text_cfg.get("tokenizer_kwargs") or {}
    name = text_cfg.get("hf_tokenizer_name")
    if not name:
        return SimpleTokenizer(context_length=context_length, **options)
    try:
        return HFTokenizer(name, context_length=context_length, **options)
    except Exception as error:  # whatever client the hub's library uses
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{where}: its tokenizer {name} cannot be had here ({said}): it lies on a model hub"
        ) from error


def save(model: CLIP, folder: Path, model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], *, arch: str) -> None:
    """Weights and both config forms under folder: the hub's, and ARCH.json for open_clip.add_model_config.

    Equal weights are equal bytes, whatever device or memory format they lie in.
    """
    from safetensors.torch import save as to_bytes

    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, to_bytes(state))
    files.write_json(folder / HUB_CONFIG, {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg})
    files.write_json(folder / f"{arch}.json", model_cfg)


def load(folder: Path) -> Loaded:
    """The model in folder with its own transform and tokenizer.

    Raises:
        FileNotFoundError: folder lacks the weights or the config.
        ValueError: the weights do not fit the config.
    """
    from safetensors.torch import load_file

    for name in (HUB_CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {folder} is not a model that train wrote")
    config = files.read_json(folder / HUB_CONFIG)
    loaded = build(config["model_cfg"], config["preprocess_cfg"], 0, str(folder / HUB_CONFIG))
    try:
        loaded.model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {folder / HUB_CONFIG}: {error}") from error
    return loaded


def preprocess_cfg(config: PreprocessConfig) -> dict[str, Any]:
    """The section as open_clip's preprocess_cfg."""
    return asdict(config)
