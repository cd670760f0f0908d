"""nCLIP's scores on two clusters, by hand, and against torch's cross entropy."""

import numpy as np
import pytest
import torch

from cyclip_model.metrics import scores

EVEN, LEFT, RIGHT = [0.5, 0.5], [0.8, 0.2], [0.2, 0.8]


def sides(shares: list[list[float]], prompts: list[list[float]], class_P: list[int]) -> dict[str, np.ndarray]:
    image, text = np.array(shares, dtype=np.float32), np.array(prompts, dtype=np.float32)
    images = scores.image_sides(image, np.log(image), image)
    classes = scores.class_sides(text, np.log(text), text, np.array(class_P), max(class_P) + 1)
    assert list(images) == list(classes) == list(scores.NAMES)
    return {name: images[name] @ classes[name].T for name in scores.NAMES}


def test_cosine_of_distributions_by_hand() -> None:
    found = sides([LEFT], [LEFT, RIGHT], [0, 1])["cluster_cosine"]
    assert found[0] == pytest.approx([1.0, (0.8 * 0.2 * 2) / (0.64 + 0.04)], abs=1e-6)


def test_cross_entropy_is_torchs_both_ways() -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(5), size=4).astype(np.float32) for _ in range(2))
    found = sides(p.tolist(), q.tolist(), [0, 1, 2, 3])["cross_entropy"]
    for image in range(4):
        for text in range(4):
            a, b = torch.from_numpy(p[image])[None], torch.from_numpy(q[text])[None]
            ce = [torch.nn.functional.cross_entropy(x.log(), y) for x, y in ((b, a), (a, b))]
            assert found[image, text] == pytest.approx(-float(sum(ce)) / 2, abs=1e-5)


def test_a_class_of_two_prompts_is_their_mean_distribution() -> None:
    found = sides([LEFT], [LEFT, RIGHT], [0, 0])
    p, even = np.array(LEFT), np.array(EVEN)
    by_hand = 0.5 * ((p * np.log(even)).sum() + (even * np.log(p)).sum())
    assert found["cross_entropy"][0, 0] == pytest.approx(by_hand, abs=1e-6)


def test_a_probability_of_nothing_is_no_infinity() -> None:
    found = sides([[1.0, 1e-38]], [[1.0, 1e-38], [1e-38, 1.0]], [0, 1])["cross_entropy"]
    assert np.isfinite(found).all()
    assert found[0, 0] > found[0, 1]


def test_heads_and_towers_are_compared_by_their_angle() -> None:
    image, text = np.array([[3.0, 0.0]]), np.array([[5.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    shares = np.full((1, 2), 0.5), np.full((3, 2), 0.5)
    images, classes = (
        scores.image_sides(image, -image, shares[0]),
        scores.class_sides(text, text, shares[1], np.arange(3), 3),
    )
    assert (images["tower_cosine"] @ classes["tower_cosine"].T)[0] == pytest.approx([1, 0, 0.5**0.5], abs=1e-6)
    assert (images["head_cosine"] @ classes["head_cosine"].T)[0] == pytest.approx([-1, 0, -(0.5**0.5)], abs=1e-6)
