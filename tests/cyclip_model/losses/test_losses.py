import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from cyclip_model import losses

SETTINGS = {
    "clip": {},
    "cyclip": {"lambda_in_modal": 0.25, "lambda_cross_modal": 0.25, "cyclic_scale": "normalised"},
}


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_every_objective_gives_scalars_and_a_gradient(name: str) -> None:
    objective = losses.objective(name)
    assert {field.name for field in dataclasses.fields(objective.config)} == set(SETTINGS[name])
    image = normalize(torch.randn((4, 8), generator=torch.Generator().manual_seed(0)), dim=-1).requires_grad_()
    parts = objective.parts(
        losses.Features(image, image.detach().flip(0), torch.tensor(5.0)), objective.config(**SETTINGS[name])
    )
    assert all(value.ndim == 0 for value in parts.values())
    (gradient,) = torch.autograd.grad(parts["loss"], image)
    assert gradient.abs().sum() > 0


def test_an_unknown_objective_is_refused_by_the_name_of_its_key() -> None:
    with pytest.raises(
        ValueError, match=r"params.yaml: objectives: there is no objective 'siglip'; choose from clip, cyclip"
    ):
        losses.objective("siglip")
