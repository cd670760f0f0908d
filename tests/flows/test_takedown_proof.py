"""The last look of a takedown: scratch of killed runs goes; what else holds what was taken down is an error."""

from pathlib import Path

import pytest

from flows import takedown
from flows.repository import Checkout
from lineage import files
from pipelines.traces import Traces

URL = "http://a.test/taken-down.png"
LOOKED_FOR = Traces(urls=[URL], captions=["a caption taken down"], pictures=[])


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.delenv("CLIPLINE_STORE", raising=False)
    files.write_json(tmp_path / "params.yaml", {"download": {"demo_site": "data/demo/site"}})
    files.write_text(tmp_path / "data/demo/site/index.html", URL)
    files.write_text(tmp_path / "data/lists/s1/a.csv", "url,caption\nhttp://a.test/other.png,another\n")
    return Checkout(tmp_path)


def test_where_nothing_is_left_nothing_is_told(main: Checkout) -> None:
    takedown.prove_taken.fn(main, LOOKED_FOR)


def test_scratch_of_killed_runs_goes_where_it_holds_something(main: Checkout) -> None:
    files.write_text(main.root / ".work/download-s1-0123/img2dataset/list.txt", URL)
    files.write_text(main.root / ".work/train-clip-0-4567/checkpoint", "nothing of it")
    files.write_text(main.root / ".work/left.txt", URL)
    takedown.prove_taken.fn(main, LOOKED_FOR)
    assert [path.name for path in (main.root / ".work").iterdir()] == ["train-clip-0-4567"]


@pytest.mark.parametrize("place", ["store/fetch/s1/index.jsonl", "report/index.html", "models/clip-0/notes.txt"])
def test_what_is_left_elsewhere_is_named_but_not_quoted(place: str, main: Checkout) -> None:
    files.write_text(main.root / place, f"<a href='{URL}'>a caption taken down</a>")
    with pytest.raises(ValueError, match=f"something remains: {main.root / place}: URLs, captions that were") as error:
        takedown.prove_taken.fn(main, LOOKED_FOR)
    assert URL not in str(error.value)


def test_the_store_may_lie_elsewhere(main: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPLINE_STORE", str(tmp_path / "far/away"))
    files.write_text(tmp_path / "far/away/fetch/s1/index.jsonl", URL)
    with pytest.raises(ValueError, match="far/away/fetch"):
        takedown.prove_taken.fn(main, LOOKED_FOR)
