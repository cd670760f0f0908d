"""A small model trained by each objective, in one process or by ranks of a gloo group that share its batches."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from cyclip_model import losses
from cyclip_model.losses import across
from cyclip_model.losses.clip import Features
from tests.cyclip_model.losses.batches import randn
from tests.cyclip_model.losses.settings import CONFIGS

NUM_STEPS, BATCH, WIDTH = 20, 12, 8
VARIANTS = {**{name: (name, BATCH) for name in CONFIGS}, "cyclip, fewer rows than columns": ("cyclip", 4)}
"""Objective and batch size; the one has B > D, the other B < D."""


class Towers(nn.Module):
    """Two matrices, two more to clusters, temperature and bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = nn.Linear(5, WIDTH), nn.Linear(6, WIDTH)
        self.image_clusters, self.text_clusters = nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6)
        self.logit_scale = nn.Parameter(torch.tensor(1.5))
        self.logit_bias = nn.Parameter(torch.tensor(-2.0))

    def forward(self, images: Tensor, texts: Tensor) -> Features:
        """Features of a batch."""
        image, text = normalize(self.image(images), dim=1), normalize(self.text(texts), dim=1)
        clusters = 0.1 * self.image_clusters(image), 0.1 * self.text_clusters(text)
        return Features(
            image, text, self.logit_scale.exp(), self.logit_bias.clone(), *clusters
        )  # DDP misses bare leaves


def trained(name: str) -> dict[str, Any]:
    """The first step's loss and gradients, and the weights after the last step."""
    objective, batch = VARIANTS[name]
    towers = Towers().double()
    model: nn.Module = towers
    if across.world_size() > 1:
        model = DistributedDataParallel(towers, find_unused_parameters=True)
    optimizer = torch.optim.AdamW(towers.parameters(), lr=0.01)
    found: dict[str, Any] = {}
    num_rows = batch // across.world_size()
    first = across.first_row(num_rows)
    for step in range(NUM_STEPS):
        images, texts = randn((batch, 5), 2 * step), randn((batch, 6), 2 * step + 1)
        own = slice(first, first + num_rows)
        parts = losses.objective(objective).parts(model(images[own], texts[own]), CONFIGS[objective])
        optimizer.zero_grad()
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        if step == 0:
            found["loss"] = across.averaged(parts["loss"].detach())
            found |= {f"gradient of {name}": each.grad for name, each in towers.named_parameters()}
            found = {name: None if each is None else each.clone() for name, each in found.items()}
        optimizer.step()
    return {**found, **towers.state_dict()}


if __name__ == "__main__":
    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size)
    torch.save({name: trained(name) for name in VARIANTS}, folder / f"{rank}.pt")
    dist.destroy_process_group()
