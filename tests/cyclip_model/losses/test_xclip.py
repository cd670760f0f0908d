import dataclasses

import pytest
import torch

from cyclip_model.losses.clip import clip_loss
from cyclip_model.losses.nclip import nclip_parts
from cyclip_model.losses.xclip import xclip_parts
from tests.cyclip_model.losses.batches import pairs
from tests.cyclip_model.losses.settings import CONFIGS, NCLIP, features_of


def test_the_parts_are_both_losses_in_their_weights() -> None:
    features = features_of(*pairs(6, 8), "xclip")
    found = xclip_parts(features, CONFIGS["xclip"])
    non_contrastive = nclip_parts(features, NCLIP)["loss"]
    torch.testing.assert_close(found["non_contrastive"], non_contrastive)
    torch.testing.assert_close(found["contrastive"], clip_loss(*features[:3]))
    torch.testing.assert_close(found["loss"], 0.3 * found["contrastive"] + 0.7 * non_contrastive)


def test_a_weight_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="weight_contrastive must be a number >= 0"):
        dataclasses.replace(CONFIGS["xclip"], weight_contrastive=-1.0)
