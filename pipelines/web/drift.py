"""Hash drift: whether what an address gives today is the picture that the list meant.

A list may bring the sha256 of the picture it saw. Where the bytes are others, the pictures are compared by their
perceptual hash (lineage.phash): a re-encoded or resized picture still looks alike, another picture does not. What it
is compared with is the list's own `expected_phash`, in that very form, or else the picture with the expected sha256
where the store holds it. Features that a list brings (CLIP embeddings, say) are not compared: that would take the
model they were made with. With nothing to compare with, `download.unverified` decides.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from lineage import phash
from pipelines import pictures

Drift = Literal["equal", "look_alike", "different", "unverified"]
_PHASH = re.compile(r"[0-9a-f]{16}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DriftPolicy:
    """When two pictures look alike, and what becomes of those that nothing can be compared with."""

    max_distance: int
    """Bits of 64 in which the perceptual hashes of look-alikes may differ."""
    max_pixels: int
    """Pictures declaring more pixels (width x height) are not decoded, and so not compared."""
    unverified: Literal["keep", "quarantine"]
    """Whether a picture that nothing can be compared with is kept."""


def triage(
    pair: Mapping[str, Any],
    sha256: str,
    *,
    read: Callable[[], bytes],
    find: Callable[[str], bytes | None],
    policy: DriftPolicy,
) -> Drift | None:
    """Returns how a fetched picture relates to the one its list means, None where the list brings no hash.

    Args:
        pair: its source row; uid, expected_sha256 and expected_phash are read.
        sha256: of the bytes that came.
        read: gives those bytes; called where they have to be looked at.
        find: gives the bytes with a sha256 where the store holds them.
    """
    expected, expected_look = pair["expected_sha256"], _parsed(pair)
    if not expected and expected_look is None:
        return None
    if expected and expected.lower() == sha256:
        return "equal"
    if expected_look is None:
        expected_look = _look(find(expected.lower()), policy)
    found = None if expected_look is None else _look(read(), policy)
    if expected_look is None or found is None:
        return "unverified"
    return "look_alike" if phash.hamming(found, expected_look) <= policy.max_distance else "different"


def reason(drift: Drift | None, policy: DriftPolicy) -> str | None:
    """Returns why a picture is quarantined (it fails, and stays in the store as evidence), None where it is kept."""
    if drift == "different":
        return "hash_mismatch"
    return "hash_unverified" if drift == "unverified" and policy.unverified == "quarantine" else None


def _look(content: bytes | None, policy: DriftPolicy) -> int | None:
    """Returns a picture's perceptual hash, None where there is none, or it cannot be decoded within the bound."""
    rgb = None if content is None else pictures.read(content, policy.max_pixels).rgb
    return None if rgb is None else phash.perceptual_hash(rgb)


def _parsed(pair: Mapping[str, Any]) -> int | None:
    """Returns the list's perceptual hash.

    Raises:
        ValueError: if it is not one, naming the row.
    """
    text = (pair["expected_phash"] or "").lower()
    if text and not _PHASH.fullmatch(text):
        raise ValueError(f"{pair['uid']}: expected_phash {text[:40]!r} is not 16 hex digits; mend the list")
    return int(text, 16) if text else None
