import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cyclip_model.losses import clip, tiles
from tests.cyclip_model.losses.batches import pairs, unit_rows


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_TILE_ROWS", 3)


def textbook(image_BD: Tensor, text_BD: Tensor, scale: Tensor, *, columns: bool = True) -> Tensor:
    logits = scale * image_BD @ text_BD.T
    target = torch.arange(len(image_BD))
    rows = cross_entropy(logits, target)
    return (rows + cross_entropy(logits.T, target)) / 2 if columns else rows


def leaves(image_BD: Tensor, text_BD: Tensor, scale: float) -> list[Tensor]:
    return [each.clone().requires_grad_() for each in (image_BD, text_BD, torch.tensor(scale, dtype=torch.float64))]


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize(("batch", "width"), [(1, 3), (2, 3), (3, 3), (7, 4), (8, 12)])
@pytest.mark.parametrize(("noise", "gap", "scale"), [(1.0, 0.0, 14.3), (0.01, 0.0, 100.0), (1.0, 5.0, 100.0)])
def test_value_and_gradients_are_the_textbooks(
    batch: int, width: int, noise: float, gap: float, scale: float, columns: bool
) -> None:
    ours, theirs = (leaves(*pairs(batch, width, noise=noise, gap=gap), scale) for _ in range(2))
    found, wanted = tiles.contrast(*ours, columns=columns), textbook(*theirs, columns=columns)
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), abs=1e-12)
    for a, b in zip(torch.autograd.grad(3 * found, ours), torch.autograd.grad(3 * wanted, theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("columns", [True, False])
def test_gradients_are_those_of_finite_differences(columns: bool) -> None:
    assert torch.autograd.gradcheck(lambda *given: tiles.contrast(*given, columns=columns), leaves(*pairs(7, 4), 5.0))


def test_logits_of_any_size_are_finite_in_float32() -> None:
    image, text = (rows.float() for rows in pairs(8, 4, noise=0.0, gap=0.0))
    image[4:] = -image[4:]
    loss = tiles.contrast(image.requires_grad_(), text, torch.tensor(100.0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(float(loss.detach()))
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_a_big_batch_is_tiled_and_a_small_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    image, text = unit_rows(5, 4, 0), unit_rows(5, 4, 1)
    whole = clip.clip_loss(image, text, 14.3)
    monkeypatch.setattr(clip, "_MOST_AT_ONCE", 4)
    assert "_Contrast" in type(clip.clip_loss(image.requires_grad_(), text, 14.3).grad_fn).__name__
    assert float(clip.clip_loss(image, text, 14.3).detach()) == pytest.approx(float(whole), abs=1e-14)
