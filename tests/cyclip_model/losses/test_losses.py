import pytest
import torch

from cyclip_model import losses
from tests.cyclip_model.losses.batches import pairs
from tests.cyclip_model.losses.settings import CONFIGS, features_of


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_every_objective_gives_scalars_and_a_gradient_to_both_towers(name: str) -> None:
    image, text = (rows.float().requires_grad_() for rows in pairs(6, 8))
    parts = losses.objective(name).parts(features_of(image, text, name), CONFIGS[name])
    assert all(value.ndim == 0 for value in parts.values())
    for gradient in torch.autograd.grad(parts["loss"], (image, text)):
        assert gradient.abs().sum() > 0


def test_an_unknown_objective_is_refused_by_the_name_of_its_key() -> None:
    with pytest.raises(
        ValueError, match=r"params.yaml: objectives: there is no objective 'simclr'; choose from clip, cyclip, nclip"
    ):
        losses.objective("simclr")
