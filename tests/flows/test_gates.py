from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from flows import gates
from flows.gates import Gates
from pipelines import select


def write_vectors(folder: Path, is_shuffled: bool, parts: int = 2) -> None:
    generator = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for number in range(parts):
        image_nD = generator.normal(size=(300, 16))
        text_nD = image_nD + generator.normal(size=image_nD.shape)
        if is_shuffled:
            text_nD = text_nD[generator.permutation(300)]
        for kind, vectors in (("image", image_nD), ("text", text_nD)):
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            np.save(folder / f"{number:05d}.{kind}.npy", unit.astype(np.float16))


def test_captions_that_say_something_are_told_from_shuffled_ones(tmp_path: Path) -> None:
    write_vectors(tmp_path / "data/embeddings/good", is_shuffled=False)
    write_vectors(tmp_path / "data/embeddings/bad", is_shuffled=True)
    assert gates.caption_match(tmp_path / "data/embeddings/good") > 0.95
    assert gates.caption_match(tmp_path / "data/embeddings/bad") == pytest.approx(0.5, abs=0.05)
    assert gates.of_data(Gates(), tmp_path, "good") == []
    (words,) = gates.of_data(Gates(), tmp_path, "bad")
    assert "gates.min_caption_match (60.0%" in words
    assert gates.of_data(Gates(min_caption_match=None), tmp_path, "bad") == []


def test_a_snapshot_without_a_pair_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "data/embeddings/none").mkdir(parents=True)
    assert gates.of_data(Gates(), tmp_path, "none") == []


def test_the_area_counts_ties_half() -> None:
    high, low = np.array([1.0, 2.0], np.float32), np.array([1.0, 0.0], np.float32)
    assert gates.area_under_curve(high, low) == pytest.approx(3.5 / 4)


def test_a_watched_metric_may_not_fall_too_far() -> None:
    name = "emoji.naming.twemoji.names.top_1"
    before = {name: {"clip-0": 0.30, "gone-0": 0.9}, "emoji.knn.novel.all.top_1": {"clip-0": 0.5}}
    now = {name: {"clip-0": 0.279, "new-0": 0.1}, "emoji.knn.novel.all.top_1": {"clip-0": 0.1}}
    assert gates.of_metrics(Gates(), before, now) == [
        f"{name} of clip-0 fell from 0.3000 to 0.2790, by more than gates.max_metric_fall (0.02)"
    ]
    assert gates.of_metrics(Gates(max_metric_fall=0.03), before, now) == []
    assert gates.of_metrics(Gates(max_metric_fall=None), before, now) == []
    assert len(gates.of_metrics(Gates(metrics=["*"]), before, now)) == 2
    assert gates.of_metrics(Gates(), {}, now) == [], "a first evaluation has nothing to fall from"


def test_the_guard_of_select_is_known_by_its_words() -> None:
    outcome: Any = SimpleNamespace(
        recipe=[SimpleNamespace(label="too_small")],
        count=lambda place: 95 if place == 0 else 5,
        snapshot=SimpleNamespace(name="s2"),
    )
    config: Any = SimpleNamespace(max_drop_frac=0.5, on_excess="fail")
    with pytest.raises(ValueError, match=r"95\.0%") as caught:
        select.guard(outcome, config)
    assert gates.drop_share(str(caught.value))
    assert not gates.drop_share("data/embeddings/s2: not there")


@pytest.mark.parametrize("content", [{"max_metric_fall": -1}, {"min_caption_match": 2}, {"colour": "red"}])
def test_gates_refuse_what_they_are_not(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Gates(**content)
