"""Training that starts from another model's weights: a refresh that goes on from the model before it.

The weights are pinned by their sha256 in params.yaml, so that the result stays a function of it. What the parent saw,
the child has seen: its exposure is the sum of both, and what came from the parent stands beside it. Where nobody knows
what an ancestor saw, that is written down in the folder of every model that comes of it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from cyclip_model.losses.nclip import HeadConfig
from cyclip_model.model import external, heads
from lineage import files, records
from lineage.digests import sha256_file

if TYPE_CHECKING:
    from cyclip_model.model.heads import Heads

logger = logging.getLogger("clipline")

EXPOSURE, INHERITED = "exposure.parquet", "inherited.parquet"
KEYS = external.Keys("train.warm_start.model", "train.warm_start.sha256")
_NO_MATTER = {
    # What the shapes of the weights tell; open_clip's own configs fill some of it in with null.
    *("layers", "width", "patch_size", "mlp_ratio", "context_length", "vocab_size"),
    # What only fresh weights, or only steps, depend on.
    *("ls_init_value", "patch_dropout", "timm_drop", "timm_drop_path", "timm_model_pretrained", "hf_model_pretrained"),
}
"""Keys of open_clip's configs in which a parent may differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStartConfig:
    """Section train.warm_start."""

    model: str
    """ARCH/FILE or ARCH/TAG of open_clip, or a folder in the hub's form, one of models/ for instance."""
    sha256: str
    """What its weights must have, 64 hex digits."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("warm_start.sha256 must be 64 hex digits in lower case")


class Built(NamedTuple):
    """What is to start from a parent."""

    towers: nn.Module
    model_cfg: dict[str, Any]
    """What they were built by."""
    preprocess_cfg: dict[str, Any]
    """How their pictures are prepared."""


class Parent(NamedTuple):
    """What the child takes from its parent beside the weights."""

    account: dict[str, Any]
    """What provenance says of it."""
    exposure: pa.Table | None
    """What it saw, as records.EXPOSURE; None where nobody knows."""
    ancestors: list[dict[str, str]]
    """The child's, oldest first, the parent last: name, sha256 of its weights, exposure known or unknown."""


def apply(config: WarmStartConfig, built: Built, made: Heads | None, head: HeadConfig | None, scratch: Path) -> Parent:
    """Gives the towers the parent's weights, and the heads its heads where they are built alike.

    Args:
        config: which parent.
        built: its towers are of the parent's architecture; changed in place.
        made: built heads, None for an objective without; changed in place.
        head: what they were built by.
        scratch: a folder of this process alone.

    Raises:
        ValueError: there is no such model, its weights have another sha256, or its architecture is another one.
    """
    with torch.random.fork_rng():
        found = external.load(config.model, scratch, KEYS, config.sha256)
    _check_shapes(built.towers, found.model, config.model)
    _check_configs(built, found, config.model)
    built.towers.load_state_dict(found.model.state_dict())
    folder = Path(config.model)
    account: dict[str, Any] = {"model": config.model, "sha256": config.sha256}
    if made is not None and head is not None:
        account["heads_sha256"] = _take_heads(folder, made, head)
    seen, saw = _exposure(folder)
    older = _ancestors(folder)
    itself = {"name": config.model, "sha256": config.sha256, "exposure": str(seen["exposure"])}
    gaps = [ancestor["name"] for ancestor in older if ancestor["exposure"] == "unknown"]
    if gaps:
        logger.warning("%s: what its ancestors %s saw is unknown, and so is a part of what its child saw", folder, gaps)
    if gaps and saw is not None:
        seen["exposure"] = "partly known"
    return Parent({**account, **seen}, saw, [*older, itself])


def _exposure(folder: Path) -> tuple[dict[str, Any], pa.Table | None]:
    """What a parent saw: in words for the account, and as records.EXPOSURE; None where it does not say."""
    if not (folder / EXPOSURE).is_file():
        logger.warning("%s has no %s: what it saw is unknown, and so is a part of what its child saw", folder, EXPOSURE)
        return {"exposure": "unknown"}, None
    saw = records.read_table(folder / EXPOSURE, records.EXPOSURE)
    saw = saw.filter(pc.field("count") > 0)
    sha256 = sha256_file(folder / EXPOSURE)
    return {"exposure": "known", "exposure_rows": saw.num_rows, "exposure_sha256": sha256}, saw


def _ancestors(folder: Path) -> list[dict[str, str]]:
    """What ancestors.json in a parent's folder lists; nothing where there is none, for a model that started fresh.

    Raises:
        ValueError: it is not what write_exposure wrote.
    """
    path = folder / external.ANCESTORS
    listed = files.read_json(path) if path.is_file() else []
    if not isinstance(listed, list) or not all(
        isinstance(each, dict) and each.keys() == {"name", "sha256", "exposure"} for each in listed
    ):
        raise ValueError(f"{path}: is no list of ancestors: copy the model folder anew, with everything in it")
    return listed


def _check_shapes(towers: nn.Module, parent: nn.Module, name: str) -> None:
    ours, theirs = towers.state_dict(), parent.state_dict()
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        here, there = (tuple(state[key].shape) if key in state else "absent" for state in (ours, theirs))
        if here != there:
            raise ValueError(
                f"{KEYS.model}: {name} has another architecture than train.towers: {key} is {there} there, {here} here"
            )


def _check_configs(built: Built, parent: external.External, name: str) -> None:
    """Weights of equal shapes may belong to another model: with more heads of attention, another mask or pooling."""
    other = _differing(_model_words(built.model_cfg), _model_words(parent.model_cfg))
    if other:
        raise ValueError(f"{KEYS.model}: {name} has another architecture than train.towers: {other}")
    prepared = _differing(_plain(built.preprocess_cfg), _plain(parent.preprocess_cfg))
    if prepared:
        logger.warning(
            "%s: %s saw pictures prepared in another way than train.preprocess: %s", KEYS.model, name, prepared
        )


def _model_words(model_cfg: dict[str, Any]) -> dict[str, Any]:
    """All that decides what a model computes, by key, with open_clip's defaults where the config is silent."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    parts = {"vision_cfg": asdict(CLIPVisionCfg()), "text_cfg": asdict(CLIPTextCfg())}
    top = {key: value for key, value in model_cfg.items() if key not in parts and not key.startswith("init_logit")}
    words = {"quick_gelu": False, "custom_text": False, **top}
    for part, defaults in parts.items():
        filled = {**defaults, **model_cfg.get(part, {})}
        words |= {f"{part}.{key}": value for key, value in filled.items() if key not in _NO_MATTER}
    size = words["vision_cfg.image_size"]
    return _plain({**words, "vision_cfg.image_size": [size, size] if isinstance(size, int) else size})


def _plain(words: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in words.items()}


def _differing(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """In words, what the two say differently; empty where they agree."""
    keys = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key} is {theirs.get(key)} there, {ours.get(key)} here" for key in keys)


def _take_heads(folder: Path, made: Heads, head: HeadConfig) -> str | None:
    """Takes the parent's heads where they are built alike; returns their sha256, None where they stay fresh."""
    path = folder / heads.CONFIG
    wanted = {"width": made.image.width, **asdict(head)}
    described = files.read_json(path) if path.is_file() else None
    if not isinstance(described, dict) or {key: described.get(key) for key in wanted} != wanted:
        return None
    saved = heads.load(folder)
    assert saved is not None
    made.load_state_dict(saved.heads.state_dict())
    return sha256_file(folder / heads.WEIGHTS)


def together(own: pa.Table, parents: pa.Table) -> pa.Table:
    """Both exposures as one: counts summed, sorted by (snapshot, uid)."""
    keys = ["snapshot", "uid"]
    summed = pa.concat_tables([own, parents]).group_by(keys).aggregate([("count", "sum")])
    columns = {**{key: summed[key] for key in keys}, "count": summed["count_sum"]}
    return pa.table(columns).cast(records.EXPOSURE).sort_by([(key, "ascending") for key in keys])


def write_exposure(own: pa.Table, parent: Parent | None, folder: Path) -> None:
    """exposure.parquet under folder, and for a child its ancestors and, where known, what came from the parent."""
    saw = None if parent is None else parent.exposure
    if parent is not None:
        files.write_json(folder / external.ANCESTORS, parent.ancestors)
    if saw is None:
        records.write_table(own, folder / EXPOSURE)
        return
    records.write_table(together(own, saw), folder / EXPOSURE)
    records.write_table(together(saw, records.EXPOSURE.empty_table()), folder / INHERITED)
