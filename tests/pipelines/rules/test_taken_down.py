"""Rows that were taken down under every rule: an earlier stage has had the last word on them, and no rule trips."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.rules.recipe import RULES
from tests.builders import make_signals
from tests.pipelines.snapshots import run_fold, uid, unit, verdicts_of, write_roots, write_set, write_snapshot

ONE: dict[str, Any] = {"same_image_captions": "keep_one"}
KEYS: dict[str, dict[str, Any]] = {
    "opt_out": {"max_distance": 2},
    "side": {"min_px": 8},
    "aspect": {"max_ratio": 3.0},
    "blur": {"min_variance": 5.0},
    "flatness": {"max_frac": 0.9},
    "basic_filter": {"language": "en", "min_words": 1, "min_chars": 3, "min_side_px": 8, "max_aspect": 3.0},
    "caption_length": {"min_chars": 3, "max_chars": 40},
    "caption_words": {"min_words": 1},
    "caption_letters": {"min_letters": 1, "min_frac": 0.1},
    "caption_repetition": {"max_frac": 0.5},
    "boilerplate": {"phrases": ["click here"]},
    "repeated_caption": {"max_times": 5},
    "url_like": {},
    "script": {"scripts": ["latin"]},
    "language": {"languages": ["en"], "min_probability": 0.9, "min_letters": 12},
    "text_based": {},
    "balance": {"max_pairs": 100.0},
    "decontaminate": {"max_distance": 0, "max_rmse": None},
    "decontaminate_vectors": {"min_cosine": 0.999},
    "exact": ONE,
    "pixels": ONE,
    "near_duplicate": {"max_distance": 0, "max_rmse": None, **ONE},
    "clip_score": {"min": 0.1, "missing": "keep"},
    "score": {"name": "similarity", "min": 0.1, "max": None, "missing": "keep"},
    "laion2b": {"min_clip_score": 0.28, "language": "en", "missing": "keep"},
    "top_fraction": {"score": "clip_score", "fraction": 0.9, "missing": "keep"},
}
UNTRIED = {"image_based", "semantic_duplicate", "backdoor"}
"""They look at nothing but vectors, which only measured rows have."""


def taken_down(number: int) -> dict[str, Any]:
    known = {name: value for name, value in make_signals(uid(number)).items() if name.endswith(("uid", "l_sha256"))}
    return dict.fromkeys(make_signals(uid(number))) | known | {"host_sha256": "e" * 64, "error": "opt_out"}


def test_every_rule_is_tried() -> None:
    assert KEYS.keys() | UNTRIED == RULES.keys()


@pytest.mark.parametrize("rule", KEYS)
def test_the_word_is_that_of_the_download_and_the_others_are_judged(rule: str, tmp_path: Path) -> None:
    write_roots(tmp_path, optouts=[("host_sha256", "e" * 64)], concepts=["drawing"])
    write_set(tmp_path, "tests", ["0" * 16], [unit(0, 0, 0, 1)])
    rows = [make_signals(uid(n)) | {"caption_sha256": f"{n:064x}"} for n in range(1, 9)]
    vectors = {uid(n): unit(1, n) for n in range(1, 9)}
    write_snapshot(
        tmp_path, "s1", [*rows, taken_down(9), taken_down(10)], vectors=vectors, scores=dict.fromkeys(vectors, 0.5)
    )
    write_snapshot(tmp_path, "s2", [taken_down(9), taken_down(1), taken_down(11)])
    first, second = run_fold(tmp_path, [{"rule": rule, **KEYS[rule]}], ["s1", "s2"], "tests")
    verdicts = verdicts_of(first)
    for number in (9, 10):
        verdict = verdicts.pop(uid(number))
        assert (verdict["keep"], verdict["reason"], verdict["rule"]) == (False, "opt_out", "download")
    assert sum(verdict["keep"] for verdict in verdicts.values()) >= 7
    assert {verdict["reason"] for verdict in verdicts_of(second).values()} <= {"opt_out", "seen_before"}
    assert not any(verdict["keep"] for verdict in verdicts_of(second).values())
