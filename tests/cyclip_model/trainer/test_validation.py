"""How held-out pairs find each other: recall counted by hand, and what pairs are compared by."""

import pytest
import torch
from torch.nn.functional import normalize

from cyclip_model.losses import Features
from cyclip_model.trainer import validation


def test_a_caption_of_several_pictures_is_right_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_K", 1)
    image = torch.eye(3)
    text = image[[0, 2, 1]]  # the second and third find each other's caption
    assert validation._recall(image, text, torch.tensor([[1], [2], [3]])) == pytest.approx(1 / 3)
    assert validation._recall(image, text, torch.tensor([[1], [2], [2]])) == 1.0


def test_what_is_alike_all_over_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_K", 1)
    alike = normalize(torch.ones(4, 2), dim=1)
    assert validation._recall(alike, alike, torch.arange(4)[:, None]) == 0.0


def test_clusters_are_compared_where_a_temperature_says_so() -> None:
    rows, logits = torch.eye(2), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    features = Features(rows, rows, torch.tensor(1.0), image_BK=logits, text_BK=logits)
    assert validation.compared(features, None)[0] is rows
    image, _ = validation.compared(features, 0.5)
    torch.testing.assert_close(image, normalize(torch.softmax(logits / 0.5, dim=1), dim=1))
