"""An image tower read at two places: its output, and what comes out of its backbone before that is projected.

Tables of visual representation read the second (xCLIP, arXiv 2210.09304, linear probe), zero-shot ones the first.
Shapes: B pictures, D embedding width, H backbone width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def both(visual: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """(B, D) output and (B, H) backbone features of one of open_clip's image towers; the output is bit for bit its own.

    Of a ModifiedResNet these are the last feature map's means, of a transformer its pooled token, of a timm trunk
    what its head is given. A tower of another kind has no projection that we know of: both are its output.
    """
    if hasattr(visual, "attnpool") and visual.attnpool is not None:
        return _before(visual, visual.attnpool, pixels_BCHW)
    if hasattr(visual, "trunk"):
        return _after(visual, visual.trunk, pixels_BCHW)
    if getattr(visual, "proj", None) is not None:
        return _unprojected(visual, pixels_BCHW)
    output_BD = _first(visual(pixels_BCHW))
    return output_BD, output_BD


def _first(output: Any) -> Tensor:
    """The pooled output of a tower that gives its tokens beside it, as CoCa's does."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def _before(visual: Any, pool: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []
    hook = pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        return visual(pixels_BCHW), seen[0].mean(dim=(2, 3))
    finally:
        hook.remove()


def _after(visual: Any, trunk: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[Tensor] = []
    hook = trunk.register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        output_BD = visual(pixels_BCHW)
        return output_BD, seen[0].flatten(2).mean(dim=2) if seen[0].ndim > 2 else seen[0]
    finally:
        hook.remove()


def _unprojected(visual: Any, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    projection = visual.proj
    visual.proj = None
    try:
        pooled_BH = _first(visual(pixels_BCHW))
    finally:
        visual.proj = projection
    return pooled_BH @ projection, pooled_BH
