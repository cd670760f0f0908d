import subprocess
import sys
from pathlib import Path

import pytest

from flows import publishing, repository
from flows.publishing import Push
from flows.repository import Checkout


@pytest.fixture
def main(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.git("init", "--quiet")
    (tmp_path / "params.yaml").write_text("snapshots: []\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / ".gitignore").write_text(".worktrees/\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=tmp_path, check=True)
    made.git("-c", "user.name=test", "-c", "user.email=test@example.com", "add", "-A")
    made.git("-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "-m", "first")
    return made


def test_a_push_to_nowhere_is_told_before_anything_is_begun(main: Checkout) -> None:
    publishing.check(main, Push())
    with pytest.raises(ValueError, match=r"no remote at all; `dvc remote add"):
        publishing.check(main, Push(data=True))
    subprocess.run([sys.executable, "-m", "dvc", "remote", "add", "near", "../remote"], cwd=main.root, check=True)
    publishing.check(main, Push(data=True, data_remote="near"))
    with pytest.raises(ValueError, match="DVC has no remote far"):
        publishing.check(main, Push(data=True, data_remote="far"))
    with pytest.raises(ValueError, match="git has no remote origin"):
        publishing.check(main, Push(git_remote="origin"))


def test_what_is_in_the_way_of_main_holds_it(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", print)
    publishing.refuse_blocked(main, tree)
    (main.root / "notes.txt").write_text("mine")
    with pytest.raises(publishing.HeldError, match=r"uncommitted changes in the main checkout: notes\.txt"):
        publishing.refuse_blocked(main, tree)
