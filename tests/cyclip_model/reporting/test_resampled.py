"""Differences on rows drawn anew, beside scipy's bootstrap."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import bootstrap

from cyclip_model.reporting.answers import AllAnswers, Answers
from cyclip_model.reporting.resampled import BootstrapConfig, against_first
from cyclip_model.reporting.results import Key, Table

KEY: Key = ("emoji", "naming", "twemoji", "names", "top_1")
CONFIG = BootstrapConfig(rounds=4000, seed=0)


def answers(ranks: list[int]) -> Answers:
    texts = pa.array([f"{row:04d}" for row in range(len(ranks))])
    return Answers(uids=texts, labels=texts, predictions=texts, ranks=np.array(ranks))


def test_the_interval_agrees_with_scipys() -> None:
    generator = np.random.default_rng(1)
    base, mine = generator.random(300) < 0.4, generator.random(300) < 0.5
    given = AllAnswers(
        found={KEY[:4]: {"clip": {0: answers((~base).tolist())}, "cyclip": {0: answers((~mine).tolist())}}}
    )
    table = Table(objectives=["clip", "cyclip"], seeds=[0])
    one = against_first(table, given, [KEY], 0.95, CONFIG)[KEY, "cyclip"]
    gaps = mine.astype(np.float64) - base.astype(np.float64)
    other = bootstrap((gaps,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2))
    assert one.difference == pytest.approx(gaps.mean())
    assert (one.low, one.high) == pytest.approx(tuple(other.confidence_interval), abs=0.01)
    assert one.num_rows == 300
    assert against_first(table, given, [KEY], 0.95, CONFIG)[KEY, "cyclip"] == one, "the same draws give the same bytes"


def test_each_k_is_a_metric_of_its_own_and_others_are_left_out() -> None:
    given = AllAnswers(
        found={KEY[:4]: {"clip": {0: answers([1, 1, 1, 9])}, "cyclip": {0: answers([0, 0, 0, 9])}}},
    )
    keys: list[Key] = [(*KEY[:4], metric) for metric in ("top_1", "top_2", "balanced_accuracy")]
    found = against_first(Table(objectives=["clip", "cyclip"], seeds=[0]), given, keys, 0.95, CONFIG)
    assert {key[4]: one.difference for (key, _), one in found.items()} == {"top_1": 0.75, "top_2": 0.0}
    assert found[keys[0], "cyclip"].is_apart
    assert not found[keys[1], "cyclip"].is_apart


def test_without_answers_of_the_first_objective_there_is_nothing_to_compare() -> None:
    given = AllAnswers(found={KEY[:4]: {"cyclip": {0: answers([0])}}})
    assert against_first(Table(objectives=["clip", "cyclip"], seeds=[0]), given, [KEY], 0.95, CONFIG) == {}


def test_winogrounds_group_score_follows_from_its_examples() -> None:
    key: Key = ("w", "winoground", "test", "all", "group")
    asked = {"clip": {0: answers([1, 1, 0, 0])}, "cyclip": {0: answers([1, 0, 0, 0])}}
    given = AllAnswers(found={("w", "winoground", "test", "group"): asked})
    found = against_first(Table(objectives=["clip", "cyclip"], seeds=[0]), given, [key], 0.95, CONFIG)
    assert found[key, "cyclip"].difference == 0.25
