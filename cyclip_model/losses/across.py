"""What the ranks of a process group give each other, with its gradient; without a group, the identity.

Every rank holds R of the B = W R pairs and returns a loss whose mean over the W ranks is the global batch's. DDP takes
that mean of the gradients, so a gradient that comes back through these functions is summed over the ranks, not
averaged: parameters of the towers, the heads and the temperature alike then get the single-process gradient. A gather
that drops gradients would give the towers 1/W of theirs and the temperature all of it.

Shapes: R rows of this rank, B rows of all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

_is_alone = False


def world_size() -> int:
    """W, the number of ranks; 1 without a process group."""
    return dist.get_world_size() if not _is_alone and dist.is_available() and dist.is_initialized() else 1


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this rank is the only one: what all ranks have alike, as held-out rows, is not to be gathered."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def first_row(num_rows: int) -> int:
    """Where this rank's rows begin among all; every rank has as many."""
    return dist.get_rank() * num_rows if world_size() > 1 else 0


def gathered(rows: Tensor) -> Tensor:
    """(R, ...) of each rank as (B, ...) in order of ranks, on every rank."""
    return cast(Tensor, _Gathered.apply(rows)) if world_size() > 1 else rows


def summed(value: Tensor) -> Tensor:
    """The sum over ranks of equally shaped tensors, on every rank."""
    return cast(Tensor, _Summed.apply(value)) if world_size() > 1 else value


def averaged(value: Tensor) -> Tensor:
    """The mean over ranks of equally shaped tensors, on every rank."""
    return summed(value) / world_size()


@torch.no_grad()
def logsumexp(value: Tensor) -> Tensor:
    """Elementwise log of the sum over ranks of exp(value); no gradient."""
    if world_size() == 1:
        return value
    most = value.clone()
    dist.all_reduce(most, dist.ReduceOp.MAX)
    total = (value - most).exp()
    dist.all_reduce(total)
    return most + total.log()


class _Gathered(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.num_rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()  # gloo has no reduce_scatter
        dist.all_reduce(total)
        first = first_row(ctx.num_rows)
        return total[first : first + ctx.num_rows]


class _Summed(Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
