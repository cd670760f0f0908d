"""The closed set of words that say why a row was not kept: the same in records, metrics, docs and tests."""

from typing import Final

SOURCE: Final = {
    "unparsable_row": "the list's row could not be parsed, or has another number of fields than the header",
    "no_url": "the row has no URL",
    "not_a_url": "the URL is not an absolute http or https address with a host",
    "no_caption": "the row has no caption, or only white space",
    "bad_encoding": "the row is not valid UTF-8 text",
    "repeat": "an equal (url, caption) row stands earlier in the same list",
}
DOWNLOAD: Final = {
    "http_error": "the server answered with a status that is no picture: not 200, 404, 410 or 5xx",
    "http_404": "the server says the picture is not there",
    "http_410": "the server says the picture is gone",
    "server_error": "the server answered with a 5xx error on every attempt",
    "dns": "the host name does not resolve",
    "refused": "the address refused the connection, or broke it off",
    "address_not_allowed": "the URL leads to a private, loopback, link-local or literal address not allow-listed",
    "scheme_not_allowed": "the URL, or a redirect, leads to something other than http and https",
    "timeout": "the answer was not complete within the deadline",
    "tls": "the server's certificate could not be verified",
    "too_many_redirects": "the redirects did not end",
    "incomplete_body": "the body ended before its declared length",
    "too_large": "the body is larger than the byte limit",
    "empty_body": "the body has no bytes",
    "not_an_image": "the body is not a picture in a known format",
    "opt_out": "the answer's headers opt out of use for machine learning",
}
MEASURE: Final = {
    "truncated": "the picture's data end before the picture does",
    "undecodable": "the picture cannot be decoded",
    "too_many_pixels": "the picture declares more pixels than the bound; it was not decoded",
}
SELECT: Final = {
    "seen_before": "the same (url, caption) was kept in an earlier snapshot",
    "too_small": "the shorter side is below the bound",
    "too_elongated": "the longer side is too many times the shorter one",
    "caption_too_short": "the caption has too few characters",
    "caption_too_long": "the caption has too many characters",
    "caption_without_letters": "the caption has no letter",
    "script": "the caption's letters are mostly of another script",
    "language": "the caption is in another language, with high probability",
    "duplicate_exact": "the same picture, byte for byte, is kept under another uid",
}
TRAIN: Final = {
    "val_split": "held out for validation",
    "never_drawn": "in no batch: the last incomplete batch of every epoch is left out",
}
KEPT: Final = "kept"

ALL: Final[dict[str, str]] = {**SOURCE, **DOWNLOAD, **MEASURE, **SELECT, **TRAIN}
"""Every reason with its meaning in words."""


def check(reason: str) -> str:
    """Returns `reason` unchanged.

    Raises:
        ValueError: if the word is not in the closed set.
    """
    if reason not in ALL:
        raise ValueError(f"reason {reason!r} is not one of lineage/reasons.py")
    return reason
