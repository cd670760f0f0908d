"""The moving average: what it holds, by hand."""

import torch

from cyclip_model.average import Average


class Small(torch.nn.Module):
    """One weight, one running mean, one count, and a mask that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(1, affine=True)
        self.register_buffer("mask", torch.tensor([-torch.inf]), persistent=False)


def test_weights_and_running_means_are_averaged_counts_copied_masks_left() -> None:
    learner = Small()
    average = Average(learner, 0.75)  # type: ignore[arg-type]
    with torch.no_grad():
        for value in (5.0, 9.0):
            learner.norm.weight.fill_(value)
            learner.norm.running_mean.fill_(value)  # type: ignore[union-attr]
            learner.norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            average.follow(learner)  # type: ignore[arg-type]
    norm, mask = average.learner.norm, average.learner.mask
    assert norm.weight.item() == 0.75 * (0.75 * 1 + 0.25 * 5) + 0.25 * 9
    assert norm.running_mean.item() == 0.25 * 0.75 * 5 + 0.25 * 9
    assert norm.num_batches_tracked.item() == 2
    assert mask.item() == -torch.inf
    assert not average.learner.training
    assert not any(each.requires_grad for each in average.learner.parameters())
