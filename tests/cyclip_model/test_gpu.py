"""What a GPU does that a CPU cannot show: `pytest -m gpu` on a machine that has one, or two for ranks.

Stage train takes the GPU where there is one, so these are the stage's own tests with a GPU's settings.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cyclip_model import evaluate, losses, train
from cyclip_model.evaluate import EvaluateConfig
from cyclip_model.model import towers
from tests.cyclip_model import kinds_of_sets, small_set
from tests.cyclip_model.test_train import LOADER, LOSSES

NUM_GPUS = torch.cuda.device_count()
FIELD = {"precision": "bf16", "compile": True, "checkpoint_activations": True, "micro_batch_size": 4, "ema_decay": 0.9}
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(NUM_GPUS == 0, reason="this machine has no GPU that torch can use")]
Run = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture
def run(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Trains an objective in a folder of its own and returns the weights; keywords are changes of section train."""

    def trained(name: str, folder: str, **changes: Any) -> dict[str, torch.Tensor]:
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        section = {"train": train_section(**changes), "losses": LOSSES, "loader": LOADER}
        Path("params.yaml").write_text(yaml.safe_dump(section))
        root = shards.pack(Path("data"), {"train": shards.drawings(32), "val": shards.drawings(4)})
        train.main(root, root.parent / "shards", Path("models") / f"{name}-0", Path("provenance.json"))
        weights: dict[str, torch.Tensor] = load_file(Path("models") / f"{name}-0" / "open_clip_model.safetensors")
        return weights

    return trained


@pytest.mark.parametrize("changes", [{}, FIELD], ids=["plain", "field"])
@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_two_runs_on_one_gpu_are_equal_bit_by_bit(run: Run, name: str, changes: dict[str, Any]) -> None:
    first, again = (run(name, folder, **changes) for folder in ("first", "again"))
    assert all(torch.equal(value, again[key]) for key, value in first.items())


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_a_gpu_begins_as_a_cpu_does(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = []
    for folder, has_gpu in (("gpu", True), ("cpu", False)):
        with monkeypatch.context() as patch:
            if not has_gpu:
                patch.setattr(torch.cuda, "is_available", lambda: False)
            run(name, folder, epochs=2, lr=1e-5)
        header, *lines = Path(f"models/{name}-0/history.csv").read_text().splitlines()
        curves.append([float(line.split(",")[header.split(",").index("loss")]) for line in lines])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3)


def test_memory_of_the_gpu_is_told(run: Run) -> None:
    run("clip", "told")
    told = [json.loads(line) for line in Path(".work/timings/train-clip-0.jsonl").read_text().splitlines()]
    assert all(line["peak_gpu_mib"] > 0 for line in told)


@pytest.mark.skipif(NUM_GPUS < 2, reason="ranks need a GPU each, and this machine has fewer than two")
@pytest.mark.parametrize("name", ["clip", "cyclip", "nclip", "xclip"])
def test_two_gpus_end_with_the_weights_of_one_but_for_rounding(run: Run, name: str) -> None:
    one, two = (run(name, str(processes), processes=processes, eps=1e-3) for processes in (1, 2))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_evaluation_on_a_gpu_says_what_the_cpu_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_set.write_model(tmp_path / "models/clip-0")
    kinds_of_sets.write_labelled(tmp_path / "data/benchmarks/toys")
    made = {}
    for device in ("cpu", "cuda"):
        config = EvaluateConfig(threads=1, batch_size=16, device=device, protocols=small_set.PROTOCOLS)
        loaded = towers.load(tmp_path / "models/clip-0")
        evaluate.look(loaded, tmp_path / "models/clip-0", tmp_path / "data/benchmarks", ["toys"], config)
        (features,) = Path(".work/features/clip-0/toys").glob("*/test-features.npy")
        made[device] = np.load(features).copy()
    np.testing.assert_allclose(made["cuda"], made["cpu"], rtol=1e-3, atol=1e-4)
