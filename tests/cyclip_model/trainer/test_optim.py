import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from cyclip_model.trainer import optim


class Tower(nn.Module):
    """A tower whose norm hides behind a number, as in a ResNet's downsample branch."""

    def __init__(self) -> None:
        super().__init__()
        self.downsample = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.attn = nn.MultiheadAttention(4, 2)
        self.ln_final = nn.LayerNorm((2, 4))
        self.token_embedding = nn.Embedding(5, 4)
        self.positional_embedding = nn.Parameter(torch.zeros(3, 4))
        self.text_projection = nn.Parameter(torch.zeros(4, 4))
        self.logit_scale = nn.Parameter(torch.tensor(0.0))


def test_matrices_decay_and_norms_biases_positions_and_scalars_do_not() -> None:
    model = Tower()
    decayed, plain = optim.param_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(parameter)] for parameter in decayed["params"]} == {
        "downsample.0.weight",
        "attn.in_proj_weight",
        "attn.out_proj.weight",
        "token_embedding.weight",
        "text_projection",
    }
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


def test_the_rate_warms_up_from_the_first_step_and_ends_near_zero() -> None:
    rates = [optim.learning_rate(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 1e-3


def test_without_warm_up_the_first_rate_is_the_peak() -> None:
    assert optim.learning_rate(0, 4, 0.5, 0.0) == 0.5


@pytest.mark.parametrize(("gradient", "bound"), [(-1e6, math.log(100)), (1e6, 0.0)])
def test_the_temperature_is_clamped_after_the_step(gradient: float, bound: float) -> None:
    model = Tower()
    model.logit_scale.grad = torch.tensor(gradient)
    learner = cast("Any", SimpleNamespace(parameters=model.parameters, towers=model))
    optim.update(learner, torch.optim.SGD(model.parameters()), 1.0, 1e9)
    assert model.logit_scale.item() == pytest.approx(bound)


def test_gradients_are_clipped_together_and_their_norm_is_from_before() -> None:
    parameter, scale = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.tensor(1.0))
    parameter.grad = torch.tensor([3.0, 4.0])
    towers = SimpleNamespace(logit_scale=scale)
    learner = cast("Any", SimpleNamespace(parameters=lambda: [parameter, scale], towers=towers))
    norm = optim.update(learner, torch.optim.SGD([parameter], lr=9.0), 0.5, 1.0)
    assert norm == pytest.approx(5.0)
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.3, -0.4]))


def test_positions_of_timm_towers_are_not_decayed() -> None:
    class Trunk(torch.nn.Module):
        """Named as timm names them."""

        def __init__(self) -> None:
            super().__init__()
            self.pos_embed, self.cls_token, self.kernel = (torch.nn.Parameter(torch.ones(1, 2, 3)) for _ in range(3))

    trunk = Trunk()
    decayed, plain = optim.param_groups(trunk, 0.1)
    assert [id(each) for each in decayed["params"]] == [id(trunk.kernel)]
    assert len(plain["params"]) == 2
