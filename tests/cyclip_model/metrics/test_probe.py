"""The linear probe learns what is linear, and learns it the same way twice."""

import numpy as np
import pytest

from cyclip_model.metrics import probe
from cyclip_model.metrics.zeroshot import Floats, Ints

CONFIG = probe.ProbeConfig(learning_rate=0.05, weight_decay=0.01, epochs=20, batch_size=16, seed=0)


def blobs(seed: int) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    label_N = rng.integers(0, 3, 120)
    centre_CF = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
    return centre_CF[label_N] + rng.normal(size=(120, 3)), label_N


def test_separable_classes_are_told_apart() -> None:
    layer = probe.fit(*blobs(0), 3, CONFIG)
    features, labels = blobs(1)
    assert (probe.logits(features, *layer).argmax(axis=1) == labels).mean() > 0.95


def test_two_fits_are_bit_equal_and_the_order_matters() -> None:
    first, second = probe.fit(*blobs(0), 3, CONFIG), probe.fit(*blobs(0), 3, CONFIG)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = probe.ProbeConfig(learning_rate=0.05, weight_decay=0.01, epochs=20, batch_size=16, seed=1)
    assert not np.array_equal(first[0], probe.fit(*blobs(0), 3, other)[0])


def test_without_signal_the_bias_finds_the_majority() -> None:
    labels = np.array([2] * 30 + [0] * 10)
    weight, bias = probe.fit(np.zeros((40, 4)), labels, 3, CONFIG)
    assert not weight.any()
    assert int(bias.argmax()) == 2


def test_logits_are_the_affine_map() -> None:
    weight, bias = np.array([[3.0, 4.0], [0.0, 1.0]], dtype=np.float32), np.array([1.0, 0.0], dtype=np.float32)
    found = probe.logits(np.array([[1.0, 2.0]]), weight, bias)
    assert found.tolist() == [[12.0, 2.0]]


@pytest.mark.parametrize("batch_size", [7, 120, 500])
def test_any_batch_size_fits(batch_size: int) -> None:
    config = probe.ProbeConfig(learning_rate=0.05, weight_decay=0.0, epochs=1, batch_size=batch_size, seed=0)
    weight, _ = probe.fit(*blobs(0), 3, config)
    assert np.isfinite(weight).all()
