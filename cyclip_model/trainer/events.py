"""Every step's scalars for TensorBoard, where somebody asks for them: for people, never for a result.

    CLIPLINE_TENSORBOARD=1 dvc repro train@clip-0
    tensorboard --logdir .work/tensorboard

An environment variable and not a param, so that asking changes no stage. A run that goes on from its checkpoint writes
into the same folder; what the killed one wrote beyond it is hidden.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

VARIABLE = "CLIPLINE_TENSORBOARD"
Scalars = Callable[[int, Mapping[str, float]], None]
"""(step from 0, scalars by name) -> nothing."""


def is_asked() -> bool:
    """Whether the environment asks for events."""
    return os.environ.get(VARIABLE, "").lower() not in ("", "0", "false", "no", "off")


@contextlib.contextmanager
def writer(folder: Path) -> Iterator[Scalars]:
    """Yields what writes a step's scalars as events under folder.

    Raises:
        ValueError: tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            f"{VARIABLE} is set, but the package tensorboard is not installed: pip install tensorboard, or unset it"
        )
    from torch.utils.tensorboard import SummaryWriter

    opened: list[SummaryWriter] = []

    def write(step: int, scalars: Mapping[str, float]) -> None:
        if not opened:  # only now is it known from where the run goes on
            opened.append(SummaryWriter(str(folder), purge_step=step))  # type: ignore[no-untyped-call]
        for name, value in scalars.items():
            opened[0].add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    try:
        yield write
    finally:
        for each in opened:
            each.close()  # type: ignore[no-untyped-call]
