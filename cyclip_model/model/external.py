"""Models that others trained, by open_clip's name, as a checkpoint file, or as a folder in the hub's form.

    ViT-B-32/laion2b_s34b_b79k        architecture and pretrained tag, fetched by open_clip, which needs a hub
    ViT-B-32/weights/clip.pt          architecture and a file (ViT-B-32//srv/clip.pt: its absolute path)
    weights/my-clip                   a folder with open_clip_config.json and open_clip_model.safetensors

A file or tag says nothing of its preprocessing but what open_clip knows of the tag; a folder brings its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from cyclip_model.model import towers
from lineage import files
from lineage.digests import sha256_file

ANCESTORS = "ancestors.json"
"""In a model folder: what its weights came from, by warm_start.py."""
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


class Keys(NamedTuple):
    """The keys of params.yaml that name a model and its sha256, for errors."""

    model: str
    sha256: str


class Source(NamedTuple):
    """Where a model's weights lie, and how open_clip is to read them."""

    arch: str
    weights: Path
    preprocess_cfg: dict[str, Any]
    """What is known of it beyond open_clip's defaults."""


class External(NamedTuple):
    """A model that others trained."""

    arch: str
    model: Any
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    sha256: str
    """Of the file its weights came from."""


def load(name: str, scratch: Path, keys: Keys, sha256: str | None = None) -> External:
    """The model of this name, float32, in eval mode, on the CPU.

    Args:
        name: in one of the forms above.
        scratch: a folder for an architecture's config, where open_clip does not know it.
        keys: where the name stands.
        sha256: what its weights must have; None takes what is there.

    Raises:
        ValueError: there is no such model, it cannot be fetched from here, its weights do not fit or have another
            sha256.
    """
    import open_clip

    source = _in_folder(Path(name), scratch) if Path(name).is_dir() else _by_name(name, keys.model)
    found = sha256_file(source.weights)
    if sha256 is not None and found != sha256:
        raise ValueError(f"{keys.model}: the weights of {name} have sha256 {found}, not {keys.sha256}")
    prepared = {f"image_{key}": value for key, value in source.preprocess_cfg.items() if key in _PREPROCESS}
    try:
        model, _, _ = open_clip.create_model_and_transforms(source.arch, pretrained=str(source.weights), **prepared)
    except Exception as error:  # open_clip, torch and safetensors each raise their own, for one thing
        raise ValueError(f"{source.weights} is no checkpoint of {source.arch}: {_short(error)}") from error
    model_cfg = open_clip.get_model_config(source.arch)
    preprocess_cfg = {key: model.visual.preprocess_cfg[key] for key in _PREPROCESS}
    return External(source.arch, model.eval(), model_cfg, preprocess_cfg, found)


def _in_folder(folder: Path, scratch: Path) -> Source:
    """The model in a folder; its architecture keeps the name of the flat config beside, or gets the folder's."""
    import open_clip

    for name in (towers.HUB_CONFIG, towers.WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} is missing: a model folder holds {towers.HUB_CONFIG} and {towers.WEIGHTS}"
            )
    config = files.read_json(folder / towers.HUB_CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise ValueError(f"{folder / towers.HUB_CONFIG}: has no model_cfg")
    flat = [path.stem for path in folder.glob("*.json") if path.name not in (towers.HUB_CONFIG, ANCESTORS)]
    arch = flat[0] if len(flat) == 1 else re.sub(r"[^a-z0-9_-]", "-", folder.name.lower())
    files.write_json(scratch / f"{arch}.json", config["model_cfg"])
    open_clip.add_model_config(scratch / f"{arch}.json")
    return Source(arch, folder / towers.WEIGHTS, dict(config.get("preprocess_cfg", {})))


def _by_name(name: str, key: str) -> Source:
    """The model of ARCH/FILE or ARCH/TAG."""
    import open_clip

    arch, _, rest = name.partition("/")
    if open_clip.get_model_config(arch) is None:
        raise ValueError(
            f"{key}: {name!r} is neither a folder nor ARCH/FILE or ARCH/TAG with an architecture that "
            "open_clip knows; a model with its own architecture is given as a folder in the hub's form"
        )
    if rest and Path(rest).is_file():
        return Source(arch, Path(rest), {})
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if rest not in tags:
        known = ", ".join(tags) or "none"
        raise ValueError(f"{key}: {rest!r} is neither a file nor a pretrained tag of {arch}; tags: {known}")
    return _by_tag(arch, rest, key)


def _by_tag(arch: str, tag: str, key: str) -> Source:
    """The weights of a pretrained tag, fetched by open_clip."""
    import open_clip

    known = open_clip.get_pretrained_cfg(arch, tag)
    is_quick = bool((open_clip.get_model_config(arch) or {}).get("quick_gelu"))
    if bool(known.get("quick_gelu")) != is_quick:  # open_clip only warns, and the embeddings come out wrong
        other = arch.removesuffix("-quickgelu") if is_quick else f"{arch}-quickgelu"
        raise ValueError(f"{key}: {tag} was trained with another activation than {arch}; use {other}/{tag}")
    try:
        weights = open_clip.download_pretrained(known)
    except Exception as error:  # whatever client the hub's library uses
        raise ValueError(
            f"{key}: {arch}/{tag} cannot be fetched from here ({_short(error)}); no model hub seems to be in "
            f"reach: bring the checkpoint as a file and name it as {arch}/FILE"
        ) from error
    return Source(arch, Path(weights), known)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
