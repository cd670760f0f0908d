"""train.compile trains on a CPU, to the same curve but for rounding."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cyclip_model import train
from tests.cyclip_model.test_train import LOADER, LOSSES


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler, and there is no g++")
def test_compiled_towers_train_alike(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    root = shards.pack(Path("data"), {"train": shards.drawings(16), "val": shards.drawings(3)})
    curves = {}
    for is_compiled in (False, True):
        # a large epsilon: where a gradient is all rounding, Adam makes a whole step of it
        section = train_section(compile=is_compiled, epochs=3, eps=0.001)
        Path("params.yaml").write_text(yaml.safe_dump({"train": section, "losses": LOSSES, "loader": LOADER}))
        model = Path(f"models{is_compiled}") / "clip-0"
        train.main(root, root.parent / "shards", model, Path("provenance.json"))
        curves[is_compiled] = np.loadtxt(model / "history.csv", delimiter=",", skiprows=1)
    assert list((tmp_path / "kernels").rglob("*.so")), "nothing was compiled"
    np.testing.assert_allclose(curves[True], curves[False], rtol=0.01)
