import math

import pytest
import torch
from torch import Tensor

from cyclip_model.losses.clip import ClipConfig, Features, clip_loss, clip_parts
from tests.cyclip_model.losses.batches import unit_rows


def naive(image: Tensor, text: Tensor, scale: float) -> float:
    batch, total = len(image), 0.0
    for i in range(batch):
        own = scale * float(image[i] @ text[i])
        to_text = math.log(sum(math.exp(scale * float(image[i] @ text[j])) for j in range(batch)))
        to_image = math.log(sum(math.exp(scale * float(image[j] @ text[i])) for j in range(batch)))
        total += (to_text - own) / 2 + (to_image - own) / 2
    return total / batch


@pytest.mark.parametrize(("batch", "width"), [(1, 3), (5, 3), (4, 7)])
def test_equals_a_naive_double_loop(batch: int, width: int) -> None:
    image, text = unit_rows(batch, width, 0), unit_rows(batch, width, 1)
    assert float(clip_loss(image, text, 14.3)) == pytest.approx(naive(image, text, 14.3), abs=1e-12)


def test_the_scale_is_the_multiplier_not_its_logarithm() -> None:
    image = torch.eye(2, dtype=torch.float64)
    assert float(clip_loss(image, image, 3.0)) == pytest.approx(math.log(1 + math.exp(-3)))


def test_is_log_b_when_all_rows_are_alike() -> None:
    rows = unit_rows(1, 4, 0).expand(8, 4)
    assert float(clip_loss(rows, rows, 100.0)) == pytest.approx(math.log(8))


def test_order_of_pairs_and_of_modalities_does_not_matter() -> None:
    image, text = unit_rows(6, 4, 0), unit_rows(6, 4, 1)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    loss = clip_loss(image, text, 10.0)
    torch.testing.assert_close(clip_loss(image[order], text[order], 10.0), loss)
    torch.testing.assert_close(clip_loss(text, image, 10.0), loss)


def test_gradients_are_those_of_finite_differences() -> None:
    image, text = unit_rows(4, 3, 0).requires_grad_(), unit_rows(4, 3, 1).requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(clip_loss, (image, text, scale))


def test_parts_name_the_loss() -> None:
    features = Features(unit_rows(4, 3, 0), unit_rows(4, 3, 1), torch.tensor(5.0))
    parts = clip_parts(features, ClipConfig())
    assert set(parts) == {"loss", "contrastive"}
    assert parts["loss"] == clip_loss(*features[:3])
