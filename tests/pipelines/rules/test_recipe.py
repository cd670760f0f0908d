"""A recipe is strictly read: every mistake is one error that names its place in params.yaml."""

from pathlib import Path
from typing import Any

import pytest

from lineage import params
from pipelines import rules
from tests.builders import PARAMS, write_params
from tests.pipelines.snapshots import sources, write_roots

SIDE: dict[str, Any] = {"rule": "side", "min_px": 8}
LANGUAGE: dict[str, Any] = {"rule": "language", "languages": ["en"], "min_probability": 0.9, "min_letters": 12}

TOP: dict[str, Any] = {"rule": "top_fraction", "score": "clip_score", "fraction": 0.3, "missing": "drop"}
SEMANTIC: dict[str, Any] = {"rule": "semantic_duplicate", "num_clusters": 10, "num_samples": 20, "seed": 0}
SEMANTIC |= {"min_cosine": 0.9, "same_image_captions": "keep_one"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, r"select.rules\[1\].rule is missing"),
        ({"rule": "sides"}, r"select.rules\[1\].rule: there is no rule 'sides'; rules: opt_out, "),
        ({"rule": ["side"]}, r"select.rules\[1\].rule: there is no rule \['side'\]"),
        ({"rule": "side"}, r"select.rules\[1\].min_px is missing"),
        ({"rule": "side", "min_px": "8"}, r"select.rules\[1\].min_px must be an integer, not '8'"),
        ({"rule": "side", "min_px": 8, "max_px": 9}, r"unknown key select.rules\[1\].max_px; known: min_px"),
        ({"rule": "aspect", "max_ratio": 0.5}, r"select.rules\[1\]: max_ratio must be in 1..inf, not 0.5"),
        ({**LANGUAGE, "languages": "en"}, r"select.rules\[1\].languages must be a list"),
        ({"rule": "exact", "same_image_captions": "keep"}, r"same_image_captions must be one of keep_one, keep_all"),
        ({"rule": "boilerplate", "phrases": [" "]}, r"select.rules\[1\]: phrases has an empty one"),
        ({"rule": "balance", "max_pairs": 0.0}, r"select.rules\[1\]: max_pairs must be > 0"),
        ({**LANGUAGE, "languages": ["english"]}, r"\[1\]: languages: no language is called 'english' here; ISO 639"),
        ({**LANGUAGE, "languages": []}, r"select.rules\[1\]: languages is empty: nothing would be kept"),
        ({**LANGUAGE, "min_letters": -1}, r"select.rules\[1\]: min_letters must be >= 0, not -1"),
        ({"rule": "script", "scripts": ["Latn"]}, r"\[1\]: scripts: no script is called 'Latn' here"),
        ({"rule": "script", "scripts": []}, r"select.rules\[1\]: scripts is empty"),
        ({"rule": "side", "min_px": -3}, r"select.rules\[1\]: min_px must be >= 1, not -3"),
        ({"rule": "blur", "min_variance": -1.0}, r"select.rules\[1\]: min_variance must be >= 0"),
        ({"rule": "caption_words", "min_words": 0}, r"select.rules\[1\]: min_words must be >= 1"),
        ({"rule": "caption_length", "min_chars": 9, "max_chars": 8}, r"\[1\]: max_chars must be >= 9, not 8"),
        ({**TOP, "fraction": 0.0}, r"select.rules\[1\]: fraction must be above 0"),
        ({**SEMANTIC, "num_samples": 9}, r"select.rules\[1\]: num_samples must be >= 10, not 9"),
        ({**SEMANTIC, "num_clusters": 0}, r"select.rules\[1\]: num_clusters must be >= 1, not 0"),
        (SIDE, r"select.rules\[1\] has the label side of select.rules\[0\]; give one of them .* `as: NAME`"),
        ({**SIDE, "as": "Side 2"}, r"select.rules\[1\].as: 'Side 2' is not allowed"),
        ({**SIDE, "as": "seen_before"}, r"select.rules\[1\].as: seen_before is reserved"),
    ],
)
def test_mistakes_name_their_place(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"^params.yaml: .*{words}"):
        rules.parse([SIDE, entry])


def test_a_recipe_keeps_order_and_labels() -> None:
    steps = rules.parse([LANGUAGE, SIDE, {**SIDE, "min_px": 9, "as": "larger"}])
    assert [(step.label, type(step.rule).__name__) for step in steps] == [
        ("language", "Language"),
        ("side", "Side"),
        ("larger", "Side"),
    ]
    assert rules.parse([]) == ()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"rule": "text_based"},
            r"select.rules\[1\] \(text_based\) needs .*, but .*concepts.txt is empty",
        ),
        ({"rule": "balance", "max_pairs": 2.0}, r"select.rules\[1\] \(balance\) needs wanted concepts"),
        (
            {"rule": "decontaminate", "max_distance": 2, "max_rmse": None},
            r"select.rules\[1\] \(decontaminate\) needs .* select.decontaminate_against",
        ),
        ({"rule": "decontaminate_vectors", "min_cosine": 0.9, "as": "far"}, r"select.rules\[1\] \(far\) needs"),
    ],
)
def test_a_rule_that_lacks_its_list_says_so(entry: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_roots(tmp_path)
    with pytest.raises(ValueError, match=words):
        rules.check(rules.parse([SIDE, entry]), sources(tmp_path))
    write_roots(tmp_path, concepts=["cat"])
    rules.check(rules.parse([SIDE, entry]), sources(tmp_path, "tests"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_partitions": 0}, "num_partitions must be in 1..65536"),
        ({"val_frac": 1.1}, "val_frac must be in 0..1"),
        ({"val_frac": 1.0}, "val_frac must be below 1: no pair would be left"),
        ({"max_drop_frac": -0.1}, "max_drop_frac must be in 0..1"),
        ({"min_group_rows": 0}, "min_group_rows must be >= 1"),
        ({"on_excess": "stop"}, "select.on_excess must be one of warn, fail"),
        ({"rules": {"side": 8}}, "select.rules must be a list"),
        ({"colour": 1}, "unknown key select.colour"),
    ],
)
def test_params_out_of_range(
    change: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(select=change)
    with pytest.raises(ValueError, match=words):
        params.load("select", rules.SelectConfig)


def test_the_recipes_of_the_demo_and_of_the_tests_are_good() -> None:
    root = Path(__file__).resolve().parents[3]
    config = params.load("select", rules.SelectConfig, root / "params.yaml")
    assert len(rules.parse(config.rules)) == len(config.rules)
    assert rules.parse(PARAMS["select"]["rules"])
