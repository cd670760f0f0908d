"""set.json of a set with a family: what it may say, and how a mistake is explained."""

from pathlib import Path
from typing import Any

import pytest

from cyclip_model.sets import entry, laying
from lineage import files
from tests.cyclip_model.sets.laid import ask


def test_what_is_not_said_has_its_usual_meaning(tmp_path: Path) -> None:
    found = laying.entry_of(ask(tmp_path / "words", "sts"))
    assert (found.name, found.folder, found.family) == ("words", tmp_path / "words", "sts")
    assert (found.parts, found.templates, found.max_pixels, found.download) == (None, "own", None, False)
    assert found.wants("train")


def test_what_is_said_is_taken(tmp_path: Path) -> None:
    more = {"path": "data/pictures", "parts": ["test"], "templates": ["a {}"], "max_pixels": 9, "shift_of": "imagenet"}
    found = laying.entry_of(ask(tmp_path / "words", "image_folder", labels="name", **more))
    assert (found.folder, found.templates, found.max_pixels) == (Path("data/pictures"), ["a {}"], 9)
    assert (found.wants("train"), found.wants("test"), found.shift_of) == (False, True, "imagenet")
    assert found.option("labels") == "name"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"family": "files"}, "family 'files' is none of clip_benchmark, image_folder, "),
        ({"name": "other"}, "name is 'other', but the folder is 'words'"),
        ({"colour": 1}, "unknown key colour; family sst has"),
        ({"parts": ["train"]}, "parts must be"),
        ({"parts": ["test", "val"]}, "parts must be"),
        ({"templates": ["no place"]}, "templates must be"),
        ({"templates": []}, "templates must be"),
        ({"templates": "theirs"}, "templates must be"),
        ({"download": "yes"}, "download must be a bool"),
        ({"download": True}, "download needs a path"),
        ({"max_pixels": "9"}, "max_pixels must be a int"),
        ({"max_pixels": 0}, "max_pixels must be at least 1"),
        ({"sources": "a site"}, "sources must be a list"),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    ask(tmp_path / "words", "sst")
    files.write_json(tmp_path / "words/set.json", {**files.read_json(tmp_path / "words/set.json"), **more})
    with pytest.raises(ValueError, match=rf"words/set\.json: {message}"):
        laying.entry_of(tmp_path / "words")


@pytest.mark.parametrize("key", ["name", "sources"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    content = {"name": "words", "family": "sst", "sources": []}
    files.write_json(tmp_path / "words/set.json", {name: content[name] for name in content if name != key})
    with pytest.raises(ValueError, match=f"{key} is missing"):
        laying.entry_of(tmp_path / "words")


def test_only_a_set_json_with_a_family_is_of_these(tmp_path: Path) -> None:
    assert not entry.has_family(tmp_path)
    files.write_json(tmp_path / "set.json", {"name": "emoji"})
    assert not entry.has_family(tmp_path)
    assert entry.has_family(ask(tmp_path / "words", "sst"))
