"""The moving average: what it holds, by hand."""

import torch
from torch import Tensor

from cyclip_model.trainer.average import Average


class Small(torch.nn.Module):
    """One weight, one running mean, one count, and a mask that no checkpoint holds."""

    running_mean: Tensor
    count: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.register_buffer("running_mean", torch.zeros(1))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("mask", torch.tensor([-torch.inf]), persistent=False)


def test_weights_and_running_means_are_averaged_counts_copied_masks_left() -> None:
    learner = Small()
    average = Average(learner, 0.75)
    with torch.no_grad():
        for value in (5.0, 9.0):
            learner.weight.fill_(value)
            learner.running_mean.fill_(value)
            learner.count.add_(1)
            average.follow(learner)
    made = average.learner
    assert made.weight.item() == 0.75 * (0.75 * 1 + 0.25 * 5) + 0.25 * 9
    assert made.running_mean.item() == 0.25 * 0.75 * 5 + 0.25 * 9
    assert made.count.item() == 2
    assert made.mask.item() == -torch.inf
    assert not average.learner.training
    assert not any(each.requires_grad for each in average.learner.parameters())
