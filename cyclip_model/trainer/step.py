"""Forward and backward of one batch: in one go, or in micro-batches that leave the loss that of the whole batch.

A contrastive loss looks at all pairs of a batch, so losses of micro-batches do not add up to it. Features do: they are
made first without a graph, the loss of all gives each its gradient, and a second pass takes that into the towers
(gradient cache, arXiv 2101.06983, section 3.2). Memory is that of a micro-batch, and of B x D features.

BatchNorm sees a micro-batch where it would have seen the batch; its running means move once for each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cyclip_model.losses import Features

Parts = Callable[[Features], dict[str, Tensor]]
_BY_ROW = ("image_BD", "text_BD", "image_BK", "text_BK", "image_view_BD", "text_view_BD")
_SCALARS = ("logit_scale", "logit_bias")


def backward(
    learner: nn.Module,
    images_BCHW: Tensor,
    tokens_BL: Tensor,
    parts: Parts,
    micro_batch: int,
    views: tuple[Tensor, ...] = (),
) -> dict[str, Tensor]:
    """Adds the batch's gradients to the learner's parameters and returns the objective's scalars, detached.

    Args:
        learner: gives Features of pictures and tokens; as one of several ranks it averages gradients, once a batch.
        micro_batch: rows that go through the learner at a time, each with its second view where there are some.
        views: second views of pictures and of tokens, or nothing.
    """
    alone = learner.module if isinstance(learner, DistributedDataParallel) else learner
    if micro_batch >= len(images_BCHW):
        found = parts(learner(images_BCHW, tokens_BL, *views))
        torch.autograd.backward(found["loss"])
        return {name: value.detach() for name, value in found.items()}
    given = (images_BCHW, tokens_BL, *views)
    chunks = list(zip(*(torch.split(rows, micro_batch) for rows in given), strict=True))
    states = []
    with torch.no_grad(), _resting_statistics(learner):
        made = []
        for chunk in chunks:
            states.append(_drawn_so_far(images_BCHW.device))
            made.append(alone(*chunk))
    whole = _joined(made)
    found = parts(whole)
    torch.autograd.backward(found["loss"])
    for number, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        _draw_from(state, images_BCHW.device)
        start, is_last = number * micro_batch, number == len(chunks) - 1
        with contextlib.nullcontext() if is_last or learner is alone else learner.no_sync():  # type: ignore[operator]
            pairs = [
                (value, gradient[start : start + len(value)] if name in _BY_ROW else gradient)
                for name, value, gradient in _with_gradients(learner(*chunk), whole)
                if name in _BY_ROW or is_last  # temperature and bias are no rows: once
            ]
            torch.autograd.backward([value for value, _ in pairs], [gradient for _, gradient in pairs])
    return {name: value.detach() for name, value in found.items()}


def _drawn_so_far(device: torch.device) -> list[Tensor]:
    """The state of the generators that towers on this device may draw from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _draw_from(state: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


def _joined(made: list[Features]) -> Features:
    """The features of all micro-batches as leaves that take a gradient."""
    present = [name for name in (*_BY_ROW, *_SCALARS) if getattr(made[0], name) is not None]
    joined = {
        name: torch.cat([getattr(each, name) for each in made]) if name in _BY_ROW else getattr(made[0], name).clone()
        for name in present
    }
    return made[0]._replace(**{name: value.requires_grad_() for name, value in joined.items()})


def _with_gradients(again: Features, whole: Features) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name, value with a graph, gradient of the loss by it) of what the loss depends on."""
    for name in (*_BY_ROW, *_SCALARS):
        leaf = getattr(whole, name)
        if leaf is not None and leaf.grad is not None:
            yield name, getattr(again, name), leaf.grad


@contextlib.contextmanager
def _resting_statistics(learner: nn.Module) -> Iterator[None]:
    """BatchNorms use the batch at hand inside, as ever in training, and leave their running means as they are."""
    norms = [each for each in learner.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    tracking = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, was in zip(norms, tracking, strict=True):
            norm.track_running_stats = was
