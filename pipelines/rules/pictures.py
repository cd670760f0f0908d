"""Rules on the picture: size, shape, sharpness, and DataComp's basic filter, which looks at the caption too."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rules.base import Bounds, RowRule, Value, demand_least, demand_range, number_text
from pipelines.rules.tongues import demand_languages
from pipelines.selection.rows import Bools, Floats, Rows


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Side(RowRule):
    """Drops pictures whose shorter side is too short."""

    min_px: int
    """Pixels."""

    def __post_init__(self) -> None:
        demand_least(self, min_px=1)

    def bounds(self) -> Bounds:
        """One: the shorter side."""
        return (("too_small", str(self.min_px)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the shorter side, pixels."""
        side_N = shorter_side(rows)
        return side_N, (side_N < self.min_px,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Aspect(RowRule):
    """Drops pictures that are too elongated."""

    max_ratio: float
    """Longer over shorter side, >= 1."""

    def __post_init__(self) -> None:
        demand_range(self, "max_ratio", 1, np.inf)

    def bounds(self) -> Bounds:
        """One: longer over shorter side."""
        return (("too_elongated", number_text(self.max_ratio)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: longer over shorter side."""
        ratio_N = aspect_ratio(rows)
        return ratio_N, (ratio_N > self.max_ratio,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Blur(RowRule):
    """Drops blurred pictures."""

    min_variance: float
    """Variance of the Laplacian of the grey picture; less is more blurred."""

    def __post_init__(self) -> None:
        demand_least(self, min_variance=0)

    def bounds(self) -> Bounds:
        """One: the variance."""
        return (("too_blurred", number_text(self.min_variance)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the variance."""
        return rows.number("blur"), (rows.number("blur") < self.min_variance,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flatness(RowRule):
    """Drops pictures of nearly one shade."""

    max_frac: float
    """Largest share of pixels that may have one grey level, 0 to 1."""

    def __post_init__(self) -> None:
        demand_range(self, "max_frac", 0, 1)

    def bounds(self) -> Bounds:
        """One: the share."""
        return (("too_flat", number_text(self.max_frac)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the share."""
        return rows.number("flatness"), (rows.number("flatness") > self.max_frac,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BasicFilter(RowRule):
    """DataComp's basic filter (arXiv 2304.14108, section 4.1 and appendix N): language, caption length, size, shape."""

    language: str
    """The caption's most likely one must be this, whatever its probability; ISO 639 (DataComp: en, by fastText)."""
    min_words: int
    """DataComp: 3."""
    min_chars: int
    """DataComp: 6."""
    min_side_px: int
    """Shorter side, pixels (DataComp: 200)."""
    max_aspect: float
    """Longer over shorter side (DataComp: 3)."""

    def __post_init__(self) -> None:
        demand_languages("language", [self.language])
        demand_least(self, min_words=0, min_chars=0, min_side_px=1, max_aspect=1)

    def bounds(self) -> Bounds:
        """Five, each with the reason of the rule that looks at nothing else."""
        return (
            ("language", self.language),
            ("caption_too_few_words", str(self.min_words)),
            ("caption_too_short", str(self.min_chars)),
            ("too_small", str(self.min_side_px)),
            ("too_elongated", number_text(self.max_aspect)),
        )

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools, ...]]:
        """Value: language, words, characters, shorter side and longer over shorter side, as one text."""
        language, words_N, chars_N = rows.text("language"), rows.number("caption_words"), rows.number("caption_chars")
        side_N, ratio_N = shorter_side(rows), aspect_ratio(rows)
        numbers = [pa.array(column, from_pandas=True) for column in (words_N, chars_N, side_N, ratio_N.round(3))]
        shown = [language, *(column.cast(pa.string()) for column in numbers)]
        other_N = pc.fill_null(pc.not_equal(language, self.language), True).to_numpy(zero_copy_only=False)
        return pc.binary_join_element_wise(*shown, " ", null_handling="replace", null_replacement="?"), (
            other_N,
            words_N < self.min_words,
            chars_N < self.min_chars,
            side_N < self.min_side_px,
            ratio_N > self.max_aspect,
        )


def shorter_side(rows: Rows) -> Floats:
    """Returns the shorter side of each picture, pixels."""
    return np.minimum(rows.number("width"), rows.number("height"))


def aspect_ratio(rows: Rows) -> Floats:
    """Returns longer over shorter side of each picture."""
    return np.maximum(rows.number("width"), rows.number("height")) / shorter_side(rows)
