"""The exponential moving average of a learner's weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Learner = TypeVar("Learner", bound=nn.Module)


class Average(Generic[Learner]):
    """A second learner that follows the first: theta' <- d theta' + (1 - d) theta after each step, d the decay.

    Averaged is what a checkpoint holds and is no count: parameters, and the running means of BatchNorms, which belong
    to the weights they were taken with. Torch's AveragedModel takes all buffers or none; all would be wrong here, for
    the mean of two masks of -inf is no number.
    """

    def __init__(self, learner: Learner, decay: float) -> None:
        self.decay = decay
        self.learner = copy.deepcopy(learner).requires_grad_(requires_grad=False).eval()

    @torch.no_grad()
    def follow(self, learner: Learner) -> None:
        """Moves one step towards the learner."""
        theirs = learner.state_dict()
        for name, value in self.learner.state_dict().items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - self.decay)
            else:
                value.copy_(theirs[name])
