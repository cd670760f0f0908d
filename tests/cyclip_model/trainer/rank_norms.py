"""A step of a small network with BatchNorms, by one process or by ranks that share its batch."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from cyclip_model.trainer import ranks
from tests.cyclip_model.losses.batches import randn


def step(mine: ranks.Ranks) -> dict[str, Tensor]:
    """Output of this rank's rows, the parameters' gradients and the buffers after one step."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5)
    ).double()
    ranks.synchronised(network, mine)
    model = ranks.shared(network, mine)
    rows = randn((8, 3, 4, 4), 0)[mine.share(8)]
    out = model(rows)
    weights = randn((8, 5), 1)[mine.share(8)]
    (out * weights).sum(1).mean().backward()
    found = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    return {**found, **dict(network.named_buffers()), "out": out.detach()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    this = ranks.join()
    torch.save(step(this), Path(sys.argv[1]) / f"{this.rank}.pt")
    ranks.leave()
