"""Micro-batches leave loss and gradients as they are; checkpoints survive what can happen to a file."""

import copy
from typing import Any

import pytest
import torch

from cyclip_model import losses
from cyclip_model.model import heads, towers
from cyclip_model.model.learner import Learner
from cyclip_model.trainer.step import backward
from tests.cyclip_model.losses.settings import CONFIGS

TOWERS: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}


def learner(name: str, **vision: Any) -> Learner:
    objective, config = losses.objective(name), CONFIGS[name]
    cfg = {**TOWERS, **(objective.model_cfg or {}), "vision_cfg": {**TOWERS["vision_cfg"], **vision}}
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    built = towers.build(cfg, preprocess, 0).model
    made = heads.build(16, objective.nclip(config).head, 0) if objective.nclip else None
    if made is not None:  # BatchNorm sees a micro-batch: what is compared here is the rest
        made.image.norm, made.text.norm = torch.nn.Identity(), torch.nn.Identity()
    return Learner(built, made, is_bf16=False).double().train()


def batch(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((rows, 3, 16, 16), dtype=torch.float64, generator=generator)
    return images, torch.randint(1, 50, (rows, 8), generator=generator)


def gradients(made: Learner) -> dict[str, torch.Tensor | None]:
    return {name: None if each.grad is None else each.grad.clone() for name, each in made.named_parameters()}


@pytest.mark.parametrize("micro_batch", [1, 4, 5])
@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_micro_batches_leave_loss_and_gradients_as_they_are(name: str, micro_batch: int) -> None:
    whole = learner(name)
    cached = copy.deepcopy(whole)
    parts = lambda features: losses.objective(name).parts(features, CONFIGS[name])  # noqa: E731
    wanted = backward(whole, *batch(10), parts, 10)
    found = backward(cached, *batch(10), parts, micro_batch)
    assert set(found) == set(wanted)
    for part, value in wanted.items():
        torch.testing.assert_close(found[part], value, rtol=1e-6, atol=1e-8)
    of_whole, of_cached = gradients(whole), gradients(cached)
    assert of_whole["towers.logit_scale"] is not None or name == "nclip"
    for parameter, gradient in of_whole.items():
        if gradient is not None:
            torch.testing.assert_close(of_cached[parameter], gradient, rtol=1e-5, atol=1e-8, msg=parameter)


def test_what_a_tower_draws_is_the_same_in_both_passes() -> None:
    made = learner("clip", patch_dropout=0.5)
    seen: list[torch.Tensor] = []
    made.towers.visual.register_forward_hook(lambda _module, _given, out: seen.append(out.detach()))
    torch.manual_seed(0)
    backward(made, *batch(8), lambda features: losses.objective("clip").parts(features, CONFIGS["clip"]), 4)
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_running_means_move_once_a_batch() -> None:
    made = learner("clip", layers=[1, 1, 1, 1], width=8, image_size=32)
    images = torch.randn((8, 3, 32, 32), dtype=torch.float64)
    backward(made, images, batch(8)[1], lambda features: losses.objective("clip").parts(features, CONFIGS["clip"]), 4)
    counts = {int(each) for name, each in made.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {2}, "two micro-batches, each once"
