"""Sets of sentences under a small text tower."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from cyclip_model.evaluation import kinds
from cyclip_model.evaluation.answers import Results
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.metrics.zeroshot import normalise
from cyclip_model.model import towers
from tests.cyclip_model import kinds_of_sets, small_set


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(towers.load(small_set.write_model(tmp_path_factory.mktemp("models") / "clip-0")), None, 4)


def run(encoder: Encoder, folder: Path) -> Results:
    return kinds.run(lambda _: encoder, folder, kinds.description(folder), small_set.PROTOCOLS)


def test_likeness_is_scipys_correlation(encoder: Encoder, tmp_path: Path) -> None:
    found = run(encoder, kinds_of_sets.write_likeness(tmp_path / "stsb")).metrics["sts"]["test"]["tower"]["spearman"]
    one, other = (
        normalise(encoder.texts(lines))
        for lines in (
            ["red ball", "green box", "blue ball", "red box"],
            ["red ball", "green ball", "an old house", "the sea at night"],
        )
    )
    assert found["value"] == pytest.approx(spearmanr((one * other).sum(1), [5, 3, 1, 0]).statistic, abs=1e-6)
    assert found["n"] == 4


def test_a_text_tower_that_says_one_thing_has_no_correlation(
    encoder: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "texts", lambda lines: np.ones((len(lines), 4), dtype=np.float32))
    with caplog.at_level("WARNING", logger="clipline"):
        assert run(encoder, kinds_of_sets.write_likeness(tmp_path / "stsb")).metrics == {}
    assert "all sentences are alike to the model" in caplog.text


def test_a_probe_on_sentences_answers_each(encoder: Encoder, tmp_path: Path) -> None:
    results = run(encoder, kinds_of_sets.write_sentences(tmp_path / "sst2"))
    found = results.metrics["sentences"]["test"]["linear_probe"]["top_1"]
    assert (found["n"], found["chance"]) == (4, 0.5)
    answers = [row for row in results.predictions if row["protocol"] == "sentences"]
    assert found["value"] == np.mean([row["label"] == row["prediction"] for row in answers])
    assert {row["label"] for row in answers} == {"negative", "positive"}


def test_without_a_train_part_there_is_no_probe(
    encoder: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = kinds_of_sets.write_sentences(tmp_path / "sst2")
    kinds_of_sets.describe(folder, "sentences", {"test": 4}, classnames=["negative", "positive"])
    with caplog.at_level("WARNING", logger="clipline"):
        assert run(encoder, folder).metrics == {}
    assert "no train part" in caplog.text


def test_a_diverged_text_tower_is_told_and_gets_no_hundred_percent(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "texts", lambda lines: np.full((len(lines), 4), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="the model has diverged"):
        run(encoder, kinds_of_sets.write_sentences(tmp_path / "sst2"))
