from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cyclip_model.losses import cyclip, grams
from cyclip_model.losses.clip import Features, clip_loss
from cyclip_model.losses.cyclip import CyclipConfig, cyclic_losses, cyclic_sum, cyclic_unit, cyclip_parts
from tests.cyclip_model.losses.batches import pairs, unit_rows

Form = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
FORMS = [cyclip._by_pairs, cyclip._by_widths]


def naive(image: Tensor, text: Tensor) -> tuple[float, float]:
    batch, in_modal, cross_modal = len(image), 0.0, 0.0
    for j in range(batch):
        for k in range(batch):
            in_modal += float(image[j] @ image[k] - text[j] @ text[k]) ** 2
            cross_modal += float(image[j] @ text[k] - image[k] @ text[j]) ** 2
    return in_modal / batch, cross_modal / batch


def config(**changes: object) -> CyclipConfig:
    values = {
        "lambda_in_modal": 0.25,
        "lambda_cross_modal": 0.25,
        "cyclic_scale": "paper",
        "inmodal_views": False,
        "token_delete_prob": 0.1,
        "token_swap_prob": 0.1,
        **changes,
    }
    return CyclipConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch", "width"), [(1, 4), (3, 8), (5, 5), (6, 5), (9, 2)])
@pytest.mark.parametrize("form", [cyclic_losses, *FORMS])
def test_equals_a_naive_double_loop(form: Form, batch: int, width: int) -> None:
    image, text = unit_rows(batch, width, 0), unit_rows(batch, width, 1)
    in_modal, cross_modal = form(image, text)
    assert (float(in_modal), float(cross_modal)) == pytest.approx(naive(image, text), abs=1e-13)


def loops(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """The double sums as a graph."""
    batch = len(image)
    in_modal = [(image[j] @ image[k] - text[j] @ text[k]) ** 2 for j in range(batch) for k in range(batch)]
    cross_modal = [(image[j] @ text[k] - image[k] @ text[j]) ** 2 for j in range(batch) for k in range(batch)]
    return torch.stack(in_modal).sum() / batch, torch.stack(cross_modal).sum() / batch


@pytest.mark.parametrize(("batch", "width"), [(3, 8), (5, 5), (9, 2)])
@pytest.mark.parametrize(("noise", "gap"), [(1.0, 0.0), (1e-3, 0.0), (1.0, 3.0), (1e-3, 3.0)])
def test_value_and_gradients_are_the_double_loops_however_small_the_loss(
    batch: int, width: int, noise: float, gap: float
) -> None:
    def leaves() -> list[Tensor]:
        return [rows.clone().requires_grad_() for rows in pairs(batch, width, noise=noise, gap=gap)]

    given = leaves()
    wanted = loops(*given)
    gradients = [torch.autograd.grad(term, given, retain_graph=True) for term in (*wanted, sum(wanted))]  # type: ignore[arg-type]
    for form in (cyclic_losses, *FORMS):
        ours = leaves()
        found = form(*ours)
        for term, theirs, gradient in zip(found, wanted, gradients, strict=False):
            torch.testing.assert_close(term, theirs, rtol=1e-10, atol=1e-10)
            own = torch.autograd.grad(term, ours, retain_graph=True)
            torch.testing.assert_close(own, gradient, rtol=1e-10, atol=1e-10)
    ours = leaves()
    torch.testing.assert_close(cyclic_sum(*ours), sum(wanted), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.autograd.grad(cyclic_sum(*ours), ours), gradients[2], rtol=1e-10, atol=1e-10)


def test_blocks_of_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    image, text = (rows.requires_grad_() for rows in pairs(9, 4))
    terms = cyclic_losses(image, text)
    whole = [torch.autograd.grad(term, (image, text), retain_graph=True) for term in terms]
    monkeypatch.setattr(grams, "_BLOCK_ROWS", 4)
    terms = cyclic_losses(image, text)
    blocks = [torch.autograd.grad(term, (image, text), retain_graph=True) for term in terms]
    torch.testing.assert_close(blocks, whole, rtol=1e-13, atol=1e-13)


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
    expected = float(clip_loss(*features[:3])) + 0.5 * in_modal + 0.125 * cross_modal
    assert float(parts["loss"]) == pytest.approx(expected)
    assert float(parts["in_modal"]) == pytest.approx(in_modal)


@pytest.mark.parametrize(("batch", "width"), [(6, 8), (9, 4)])
def test_one_lambda_takes_the_one_trace_form_to_the_same_loss_and_gradient(batch: int, width: int) -> None:
    image, text = pairs(batch, width)
    features = Features(image.requires_grad_(), text, torch.tensor(5.0, dtype=torch.float64))
    parts = cyclip_parts(features, config())
    in_modal, cross_modal = cyclic_losses(image, text)
    wanted = clip_loss(*features[:3]) + 0.25 * in_modal + 0.25 * cross_modal
    torch.testing.assert_close(parts["loss"], wanted)
    torch.testing.assert_close(torch.autograd.grad(parts["loss"], image), torch.autograd.grad(wanted, image))
    torch.testing.assert_close(parts["in_modal"], in_modal)
    torch.testing.assert_close(parts["cross_modal"], cross_modal)


def test_in_modal_views_share_the_contrastive_part() -> None:
    image, text = pairs(6, 4)
    image_view, text_view = unit_rows(6, 4, 3), unit_rows(6, 4, 4)
    scale = torch.tensor(5.0, dtype=torch.float64)
    features = Features(image, text, scale, image_view_BD=image_view, text_view_BD=text_view)
    target = torch.arange(6)
    in_modal = cross_entropy(5 * image @ image_view.T, target) + cross_entropy(5 * text @ text_view.T, target)
    found = cyclip_parts(features, config(inmodal_views=True, lambda_in_modal=0.0, lambda_cross_modal=0.0))
    torch.testing.assert_close(found["loss"], clip_loss(image, text, scale) / 2 + in_modal / 4)
    with pytest.raises(ValueError, match="in-modal views needs the embeddings of both"):
        cyclip_parts(Features(image, text, scale), config(inmodal_views=True))


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
    alone = torch.autograd.grad(clip_loss(*features[:3]), scale)
    torch.testing.assert_close(whole, alone, rtol=0, atol=0)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_lambda_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="lambda_cross_modal must be a number >= 0"):
        config(lambda_cross_modal=value)
