"""What stage benchmarks stored of a set: its description, and its parts, pictures a batch at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cyclip_model.evaluation.encode import Pictures
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.metrics.zeroshot import Ints
from cyclip_model.sets.layout import TRAIN
from lineage import files, records

DESCRIPTION = "set.json"
TEST = "test"
_BATCH = 64
"""Pictures read at once: no more than these are in memory."""


def description(folder: Path) -> dict[str, Any]:
    """set.json of a benchmark.

    Raises:
        FileNotFoundError: stage benchmarks has not been run on the set.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `dvc repro benchmarks@{folder.name}` makes it")
    found: dict[str, Any] = files.read_json(path)
    return found


def has_train(described: Mapping[str, Any]) -> bool:
    """Whether the set has a train part."""
    return TRAIN in described["parts"]


def place(folder: Path, part: str) -> Path:
    """The file of a part with pictures."""
    return folder / (TRAIN if part == TRAIN else TEST) / f"{part}.parquet"


def columns(folder: Path, part: str, *names: str) -> pa.Table:
    """Some columns of a part."""
    return records.read_table(place(folder, part), columns=list(names))


def labels(folder: Path, part: str) -> Ints:
    """(N,) the class of every picture of a part."""
    return np.asarray(columns(folder, part, "label")["label"], dtype=np.int64)


def pictures(encoder: Encoder, folder: Path, part: str) -> Pictures:
    """A part under the image tower."""
    path = place(folder, part)
    return encoder.pictures(part, _images(path), pq.read_metadata(path).num_rows)


def _images(path: Path) -> Iterator[bytes]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=["image"]):
            yield from batch.column(0).to_pylist()
