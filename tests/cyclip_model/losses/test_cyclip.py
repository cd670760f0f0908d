from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cyclip_model.losses import cyclip
from cyclip_model.losses.clip import Features, clip_loss
from cyclip_model.losses.cyclip import CyclipConfig, cyclic_losses, cyclic_unit, cyclip_parts

Form = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
FORMS = [cyclip._by_pairs, cyclip._by_widths]


def unit_rows(batch: int, width: int, seed: int) -> Tensor:
    rows = torch.randn((batch, width), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return normalize(rows, dim=-1)


def naive(image: Tensor, text: Tensor) -> tuple[float, float]:
    batch, in_modal, cross_modal = len(image), 0.0, 0.0
    for j in range(batch):
        for k in range(batch):
            in_modal += float(image[j] @ image[k] - text[j] @ text[k]) ** 2
            cross_modal += float(image[j] @ text[k] - image[k] @ text[j]) ** 2
    return in_modal / batch, cross_modal / batch


def config(**changes: object) -> CyclipConfig:
    values = {"lambda_in_modal": 0.25, "lambda_cross_modal": 0.25, "cyclic_scale": "paper", **changes}
    return CyclipConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch", "width"), [(1, 4), (3, 8), (5, 5), (6, 5), (9, 2)])
@pytest.mark.parametrize("form", [cyclic_losses, *FORMS])
def test_equals_a_naive_double_loop(form: Form, batch: int, width: int) -> None:
    image, text = unit_rows(batch, width, 0), unit_rows(batch, width, 1)
    in_modal, cross_modal = form(image, text)
    assert (float(in_modal), float(cross_modal)) == pytest.approx(naive(image, text), abs=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form: Form) -> None:
    image, text = unit_rows(5, 3, 0).requires_grad_(), unit_rows(5, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(form, (image, text))


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_pairs_and_of_modalities_does_not_matter(form: Form) -> None:
    image, text = unit_rows(6, 4, 0), unit_rows(6, 4, 1)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(form(image[order], text[order]), form(image, text))
    torch.testing.assert_close(form(text, image), form(image, text))


@pytest.mark.parametrize("form", FORMS)
def test_terms_are_zero_when_they_must_be(form: Form) -> None:
    image = unit_rows(6, 4, 0)
    rotation, _ = torch.linalg.qr(unit_rows(4, 4, 2))
    assert [float(term) for term in form(image, image)] == pytest.approx([0, 0], abs=1e-14)
    turned = [float(term) for term in form(image, image @ rotation)]
    assert turned[0] == pytest.approx(0, abs=1e-14)
    assert turned[1] > 0.1


def test_closed_form_keeps_its_digits_when_the_loss_is_small() -> None:
    image = unit_rows(256, 128, 0)
    text = normalize(image + 1e-3 * unit_rows(256, 128, 1), dim=-1)
    wanted = cyclip._by_pairs(image, text)
    found = cyclip._by_widths(image.float(), text.float())
    # What the inputs lose on the way to float32 belongs to neither form.
    rounded = cyclip._by_pairs(image.float().double(), text.float().double())
    assert float(wanted[0]) < 1e-3
    assert [float(term) for term in found] == pytest.approx([float(term) for term in rounded], rel=1e-5)


def test_independent_rows_are_worth_the_cyclic_unit() -> None:
    image, text = unit_rows(256, 128, 0), unit_rows(256, 128, 1)
    assert [float(term) for term in cyclic_losses(image, text)] == pytest.approx([cyclic_unit(256, 128)] * 2, rel=0.03)
    assert cyclic_unit(256, 128) == 4


def test_parts_add_up_as_the_paper_says() -> None:
    features = Features(unit_rows(6, 4, 0), unit_rows(6, 4, 1), torch.tensor(5.0, dtype=torch.float64))
    parts = cyclip_parts(features, config(lambda_in_modal=0.5, lambda_cross_modal=0.125))
    in_modal, cross_modal = naive(features.image_BD, features.text_BD)
    expected = float(clip_loss(*features)) + 0.5 * in_modal + 0.125 * cross_modal
    assert float(parts["loss"]) == pytest.approx(expected)
    assert float(parts["in_modal"]) == pytest.approx(in_modal)


def test_the_normalised_scale_is_the_papers_at_its_batch_and_width() -> None:
    features = Features(unit_rows(128, 1024, 0), unit_rows(128, 1024, 1), torch.tensor(5.0))
    paper, normalised = (cyclip_parts(features, config(cyclic_scale=name)) for name in ("paper", "normalised"))
    assert normalised["loss"] == paper["loss"]


def test_the_normalised_scale_divides_lambda_by_sixteen_at_256_by_128() -> None:
    features = Features(unit_rows(256, 128, 0), unit_rows(256, 128, 1), torch.tensor(5.0, dtype=torch.float64))
    normalised = cyclip_parts(features, config(cyclic_scale="normalised"))
    paper = cyclip_parts(features, config(lambda_in_modal=0.25 / 16, lambda_cross_modal=0.25 / 16))
    torch.testing.assert_close(normalised["loss"], paper["loss"])
    assert normalised["in_modal"] == paper["in_modal"]


def test_the_temperature_gets_no_gradient_from_the_cyclic_terms() -> None:
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    features = Features(unit_rows(6, 4, 0), unit_rows(6, 4, 1), scale)
    parts = cyclip_parts(features, config())
    whole = torch.autograd.grad(parts["loss"], scale)
    alone = torch.autograd.grad(clip_loss(*features), scale)
    torch.testing.assert_close(whole, alone, rtol=0, atol=0)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_lambda_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="lambda_cross_modal must be a number >= 0"):
        config(lambda_cross_modal=value)
