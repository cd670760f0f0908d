"""An evaluation set under one model: its parts encoded, its classes embedded, and the questions asked of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cyclip_model.metrics.zeroshot import Floats, Ints
from cyclip_model.sets.layout import TRAIN


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a set, encoded."""

    uids: list[str]
    labels: Mapping[str, list[str]]
    """Per row, by field: name, caption, subcategory, category; empty where a row has none."""
    features: Floats
    """(N, F) float32, as the image tower gives them."""
    backbone: Floats
    """(N, H) float32, what the image tower has before its projection."""
    images: Floats
    """(N, D) float32, L2-normalised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """Classes and the text embeddings that stand for them."""

    classes: list[str]
    vectors: Floats
    """(C, D) float32, L2-normalised."""

    def restricted(self, keep: Callable[[str], bool]) -> "Space":
        """The space of those classes that `keep` keeps."""
        rows = [row for row, name in enumerate(self.classes) if keep(name)]
        return Space(classes=[self.classes[row] for row in rows], vectors=self.vectors[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """A whole set under one model."""

    train: Part
    tests: Mapping[str, Part]
    spaces: Mapping[str, Mapping[str, Space]]
    """field (name, subcategory, category) -> variant -> classifier; variants without a category are among them."""
    categories: Mapping[str, str]
    """subcategory -> category."""
    captions: Space
    """Every distinct caption of the test parts, without a template."""
    names: tuple[Floats, Ints]
    """(P, D) float32 text features, not normalised, of the prompts of all names, and (P,) the name of each."""
    device: str
    """Where protocols compute: cpu or cuda."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Which class is each of these pictures? The rows of one part whose label is among the classes."""

    part: str
    variant: str
    classes: list[str]
    uids: list[str]
    rows: Ints
    """(N,) their rows in the part."""
    truth: Ints
    """(N,) their true classes."""


def ask(encoded: Encoded, part: str, label: str, classes: Sequence[str], variant: str) -> Question:
    """The question of one part (train too) about one field.

    Raises:
        ValueError: no picture of the part has a label among the classes.
    """
    asked = encoded.train if part == TRAIN else encoded.tests[part]
    number = {name: index for index, name in enumerate(classes)}
    rows = [row for row, name in enumerate(asked.labels[label]) if name in number]
    if not rows:
        raise ValueError(f"part {part}: no picture has a {label} among the {len(classes)} classes of {variant}")
    truth_N = np.array([number[asked.labels[label][row]] for row in rows], dtype=np.int64)
    return Question(
        part=part,
        variant=variant,
        classes=list(classes),
        uids=[asked.uids[row] for row in rows],
        rows=np.array(rows, dtype=np.int64),
        truth=truth_N,
    )
