"""A subject is recognised by its form, and its rows are found whatever the spelling."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lineage import phash
from lineage.questions import subjects
from lineage.questions.holdings import Holdings
from tests.lineage.questions import small
from tests.lineage.questions.small import sha, uid

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "kind", "digest"),
    [
        ("http://a.test/1.png", "url", sha("http://a.test/1.png")),
        (" HTTPS://A.test/é?q=1 ", "url", sha("HTTPS://A.test/é?q=1")),
        ("A.test", "domain", sha("a.test")),
        ("F" * 64, "sha256", "f" * 64),
        ("0" * 32, "uid", "0" * 32),
    ],
)
def test_the_form_says_what_is_meant(text: str, kind: str, digest: str) -> None:
    found = subjects.parse(text, None, ROOT)
    assert (found.kind, found.digest) == (kind, digest)


@pytest.mark.parametrize("text", ["", "a b", "ftp://a.test/", "http://", "f" * 63, "../etc", "http://a.test/a b"])
def test_what_is_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no URL, domain, sha256(,| or) uid"):
        subjects.parse(text, None, ROOT)


def test_a_picture_is_read_as_the_pipeline_reads_it(tmp_path: Path) -> None:
    pixels = cv2.resize(np.arange(256, dtype=np.uint8).reshape(16, 16), (64, 64))
    path = tmp_path / "a picture.png"
    Image.fromarray(pixels).convert("RGB").save(path)
    found = subjects.parse(str(path), None, ROOT)
    assert found.kind == "picture"
    assert found.look == phash.perceptual_hash(np.dstack([pixels] * 3))
    path.write_bytes(b"no picture")
    assert subjects.parse(str(path), "picture", ROOT) == subjects.Subject(
        kind="picture", text=str(path), digest=sha("no picture"), look=None
    )
    with pytest.raises(ValueError, match="no such file"):
        subjects.parse(f"{path}.jpg", None, ROOT)
    with pytest.raises(ValueError, match="a folder"):
        subjects.parse(str(tmp_path), "picture", ROOT)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTP://A.Test:80/1.png#top", "http://a.test/1.png"),
        ("https://a.test:443/B?q=C", "https://a.test/B?q=C"),
        ("http://User:Word@A.test:8080/", "http://User:Word@a.test:8080/"),
        ("http://a.test/1.png/", "http://a.test/1.png/"),
    ],
)
def test_a_link_is_looked_for_as_it_means_the_same(url: str, plain: str) -> None:
    assert {url, plain} <= subjects.url_spellings(url)
    assert subjects.url_spellings(plain) == {plain}


@pytest.mark.parametrize(
    ("text", "numbers", "by"),
    [
        ("http://a.test/1.png", {1}, "url"),
        ("http://a.test/9.png", set(), "url"),
        ("HTTP://A.test:80/1.png#x", {1}, "url"),
        ("a.test", {1, 2}, "domain"),
        ("b.test", {3, 4}, "domain"),
        ("img.b.test", {3}, "domain"),
        ("mg.b.test", set(), "domain"),
        (sha("picture 3"), {3}, "sha256"),
        (sha("http://a.test/2.png"), {2}, "url"),
        (sha("a.test"), {1, 2}, "domain"),
        (uid("s1", 4), {4}, "uid"),
    ],
)
def test_rows_are_found(second: Holdings, text: str, numbers: set[int], by: str) -> None:
    found = subjects.find(subjects.parse(text, None, second.root), second, "s1")
    order = sorted(small.URLS["s1"], key=lambda number: uid("s1", number))
    assert {order[row] for row in found.row_n} == numbers
    assert found.by == by


def test_the_nearest_look_comes_first_with_its_distance(second: Holdings) -> None:
    found = subjects.nearest(0xFF01, second, "s1", within=9)
    order = sorted(small.URLS["s1"], key=lambda number: uid("s1", number))
    assert found.distance_n is not None
    assert [(order[row], bits) for row, bits in zip(found.row_n, found.distance_n.tolist(), strict=True)] == [
        (3, 1),
        (1, 8),
    ]
    assert len(subjects.nearest(0xFF01, second, "s1", within=0).row_n) == 0


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_distances_are_those_of_the_bits(look: int, hashes: list[int]) -> None:
    found = subjects.distances_to(look, np.array(hashes, np.uint64)).tolist()
    assert found == [phash.hamming(look, value) for value in hashes]


def test_international_names_are_found_in_both_spellings() -> None:
    assert (
        subjects.spellings("bücher.test")
        == subjects.spellings("xn--bcher-kva.test")
        == {
            "bücher.test",
            "xn--bcher-kva.test",
        }
    )
