"""Rules on one row: keep, or drop with a reason, the value that decided and the threshold it was held against."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SelectConfig:
    """Section `select` of params.yaml."""

    min_side_px: int
    """Shorter side below this is dropped, pixels."""
    max_aspect: float
    """Longer side over shorter side above this is dropped (DataComp's basic filter: 3)."""
    min_caption_chars: int
    """Fewer characters are dropped."""
    max_caption_chars: int
    """More characters are dropped."""
    scripts: list[str]
    """Scripts a caption may be in, by the first word of their letters' Unicode names: latin, greek, cjk, ..."""
    languages: list[str]
    """Languages a caption may be in, ISO 639 codes."""
    min_language_probability: float
    """Another language drops a row only with at least this probability, 0 to 1."""
    min_language_letters: int
    """... and with at least this many letters: short captions cannot be told."""
    val_frac: float
    """Share of kept rows held out for validation, 0 to 1; by duplicate group."""
    num_hash_prefixes: int
    """Groups of the exact deduplication: 16 or 256, one or two hex digits."""

    def __post_init__(self) -> None:
        if self.num_hash_prefixes not in (16, 256):
            raise ValueError(f"num_hash_prefixes must be 16 or 256, not {self.num_hash_prefixes!r}")
        for name in ("min_language_probability", "val_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, not {getattr(self, name)}")
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect must be >= 1, not {self.max_aspect}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """Why a row goes."""

    rule: str
    reason: str
    value: str
    threshold: str


Row = Mapping[str, Any]
Rule = Callable[[Row, SelectConfig], Drop | None]


def side(row: Row, config: SelectConfig) -> Drop | None:
    """Drops pictures whose shorter side is too short."""
    shorter = min(row["width"], row["height"])
    if shorter >= config.min_side_px:
        return None
    return Drop(rule="side", reason="too_small", value=str(shorter), threshold=str(config.min_side_px))


def aspect(row: Row, config: SelectConfig) -> Drop | None:
    """Drops pictures that are too elongated."""
    ratio = max(row["width"], row["height"]) / min(row["width"], row["height"])
    if ratio <= config.max_aspect:
        return None
    return Drop(rule="aspect", reason="too_elongated", value=f"{ratio:.3f}", threshold=str(config.max_aspect))


def caption_length(row: Row, config: SelectConfig) -> Drop | None:
    """Drops captions that are too short or too long."""
    chars = row["caption_chars"]
    if chars < config.min_caption_chars:
        threshold = str(config.min_caption_chars)
        return Drop(rule="caption_length", reason="caption_too_short", value=str(chars), threshold=threshold)
    if chars > config.max_caption_chars:
        threshold = str(config.max_caption_chars)
        return Drop(rule="caption_length", reason="caption_too_long", value=str(chars), threshold=threshold)
    return None


def caption_letters(row: Row, config: SelectConfig) -> Drop | None:  # noqa: ARG001  every rule has this form
    """Drops captions without a letter."""
    if row["caption_letters"] > 0:
        return None
    return Drop(rule="caption_letters", reason="caption_without_letters", value="0", threshold="1")


def script(row: Row, config: SelectConfig) -> Drop | None:
    """Drops captions whose letters are mostly of a script that is not wanted."""
    if row["script"] in config.scripts:
        return None
    value = f"{row['script']} {row['script_frac']:.3f}"
    return Drop(rule="script", reason="script", value=value, threshold=" ".join(config.scripts))


def language(row: Row, config: SelectConfig) -> Drop | None:
    """Drops captions that are surely in another language: likely enough, and long enough to tell."""
    sure = row["language_probability"] >= config.min_language_probability
    if row["language"] in config.languages or not sure or row["caption_letters"] < config.min_language_letters:
        return None
    value = f"{row['language']} {row['language_probability']:.3f}"
    return Drop(rule="language", reason="language", value=value, threshold=str(config.min_language_probability))


RULES: tuple[Rule, ...] = (side, aspect, caption_length, caption_letters, script, language)
"""In order; the first that drops a row is its reason."""


def judge(row: Row, config: SelectConfig) -> Drop | None:
    """Returns the first rule's drop, or None where every rule keeps the row."""
    return next((drop for rule in RULES if (drop := rule(row, config)) is not None), None)
