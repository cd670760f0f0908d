"""What training leaves in a model folder beside the weights: its history and the count of pairs it saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cyclip_model.model import towers
from cyclip_model.rows import data
from cyclip_model.trainer import validation
from cyclip_model.trainer.config import TrainConfig
from cyclip_model.trainer.loop import Record
from lineage import files, records


def write(folder: Path, model: Any, model_cfg: dict[str, Any], config: TrainConfig, history: list[Record]) -> None:
    """The towers as open_clip reads them, and history.csv, under folder."""
    towers.save(model, folder, model_cfg, towers.preprocess_cfg(config.preprocess), arch=config.towers.arch)
    files.write_text(folder / "history.csv", history_csv(history))


def history_csv(history: list[Record]) -> str:
    """One line per epoch, eight significant digits; validation's columns are empty when nothing was held out."""
    columns = [column for column in history[0] if column not in validation.COLUMNS] + list(validation.COLUMNS)
    lines = [[f"{record[column]:.8g}" if column in record else "" for column in columns] for record in history]
    return "".join(",".join(line) + "\n" for line in [columns, *lines])


def exposure_table(rows: data.Source, counts: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Table:
    """Pairs that were in a batch at least once, with how often, sorted by (snapshot, uid)."""
    table = pa.table([rows.snapshot, rows.uid, counts], schema=records.EXPOSURE)
    return table.filter(pc.field("count") > 0).sort_by([("snapshot", "ascending"), ("uid", "ascending")])
