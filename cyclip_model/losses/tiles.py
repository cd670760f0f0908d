"""The contrastive loss without its B x B matrix: row tiles with a running logsumexp, made again in the backward pass.

For queries q and keys k, unit rows of the same B pairs, z_ij = s <q_i, k_j>, r_i = log sum_j exp z_ij and
c_j = log sum_i exp z_ij:

    rows only:         L = 1/B  sum_i ( r_i - z_ii )
    rows and columns:  L = 1/2B sum_i ( r_i + c_i - 2 z_ii )
    dL/dz_ij = 1/B  ( exp(z_ij - r_i) - [i = j] ),   or   1/2B ( exp(z_ij - r_i) + exp(z_ij - c_j) - 2 [i = j] )

Exact in value and gradient; O(T B) memory for tiles of T rows. Each rank makes the tiles of its own query rows against
the keys of all ranks; of the columns, only the B logsumexps cross the wire.

Shapes: R query rows of this rank, B keys of all ranks, D embedding, T rows of a tile.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from cyclip_model.losses import across

_TILE_ROWS = 256
"""Tiles that stay in the cache are the fastest ones."""


def contrast(query_RD: Tensor, key_RD: Tensor, logit_scale: Tensor, *, columns: bool = True) -> Tensor:
    """Mean cross-entropy in nats of this rank's rows against the keys of all ranks, a scalar of the rows' dtype.

    Args:
        query_RD, key_RD: unit rows of one dtype; row i of both is one pair.
        logit_scale: the multiplier s, a scalar.
        columns: whether the keys look for their queries as well; the two directions are averaged.
    """
    return cast(Tensor, _Contrast.apply(query_RD, across.gathered(key_RD), logit_scale, columns))


class _Contrast(Function):
    @staticmethod
    def forward(ctx: Any, query_RD: Tensor, key_BD: Tensor, logit_scale: Tensor, columns: bool) -> Tensor:
        num_rows, first = len(query_RD), across.first_row(len(query_RD))
        row_R, column_B = query_RD.new_empty(num_rows), query_RD.new_full((len(key_BD),), -torch.inf)
        for tile in _tiles(num_rows):
            logits_TB = (logit_scale * query_RD[tile]) @ key_BD.T
            row_R[tile] = logits_TB.logsumexp(1)
            if columns:
                column_B = torch.logaddexp(column_B, logits_TB.logsumexp(0))
        own_R = logit_scale * (query_RD * key_BD[first : first + num_rows]).sum(1)
        if columns:
            column_B = across.logsumexp(column_B)
        ctx.columns = columns
        ctx.save_for_backward(query_RD, key_BD, logit_scale, row_R, column_B)
        found_R = (row_R + column_B[first : first + num_rows]) / 2 if columns else row_R
        return (found_R - own_R).mean()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query_RD, key_BD, logit_scale, row_R, column_B = ctx.saved_tensors
        num_rows, first = len(query_RD), across.first_row(len(query_RD))
        num_directions = 2 if ctx.columns else 1
        query_grad_RD, key_grad_BD = torch.empty_like(query_RD), torch.zeros_like(key_BD)
        for tile in _tiles(num_rows):
            scaled_TD = logit_scale * query_RD[tile]
            logits_TB = scaled_TD @ key_BD.T
            share_TB = (logits_TB - row_R[tile, None]).exp_()
            if ctx.columns:
                share_TB += logits_TB.sub_(column_B).exp_()
            share_TB.diagonal(first + tile.start).sub_(num_directions)
            query_grad_RD[tile] = share_TB @ key_BD
            key_grad_BD.addmm_(share_TB.T, scaled_TD)
        weight = gradient / (num_directions * num_rows)
        scale_grad = (query_grad_RD * query_RD).sum() * weight
        return query_grad_RD.mul_(weight * logit_scale), key_grad_BD.mul_(weight), scale_grad.to(logit_scale), None


def _tiles(num_rows: int) -> list[slice]:
    return [slice(start, min(start + _TILE_ROWS, num_rows)) for start in range(0, num_rows, _TILE_ROWS)]
