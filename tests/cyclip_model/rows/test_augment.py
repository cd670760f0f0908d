import math

import pytest
import torch

from cyclip_model.rows import augment
from cyclip_model.rows.augment import AugmentConfig

STILL = {"scale_min": 1.0, "scale_max": 1.0, "shift_frac": 0.0, "rotation_rad": 0.0, "gray_prob": 0.0}
STRONG = {"scale_min": 0.75, "scale_max": 1.15, "shift_frac": 0.15, "rotation_rad": 0.15, "gray_prob": 0.25}


def pictures(batch: int, side: int = 16) -> torch.Tensor:
    return torch.randint(256, (batch, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_nothing_set_leaves_the_picture() -> None:
    images = pictures(4)
    made = augment.augment(images, AugmentConfig(**STILL), augment.draws(0, 0, 0))
    torch.testing.assert_close(made, images.float() / 255, rtol=0, atol=1e-5)


def test_views_are_a_function_of_seed_epoch_and_batch() -> None:
    images, config = pictures(8), AugmentConfig(**STRONG)
    made = augment.augment(images, config, augment.draws(3, 1, 2))
    assert torch.equal(made, augment.augment(images, config, augment.draws(3, 1, 2)))
    for other in ((4, 1, 2), (3, 2, 2), (3, 1, 3)):
        assert not torch.equal(made, augment.augment(images, config, augment.draws(*other)))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    augment.augment(pictures(8), AugmentConfig(**STRONG), augment.draws(0, 0, 0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_comes_in_from_outside_is_white() -> None:
    black = torch.zeros((64, 3, 16, 16), dtype=torch.uint8)
    made = augment.augment(
        black, AugmentConfig(**{**STILL, "scale_min": 0.5, "scale_max": 0.5}), augment.draws(0, 0, 0)
    )
    assert made[:, :, 0].min() == 1
    assert made[:, :, 8, 8].max() == 0
    # Half the side is a quarter of the area.
    assert made.mean().item() == pytest.approx(0.75, abs=0.01)


def test_shift_is_a_fraction_of_the_side() -> None:
    theta, _ = augment._draw(512, AugmentConfig(**{**STILL, "shift_frac": 0.25}), augment.draws(0, 0, 0))
    assert theta[:, :, 2].abs().max().item() == pytest.approx(0.5, abs=0.01)


def test_turns_stay_within_their_bound_and_keep_the_scale() -> None:
    theta, _ = augment._draw(512, AugmentConfig(**{**STILL, "rotation_rad": 0.3}), augment.draws(0, 0, 0))
    angle = torch.atan2(theta[:, 1, 0], theta[:, 0, 0])
    assert angle.abs().max().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(torch.linalg.det(theta[:, :, :2]), torch.ones(512))


def test_the_wanted_share_turns_gray() -> None:
    made = augment.augment(
        pictures(2000, side=4), AugmentConfig(**{**STILL, "gray_prob": 0.25}), augment.draws(0, 0, 0)
    )
    is_gray = (made[:, 0] == made[:, 1]).all(-1).all(-1) & (made[:, 1] == made[:, 2]).all(-1).all(-1)
    assert is_gray.float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_normalise_works_per_channel() -> None:
    made = augment.normalise(torch.full((1, 3, 1, 1), 0.5), [0.5, 0.25, 0.0], [1.0, 0.5, 0.25])
    assert made.flatten().tolist() == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    "change", [{"scale_min": 0.0}, {"scale_min": 2.0}, {"gray_prob": 1.5}, {"gray_prob": math.nan}]
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        AugmentConfig(**{**STRONG, **change})
