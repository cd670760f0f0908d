import json
from pathlib import Path

import pytest

from lineage.site import shelf
from lineage.site.shelf import Shelf, script_json


def test_files_are_bounded_and_begin_where_the_bounds_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_BYTES", 300)
    monkeypatch.setattr(shelf, "FILES_PER_FOLDER", 2)
    keys = [f"{number:016x}" for number in range(0, 2**60, 2**55)]
    with Shelf(tmp_path, "url") as made:
        for key in keys:
            made.add(key, [key, "x" * 50])
    paths = sorted(tmp_path.rglob("*.js"))
    assert [path.relative_to(tmp_path).as_posix() for path in paths][:3] == [
        "url/000/000.js",
        "url/000/001.js",
        "url/001/000.js",
    ]
    assert len(made.bounds) == len(paths) > 3
    assert all(path.stat().st_size < 400 for path in paths)
    read = [json.loads(path.read_text().partition(", ")[2].removesuffix(");\n")) for path in paths]
    assert [entry[0] for entries in read for entry in entries] == keys
    assert [entries[0][0][:10] for entries in read] == made.bounds


def test_keys_that_begin_alike_stand_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_BYTES", 10)
    with Shelf(tmp_path, "uid") as made:
        for key in ("0123456789aa", "0123456789bb", "1123456789aa"):
            made.add(key, [key])
    assert made.bounds == ["0123456789", "1123456789"]


def test_nothing_added_is_no_file(tmp_path: Path) -> None:
    with Shelf(tmp_path, "uid") as made:
        pass
    assert made.bounds == []
    assert not list(tmp_path.iterdir())


def test_json_of_strangers_is_plain_script() -> None:
    hostile = "</script><!--&\u2028\u2029\0\ud800é\U0001f469"
    text = script_json([hostile])
    assert text.isascii()
    assert not set("<>&\0") & set(text)
    assert json.loads(text) == [hostile]
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))
