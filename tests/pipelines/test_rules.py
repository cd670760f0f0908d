"""Each rule on both sides of its threshold, with the exact reason, value and threshold."""

import dataclasses
from typing import Any

import pytest

from lineage import params, reasons
from pipelines import rules
from tests.builders import PARAMS, SELECT, make_signals, write_params

CASES: list[tuple[dict[str, Any], tuple[str, str, str, str] | None]] = [
    ({}, None),
    ({"width": 8, "height": 8}, None),
    ({"width": 8, "height": 7}, ("side", "too_small", "7", "8")),
    ({"width": 7, "height": 8}, ("side", "too_small", "7", "8")),
    ({"width": 30, "height": 10}, None),
    ({"width": 31, "height": 10}, ("aspect", "too_elongated", "3.100", "3.0")),
    ({"width": 10, "height": 31}, ("aspect", "too_elongated", "3.100", "3.0")),
    ({"caption_chars": 3}, None),
    ({"caption_chars": 2}, ("caption_length", "caption_too_short", "2", "3")),
    ({"caption_chars": 40}, None),
    ({"caption_chars": 41}, ("caption_length", "caption_too_long", "41", "40")),
    ({"caption_letters": 1}, None),
    (
        {"caption_letters": 0, "script": None, "script_frac": None, "language": None, "language_probability": None},
        ("caption_letters", "caption_without_letters", "0", "1"),
    ),
    ({"script": "greek", "script_frac": 0.75}, ("script", "script", "greek 0.750", "latin")),
    ({"language": "de", "language_probability": 0.899999}, None),
    ({"language": "de", "language_probability": 0.9}, ("language", "language", "de 0.900", "0.9")),
    ({"language": "en", "language_probability": 1.0}, None),
    ({"language": "de", "caption_letters": 11}, None),
    ({"language": "de", "caption_letters": 12}, ("language", "language", "de 0.990", "0.9")),
]


@pytest.mark.parametrize(("changes", "drop"), CASES)
def test_both_sides_of_each_threshold(changes: dict[str, Any], drop: tuple[str, str, str, str] | None) -> None:
    found = rules.judge(make_signals("u", **changes), SELECT)
    assert (None if found is None else dataclasses.astuple(found)) == drop
    assert found is None or found.reason in reasons.SELECT


def test_every_rule_and_reason_has_a_case() -> None:
    dropped = {drop[:2] for _, drop in CASES if drop}
    assert {rule for rule, _ in dropped} == {rule.__name__ for rule in rules.RULES}
    assert {reason for _, reason in dropped} == set(reasons.SELECT) - {"seen_before", "duplicate_exact"}


def test_the_first_rule_that_drops_a_row_is_its_reason() -> None:
    row = make_signals("u", width=4, height=100, caption_chars=1, script="greek")
    assert rules.judge(row, SELECT) == rules.side(row, SELECT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hash_prefixes": 17}, "num_hash_prefixes must be 16 or 256"),
        ({"val_frac": 1.1}, "val_frac must be in 0..1"),
        ({"min_language_probability": -0.1}, "min_language_probability must be in 0..1"),
        ({"max_aspect": 0.5}, "max_aspect must be >= 1"),
        ({"scripts": "latin"}, "select.scripts must be a list"),
        ({"colour": 1}, "unknown key select.colour"),
    ],
)
def test_params_out_of_range(
    change: dict[str, Any], words: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(select=change)
    with pytest.raises(ValueError, match=words):
        params.load("select", rules.SelectConfig)
    assert set(PARAMS["select"]) == {field.name for field in dataclasses.fields(rules.SelectConfig)}
