"""The closed set of words that say why a row was not kept: the same in records, metrics, docs and tests."""

from typing import Final

SOURCE: Final = {
    "unparsable_row": "the list's row could not be parsed, or has another number of fields than the header",
    "no_url": "the row has no URL",
    "not_a_url": "the URL is not an absolute http or https address with a host",
    "no_caption": "the row has no caption, or only white space",
    "bad_encoding": "the row is not valid UTF-8 text",
    "bad_hash": "the hash the list brings is not 64 hex digits (sha256) or 16 (perceptual)",
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
    "opt_out": "it was taken down, or the answer's headers opt out of use for machine learning",
    "too_many_requests": "the server asked to be left alone for a while (429) on every attempt",
    "robots_disallowed": "the host's robots.txt does not let us fetch the address",
    "tdm_reserved": "the host reserves the right to text and data mining (TDMRep) for the address",
    "hash_mismatch": "the picture is another one than the list's hash stands for",
    "hash_unverified": "the bytes differ from the list's hash, and nothing tells whether the picture is the same",
    "not_stored": "nothing was to be fetched, and the store has no record of it",
}
MEASURE: Final = {
    "truncated": "the picture's data end before the picture does",
    "undecodable": "the picture cannot be decoded",
    "too_many_pixels": "the picture declares more pixels than the bound; it was not decoded",
    "raw_damaged": "its bytes in the raw shard are damaged, and the store does not hold them either",
}
EMBED: Final = {
    "not_embedded": "the scorer's inference left the picture out",
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
    "duplicate_pixels": "the same picture, pixel for pixel, is kept under another uid",
    "duplicate_near": "a picture that looks alike by its perceptual hash is kept under another uid",
    "duplicate_semantic": "a picture close to it in the scorer's space is kept under another uid",
    "opted_out": "an opt-out names its URL, its host, its bytes or its look",
    "test_picture": "the picture is, or looks like, one of an evaluation set",
    "too_blurred": "the picture is blurred beyond the bound",
    "too_flat": "nearly all of the picture has one shade",
    "caption_too_few_words": "the caption has too few words",
    "caption_repetitive": "the caption says the same words again and again",
    "caption_boilerplate": "the caption is a stock phrase, or stands at too many pictures",
    "caption_url_like": "the caption is an address or a file name",
    "low_clip_score": "picture and caption are too far apart in the scorer's space",
    "below_top_fraction": "its score is not among the top fraction of its snapshot",
    "score_too_low": "a score that the list or a score table gives is below the bound",
    "score_too_high": "a score that the list or a score table gives is above the bound",
    "score_missing": "a score that the recipe needs is not known of it",
    "off_concept": "the caption names none of the wanted concepts",
    "image_off_concept": "the picture is near none of the wanted pictures in the scorer's space",
    "balanced_out": "its concepts are frequent, and the draw went against it",
    "backdoor_outlier": "it lies alone in the scorer's space, as backdoor samples do",
}
TRAIN: Final = {
    "val_split": "held out for validation",
    "never_drawn": "in no batch: the last incomplete batch of every epoch is left out",
}
KEPT: Final = "kept"

ALL: Final[dict[str, str]] = {**SOURCE, **DOWNLOAD, **MEASURE, **EMBED, **SELECT, **TRAIN}
"""Every reason with its meaning in words."""


def check(reason: str) -> str:
    """Returns `reason` unchanged.

    Raises:
        ValueError: if the word is not in the closed set.
    """
    if reason not in ALL:
        raise ValueError(f"reason {reason!r} is not one of lineage/reasons.py")
    return reason
