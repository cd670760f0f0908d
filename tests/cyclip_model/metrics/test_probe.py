"""The linear probe learns what is linear, and learns it the same way twice."""

import numpy as np
import pytest
import torch

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


def test_a_plain_loop_learns_the_same_layer() -> None:
    feature_NF, label_N = blobs(0)
    config = probe.ProbeConfig(learning_rate=0.05, weight_decay=0.3, epochs=3, batch_size=16, seed=5)
    layer = torch.nn.Linear(3, 3)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    adamw = [
        torch.optim.AdamW([layer.weight], lr=0.05, weight_decay=0.3, fused=False, foreach=False),
        torch.optim.AdamW([layer.bias], lr=0.05, weight_decay=0.0, fused=False, foreach=False),
    ]
    generator, step, num_steps = torch.Generator().manual_seed(5), 0, 3 * 8
    for _ in range(3):
        for rows in torch.randperm(120, generator=generator).split(16):
            for optimiser in adamw:
                optimiser.param_groups[0]["lr"] = 0.05 * (1 + np.cos(np.pi * step / num_steps)) / 2
                optimiser.zero_grad()
            output_BC = layer(torch.from_numpy(feature_NF[rows]).float())
            torch.nn.functional.cross_entropy(output_BC, torch.from_numpy(label_N[rows])).backward()
            for optimiser in adamw:
                optimiser.step()
            step += 1
    weight_CF, bias_C = probe.fit(feature_NF, label_N, 3, config)
    np.testing.assert_allclose(weight_CF, layer.weight.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(bias_C, layer.bias.detach().numpy(), atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_learns_the_same_layer() -> None:
    for ours, theirs in zip(
        probe.fit(*blobs(0), 3, CONFIG), probe.fit(*blobs(0), 3, CONFIG, device="cuda"), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
