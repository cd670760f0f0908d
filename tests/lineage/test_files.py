"""Small files are whole and canonical, and prune removes exactly what is not listed."""

import json
from pathlib import Path

import pytest

from lineage import files


def test_json_is_canonical_and_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    files.write_json(path, {"b": 1, "a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'
    files.write_json(path, {})
    assert files.read_json(path) == {}
    assert [child.name for child in path.parent.iterdir()] == ["x.json"]


def test_text_has_plain_line_ends(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x", "a\nb\n")
    assert (tmp_path / "x").read_bytes() == b"a\nb\n"


def test_json_without_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_broken_json_names_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json: not valid JSON"):
        files.read_json(tmp_path / "x.json")


def test_prune_keeps_what_is_listed_with_or_without_json(tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        (tmp_path / name / "deep").mkdir(parents=True)
    for name in ("s1.json", "s3.json", ".gitignore"):
        (tmp_path / name).write_text(json.dumps(name))
    assert files.prune(tmp_path, ["s1", "s2"]) == ["s3", "s3.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "s1", "s1.json", "s2"]
    assert files.prune(tmp_path / "none", []) == []


def test_remove_takes_links_and_not_what_they_point_at(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "never there")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
