"""Scalars for TensorBoard: readable, one a step, only on request, and without a trace in the model."""

import importlib.util
from pathlib import Path

import pytest

from cyclip_model.trainer import events
from tests.builders import contents
from tests.cyclip_model.breaking import BrokenOff
from tests.cyclip_model.test_train import Prepare, prepare, run

__all__ = ["prepare"]
FOLDER = Path(".work/tensorboard/cyclip-0")


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar by name, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_events_are_written_on_request_and_the_model_is_the_same(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = prepare()
    monkeypatch.setenv(events.VARIABLE, "0")
    model, _ = run(root, "cyclip-0")
    plain = contents(model)
    assert not FOLDER.exists()
    monkeypatch.setenv(events.VARIABLE, "1")
    run(root, "cyclip-0")
    assert contents(model) == plain
    found = read(FOLDER)
    assert set(found) == {
        *("loss", "contrastive", "in_modal", "cross_modal"),
        *("grad_norm", "lr", "logit_scale"),
    }
    assert all([step for step, _ in values] == [0, 1, 2, 3] for values in found.values())
    header, *lines = (model / "history.csv").read_text().splitlines()
    last = dict(zip(header.split(","), lines[-1].split(","), strict=True))
    assert found["lr"][-1][1] == pytest.approx(float(last["lr"]))
    assert found["logit_scale"][-1][1] == pytest.approx(float(last["logit_scale"]))
    assert (found["loss"][2][1] + found["loss"][3][1]) / 2 == pytest.approx(float(last["loss"]), rel=1e-6)


def test_a_run_that_goes_on_repeats_no_step(
    prepare: Prepare, broken_off: BrokenOff, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = prepare()
    monkeypatch.setenv(events.VARIABLE, "1")

    with broken_off():
        run(root, "cyclip-0")
    assert [step for step, _ in read(FOLDER)["loss"]] == [0, 1]
    run(root, "cyclip-0")
    assert [step for step, _ in read(FOLDER)["loss"]] == [0, 1, 2, 3]


def test_without_the_package_one_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"CLIPLINE_TENSORBOARD is set, but .* not installed: pip install tensorboard"):
        with events.writer(tmp_path):
            pass
