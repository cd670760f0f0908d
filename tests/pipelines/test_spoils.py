"""What stands on the demo's websites: each kind of spoil as often as asked, each on a picture of its own."""

import dataclasses
from collections import Counter

import pytest

from pipelines import artwork, dirt, emoji, spoils
from pipelines.dirt import Amounts
from pipelines.websites import SNAPSHOTS, Web
from tests.pipelines.tiny_packages import lay_packages

NONE = Amounts(**{field.name: (0, 0) for field in dataclasses.fields(Amounts)})
KINDS = ("tiny", "empty", "html", "noai", "truncated", "incomplete", "slow", "other_script")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Web:
    packages = tmp_path_factory.mktemp("packages")
    lay_packages(packages, 60)
    drawn = [artwork.picture(drawing) for drawing in emoji.read(packages) if not drawing.has_tone]
    pictures = [picture for picture in drawn if picture.drawing.vendor not in emoji.SHIFT_VENDORS]
    made = Web()
    amounts = dataclasses.replace(NONE, **dict.fromkeys(KINDS, (3, 0)))
    spoils.add_pictures(made, pictures, SNAPSHOTS[0], amounts)
    assert len(made.rows) == len(pictures)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_there_as_often_as_asked(web: Web, kind: str) -> None:
    counts = Counter(row.kind.removesuffix("_webp") for row in web.rows)
    assert counts[kind] == 3
    assert kind in dirt.EXPECTED


def test_the_others_are_good(web: Web) -> None:
    assert {row.kind.removesuffix("_webp") for row in web.rows} == {*KINDS, "clean", "wrong_ending"}
