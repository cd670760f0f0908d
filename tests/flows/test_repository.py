import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import repository
from flows.process import CommandFailedError
from flows.repository import BusyError, Checkout


def say(_: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def repository_with_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with DVC and one file that it tracks; to be copied."""
    root = tmp_path_factory.mktemp("repository") / "main"
    root.mkdir()
    made = Checkout(root)
    made.git("init", "--quiet")
    for key, value in (("user.name", "test"), ("user.email", "test@example.com")):
        made.git("config", key, value)
    (root / "params.yaml").write_text("snapshots: []\ndownload: {demo_site: data/demo/site}\n")
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".gitignore").write_text(".worktrees/\n/data/demo/\n")
    (root / "data/demo/site").mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=root, check=True)
    (root / "data/big").write_text("content")
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", "data/big"], cwd=root, check=True)
    made.git("add", "-A")
    made.git("commit", "--quiet", "-m", "first")
    return root


@pytest.fixture
def main(repository_with_data: Path, tmp_path: Path) -> Checkout:
    """A copy for one test."""
    subprocess.run(["cp", "-a", str(repository_with_data), str(tmp_path / "main")], check=True)
    return Checkout(tmp_path / "main")


def snapshot(main: Checkout) -> dict[str, bytes]:
    """Returns every file of a checkout but git's and DVC's own."""
    files = [path for path in main.root.rglob("*") if path.is_file()]
    own = {path: path.relative_to(main.root) for path in files}
    return {
        str(name): path.read_bytes()
        for path, name in own.items()
        if name.parts[0] not in (".git", ".dvc", ".worktrees")
    }


def test_a_worktree_shares_the_cache_and_the_demo_and_leaves_main_alone(main: Checkout) -> None:
    before = snapshot(main)
    tree = repository.worktree(main, "refresh/s2", say)
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "--quiet"], cwd=tree.root, check=True)
    assert (tree.root / "data/big").read_text() == "content", "from the main checkout's cache"
    assert (tree.root / "data/demo/site").is_dir()
    assert repository.branch(tree) == "refresh/s2"
    assert repository.worktrees(main, "refresh/") == [tree]
    assert repository.worktrees(main, "takedown/") == []
    assert tree.uncommitted() == []
    assert main.uncommitted() == []
    assert snapshot(main) == before


def test_a_worktree_that_is_there_is_gone_on_with(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    (tree.root / "runs").mkdir()
    (tree.root / "runs/source.jsonl").write_text("{}\n")
    said: list[str] = []
    assert repository.worktree(main, "refresh/s2", said.append) == tree
    assert (tree.root / "runs/source.jsonl").exists()
    assert "going on" in said[0]


def test_a_branch_whose_worktree_was_removed_by_hand_gets_it_back(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    subprocess.run(["rm", "-rf", str(tree.root)], check=True)
    again = repository.worktree(main, "refresh/s2", say)
    assert (again.root / "params.yaml").exists()


def test_main_is_moved_to_what_was_committed_and_the_worktree_goes(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    (tree.root / "runs").mkdir()
    (tree.root / "runs/source.jsonl").write_text("{}\n")
    assert repository.commit(tree, "Add snapshot s2")
    assert not repository.commit(tree, "Add snapshot s2"), "there is nothing more to commit"
    assert repository.forward_blockers(main, tree) == []
    repository.fast_forward(main, tree, say)
    assert main.head == tree.head
    assert (main.root / "runs/source.jsonl").exists()
    repository.drop(main, tree, "refresh/s2")
    assert not tree.root.exists()
    assert main.git("branch", "--list", "refresh/s2") == ""


def test_loose_files_in_main_hold_it_and_are_named(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    (main.root / "runs").mkdir()
    (main.root / "runs/train.jsonl").write_text("{}\n")
    (main.root / "params.yaml").write_text("snapshots: []\n")
    (blocker,) = repository.forward_blockers(main, tree)
    assert "runs/train.jsonl" in blocker
    assert "params.yaml" in blocker


def test_a_lock_that_a_kill_cut_off_is_mended_by_the_next_flow(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    for root in (main.root, tree.root):
        (root / "dvc.lock").write_bytes(b"")
    said: list[str] = []
    with repository.held(main, "mine", "refuse", said.append):
        assert len([line for line in said if "cut off by a kill" in line]) == 2
    assert not (main.root / "dvc.lock").exists(), "none was committed"


def test_a_main_on_no_branch_is_told(main: Checkout) -> None:
    repository.refuse_detached(main)
    main.git("checkout", "--quiet", "--detach")
    with pytest.raises(ValueError, match="is on no branch"):
        repository.refuse_detached(main)


def test_a_main_that_moved_on_holds_it(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    (main.root / "README.md").write_text("new")
    main.git("add", "-A")
    main.git("commit", "--quiet", "-m", "second")
    (blocker,) = repository.forward_blockers(main, tree)
    assert main.head[:12] in blocker
    with pytest.raises(CommandFailedError, match=r"git merge"):
        repository.commit(tree, "nothing")
        (tree.root / "runs").mkdir()
        (tree.root / "runs/x.jsonl").write_text("{}\n")
        repository.commit(tree, "other")
        repository.fast_forward(main, tree, say)


def test_changed_data_in_main_hold_it_and_are_named(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    (main.root / "data/big").unlink()
    assert repository.forward_blockers(main, tree) == [], "what is missing is brought back"
    (main.root / "data/big").write_text("my own")
    (blocker,) = repository.forward_blockers(main, tree)
    assert "not what its dvc.lock says: data/big" in blocker


def test_what_a_kill_left_after_main_was_moved_is_ended(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    (tree.root / "runs").mkdir()
    (tree.root / "runs/source.jsonl").write_text("{}\n")
    repository.finish_taken(main, "refresh/", say)
    assert repository.worktrees(main, "refresh/") == [tree], "it is at work: nothing of it is committed"
    repository.commit(tree, "Add snapshot s2")
    repository.finish_taken(main, "refresh/", say)
    assert repository.worktrees(main, "refresh/") == [tree], "the main checkout does not have it yet"
    main.git("merge", "--quiet", "--ff-only", tree.head)
    (main.root / "data/big").unlink()
    repository.finish_taken(main, "refresh/", say)
    assert repository.worktrees(main, "refresh/") == []
    assert (main.root / "data/big").read_text() == "content"


def test_commits_are_made_where_git_knows_nobody(main: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for key in ("user.name", "user.email"):
        main.git("config", "--unset", key)
    (main.root / "dvc.lock").write_text("stages: {}\n")
    assert repository.commit(main, "locked")
    assert main.git("log", "-1", "--format=%an") == "Clipline"


def test_a_name_nobody_began_is_told_with_those_there_are(main: Checkout) -> None:
    repository.worktree(main, "refresh/s2", say)
    repository.worktree(main, "takedown/0123", say)
    with pytest.raises(ValueError, match=r"s3: no such worktree.*refresh-s2, takedown-0123"):
        repository.drop_named(main, "s3")
    repository.drop_named(main, "s2")
    repository.drop_named(main, "takedown-0123")
    assert main.git("branch", "--list", "takedown/*", "refresh/*") == ""
    assert repository.worktrees(main, "refresh/") == []


def other_process(main: Checkout) -> Callable[[], subprocess.Popen[str]]:
    code = (
        "import sys\nfrom flows import repository\nmain = repository.at(sys.argv[1])\n"
        "with repository.held(main, 'flow of another process', 'wait', print):\n"
        "    print('held', flush=True)\n    input()\n"
    )
    command = [sys.executable, "-c", code, str(main.root)]
    root = Path(__file__).resolve().parents[2]
    return lambda: subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_flow_refuses_or_waits_and_a_kill_frees_the_lock(main: Checkout) -> None:
    with other_process(main)() as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=r"flow of another process, process \d+ is at work on this repository"):
            with repository.held(main, "mine", "refuse", say):
                pass
        said: list[str] = []
        threading.Timer(1.5, other.kill).start()
        with repository.held(main, "mine", "wait", said.append):
            assert "waiting for it to end" in said[0]
            with repository.held(main, "a flow that mine calls", "refuse", say):
                pass


def test_a_worktree_is_locked_with_its_main_checkout(main: Checkout) -> None:
    tree = repository.worktree(main, "refresh/s2", say)
    with other_process(tree)() as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError), repository.held(main, "mine", "refuse", say):
            pass
        other.kill()


@pytest.mark.parametrize("missing", ["dvc.yaml", "params.yaml", ".git"])
def test_a_folder_that_is_no_project_is_told(main: Checkout, missing: str) -> None:
    (main.root / missing).rename(main.root / "gone")
    with pytest.raises(ValueError, match=missing):
        repository.at(main.root)
