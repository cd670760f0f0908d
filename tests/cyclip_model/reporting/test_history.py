"""The last epoch of a history, as one more set of results."""

from pathlib import Path

import pytest

from cyclip_model.reporting import history


@pytest.mark.parametrize("text", ["epoch,val_loss\n", "epoch,val_loss\n1,\n", "epoch,loss\n1,2\n", ""])
def test_a_history_without_val_columns_adds_no_set(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    assert history.as_sets(tmp_path) == {}


def test_a_history_with_something_else_than_numbers_is_named(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,val_loss\n1,nan\n")
    with pytest.raises(ValueError, match=r"history.csv: val_loss of an epoch is 'nan', not a number"):
        history.as_sets(tmp_path)
