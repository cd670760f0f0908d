"""What goes through the towers for a batch: its views, and second ones where the objective asks for them.

A second view of a picture is drawn as the first one, from a generator of its own. A second view of a caption has some
of its tokens swapped with the next and some left out: the edits of EDA (arXiv 1901.11196) that need no dictionary.
CyCLIP's code edits words, these are pieces of words. The first view of a caption is the caption.

Shapes: B batch, R rows of a rank, C = 3 channels, H and W pixels, L tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cyclip_model.losses.clip import CaptionEdits
from cyclip_model.model.towers import PreprocessConfig
from cyclip_model.rows import augment
from cyclip_model.rows.augment import AugmentConfig
from cyclip_model.rows.data import Batch


class Second(NamedTuple):
    """Second views of a rank's own rows."""

    images_RCHW: Tensor
    tokens_RL: Tensor


class Share(NamedTuple):
    """Which rows of which batch a rank takes, and how many rows the batch has."""

    seed: int
    epoch: int
    number: int
    own: slice
    batch: int


def pictures(batch: Batch, augmentation: AugmentConfig, preprocess: PreprocessConfig, share: Share) -> Tensor:
    """The first view of pictures, float32 (R, C, H, W): augmented, then normalised."""
    return _moved(batch, augmentation, preprocess, share, augment.draws(*share[:3]))


def second(
    batch: Batch, augmentation: AugmentConfig, preprocess: PreprocessConfig, share: Share, edits: CaptionEdits
) -> Second:
    """Second views, a function of (seed, epoch, batch) as the first ones are, which they leave as they were."""
    generator = augment.draws(*share[:3], view=1)
    images = _moved(batch, augmentation, preprocess, share, generator)
    return Second(images, edited(batch.tokens_RL, edits, generator, share.own, share.batch))


def edited(tokens_RL: Tensor, edits: CaptionEdits, generator: torch.Generator, own: slice, batch: int) -> Tensor:
    """Tokens (R, L) with some swapped and some left out; start, end and one token between them stay.

    Args:
        tokens_RL: int64 on any device, each row ending with its largest token, then zeros; the result is on the same.
        own: which rows of a batch of how many these are.
    """
    length = tokens_RL.shape[1]
    drawn = torch.rand((2, batch, length), generator=generator)[:, own].to(tokens_RL.device)
    place_L = torch.arange(length, device=tokens_RL.device)
    end_R1 = tokens_RL.argmax(1, keepdim=True)
    is_inner_RL = (place_L > 0) & (place_L < end_R1)
    swapped_RL = tokens_RL.gather(1, _swaps(is_inner_RL, drawn[0] < edits.token_swap_prob))
    leaves_RL = is_inner_RL & (drawn[1] < edits.token_delete_prob)
    # the inner token with the largest draw stays, or a caption could be left without any
    stays_R1 = torch.where(is_inner_RL, drawn[1], -1.0).argmax(1, keepdim=True)
    leaves_RL = leaves_RL & (place_L != stays_R1)
    order_RL = leaves_RL.long().argsort(dim=1, stable=True)
    is_empty_RL = place_L >= length - leaves_RL.sum(1, keepdim=True)
    return swapped_RL.gather(1, order_RL).masked_fill(is_empty_RL, 0)


def _swaps(is_inner_RL: Tensor, is_wanted_RL: Tensor) -> Tensor:
    """Where each token comes from, (R, L): pairs of neighbours change places, no token twice."""
    source_RL = torch.arange(is_inner_RL.shape[1], device=is_inner_RL.device).repeat(len(is_inner_RL), 1)
    is_possible_RL = is_wanted_RL[:, :-1] & is_inner_RL[:, :-1] & is_inner_RL[:, 1:]
    before_R = torch.zeros_like(is_possible_RL[:, 0])
    for place in range(is_possible_RL.shape[1]):
        before_R = is_possible_RL[:, place] & ~before_R
        source_RL[:, place] += before_R.long()
        source_RL[:, place + 1] -= before_R.long()
    return source_RL


def _moved(
    batch: Batch,
    augmentation: AugmentConfig,
    preprocess: PreprocessConfig,
    share: Share,
    generator: torch.Generator,
) -> Tensor:
    moved = augment.augment(batch.images_RCSS, augmentation, generator, share.own, share.batch)
    return augment.normalise(moved, preprocess.mean, preprocess.std)
