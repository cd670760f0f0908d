import math
from typing import Any

import pytest
import torch
from torch import Tensor

from cyclip_model.losses.clip import Features
from cyclip_model.losses.nclip import HeadConfig, NclipConfig, nclip_loss, nclip_parts
from tests.cyclip_model.losses.batches import randn, unit_rows

WEIGHTS: dict[str, Any] = {"temperature": 0.1, "lambda_sharpness": 0.5, "lambda_smoothness": 1.0}


def config(**changes: object) -> NclipConfig:
    head = HeadConfig(num_clusters=6, hidden_dim=8, bottleneck_dim=4)
    return NclipConfig(**{**WEIGHTS, "stop_gradient": False, "head": head, **changes})  # type: ignore[arg-type]


def entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0)


def naive(image: Tensor, text: Tensor) -> dict[str, float]:
    def softmax(row: Tensor) -> list[float]:
        powers = [math.exp(float(each) / WEIGHTS["temperature"]) for each in row]
        return [power / sum(powers) for power in powers]

    p, q = ([softmax(row) for row in logits] for logits in (image, text))
    batch, alignment, sharpness = len(p), 0.0, 0.0
    for one, other in zip(p, q, strict=True):
        alignment -= sum(b * math.log(a) + a * math.log(b) for a, b in zip(one, other, strict=True)) / (2 * batch)
        sharpness += (entropy(one) + entropy(other)) / (2 * batch)
    means = [[sum(column) / batch for column in zip(*rows, strict=True)] for rows in (p, q)]
    smoothness = (entropy(means[0]) + entropy(means[1])) / 2
    loss = alignment + WEIGHTS["lambda_sharpness"] * sharpness - WEIGHTS["lambda_smoothness"] * smoothness
    return {"loss": loss, "alignment": alignment, "sharpness": sharpness, "smoothness": smoothness}


@pytest.mark.parametrize(("batch", "clusters", "spread"), [(1, 2, 1.0), (5, 3, 0.1), (4, 9, 0.5), (7, 7, 1e-4)])
def test_equals_naive_loops(batch: int, clusters: int, spread: float) -> None:
    image, text = spread * randn((batch, clusters), 0), spread * randn((batch, clusters), 1)
    found = nclip_loss(image, text, **WEIGHTS)
    for name, wanted in naive(image, text).items():
        assert float(getattr(found, name)) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_gradients_are_those_of_finite_differences(stop_gradient: bool) -> None:
    image, text = (0.1 * randn((4, 3), seed) for seed in (0, 1))
    labels = [torch.softmax(logits / 0.1, 1) for logits in (image, text)]

    def fixed(image: Tensor, text: Tensor) -> Tensor:
        """The loss with pseudo-labels as they were before any step."""
        plain = nclip_loss(image, text, **WEIGHTS)
        log_p, log_q = torch.log_softmax(image / 0.1, 1), torch.log_softmax(text / 0.1, 1)
        alignment = -((labels[1] * log_p).sum(1).mean() + (labels[0] * log_q).sum(1).mean()) / 2
        return plain.loss - plain.alignment + alignment

    def ours(image: Tensor, text: Tensor) -> Tensor:
        return nclip_loss(image, text, **WEIGHTS, stop_gradient=stop_gradient).loss

    given = [image.requires_grad_(), text.requires_grad_()]
    if not stop_gradient:
        assert torch.autograd.gradcheck(ours, given)
    else:
        torch.testing.assert_close(torch.autograd.grad(ours(*given), given), torch.autograd.grad(fixed(*given), given))


def test_alignment_is_sharpness_and_half_the_divergences() -> None:
    image, text = 0.1 * randn((6, 5), 0), 0.1 * randn((6, 5), 1)
    p, q = torch.softmax(image / 0.1, 1), torch.softmax(text / 0.1, 1)
    divergence = ((p - q) * (p.log() - q.log())).sum(1).mean()
    found = nclip_loss(image, text, **WEIGHTS)
    torch.testing.assert_close(found.alignment, found.sharpness + divergence / 2)


def test_one_cluster_for_all_is_best_without_smoothness_and_worst_with_it() -> None:
    one, spread = torch.zeros((6, 6)), 5 * torch.eye(6)
    one[:, 2] = 5
    without = {**WEIGHTS, "lambda_smoothness": 0.0}
    assert float(nclip_loss(one, one, **without).loss) == pytest.approx(0, abs=1e-6)
    assert nclip_loss(spread, spread, **WEIGHTS).loss < nclip_loss(one, one, **WEIGHTS).loss - 1


def test_what_is_told_of_the_clusters() -> None:
    image = 5 * torch.eye(4)
    text = image.clone()
    text[0] = image[1]
    found = nclip_parts(Features(image, text, torch.tensor(1.0), image_BK=image, text_BK=text), config())
    assert float(found["agreement"]) == 0.75
    assert float(found["active_clusters"]) == 3.5
    assert float(found["smoothness/log K"]) == pytest.approx(0.875), "log 4 and 3/4 of it"


def test_the_order_of_pairs_of_modalities_and_of_clusters_does_not_matter() -> None:
    image, text = 0.1 * randn((6, 5), 0), 0.1 * randn((6, 5), 1)
    loss = nclip_loss(image, text, **WEIGHTS).loss
    rows, columns = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(nclip_loss(image[rows], text[rows], **WEIGHTS).loss, loss)
    torch.testing.assert_close(nclip_loss(image[:, columns], text[:, columns], **WEIGHTS).loss, loss)
    torch.testing.assert_close(nclip_loss(text, image, **WEIGHTS).loss, loss)


def test_half_precision_logits_are_reckoned_with_in_float32() -> None:
    image, text = 5 * torch.eye(4), 5 * torch.eye(4).flip(0)
    found = nclip_loss(image.bfloat16(), text.bfloat16(), **WEIGHTS)
    assert found.loss.dtype == torch.float32
    assert float(found.loss) == pytest.approx(float(nclip_loss(image, text, **WEIGHTS).loss), rel=1e-3)


def test_an_objective_without_heads_is_told_so() -> None:
    rows = unit_rows(3, 4, 0)
    with pytest.raises(ValueError, match="needs cluster logits"):
        nclip_parts(Features(rows, rows, torch.tensor(1.0)), config())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"lambda_smoothness": -1.0}, "lambda_smoothness must be a number >= 0"),
        ({"lambda_sharpness": math.nan}, "lambda_sharpness must be a number >= 0"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        config(**change)
