"""What learns: the towers, with the heads of an objective that has some. One module, so that optimiser, ranks and
checkpoints see it whole.

Shapes: B batch, C = 3 channels, H and W pixels, L tokens, D embedding, K clusters.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cyclip_model.losses import Features
from cyclip_model.losses.clip import at_least_float32
from cyclip_model.model.heads import Heads

if TYPE_CHECKING:
    from open_clip import CLIP


class Learner(nn.Module):
    """Towers and heads as one function from a batch to what every objective reads."""

    def __init__(self, towers: CLIP, heads: Heads | None, *, is_bf16: bool) -> None:
        super().__init__()
        self.towers, self.heads, self.is_bf16 = towers, heads, is_bf16

    def forward(self, images_BCHW: Tensor, tokens_BL: Tensor, *views: Tensor) -> Features:
        """Features of a batch of normalised pictures and tokens; embeddings and cluster logits are float32.

        Matrix products are bfloat16 where the learner is; weights, features and losses are float32 either way.

        Args:
            views: second views of pictures and of tokens, or nothing. They go through the towers with the first ones:
                BatchNorm sees all of them.
        """
        if views:
            images_BCHW, tokens_BL = (torch.cat(pair) for pair in zip((images_BCHW, tokens_BL), views, strict=True))
        with self._precision(images_BCHW):
            image_BD = self.towers.encode_image(images_BCHW.contiguous(memory_format=torch.channels_last))
            text_BD = self.towers.encode_text(tokens_BL)
        image_BD, text_BD = (normalize(at_least_float32(rows_BD), dim=-1) for rows_BD in (image_BD, text_BD))
        bias = self.towers.logit_bias
        features = Features(image_BD, text_BD, self.towers.logit_scale.exp(), None if bias is None else bias.clone())
        if views:
            (image_BD, image_view_BD), (text_BD, text_view_BD) = image_BD.chunk(2), text_BD.chunk(2)
            features = Features(image_BD, text_BD, *features[2:6], image_view_BD, text_view_BD)
        if self.heads is None:
            return features
        with self._precision(images_BCHW):
            return features._replace(image_BK=self.heads.image(image_BD), text_BK=self.heads.text(text_BD))

    def _precision(self, like: Tensor) -> AbstractContextManager[object]:
        return torch.autocast(like.device.type, torch.bfloat16) if self.is_bf16 else contextlib.nullcontext()
