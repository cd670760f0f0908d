"""Ranks of a process group train as one process does, by cyclip_model/losses/across.py: losses, gradients, weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cyclip_model.losses import ranks

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=[2, 4])
def by_rank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder, world_size = tmp_path_factory.mktemp("ranks"), request.param
    command = [sys.executable, "-m", ranks.__name__]
    processes = [
        subprocess.Popen([*command, str(rank), str(world_size), str(folder)], cwd=ROOT) for rank in range(world_size)
    ]
    assert [process.wait(180) for process in processes] == [0] * world_size
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world_size)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ranks.VARIANTS)
def test_every_rank_ends_where_one_process_does(name: str, by_rank: list[dict[str, Any]]) -> None:
    alone = ranks.trained(name)
    assert alone["gradient of logit_scale"] is not None or name == "nclip"
    for found in by_rank:
        for key, value in alone.items():
            if value is None:
                assert found[name][key] is None or not found[name][key].any()
            else:
                torch.testing.assert_close(found[name][key], value, rtol=1e-8, atol=1e-9, msg=f"{name}: {key}")
