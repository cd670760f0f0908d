import math

import pytest
import torch

from cyclip_model.losses import siglip
from cyclip_model.losses.clip import Features
from cyclip_model.losses.siglip import SiglipConfig, siglip_loss, siglip_parts
from tests.cyclip_model.losses.batches import unit_rows


@pytest.mark.parametrize("tile_rows", [2, 100])
@pytest.mark.parametrize(("batch", "width"), [(1, 3), (5, 3), (4, 7)])
def test_equals_a_naive_double_loop(batch: int, width: int, tile_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siglip, "_TILE_ROWS", tile_rows)
    image, text = unit_rows(batch, width, 0), unit_rows(batch, width, 1)
    total = 0.0
    for i in range(batch):
        for j in range(batch):
            sign = 1 if i == j else -1
            total += math.log(1 + math.exp(-sign * (10 * float(image[i] @ text[j]) - 3)))
    found = siglip_loss(image, text, torch.tensor(10.0), torch.tensor(-3.0))
    assert float(found) == pytest.approx(total / batch, abs=1e-6)


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siglip, "_TILE_ROWS", 2)
    scale, bias = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (4.0, -2.0))
    given = (unit_rows(5, 3, 0).requires_grad_(), unit_rows(5, 3, 1).requires_grad_(), scale, bias)
    assert torch.autograd.gradcheck(siglip_loss, given)


def test_towers_without_a_bias_are_refused() -> None:
    rows = unit_rows(3, 4, 0)
    with pytest.raises(ValueError, match="needs towers with a logit_bias"):
        siglip_parts(Features(rows, rows, torch.tensor(1.0)), SiglipConfig())
