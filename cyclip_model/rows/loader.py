"""Where training's rows wait to be drawn: in memory, decoded once on a disk, or in the shards, decoded at every draw.

All give the same batches, whatever the number of workers: what is here is in no stage's params, for no result depends
on it. On disk and in the shards memory does not grow with the pictures: a row keeps its uid and, to be found in a
shard, 28 bytes.

Shapes: N rows, R rows of a batch, C = 3 channels, S pixels, L tokens.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from cyclip_model.rows import data, decoded_rows
from cyclip_model.rows.data import Batch, Numbers, Packed, Source
from lineage import orphans


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderConfig:
    """Section loader; in no stage's params, for the weights are the same bit by bit."""

    cache: Literal["ram", "disk", "none"]
    """Where decoded rows are kept: in memory, in a file in the stage's scratch, or nowhere."""
    workers: int
    """Processes of each rank that read and decode ahead of the steps; 0: it is done before the first one (ram, disk)
    or in between them (none)."""
    prefetch: int
    """Batches that each worker has ready, at least 1."""

    def __post_init__(self) -> None:
        if self.workers < 0 or self.prefetch < 1:
            raise ValueError("workers is at least 0, prefetch at least 1")


class Taken(Protocol):
    """N rows of which a batch can be taken, by any process."""

    @property
    def snapshot(self) -> list[str]:
        """Per row, as a Source's."""

    @property
    def uid(self) -> list[str]:
        """Per row, as a Source's."""

    def take(self, numbers: Numbers) -> Batch:
        """The batch of these rows."""


@contextlib.contextmanager
def opened(rows: Packed, config: LoaderConfig, folder: Path, device: torch.device) -> Iterator[Source]:
    """Gives the rows of shards as the section wants them; no worker outlives the context.

    Args:
        folder: what is kept on a disk; one process makes it, others that want it wait.
        device: where batches will go; for a GPU they come in pinned memory.

    Raises:
        ValueError: a picture does not decode, names shard and key; or the disk is full.
    """
    stream: Stream | Filling
    if config.cache == "none":
        stream = Stream(rows, config.workers, config.prefetch, device)
    elif config.cache == "ram" and config.workers:
        stream = Filling(rows, config.workers, config.prefetch, device)
    elif config.cache == "ram" or not len(rows):
        stream = Stream(data.in_memory(rows, map(rows.take, data.in_order(len(rows)))), 0, 1, device)
    else:
        with contextlib.closing(Stream(rows, config.workers, config.prefetch)) as packed:
            on_disk = decoded_rows.kept(folder, rows, packed.stream(data.in_order(len(rows))))
        stream = Stream(on_disk, config.workers, config.prefetch, device)
    with contextlib.closing(stream):
        yield stream


class Stream:
    """Rows whose batches are made by workers, ahead of when they are asked for; close it when done."""

    def __init__(self, rows: Taken, workers: int, prefetch: int, device: torch.device | None = None) -> None:
        self.snapshot, self.uid = rows.snapshot, rows.uid
        self._order = _Order()
        self._loader = DataLoader(
            _Batches(rows),
            sampler=self._order,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=prefetch if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device is not None and device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the global one, which belongs to the steps
            worker_init_fn=functools.partial(_begin, os.getpid()) if workers else None,
        )

    def __len__(self) -> int:
        return len(self.uid)

    def stream(self, order: Iterable[Numbers]) -> Iterator[Batch]:
        """The batches of these rows, one after the other; one stream at a time.

        Raises:
            ValueError: a picture does not decode; names shard and key.
        """
        self._order.batches = order
        for made in self._loader:
            if isinstance(made, str):
                raise ValueError(made)
            yield Batch(*made)

    def close(self) -> None:
        """Ends the workers, and waits until they have ended."""
        workers = self._loader._iterator
        if workers is not None:
            workers._shutdown_workers()  # type: ignore[attr-defined]  # torch has no public word for it
            self._loader._iterator = None


class Filling:
    """Rows that workers decode when they are first drawn, and that lie in memory from then on; close it when done."""

    def __init__(self, rows: Packed, workers: int, prefetch: int, device: torch.device) -> None:
        self.snapshot, self.uid = rows.snapshot, rows.uid
        self._rows = data.in_memory(rows, [])
        self._is_here = np.zeros(len(rows), np.bool_)
        self._fresh, self._kept = Stream(rows, workers, prefetch), Stream(self._rows, 0, 1, device)

    def __len__(self) -> int:
        return len(self.uid)

    def stream(self, order: Iterable[Numbers]) -> Iterator[Batch]:
        """The batches of these rows, one after the other; one stream at a time.

        Raises:
            ValueError: a picture does not decode; names shard and key.
        """
        return self._kept.stream(self._filled(iter(order)))

    def _filled(self, order: Iterator[Numbers]) -> Iterator[Numbers]:
        """The batches, each once its rows lie in memory; the order is looked into no further than workers are ahead."""
        if not self._is_here.all():
            drawn: deque[tuple[Numbers, Numbers]] = deque()
            for images, tokens in self._fresh.stream(self._missing(order, drawn)):
                numbers, lacking = drawn.popleft()
                self._rows.images[lacking], self._rows.tokens[lacking] = images, tokens
                self._is_here[lacking] = True
                yield numbers
        if self._is_here.all():
            self._fresh.close()
        yield from order

    def _missing(self, order: Iterator[Numbers], drawn: deque[tuple[Numbers, Numbers]]) -> Iterator[Numbers]:
        """What each batch is the first to draw, maybe nothing, until no row is left; tells drawn of both."""
        is_coming = self._is_here.copy()
        while not is_coming.all():
            numbers = next(order, None)
            if numbers is None:
                return
            lacking = numbers[~is_coming[numbers]]
            is_coming[lacking] = True
            drawn.append((numbers, lacking))
            yield lacking

    def close(self) -> None:
        """Ends the workers, and waits until they have ended."""
        self._fresh.close()


class _Batches(Dataset[Any]):
    """Whole batches by their rows; what is wrong comes as its words, for a worker's exception brings a traceback."""

    def __init__(self, rows: Taken) -> None:
        self._rows = rows

    def __getitem__(self, numbers: Any) -> Batch | str:
        try:
            return self._rows.take(numbers)
        except ValueError as error:
            return str(error)


class _Order(Sampler[Any]):
    """The batches to come; persistent workers keep their sampler, so this one changes."""

    batches: Iterable[Numbers] = ()

    def __iter__(self) -> Iterator[Numbers]:
        return iter(self.batches)


def _begin(parent: int, _worker: int) -> None:
    orphans.die_with_parent(parent)
