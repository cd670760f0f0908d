"""What a model folder holds beside the weights."""

import numpy as np
import torch

from cyclip_model.model import model_folder
from cyclip_model.rows import data


def test_history_has_eight_digits_and_ends_with_validation() -> None:
    history = [
        {"epoch": 1, "val_loss": 5.0, "loss": 1 / 3, "val_recall_10": 0.25},
        {"epoch": 2, "loss": 12345.678949},
    ]
    assert model_folder.history_csv(history).splitlines() == [
        "epoch,loss,val_loss,val_recall_10",
        "1,0.33333333,5,0.25",
        "2,12345.679,,",
    ]


def test_exposure_leaves_out_what_was_never_drawn_and_is_sorted() -> None:
    images, tokens = torch.zeros((3, 3, 1, 1), dtype=torch.uint8), torch.zeros((3, 4), dtype=torch.long)
    rows = data.Rows(snapshot=["s2", "s1", "s1"], uid=["a", "c", "b"], images=images, tokens=tokens)
    found = model_folder.exposure_table(rows, np.array([1, 2, 0])).to_pylist()
    assert [tuple(row.values()) for row in found] == [("s1", "c", 2), ("s2", "a", 1)]
