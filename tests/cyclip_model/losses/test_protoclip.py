import pytest
import torch
from torch.nn.functional import normalize

from cyclip_model.losses import protoclip
from cyclip_model.losses.clip import Features, clip_loss
from cyclip_model.losses.protoclip import ProtoclipConfig
from tests.cyclip_model.losses.batches import randn, unit_rows

CONFIG = ProtoclipConfig(num_prototypes=3, num_rounds=4, temperature=0.1, weight=0.5)


def blobs(seed: int) -> torch.Tensor:
    """Three groups of four rows, far apart, one after another."""
    centre = torch.eye(8, dtype=torch.float64)[:3].repeat_interleave(4, 0)
    return normalize(centre + 0.05 * randn((12, 8), seed), dim=1)


def test_clusters_are_the_groups_that_are_there() -> None:
    found = protoclip.clusters(blobs(0), 3, 4).reshape(3, 4)
    assert len(found.unique()) == 3
    assert (found == found[:, :1]).all()


def test_pairs_of_like_groups_cost_less_than_pairs_at_random() -> None:
    image, text = blobs(0), blobs(1)
    order = torch.tensor([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    like = protoclip.prototype_loss(text, image, CONFIG)
    assert float(like) < 0.01
    assert protoclip.prototype_loss(text[order], image, CONFIG) > 10 * like


def test_the_parts_add_up_and_the_prototypes_pass_no_gradient() -> None:
    image, text = blobs(0).requires_grad_(), blobs(1)
    features = Features(image, text, torch.tensor(5.0, dtype=torch.float64))
    parts = protoclip.protoclip_parts(features, CONFIG)
    torch.testing.assert_close(parts["loss"], clip_loss(*features[:3]) + 0.5 * parts["prototypes"])
    loss = protoclip.prototype_loss(text, image, CONFIG)
    assert not loss.requires_grad, "clusters of the pictures teach the captions alone"


def test_more_prototypes_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="num_prototypes = 3 is more than the 2 pairs"):
        protoclip.clusters(unit_rows(2, 4, 0), 3, 1)
