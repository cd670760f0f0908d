"""The gates a refresh must pass before the main checkout takes it: shares, captions, metrics, git."""

import fnmatch
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from flows.artifacts import Metrics

_MOST_PAIRS = 1_000_000
_DROP_GUARD = "select.max_drop_frac"
"""What stage select's guard names in its error."""


class Gates(BaseModel):
    """What a refresh may change without being held for approval; beside them stands select.max_drop_frac."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_caption_match: Annotated[
        float | None,
        Field(ge=0, le=1, description="share of new pairs the scorer must tell from mismatched ones; chance is 0.5"),
    ] = 0.6
    max_metric_fall: Annotated[
        float | None, Field(ge=0, le=1, description="how far a watched metric of a model may fall, absolute")
    ] = 0.02
    metrics: Annotated[
        list[str], Field(description="watched metrics: patterns of names as the artifact `metrics` lists them")
    ] = ["*.naming.*.names.top_1"]


def drop_share(said: str) -> bool:
    """Returns whether an error of stage select is its guard's, which holds a refresh and is no failure."""
    return _DROP_GUARD in said


def caption_match(folder: Path) -> float:
    """Returns how often a picture lies closer to its own caption than to that of another pair of the snapshot.

    The area under the ROC curve of cosines of pairs as listed against pairs with captions dealt anew: 1 at best, 0.5
    where captions say nothing of their pictures. NaN where there is no pair. Needs no other snapshot, so what the
    scorer has learned by heart does not count.

    Args:
        folder: data/embeddings/S, with vectors of length 1: NNNNN.image.npy and NNNNN.text.npy, (n, D) float16.
    """
    generator = np.random.default_rng(0)
    own: list[npt.NDArray[np.float32]] = []
    others: list[npt.NDArray[np.float32]] = []
    num_pairs = 0
    for path in sorted(folder.glob("*.image.npy")):
        image_nD = np.load(path, mmap_mode="r")
        text_nD = np.load(path.with_name(path.name.replace(".image.", ".text.")), mmap_mode="r")
        size = min(len(image_nD), _MOST_PAIRS - num_pairs)
        image_nD, text_nD = (np.asarray(part[:size], np.float32) for part in (image_nD, text_nD))
        own.append(np.einsum("nd,nd->n", image_nD, text_nD))
        others.append(np.einsum("nd,nd->n", image_nD, text_nD[generator.permutation(size)]))
        num_pairs += size
    return area_under_curve(np.concatenate(own), np.concatenate(others)) if num_pairs else math.nan


def area_under_curve(high_N: npt.NDArray[np.float32], low_M: npt.NDArray[np.float32]) -> float:
    """Returns the chance that a draw of the first is above one of the second, ties counted half (Mann-Whitney U)."""
    from scipy import stats

    return float(stats.mannwhitneyu(high_N, low_M).statistic / (len(high_N) * len(low_M)))


def of_data(gates: Gates, root: Path, snapshot: str) -> list[str]:
    """Returns why the data set must not be taken as it is, nothing where it may."""
    if gates.min_caption_match is None:
        return []
    match = caption_match(root / "data" / "embeddings" / snapshot)
    if math.isnan(match) or match >= gates.min_caption_match:
        return []
    return [
        f"captions of {snapshot}: the scorer finds a picture's own caption closer than another's in {match:.1%} of "
        f"cases, less than gates.min_caption_match ({gates.min_caption_match:.1%}; chance is 50 %)"
    ]


def of_metrics(gates: Gates, before: Metrics, now: Metrics) -> list[str]:
    """Returns the watched metrics that fell too far, nothing where none did."""
    if gates.max_metric_fall is None:
        return []
    return [
        f"{name} of {model} fell from {old:.4f} to {new:.4f}, by more than gates.max_metric_fall "
        f"({gates.max_metric_fall:g})"
        for name, model, old, new in _watched(gates.metrics, before, now)
        if old - new > gates.max_metric_fall
    ]


def _watched(patterns: Sequence[str], before: Metrics, now: Metrics) -> Iterator[tuple[str, str, float, float]]:
    for name in sorted(before.keys() & now.keys()):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            for model in sorted(before[name].keys() & now[name].keys()):
                yield name, model, before[name][model], now[name][model]
