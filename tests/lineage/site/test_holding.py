import shutil
from pathlib import Path

import pytest

from lineage import files
from lineage.site import build, holding
from tests.lineage.conftest import call, commit, dvc
from tests.lineage.site import trail_project

OUTS = "data/source/s1 data/source/s2 data/raw/s1 data/raw/s2 data/signals/s1 data/signals/s2 data/selection".split()
OUTS += (
    "data/shards/s1 data/shards/s2 models/clip-0 models/scorer results/clip-0 data/audit data/optouts.parquet".split()
)


@pytest.fixture
def revised(tmp_path: Path) -> Path:
    """The small project under real DVC, committed."""
    trail_project.lay_down(tmp_path)
    dvc(tmp_path, "init", "-q")
    dvc(tmp_path, "config", "core.analytics", "false")
    files.write_json(tmp_path / "dvc.yaml", {"stages": {"all": {"cmd": "true", "outs": OUTS}}})
    (tmp_path / "dvc.lock").unlink()
    dvc(tmp_path, "commit", "-q", "--force")
    commit(tmp_path, "first")
    return tmp_path


@pytest.mark.slow
def test_a_revision_is_told_from_the_cache(revised: Path) -> None:
    here = build.build(holding.holding(revised, None), revised / "here").out
    for name in ("data", "models", "results"):
        shutil.rmtree(revised / name)
    call(revised, "git", "commit", "-q", "--allow-empty", "-m", "later")
    held = holding.holding(revised, "HEAD~1")
    there = build.build(held, revised / "there").out
    kinds = ("manifest.js", "index/*/*/*.js", "pictures/*", "models/*")
    for path in (path for kind in kinds for path in here.glob(kind)):
        assert (there / path.relative_to(here)).read_bytes() == path.read_bytes()
    assert str(held.at.commit)[:12] in (there / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_what_is_not_at_hand_is_named_with_what_brings_it(revised: Path) -> None:
    held = holding.holding(revised, "HEAD")
    held.path("data/source/s1/source.parquet").unlink()
    (revised / "data/source/s1/source.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"data/source/s1/source\.parquet: its bytes in \w+ are not here; `dvc"):
        held.path("data/source/s1/source.parquet")
    assert not held.has("data/source/s1/source.parquet")
    assert held.has("data/source/s2/source.parquet")
    shutil.rmtree(revised / ".dvc/cache")
    shutil.rmtree(revised / "data")
    with pytest.raises(FileNotFoundError, match=r"data/signals/s1: not known here in .*`dvc pull"):
        holding.holding(revised, "HEAD").names("data/signals/s1", ".parquet")


def test_params_that_are_no_names_are_refused(project: Path) -> None:
    (project / "params.yaml").write_text("snapshots: ['../../etc']\n")
    with pytest.raises(ValueError, match="snapshots must be a list of names"):
        holding.holding(project, None).listed("snapshots")
