"""Ranks of one training run: who this process is among them, and a learner that sees what all of them see.

torchrun starts the ranks and tells each of them by environment variables; without it there is one. Each rank gets its
share of every batch. Losses gather what they need (losses/across.py), gradients are averaged by
DistributedDataParallel, and BatchNorms use the statistics of the whole batch: the weights are those of one process, but
for rounding.

Shapes: R rows of this rank, C channels.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cyclip_model.losses import across
from lineage import orphans

STAGE_PID = "CLIPLINE_STAGE_PID"
"""Environment variable by which a stage tells its ranks who it is."""


class Ranks(NamedTuple):
    """This process among its peers."""

    rank: int
    """From 0; rank 0 alone writes."""
    world_size: int
    device: torch.device
    """A GPU of its own, or the CPU."""

    def share(self, num_rows: int) -> slice:
        """Which rows of a batch are this rank's; every rank has as many."""
        each = num_rows // self.world_size
        return slice(self.rank * each, (self.rank + 1) * each)


def join() -> Ranks:
    """Joins the group that torchrun has told this process of; a process on its own is a group of one."""
    world_size, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    if world_size > 1:
        # with a device nccl connects at once, so that a rank without its GPU fails here and not at the first step
        dist.init_process_group("nccl" if has_gpu else "gloo", device_id=device if has_gpu else None)
    return Ranks(int(os.environ.get("RANK", "0")), world_size, device)


def die_with_stage() -> None:
    """Asks the kernel to end this rank with its torchrun, which ends with the stage; leaves now if they are gone.

    That may be before this rank could ask: it takes seconds to import torch. Then its parent is another process, whose
    own parent is not the stage. A rank that no stage has started, as on several machines, asks for torchrun's end only.
    """
    torchrun, stage_pid = os.getppid(), os.environ.get(STAGE_PID)
    orphans.die_with_parent(torchrun)
    status = Path(f"/proc/{torchrun}/stat")
    if stage_pid is None or not status.is_file():
        return
    parent = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
    if parent != stage_pid:
        raise SystemExit("the stage that started this rank has ended")


def leave() -> None:
    """Leaves the group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def shared(learner: nn.Module, ranks: Ranks) -> nn.Module:
    """The learner as one of several: gradients averaged over ranks; the learner itself where there is one rank."""
    if ranks.world_size == 1:
        return learner
    devices = [ranks.device.index] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(learner, device_ids=devices, find_unused_parameters=True)


def synchronised(module: nn.Module, ranks: Ranks) -> nn.Module:
    """The module with BatchNorms over all ranks' rows; as it is where there is one rank."""
    if ranks.world_size == 1:
        return module
    _refuse_other_norms(module)
    if ranks.device.type == "cuda":
        return cast(nn.Module, nn.SyncBatchNorm.convert_sync_batchnorm(module))  # type: ignore[no-untyped-call]
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, _SyncedNorm.of(child))
        else:
            synchronised(child, ranks)
    return module


def _refuse_other_norms(module: nn.Module) -> None:
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for each in module.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm) and type(each) not in plain:
            raise ValueError(
                f"train.processes: the towers have norms of a kind of their own ({type(each).__name__}), which cannot "
                "be taken over several processes: train with 1"
            )


class _SyncedNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over all ranks on the CPU, where torch has none; parameters and buffers have BatchNorm's names."""

    @classmethod
    def of(cls, norm: Any) -> _SyncedNorm:
        """The same norm, sharing its parameters and buffers."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made._parameters, made._buffers, made.training = norm._parameters, norm._buffers, norm.training
        return made

    def _check_input_dim(self, _input: Tensor) -> None:
        """Takes (R, C) and (R, C, H, W) alike."""

    def forward(self, rows: Tensor) -> Tensor:
        """The rows, of zero mean and unit variance a channel over all ranks, then scaled and shifted."""
        if not self.training:
            return super().forward(rows)
        wide = rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
        axes = [0, *range(2, rows.ndim)]
        count = wide.numel() / wide.shape[1] * across.world_size()
        shape = (1, -1, *[1] * (rows.ndim - 2))
        mean_C = across.summed(wide.sum(axes)) / count
        centred = wide - mean_C.view(shape)
        variance_C = across.summed(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._remember(mean_C.detach(), variance_C.detach() * count / (count - 1))
        made = centred * torch.rsqrt(variance_C + self.eps).view(shape)
        if self.affine:
            made = made * self.weight.view(shape) + self.bias.view(shape)
        return made.to(rows.dtype)

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
