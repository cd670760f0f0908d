"""What training is watched by: the loss of held-out pairs, and how well they find each other.

Shapes: B batch, N held-out rows looked at, W width of what is compared (embedding D, or clusters K).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cyclip_model import losses
from cyclip_model.losses import Features
from cyclip_model.metrics import retrieval
from cyclip_model.rows import augment, data

if TYPE_CHECKING:
    from cyclip_model.model.learner import Learner
    from cyclip_model.trainer.loop import Recipe

_K = 10
_MOST_ROWS = 2048
"""Held-out rows that are looked for among each other, the first ones of the split: all pairs of them are scored."""
COLUMNS = ("val_loss", f"val_recall_{_K}")
"""What validate returns, in the order of history.csv."""


@torch.no_grad()
def validate(learner: Learner, rows: data.Source, recipe: Recipe) -> dict[str, float]:
    """COLUMNS of the rows as they are, in batches of train.batch_size, the last one shorter.

    val_loss: CLIP's mean loss of objectives that hold it, without second views, which belong to training; of others the
    whole objective. val_recall_10: the share of pictures and of captions that find their pair among the first ten, the
    mean of both directions. A caption that several pictures have is right for all of them, and ties count against the
    truth. Pairs are compared as evaluation compares them, so the share means the same for every objective.
    """
    learner.eval()
    config, total = recipe.config, 0.0
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    starts = range(config.batch_size, len(rows), config.batch_size)
    for images_RCHW, tokens_RL in rows.stream(np.split(np.arange(len(rows)), starts)):
        images = augment.normalise(
            images_RCHW.to(recipe.ranks.device).float() / 255, config.preprocess.mean, config.preprocess.std
        )
        features = learner(images, tokens_RL.to(recipe.ranks.device))
        loss = losses.clip_loss(*features[:3]) if recipe.is_contrastive else recipe.parts(features)["loss"]
        total += float(loss) * len(features.image_BD)
        if len(found) * config.batch_size < _MOST_ROWS:
            found.append((*compared(features, recipe.temperature), tokens_RL))
    image_NW, text_NW, tokens_NL = (torch.cat(each)[:_MOST_ROWS] for each in zip(*found, strict=True))
    return dict(zip(COLUMNS, (total / len(rows), _recall(image_NW, text_NW, tokens_NL)), strict=True))


def compared(features: Features, temperature: float | None) -> tuple[Tensor, Tensor]:
    """Unit rows (B, W) that pictures and captions are compared by: embeddings, or cluster probabilities.

    Args:
        temperature: of the softmax over clusters, for an objective that compares by them; None for all others.
    """
    if temperature is None:
        return features.image_BD, features.text_BD
    assert features.image_BK is not None and features.text_BK is not None
    image_BK, text_BK = (torch.softmax(each / temperature, dim=1) for each in (features.image_BK, features.text_BK))
    return normalize(image_BK, dim=1), normalize(text_BK, dim=1)


def _recall(image_NW: Tensor, text_NW: Tensor, tokens_NL: Tensor) -> float:
    score_NN = (image_NW @ text_NW.T).cpu().numpy()
    same_NN = (tokens_NL[:, None] == tokens_NL[None]).all(2).numpy()
    directions = ((score_NN, same_NN), (score_NN.T, same_NN.T))
    return sum(retrieval.recall(retrieval.best_ranks(*each), _K) for each in directions) / 2
