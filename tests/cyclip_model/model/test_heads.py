"""Cluster heads go into a model folder and come out of it, and say what pictures and texts are compared by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclip_model.evaluation import encode
from cyclip_model.losses.nclip import HeadConfig
from cyclip_model.model import heads
from tests.cyclip_model.losses.batches import unit_rows

SHAPE = HeadConfig(num_clusters=6, hidden_dim=8, bottleneck_dim=4)
FEATURES = unit_rows(5, 16, 0).float()


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_heads_give_float32_logits_and_depend_on_the_seed_alone(bottleneck: int) -> None:
    shape = HeadConfig(num_clusters=6, hidden_dim=8, bottleneck_dim=bottleneck)
    before = torch.random.get_rng_state()
    first, again, other = (heads.build(16, shape, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.autocast("cpu", torch.bfloat16):
        logits = first.image(FEATURES)
    assert (logits.shape, logits.dtype) == ((5, 6), torch.float32)
    if bottleneck:
        assert logits.abs().max() <= 1.01, "cosines"
    weights = [next(head.text.parameters()) for head in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], next(first.image.parameters()))


def test_what_is_saved_is_loaded_bit_by_bit(tmp_path: Path) -> None:
    made = heads.build(16, SHAPE, 3)
    made.image(FEATURES)  # moves the running means
    heads.save(heads.Saved(made, 0.2, compares=True), tmp_path, SHAPE)
    found = heads.load(tmp_path)
    assert found is not None
    assert (found.temperature, found.compares) == (0.2, True)
    assert torch.equal(found.heads.text(FEATURES), made.eval().text(FEATURES))
    assert not found.heads.training
    (tmp_path / heads.WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"heads\.safetensors does not fit"):
        heads.load(tmp_path)
    assert heads.load(tmp_path / "nowhere") is None


def test_clusters_are_compared_where_nothing_else_is_aligned() -> None:
    saved = heads.Saved(heads.build(16, SHAPE, 0).eval(), 0.1, compares=True)
    features: Any = 3 * FEATURES.numpy()
    found = encode.compared(saved, features, "text")
    shares = torch.softmax(saved.heads.text(FEATURES) / 0.1, 1).detach().numpy()
    np.testing.assert_allclose(found, shares / np.linalg.norm(shares, axis=1, keepdims=True), rtol=1e-5)
    for plain in (None, saved._replace(compares=False)):
        np.testing.assert_allclose(encode.compared(plain, features, "image"), FEATURES.numpy(), rtol=1e-5)
