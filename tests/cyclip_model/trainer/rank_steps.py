"""The gradients of one batch: of one process in one go, or of ranks that take their parts of it in micro-batches."""

import dataclasses
import sys
from pathlib import Path

import torch
from torch import Tensor

from cyclip_model import losses
from cyclip_model.losses import across
from cyclip_model.trainer import ranks
from cyclip_model.trainer.step import backward
from tests.cyclip_model.losses.settings import CONFIGS
from tests.cyclip_model.trainer.test_step import batch, learner

BATCH, MICRO_BATCH = 12, 4
"""Two ranks have 6 pairs each: a micro-batch of 4 and one of 2."""
VIEWS = "cyclip with views"
VARIANTS = (*losses.OBJECTIVES, VIEWS)


def step(mine: ranks.Ranks, name: str, micro_batch: int) -> dict[str, Tensor]:
    """Gradients by parameter, and the loss of all ranks, after one batch."""
    objective = "cyclip" if name == VIEWS else name
    config = dataclasses.replace(CONFIGS["cyclip"], inmodal_views=True) if name == VIEWS else CONFIGS[objective]
    made, own = learner(objective), mine.share(BATCH)
    images, tokens = batch(2 * BATCH)
    second = (images[BATCH:][own], tokens[BATCH:][own]) if name == VIEWS else ()
    found = backward(
        ranks.shared(made, mine),
        images[:BATCH][own],
        tokens[:BATCH][own],
        lambda features: losses.objective(objective).parts(features, config),
        micro_batch,
        second,
    )
    gradients = {key: each.grad for key, each in made.named_parameters() if each.grad is not None and each.grad.any()}
    return {**gradients, "loss": across.averaged(found["loss"])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    this = ranks.join()
    torch.save({name: step(this, name, MICRO_BATCH) for name in VARIANTS}, Path(sys.argv[1]) / f"{this.rank}.pt")
    ranks.leave()
