"""Our digests are those of hashlib and, for folders, those DVC writes."""

import hashlib
import re
from pathlib import Path

import pytest

from lineage import digests
from tests.lineage.conftest import dvc


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


def test_files_have_the_digests_of_hashlib(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc" * 100_000)
    assert digests.sha256_file(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert digests.md5_file(file) == hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    assert digests.dvc_digest(file) == digests.md5_file(file)


def test_dvc_records_the_same_digests(project: Path) -> None:
    names = ["z.txt", "a/b/c.txt", "a-b.txt", "a.txt", "A/é ü.txt", "名/絵.txt", ".hidden", "a/.gitignore", "x.pyc"]
    folder = tree(project / "data" / "lists" / "many", {name: name * 3 for name in names})
    tree(folder / "__pycache__", {"x.txt": "ignored"})
    dvc(project, "add", "data/lists/many")
    recorded = re.findall(r"md5: (\S+)", (project / "data/lists/many.dvc").read_text())
    assert recorded == [digests.dvc_digest(folder)]


def test_a_listing_is_sorted_by_path_and_leaves_out_what_dvc_ignores(tmp_path: Path) -> None:
    tree(tmp_path, {"b": "1", "a/x": "2", "a.txt": "3", "a/.gitignore": "4", "__pycache__/y": "5"})
    assert [entry["relpath"] for entry in digests.folder_listing(tmp_path)] == ["a.txt", "a/x", "b"]


def test_the_digest_of_a_listing_knows_no_order(tmp_path: Path) -> None:
    listing = digests.folder_listing(tree(tmp_path, {"b": "1", "a": "2"}))
    assert digests.listing_digest(listing[::-1]) == digests.listing_digest(listing) == digests.dvc_digest(tmp_path)


def test_described_holds_the_listing_of_a_folder(tmp_path: Path) -> None:
    folder = tree(tmp_path / "out", {"a/x": "1"})
    md5 = digests.md5_file(folder / "a/x")
    assert digests.described(folder) == {"md5": digests.dvc_digest(folder), "files": {"a/x": md5}}
    assert digests.described(folder / "a/x") == {"md5": md5}


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digests.dvc_digest(tmp_path / "none")


def test_the_digest_of_content_knows_no_order_of_keys() -> None:
    assert digests.content_digest({"a": 1, "b": [1, 2]}) == digests.content_digest({"b": [1, 2], "a": 1})
    assert digests.content_digest([1, 2]) != digests.content_digest([2, 1])
