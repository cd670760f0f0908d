"""The training loop on 24 drawings: the golden curves, the same bits twice, and the same bits after a kill.

A golden file holds 20 steps at full precision. To make it anew after a deliberate change of the numbers, delete it and
run this file twice.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cyclip_model import losses
from cyclip_model.model import heads, towers
from cyclip_model.model.learner import Learner
from cyclip_model.rows import data
from cyclip_model.trainer import determinism, loop, ranks, validation
from cyclip_model.trainer.config import TrainConfig
from lineage import params
from tests.cyclip_model.losses.settings import CONFIGS

GOLDEN = Path(__file__).parents[2] / "golden"
ALONE = ranks.Ranks(0, 1, torch.device("cpu"))
Fit = Callable[..., tuple[Any, list[loop.Record]]]


def parts_of(name: str) -> Callable[[losses.Features], dict[str, torch.Tensor]]:
    return lambda features: losses.objective(name).parts(features, CONFIGS[name])


@pytest.fixture
def fit(tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]]) -> Fit:
    """Trains on the drawings; keywords are changes of section train, `held_out`, `parts` and `checkpoint`."""
    root = shards.pack(tmp_path / "set", {"train": shards.drawings(24), "val": shards.drawings(3)})

    def run(
        name: str = "clip",
        *,
        seed: int = 0,
        split: str = "val",
        parts: Callable[[losses.Features], dict[str, torch.Tensor]] | None = None,
        checkpoint: Path = tmp_path / "none" / "checkpoint.pt",
        **changes: Any,
    ) -> tuple[Any, list[loop.Record]]:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"train": train_section(**changes)}))
        config = params.load("train", TrainConfig, tmp_path / "params.yaml")
        objective = losses.objective(name)
        model_cfg = {**config.towers.model_cfg(), **(objective.model_cfg or {})}
        built = towers.build(model_cfg, towers.preprocess_cfg(config.preprocess), seed)
        listed = data.verified(root, root.parent / "shards")
        rows, held_out = (data.read(root.parent / "shards", listed, part, built) for part in ("train", split))
        if checkpoint.parent.name == "none":  # no run finds another one's checkpoints, the one before included
            shutil.rmtree(checkpoint.parent, ignore_errors=True)
        checkpoint.parent.mkdir(exist_ok=True)
        with determinism.reproducible(config.threads):
            recipe = loop.Recipe(config, parts or parts_of(name), seed, ALONE)
            nclip = objective.nclip(CONFIGS[name]) if objective.nclip else None
            made = heads.build(config.towers.embed_dim, nclip.head, seed) if nclip else None
            learner = Learner(built.model, made, is_bf16=config.precision == "bf16")
            return learner, loop.fit(learner, rows, held_out, recipe, checkpoint)

    return run


def digest(model: Any) -> str:
    values = [value.contiguous().numpy().tobytes() for value in model.state_dict().values()]
    return hashlib.sha256(b"".join(values)).hexdigest()


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_the_curve_is_the_golden_one(fit: Fit, name: str) -> None:
    # A large epsilon keeps rounding small: where a gradient is all rounding, Adam makes a whole step of it.
    _, history = fit(name, epochs=20, batch_size=24, lr=0.0003, eps=0.001)
    columns = [column for column in history[0] if column not in ("epoch", "2B/D", *validation.COLUMNS)]
    found = [[record[column] for column in columns] for record in history]
    path = GOLDEN / f"{name}.txt"
    if not path.exists():
        path.write_text("".join(" ".join(map(repr, line)) + "\n" for line in found))
        pytest.fail(f"{path} was missing and is written: look at it, then run again")
    # Other processors round otherwise, gradients most of all; within one machine the next test asks for equal bits.
    for column, values, golden in zip(columns, zip(*found, strict=True), np.loadtxt(path).T, strict=True):
        rtol = 1e-2 if column == "grad_norm" else 1e-4
        np.testing.assert_allclose(values, golden, rtol=rtol, err_msg=f"{path}: {column}")


@pytest.mark.parametrize(("name", "precision"), [*((name, "fp32") for name in losses.OBJECTIVES), ("xclip", "bf16")])
def test_two_runs_are_equal_bit_by_bit_and_another_seed_is_not(fit: Fit, name: str, precision: str) -> None:
    first, again, other = (fit(name, seed=seed, precision=precision)[0] for seed in (0, 0, 1))
    assert digest(first) == digest(again) != digest(other)


@pytest.mark.parametrize("save_every_s", [300, -1])
@pytest.mark.parametrize(("name", "changes"), [("cyclip", {}), ("xclip", {}), ("xclip", {"ema_decay": 0.5})])
def test_a_killed_run_goes_on_bit_by_bit(
    fit: Fit, tmp_path: Path, name: str, changes: dict[str, Any], save_every_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, history = fit(name, epochs=3, **changes)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", save_every_s)  # -1: after every step, so that it goes on within an epoch
    calls: list[int] = []

    def dying(features: losses.Features) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 8:  # the second step of the third epoch
            raise KeyboardInterrupt
        return parts_of(name)(features)

    (tmp_path / "kept").mkdir()
    checkpoint = tmp_path / "kept" / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(name, epochs=3, parts=dying, checkpoint=checkpoint, **changes)
    resumed, again = fit(name, epochs=3, checkpoint=checkpoint, **changes)
    assert again == history
    assert digest(resumed) == digest(whole)


def test_the_moving_average_is_what_is_kept(fit: Fit) -> None:
    (plain, history), (averaged, again) = (fit("clip", ema_decay=decay, epochs=2) for decay in (0.0, 0.9))
    assert digest(plain) != digest(averaged)
    assert [record["loss"] for record in history] == [record["loss"] for record in again]
    assert all(np.isfinite(record["val_loss"]) for record in again)


def test_the_loss_falls_and_the_record_is_whole(fit: Fit) -> None:
    model, history = fit("cyclip", epochs=15, batch_size=8, lr=0.003)
    assert not model.training
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert [record["step"] for record in history] == [3.0 * (epoch + 1) for epoch in range(15)]
    assert history[0]["2B/D"] == 1.0
    assert list(history[0]) == (
        "epoch step lr loss contrastive in_modal cross_modal grad_norm logit_scale 2B/D val_loss val_recall_10".split()
    )


def test_validation_is_the_contrastive_loss_in_eval_mode(fit: Fit) -> None:
    _, history = fit("cyclip", epochs=1, lr=1e-12)
    # All captions of an untrained model are nearly alike: three pairs score near log 3.
    assert history[0]["val_loss"] == pytest.approx(np.log(3), abs=0.5)
    assert history[0]["val_recall_10"] == 1.0, "there are but three"


def test_without_held_out_rows_the_log_says_so(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _, history = fit(epochs=1, split="none")
    assert "the val split is empty: history.csv has no val_loss" in caplog.text
    assert "val_loss" not in history[0]


def test_too_few_rows_are_refused_with_both_numbers(fit: Fit) -> None:
    with pytest.raises(ValueError, match=r"has 24 training rows, fewer than train.batch_size = 32: lower it"):
        fit(batch_size=32)


def test_a_loss_that_is_no_number_stops_with_step_and_advice(fit: Fit) -> None:
    with pytest.raises(ValueError, match=r"broke down at step 0 \(epoch 1\): loss nan.*try a lower train.lr"):
        fit(parts=lambda features: {"loss": features.image_BD.sum() * float("nan")})


def test_exposure_counts_the_rows_of_used_batches() -> None:
    config = type("Config", (), {"epochs": 3, "batch_size": 8})
    counts = loop.exposure(21, config, seed=0)  # type: ignore[arg-type]
    assert counts.sum() == 3 * 2 * 8
    assert counts.max() <= 3


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch_size": 1}, {"betas": [0.9]}, {"betas": [0.9, 1.0]}, {"lr": 0.0}, {"warmup_frac": 1.0}],
)
def test_settings_out_of_range_are_refused(fit: Fit, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"params.yaml: train: .*{next(iter(change))}"):
        fit(**change)
