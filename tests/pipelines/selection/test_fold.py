"""The fold: a later snapshot never alters an earlier verdict, nor do parts, partitions or workers."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.selection.fold import ranks
from pipelines.selection.workers import OnBeam
from tests.builders import RUNNER, TWO_WORKERS, make_signals
from tests.pipelines.snapshots import (
    Row,
    failed,
    run_fold,
    sha,
    uid,
    unit,
    verdicts_of,
    write_roots,
    write_set,
    write_snapshot,
)

CONCEPTS = ("cat", "dog", "red fish")
ONE, ALL = {"same_image_captions": "keep_one"}, {"same_image_captions": "keep_all"}
RECIPE_PARTS: tuple[dict[str, Any], ...] = (
    {"rule": "opt_out", "max_distance": 1},
    {"rule": "side", "min_px": 9},
    {"rule": "url_like"},
    {"rule": "clip_score", "min": 0.2, "missing": "keep"},
    {"rule": "score", "name": "aesthetic", "min": 3.0, "max": None, "missing": "keep"},
    {"rule": "top_fraction", "score": "clip_score", "fraction": 0.7, "missing": "drop"},
    {"rule": "text_based"},
    {"rule": "balance", "max_pairs": 3.0},
    {"rule": "image_based", "sets": ["tests"], "num_clusters": 3, "num_samples": 20, "seed": 0},
    {"rule": "backdoor", "num_reference": 20, "num_neighbours": 2, "max_score": 1.5},
    {"rule": "repeated_caption", "max_times": 3},
    {"rule": "exact", **ONE},
    {"rule": "exact", **ALL, "as": "exact_pairs"},
    {"rule": "pixels", **ALL},
    {"rule": "near_duplicate", "max_distance": 2, "max_rmse": None, **ONE},
    {"rule": "near_duplicate", "max_distance": 20, "max_rmse": 60.0, **ALL, "as": "near_pictures"},
    {"rule": "semantic_duplicate", "num_clusters": 3, "num_samples": 20, "seed": 0, "min_cosine": 0.95, **ONE},
    {"rule": "decontaminate", "max_distance": 1, "max_rmse": 90.0},
    {"rule": "decontaminate_vectors", "min_cosine": 0.99},
)


def draw_row(random: np.random.Generator, number: int) -> Row:
    """Returns a row that shares bytes, pixels, looks or captions with others, or none of them."""
    if random.random() < 0.1:
        return failed(number, str(random.choice(["http_404", "truncated"])))
    picture = int(random.integers(12))
    caption = " ".join(random.choice(["a cat", "dog", "red fish", "b.png", "of"], int(random.integers(1, 3))))
    return make_signals(
        uid(number),
        sha(picture),
        pixel_sha256=sha(picture // 2),
        phash=f"{(0xFF << 8 * (picture % 5)) ^ ((1 << int(random.integers(4))) - 1):016x}",
        width=int(random.integers(8, 12)),
        caption=caption,
        given='{"aesthetic":%d}' % random.integers(6) if random.random() < 0.5 else None,  # noqa: UP031  braces
    )


def write_world(root: Path, seed: int, num_parts: int) -> None:
    """Writes two snapshots that share uids and pictures, and the roots."""
    random = np.random.default_rng(seed)
    write_roots(root, optouts=[("sha256", sha(11)), ("phash", f"{0xF8:016x}")], concepts=CONCEPTS)
    write_set(root, "tests", [f"{0xFF01:016x}"], [unit(1, 1)])
    for name, numbers in (("s1", range(30)), ("s2", range(20, 50))):
        rows = [draw_row(random, number) for number in numbers]
        vectors = {row["uid"]: unit(*random.integers(0, 3, 3), 0.1) for row in rows if random.random() < 0.9}
        scores = {one: float(random.integers(10)) / 10 for one in vectors}
        write_snapshot(root, name, rows, vectors=vectors, scores=scores, num_parts=num_parts)


RECIPES = st.lists(st.sampled_from(RECIPE_PARTS), unique_by=lambda rule: rule.get("as", rule["rule"]))
WORLDS = st.integers(0, 999)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECIPES, WORLDS)
def test_verdicts_of_the_first_snapshot_do_not_know_the_second(recipe: list[dict[str, Any]], seed: int) -> None:
    check_the_fold_property(recipe, seed)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECIPES, WORLDS)
def test_more_recipes_fold(recipe: list[dict[str, Any]], seed: int) -> None:
    check_the_fold_property(recipe, seed)


@pytest.mark.soak
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECIPES, WORLDS)
def test_many_recipes_fold(recipe: list[dict[str, Any]], seed: int) -> None:
    check_the_fold_property(recipe, seed)


def test_the_longest_recipe_folds() -> None:
    check_the_fold_property(list(RECIPE_PARTS), 5)


def check_the_fold_property(recipe: list[dict[str, Any]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_world(root, seed, num_parts=2)
        (alone,) = run_fold(root, recipe, ["s1"], "tests")
        first, second = run_fold(root, recipe, ["s1", "s2"], "tests")
        expected = verdicts_of(first)
        assert verdicts_of(alone) == expected
        later = verdicts_of(second)
        assert len(expected) == len(later) == 30
        for verdict in (*expected.values(), *later.values()):
            assert verdict["keep"] == (verdict["reason"] == "kept") == (verdict["split"] is not None)
            if verdict["duplicate_of"] is not None:
                whose = {"s1": expected, "s2": later}[verdict["duplicate_of_snapshot"]][verdict["duplicate_of"]]
                assert whose["duplicate_of"] is None  # the end of the chain
        # what the parts are, and the partitions, makes no difference
        write_world(root, seed, num_parts=5)
        again = run_fold(root, recipe, ["s1", "s2"], "tests", num_partitions=1)
        assert [verdicts_of(outcome) for outcome in again] == [expected, later]


def test_every_rule_keeps_and_drops_some_of_the_world(tmp_path: Path) -> None:
    """Else the property above would say nothing of it."""
    write_world(tmp_path, 1, num_parts=2)
    for rule in RECIPE_PARTS:
        found = [verdicts_of(one) for one in run_fold(tmp_path, [rule], ["s1", "s2"], "tests")]
        dropped = [row["rule"] == rule.get("as", rule["rule"]) for verdicts in found for row in verdicts.values()]
        assert 0 < sum(dropped) < 50, rule


def test_a_duplicate_names_the_row_that_stays_in_the_end(tmp_path: Path) -> None:
    rows = [
        make_signals(uid(1), sha(1), phash=f"{0:016x}", width=30),
        make_signals(uid(2), sha(2), phash=f"{1:016x}"),
        make_signals(uid(3), sha(2), phash=f"{1:016x}"),
    ]
    write_snapshot(tmp_path, "s1", rows)
    recipe: list[dict[str, Any]] = [
        {"rule": "exact", **ONE},
        {"rule": "near_duplicate", "max_distance": 1, "max_rmse": None, **ONE},
    ]
    (outcome,) = run_fold(tmp_path, recipe, ["s1"])
    found = verdicts_of(outcome)
    assert [(row["rule"], row["duplicate_of"]) for row in found.values()] == [
        (None, None),
        ("near_duplicate", uid(1)),
        ("exact", uid(1)),  # by way of 2
    ]


def test_seen_before_whatever_becomes_of_it_now(tmp_path: Path) -> None:
    first = [*(make_signals(uid(n), sha(n)) for n in (1, 2)), make_signals(uid(4), width=7)]
    second = [make_signals(uid(1), sha(9), width=7), failed(2, "http_404"), make_signals(uid(4))]
    write_snapshot(tmp_path, "s1", first)
    write_snapshot(tmp_path, "s2", second)
    write_snapshot(tmp_path, "s3", [make_signals(uid(1), sha(1))])
    outcomes = run_fold(tmp_path, [{"rule": "side", "min_px": 8}], ["s1", "s2", "s3"])
    found = [verdicts_of(outcome) for outcome in outcomes]
    assert [row["reason"] for row in found[1].values()] == ["seen_before", "seen_before", "kept"]
    again = found[2][uid(1)]
    assert (again["reason"], again["rule"], again["value"], again["threshold"]) == (
        "seen_before",
        "seen_before",
        None,
        None,
    )
    assert (again["duplicate_of"], again["duplicate_of_snapshot"]) == (uid(1), "s1")


def test_captions_of_one_picture_share_the_split(tmp_path: Path) -> None:
    pictures = {number: number % 20 for number in range(60)}
    rows = [make_signals(uid(n), sha(picture), caption=f"caption {n}") for n, picture in pictures.items()]
    write_snapshot(tmp_path, "s1", rows[:30])
    write_snapshot(tmp_path, "s2", rows[30:])
    recipes: list[list[dict[str, Any]]] = [[{"rule": "exact", **ALL}], []]
    for recipe in recipes:
        splits: dict[int, set[str]] = {}
        for outcome in run_fold(tmp_path, recipe, ["s1", "s2"]):
            for one, row in verdicts_of(outcome).items():
                splits.setdefault(pictures[int(one, 16)], set()).add(row["split"])
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "val"}


def test_ranks_put_more_pixels_first_and_then_the_lesser_uid() -> None:
    uid_N2 = np.array([[1, 5], [0, 9], [1, 4], [0, 1]], np.uint64)
    assert ranks(uid_N2, np.array([10, 20, 10, 10])).tolist() == [3, 0, 2, 1]


@pytest.mark.parametrize(
    ("runner", "names"),
    [
        pytest.param(RUNNER, ("side", "balance", "pixels", "semantic_duplicate"), id="one"),
        pytest.param(TWO_WORKERS, ("side", "pixels"), id="two", marks=pytest.mark.slow),  # starts workers for each step
    ],
)
def test_beam_finds_what_memory_does(runner: Any, names: tuple[str, ...], tmp_path: Path) -> None:
    write_world(tmp_path, 3, num_parts=2)
    recipe = [rule for rule in RECIPE_PARTS if rule["rule"] in names]
    expected = [verdicts_of(one) for one in run_fold(tmp_path, recipe, ["s1", "s2"], "tests")]
    workers = OnBeam(folder=tmp_path / "receipts", runner=runner)
    found = run_fold(tmp_path, recipe, ["s1", "s2"], "tests", workers=workers, num_partitions=2)
    assert [verdicts_of(one) for one in found] == expected
