"""The D x D matrices of the cyclic terms, a block of rows at a time in both directions.

With A = I + T and E = I - T:  P = A'A, Q = E'E, M = A'E, and for gradients G of the three

    dL/dA = A (G_P + G_P') + E G_M',   dL/dE = E (G_Q + G_Q') + A G_M,   dL/dI = dL/dA + dL/dE,   dL/dT = dL/dA - dL/dE

A and E never exist whole: beyond the inputs, the forward pass keeps D x D matrices, and the backward pass the gradients
it returns. Left to autograd, A'A would cost two products in the backward pass where one does.

Shapes: R rows of this rank, D embedding, N rows of a block.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_BLOCK_ROWS = 1024


def grams(image_RD: Tensor, text_RD: Tensor, *, mixed: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    """(P, Q, M) of this rank's rows, each (D, D) of the rows' dtype; M is None where it is not asked for."""
    made = cast(tuple[Tensor, ...], _Grams.apply(image_RD, text_RD, mixed))
    return made[0], made[1], made[2] if mixed else None


class _Grams(Function):
    @staticmethod
    def forward(ctx: Any, image_RD: Tensor, text_RD: Tensor, mixed: bool) -> tuple[Tensor, ...]:
        ctx.save_for_backward(image_RD, text_RD)
        ctx.set_materialize_grads(False)
        width = image_RD.shape[1]
        made = tuple(image_RD.new_zeros(width, width) for _ in range(3 if mixed else 2))
        for block in _blocks(len(image_RD)):
            sum_ND, difference_ND = image_RD[block] + text_RD[block], image_RD[block] - text_RD[block]
            _add_upper(made[0], sum_ND)
            _add_upper(made[1], difference_ND)
            if mixed:
                made[2].addmm_(sum_ND.T, difference_ND)
        for total_DD in made[:2]:
            total_DD[width // 2 :, : width // 2] = total_DD[: width // 2, width // 2 :].T
        return made

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None]:
        image_RD, text_RD = ctx.saved_tensors
        sum_DD, difference_DD = (None if each is None else each + each.T for each in gradients[:2])
        mixed_DD = gradients[2] if len(gradients) > 2 else None
        image_grad_RD, text_grad_RD = torch.empty_like(image_RD), torch.empty_like(text_RD)
        for block in _blocks(len(image_RD)):
            sum_ND, difference_ND = image_RD[block] + text_RD[block], image_RD[block] - text_RD[block]
            by_sum_ND = _product(sum_ND, sum_DD)
            by_difference_ND = _product(difference_ND, difference_DD)
            if mixed_DD is not None:
                by_sum_ND.addmm_(difference_ND, mixed_DD.T)
                by_difference_ND.addmm_(sum_ND, mixed_DD)
            torch.add(by_sum_ND, by_difference_ND, out=image_grad_RD[block])
            torch.sub(by_sum_ND, by_difference_ND, out=text_grad_RD[block])
        return image_grad_RD, text_grad_RD, None


def _add_upper(total_DD: Tensor, rows_ND: Tensor) -> None:
    """Adds X'X but for its lower left quarter, which mirrors the upper right one."""
    half = rows_ND.shape[1] // 2
    left, right = rows_ND[:, :half], rows_ND[:, half:]
    total_DD[:half, :half].addmm_(left.T, left)
    total_DD[:half, half:].addmm_(left.T, right)
    total_DD[half:, half:].addmm_(right.T, right)


def _product(rows_ND: Tensor, matrix_DD: Tensor | None) -> Tensor:
    return torch.zeros_like(rows_ND) if matrix_DD is None else rows_ND @ matrix_DD


def _blocks(num_rows: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK_ROWS, num_rows)) for start in range(0, num_rows, _BLOCK_ROWS)]
