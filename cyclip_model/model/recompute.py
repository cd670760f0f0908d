"""Activations made again in the backward pass instead of kept: less memory, a third more time, the same bits.

open_clip does so for transformer blocks; for the blocks of its ModifiedResNet, where it does nothing, this file does.
What a BatchNorm remembers must not move again when a block runs for the second time, although that run must be the
first one's equal in all that autograd keeps.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from open_clip import CLIP


def checkpoint_activations(towers: CLIP, wanted: bool) -> None:
    """Makes the towers keep the inputs of their blocks only, or all activations; parameters keep their names."""
    from open_clip.modified_resnet import ModifiedResNet

    norms = [each for each in towers.visual.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    if wanted and norms and not isinstance(towers.visual, ModifiedResNet):
        raise ValueError(
            "train.checkpoint_activations: the picture tower's BatchNorms would remember every batch twice; of towers "
            "with BatchNorms only open_clip's ResNets can make their activations again"
        )
    towers.set_grad_checkpointing(wanted)
    if isinstance(towers.visual, ModifiedResNet):
        for stage in (towers.visual.layer1, towers.visual.layer2, towers.visual.layer3, towers.visual.layer4):
            stage.__class__ = RecomputedStage if wanted else nn.Sequential


class RecomputedStage(nn.Sequential):
    """A stage of blocks, each of which runs again in the backward pass."""

    # A compiler would not heed what surrounds the second run: stages run as they stand, the rest is compiled.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, rows: Tensor) -> Tensor:
        """The last block's output."""
        for block in self:
            if torch.is_grad_enabled():
                rows = checkpoint(block, rows, use_reentrant=False, context_fn=functools.partial(_contexts, block))
            else:
                rows = block(rows)
        return rows


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return contextlib.nullcontext(), _remembering_nothing(block)


@contextlib.contextmanager
def _remembering_nothing(block: nn.Module) -> Iterator[None]:
    """BatchNorms take part as ever inside, but what they remember stays, bit by bit.

    A momentum of 0 and not `track_running_stats`: without running means an operator saves other tensors for the
    backward pass than the first run did, and writing them back would look to autograd as if they had changed.
    """
    norms = [each for each in block.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, num_batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, num_batches
