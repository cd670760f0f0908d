"""What stands on the demo's websites: each kind of spoil as often as asked, each on a picture of its own."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from lineage import digests, phash
from pipelines.demo import artwork, dirt, emoji, spoils
from pipelines.demo.artwork import Picture
from pipelines.demo.dirt import Amounts
from pipelines.demo.websites import SNAPSHOTS, Web, path_of
from tests.pipelines.tiny_packages import lay_packages

NONE = Amounts(**{field.name: (0, 0) for field in dataclasses.fields(Amounts)})
KINDS = ("tiny", "empty", "html", "noai", "truncated", "incomplete", "slow", "other_script")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    packages = tmp_path_factory.mktemp("packages")
    lay_packages(packages, 60)
    drawn = [artwork.picture(drawing) for drawing in emoji.read(packages) if not drawing.has_tone]
    return [picture for picture in drawn if picture.drawing.vendor not in emoji.SHIFT_VENDORS]


@pytest.fixture(scope="module")
def web(pictures: list[Picture]) -> Web:
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


def test_drifted_rows_bring_the_hash_of_what_was_there_before(pictures: list[Picture]) -> None:
    web = Web()
    amounts = dataclasses.replace(NONE, drift_reencoded=(0, 1), drift_replaced=(0, 1), drift_untold=(0, 1))
    spoils._add_drifted(web, iter(pictures), SNAPSHOTS[1], amounts)
    by_kind = {row.kind: row for row in web.rows}
    assert set(by_kind) == {"drift_reencoded", "drift_replaced", "drift_untold"}
    for kind, row in by_kind.items():
        assert row.picture is not None
        served = web.files[path_of(row.url)]
        assert row.sha256 == digests.sha256_bytes(row.picture.content) != digests.sha256_bytes(served)
        assert bool(row.phash) == (kind != "drift_untold")
        look = phash.perceptual_hash(np.asarray(artwork.load(served)))
        if row.phash:
            assert (phash.hamming(int(row.phash, 16), look) <= 10) == (kind == "drift_reencoded")
