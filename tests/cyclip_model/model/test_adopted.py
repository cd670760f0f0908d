"""Models of others are entries of `objectives`: train takes them as they are."""

import json
from pathlib import Path

import pytest
import yaml

from cyclip_model import train
from cyclip_model.model import towers
from cyclip_model.model.adopted import AdoptedConfig
from lineage import digests, records
from tests.cyclip_model import small_set


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set that is not read, and somebody's model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/shards").mkdir(parents=True)
    (tmp_path / "data/root.json").write_text("{}")
    small_set.write_model(tmp_path / "weights/theirs", seed=3)
    return tmp_path


def adopt(project: Path, section: dict[str, object]) -> Path:
    (project / "params.yaml").write_text(yaml.safe_dump({"losses": {"theirs": section}}))
    model = Path("models/theirs-0")
    train.main(Path("data/root.json"), Path("data/shards"), model, Path("provenance/train/theirs-0.json"))
    return model


def test_weights_are_theirs_and_exposure_is_empty(project: Path) -> None:
    sha256 = digests.sha256_file(project / "weights/theirs" / towers.WEIGHTS)
    model = adopt(project, {"external": "weights/theirs", "sha256": sha256})
    assert digests.sha256_file(model / towers.WEIGHTS) == sha256
    assert records.read_table(model / "exposure.parquet", records.EXPOSURE).num_rows == 0
    counts = json.loads(Path("provenance/train/theirs-0.json").read_text())["counts"]
    assert counts["external"] == {"name": "weights/theirs", "sha256": sha256}
    assert (counts["rows_in"], counts["kept"]) == (0, 0)


def test_other_weights_are_refused_by_the_key(project: Path) -> None:
    with pytest.raises(ValueError, match=r"losses.theirs.external: .* not losses.theirs.sha256"):
        adopt(project, {"external": "weights/theirs", "sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"losses.theirs"):
        adopt(project, {"external": "weights/theirs", "sha256": None, "objective": "clip"})


def test_a_digest_is_checked() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        AdoptedConfig(external="RN50/openai", sha256="abc")
