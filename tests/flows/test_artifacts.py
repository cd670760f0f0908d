import subprocess
from pathlib import Path

from flows import artifacts
from lineage import files


def write(root: Path, model: str, value: float) -> None:
    content = {
        "model": {"parameters": 3},
        "sets": {"emoji": {"naming": {"twemoji": {"names": {"top_1": {"value": value, "n": 9}}}}}},
    }
    files.write_json(root / "results" / model / "metrics.json", content)


def test_metrics_are_read_by_dotted_name_and_model(tmp_path: Path) -> None:
    write(tmp_path, "clip-0", 0.25)
    write(tmp_path, "xclip-0", 0.5)
    assert artifacts.metrics(tmp_path) == {"emoji.naming.twemoji.names.top_1": {"clip-0": 0.25, "xclip-0": 0.5}}


def test_a_value_is_shown_with_its_change() -> None:
    assert artifacts._compared(0.25, 0.2) == "0.2500 (+0.0500)"
    assert artifacts._compared(0.25, 0.25) == "0.2500 (=)"
    assert artifacts._compared(0.25, None) == "0.2500 (new)"
    assert artifacts._compared(None, 0.25) == ""


def test_the_committed_metrics_are_those_of_dvc_lock_at_the_last_commit() -> None:
    root = Path(__file__).resolve().parents[2]
    if (root / "results").is_dir():
        assert artifacts.committed_metrics(root).keys() <= artifacts.metrics(root).keys()


def test_checkouts_do_not_share_keys(tmp_path: Path) -> None:
    keys = {artifacts.key("stages", root) for root in (tmp_path / "a", tmp_path / "b")}
    assert len(keys) == 2
    assert all(key == key.lower() and "_" not in key for key in keys), "Prefect takes no other keys"


def test_a_worktree_has_the_keys_of_its_repository(tmp_path: Path) -> None:
    main, tree = tmp_path / "main", tmp_path / "main/.worktrees/refresh-s1"
    for words in (
        ("init", "--quiet", str(main)),
        ("-C", str(main), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "a"),
        ("-C", str(main), "worktree", "add", "--quiet", str(tree)),
    ):
        subprocess.run(["git", *words], check=True)
    assert artifacts.key("stages", tree) == artifacts.key("stages", main)
