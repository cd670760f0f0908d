"""Stage train, killed three times at random for each objective, ends with the bytes of a run that nothing disturbed."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cyclip_model import losses
from tests.cyclip_model.test_train import LOADER, LOSSES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_killed_three_times_each_objective_ends_with_equal_bytes(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]]
) -> None:
    section = train_section(epochs=3, ema_decay=0.5)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"train": section, "losses": LOSSES, "loader": LOADER}))
    shards.pack(tmp_path / "data", {"train": shards.drawings(40), "val": shards.drawings(4)})
    seed = random.SystemRandom().randrange(2**31)
    command = [sys.executable, "-m", "tests.cyclip_model.dying_trainings", str(seed)]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, (seed, done.stderr)
    told = json.loads(done.stdout)
    assert list(told) == list(losses.OBJECTIVES)
    for name, runs in told.items():
        assert "open_clip_model.safetensors" in runs["same"]
        assert all(runs["same"].values()), (seed, name, runs)
    ends = [end for runs in told.values() for end in runs["ends"]]
    assert set(ends) <= {-9, 0}
    assert ends.count(-9) > len(ends) / 3, f"many were to be killed: {ends}"
    assert any(runs["checkpoints"] for runs in told.values()), "none was killed with something to go on from"
