import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lineage import digests, phash, reasons
from pipelines import pictures
from pipelines.web import drift
from pipelines.web.drift import DriftPolicy

POLICY = DriftPolicy(max_distance=8, max_pixels=10_000, unverified="keep")
STRICT = DriftPolicy(max_distance=8, max_pixels=10_000, unverified="quarantine")


def drawing(seed: int, side: int = 64, kind: str = "PNG") -> bytes:
    """Returns a picture of a few large blots, drawn from the seed whatever its side."""
    blots = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    made = io.BytesIO()
    Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC).save(made, kind)
    return made.getvalue()


ORIGINAL, SMALLER, OTHER = drawing(1), drawing(1, 48, "JPEG"), drawing(2)
LOOK = phash.hex_hash(phash.perceptual_hash(pictures.read(ORIGINAL, 10_000).rgb))  # type: ignore[arg-type]


def triage(
    content: bytes, *, expected: str | None, look: str | None = None, stored: bytes | None = None, **changes: Any
) -> str | None:
    pair = {"uid": "u", "expected_sha256": expected, "expected_phash": look}
    held = {} if stored is None else {digests.sha256_bytes(stored): stored}
    return drift.triage(
        pair,
        digests.sha256_bytes(content),
        read=lambda: content,
        find=held.get,
        policy=changes.get("policy", POLICY),
    )


SHA256 = digests.sha256_bytes(ORIGINAL)


def test_the_pictures_are_what_they_are_taken_for() -> None:
    looks = [phash.perceptual_hash(pictures.read(each, 10_000).rgb) for each in (ORIGINAL, SMALLER, OTHER)]  # type: ignore[arg-type]
    assert 0 <= phash.hamming(looks[0], looks[1]) <= 8 < phash.hamming(looks[0], looks[2])


@pytest.mark.parametrize(
    ("content", "expected", "look", "stored", "word"),
    [
        (ORIGINAL, None, None, None, None),
        (ORIGINAL, "", "", ORIGINAL, None),
        (ORIGINAL, SHA256, None, None, "equal"),
        (ORIGINAL, SHA256.upper(), None, None, "equal"),
        (ORIGINAL, SHA256, "f" * 16, OTHER, "equal"),
        (SMALLER, SHA256, LOOK, None, "look_alike"),
        (SMALLER, SHA256, LOOK.upper(), None, "look_alike"),
        (SMALLER, SHA256, None, ORIGINAL, "look_alike"),
        (SMALLER, None, LOOK, None, "look_alike"),
        (OTHER, SHA256, LOOK, None, "different"),
        (OTHER, SHA256, None, ORIGINAL, "different"),
        (OTHER, None, LOOK, None, "different"),
        (SMALLER, SHA256, None, None, "unverified"),
        (SMALLER, SHA256, None, OTHER, "unverified"),
    ],
)
def test_every_case_has_its_word(
    content: bytes, expected: str | None, look: str | None, stored: bytes | None, word: str | None
) -> None:
    assert triage(content, expected=expected, look=look, stored=stored) == word


def test_the_lists_own_look_decides_before_the_store() -> None:
    other = phash.hex_hash(phash.perceptual_hash(pictures.read(OTHER, 10_000).rgb))  # type: ignore[arg-type]
    assert triage(SMALLER, expected=SHA256, look=other, stored=ORIGINAL) == "different"


@pytest.mark.parametrize(("distance", "word"), [(8, "look_alike"), (9, "different")])
def test_the_bound_is_the_last_distance_that_counts(distance: int, word: str) -> None:
    look = phash.hex_hash(int(LOOK, 16) ^ ((1 << distance) - 1))
    assert triage(ORIGINAL, expected="0" * 64, look=look) == word


@pytest.mark.parametrize(
    ("content", "stored"),
    [(ORIGINAL[:200], ORIGINAL), (b"", ORIGINAL), (drawing(1, 101), ORIGINAL), (SMALLER, drawing(1, 101))],
)
def test_what_cannot_be_decoded_within_the_bound_is_not_compared(content: bytes, stored: bytes) -> None:
    assert triage(content, expected=digests.sha256_bytes(stored), stored=stored) == "unverified"
    large = DriftPolicy(max_distance=8, max_pixels=101 * 101, unverified="keep")
    decodes = "look_alike" if len(content) > 200 else "unverified"
    assert triage(content, expected=digests.sha256_bytes(stored), stored=stored, policy=large) == decodes


def test_equal_bytes_are_never_decoded() -> None:
    def never() -> bytes:
        raise AssertionError

    pair = {"uid": "u", "expected_sha256": SHA256, "expected_phash": LOOK}
    assert drift.triage(pair, SHA256, read=never, find=lambda _: never(), policy=POLICY) == "equal"


@pytest.mark.parametrize("look", ["0" * 15, "0" * 17, "xyz", "0x" + "0" * 14])
def test_a_look_that_is_none_names_the_row(look: str) -> None:
    with pytest.raises(ValueError, match=r"u: expected_phash .* is not 16 hex digits; mend the list"):
        triage(ORIGINAL, expected=None, look=look)


def test_reasons_follow_the_policy() -> None:
    words: tuple[drift.Drift | None, ...] = (None, "equal", "look_alike", "different", "unverified")
    assert [drift.reason(word, POLICY) for word in words] == [None, None, None, "hash_mismatch", None]
    assert [drift.reason(word, STRICT) for word in words] == [None, None, None, "hash_mismatch", "hash_unverified"]
    assert {"hash_mismatch", "hash_unverified"} <= set(reasons.DOWNLOAD)
