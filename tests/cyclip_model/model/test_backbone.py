"""What a tower has before its projection, for every kind of tower that open_clip builds; its output stays its own."""

import copy

import pytest
import torch

from cyclip_model.model import backbone, towers
from tests.cyclip_model import small_set

VIT = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
TIMM = {"timm_model_name": "resnet10t", "timm_model_pretrained": False, "timm_proj": "linear", "image_size": 32}


@pytest.mark.parametrize(
    ("vision", "width"),
    [(small_set.MODEL_CFG["vision_cfg"], 256), (VIT, 32), (TIMM, 512)],
    ids=["resnet", "vit", "timm"],
)
def test_the_output_is_the_towers_own_and_the_backbone_as_wide_as_it_is(vision: dict[str, object], width: int) -> None:
    config = {**copy.deepcopy(small_set.MODEL_CFG), "vision_cfg": vision}
    visual = towers.build(config, small_set.PREPROCESS_CFG, seed=0).model.visual
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = visual(pixels)
        output, hidden = backbone.both(visual, pixels)
        assert torch.equal(output, plain)
        assert hidden.shape == (3, width)
        assert torch.equal(visual(pixels), plain), "the tower is left as it was"
        if getattr(visual, "proj", None) is not None:
            torch.testing.assert_close(hidden @ visual.proj, plain)


def test_of_a_resnet_it_is_the_mean_of_the_last_map() -> None:
    visual = towers.build(small_set.MODEL_CFG, small_set.PREPROCESS_CFG, seed=0).model.visual
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        last = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels)))))
        torch.testing.assert_close(backbone.both(visual, pixels)[1], last.mean(dim=(2, 3)))


def test_a_tower_of_another_kind_has_its_output_only() -> None:
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    output, hidden = backbone.both(tower, torch.ones(2, 3, 2, 2))
    assert output is hidden
