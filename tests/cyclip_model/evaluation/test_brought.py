"""Any model through the protocols: a folder, a file of open_clip's, one half trained; nothing is recorded."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cyclip_model import evaluate
from cyclip_model.evaluation import brought
from cyclip_model.model import external
from lineage import stage
from tests.cyclip_model import kinds_of_sets, small_set

BENCHMARKS = Path("data/benchmarks")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a labelled set and a model."""
    monkeypatch.chdir(tmp_path)
    small_set.write_params(tmp_path, sets=["toys"])
    kinds_of_sets.write_labelled(tmp_path / BENCHMARKS / "toys", train=False)
    small_set.write_model(tmp_path / "models/clip-0")
    return tmp_path


@pytest.mark.usefixtures("project")
def test_a_folder_gets_the_numbers_that_the_stage_gives() -> None:
    brought.main("models/clip-0", BENCHMARKS, Path("looked-at"))
    evaluate.main(
        Path("models/clip-0"), BENCHMARKS, Path("results/clip-0"), Path("p.parquet"), Path("provenance/clip-0.json")
    )
    assert json.loads(Path("looked-at/metrics.json").read_text()) == json.loads(
        Path("results/clip-0/metrics.json").read_text()
    )
    assert Path("looked-at/predictions.parquet").read_bytes() == Path("p.parquet").read_bytes()


def test_a_name_of_open_clips_is_loaded_and_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(name: str, scratch: Path, keys: external.Keys, sha256: str | None) -> external.External:
        seen.append((name, sha256))
        return real(str(project / "models/clip-0"), scratch, keys, sha256)

    real = external.load
    monkeypatch.setattr(external, "load", load)
    brought.main("RN50/weights/rn50.pt", BENCHMARKS, Path("looked-at"))
    assert seen == [("RN50/weights/rn50.pt", None)]
    assert json.loads(Path("looked-at/metrics.json").read_text())["model"]["external"]["name"] == "RN50/weights/rn50.pt"
    assert not list(stage.WORK.glob("brought-*"))
    assert not Path("runs").exists()


@pytest.mark.usefixtures("project")
def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="MODEL: 'nothing/here' is neither a folder nor"):
        brought.main("nothing/here", BENCHMARKS, Path("looked-at"))


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_the_command_of_the_stage_takes_any_model() -> None:
    shutil.copytree("models/clip-0", "weights/theirs")
    command = [sys.executable, "-m", "cyclip_model.evaluate", "weights/theirs", "data/benchmarks", "looked-at"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "weights/theirs: 1 sets, looked-at/metrics.json" in done.stderr
    shown = subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True).stdout
    assert "MODEL" in shown
