"""Models by what held-out pairs say of them."""

from pathlib import Path

import pytest

from cyclip_model import ranking

COLUMNS = "epoch,loss,val_loss,val_recall_10"


def write(folder: Path, name: str, *ends: str) -> None:
    for seed, end in enumerate(ends):
        path = folder / f"{name}-{seed}" / "history.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"{COLUMNS}\n1,9,9,0.01\n{end}\n")


def test_the_last_epochs_over_seeds_the_best_first(tmp_path: Path) -> None:
    write(tmp_path, "worse", "2,1,4,0.2", "2,1,4,0.2")
    write(tmp_path, "better", "2,3,5,0.3", "2,5,7,0.5")
    rows = ranking.read(tmp_path, ["worse", "better"], [0, 1])
    assert ranking.table(rows, "recall_10").splitlines() == [
        "| model | recall_10 | loss | seeds |",
        "|---|---|---|---|",
        "| better | 0.4 ± 0.14 | 6 ± 1.4 | 2 |",
        "| worse | 0.2 ± 0 | 4 ± 0 | 2 |",
    ]
    assert ranking.table(rows, "loss").splitlines()[2].startswith("| worse | 4 ± 0 |")
    with pytest.raises(ValueError, match=r"--by lr: worse has no such metric; it has loss, recall_10"):
        ranking.table(rows, "lr")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clip-0 is missing: `dvc repro train@clip-0` makes it"):
        ranking.read(tmp_path, ["clip"], [0])
    write(tmp_path, "clip", "2,1,,")
    with pytest.raises(ValueError, match=r"clip-0/history.csv has no validation"):
        ranking.read(tmp_path, ["clip"], [0])
