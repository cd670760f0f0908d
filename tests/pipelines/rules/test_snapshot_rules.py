"""Rules over whole snapshots (duplicates, near_duplicates, semantic_duplicates, groups, frozen, balance), by eye."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.rules.concepts import draw
from pipelines.rules.groups import first_of_each, partitions
from tests.builders import make_signals
from tests.pipelines.snapshots import (
    Row,
    failed,
    grey,
    run_fold,
    sha,
    uid,
    unit,
    verdicts_of,
    write_roots,
    write_set,
    write_snapshot,
)

ONE, ALL = {"same_image_captions": "keep_one"}, {"same_image_captions": "keep_all"}
Told = tuple[str, Any, str | None]


def told(root: Path, recipe: list[dict[str, Any]], names: tuple[str, ...] = ("s1",)) -> list[dict[int, Told]]:
    """Returns {number: (reason, value of the last rule, number of the row that stays instead)} by snapshot."""
    label = recipe[-1].get("as", recipe[-1]["rule"])
    return [
        {
            int(one, 16): (row["reason"], row["values"][label], row["duplicate_of"] and row["duplicate_of"].lstrip("0"))
            for one, row in verdicts_of(outcome).items()
        }
        for outcome in run_fold(root, recipe, list(names), "tests")
    ]


def test_exact_duplicates_go_for_more_pixels_then_the_lesser_uid_and_for_earlier_snapshots(tmp_path: Path) -> None:
    first = [make_signals(uid(n), sha(1)) for n in (5, 3, 4)] + [make_signals(uid(9), sha(2), width=7)]
    second = [make_signals(uid(1), sha(1)), make_signals(uid(6), sha(2)), make_signals(uid(2), sha(2))]
    write_snapshot(tmp_path, "s1", [*first, failed(8, "http_404")])
    write_snapshot(tmp_path, "s2", second)
    recipe: list[dict[str, Any]] = [{"rule": "side", "min_px": 8}, {"rule": "exact", **ONE}]
    assert told(tmp_path, recipe, ("s1", "s2")) == [
        {
            3: ("kept", 3.0, None),
            4: ("duplicate_exact", 3.0, "3"),
            5: ("duplicate_exact", 3.0, "3"),
            8: ("http_404", None, None),
            9: ("too_small", 1.0, None),  # every rule's value stands there, whatever dropped the row
        },
        # what was dropped by a rule takes no one along
        {1: ("duplicate_exact", 2.0, "3"), 2: ("kept", 2.0, None), 6: ("duplicate_exact", 2.0, "2")},
    ]


def test_the_larger_of_two_look_alikes_stays(tmp_path: Path) -> None:
    rows = [make_signals(uid(1), sha(1), phash="0" * 16), make_signals(uid(2), sha(2), phash="0" * 16, width=40)]
    write_snapshot(tmp_path, "s1", rows)
    (found,) = told(tmp_path, [{"rule": "near_duplicate", "max_distance": 0, "max_rmse": None, **ONE}])
    assert found == {1: ("duplicate_near", 0.0, "2"), 2: ("kept", None, None)}


def test_several_captions_of_one_picture_may_stay(tmp_path: Path) -> None:
    rows = [
        make_signals(uid(1), sha(1), caption="a cat"),
        make_signals(uid(2), sha(1), caption="my cat"),
        make_signals(uid(3), sha(1), caption="a cat"),
        make_signals(uid(4), sha(2), caption="a dog"),
    ]
    for row in rows:  # all have the same pixels and look
        row.update(pixel_sha256=sha(7), phash="0" * 16, thumbnail=grey(9))
    write_snapshot(tmp_path, "s1", rows, vectors={uid(n): unit(1) for n in range(1, 5)})
    (found,) = told(tmp_path, [{"rule": "exact", **ALL}])
    assert [reason for reason, _, _ in found.values()] == ["kept", "kept", "duplicate_exact", "kept"]
    clusters = {"num_clusters": 1, "num_samples": 9, "seed": 0, "min_cosine": 0.9}
    for rule, reason in (
        ({"rule": "pixels"}, "duplicate_pixels"),
        ({"rule": "near_duplicate", "max_distance": 0, "max_rmse": 0.0}, "duplicate_near"),
        ({"rule": "semantic_duplicate", **clusters}, "duplicate_semantic"),
    ):
        (found,) = told(tmp_path, [{**rule, **ALL}])
        assert [(reason, whose) for reason, _, whose in found.values()] == [("kept", None)] * 3 + [(reason, "1")]
        (found,) = told(tmp_path, [{**rule, **ONE}])
        assert [whose for _, _, whose in found.values()] == [None, "1", "1", "1"]


def test_near_duplicates_form_no_chains(tmp_path: Path) -> None:
    looks = {1: 0b0, 2: 0b11, 3: 0b1111, 4: 0b111111}
    write_snapshot(tmp_path, "s1", [make_signals(uid(n), sha(n), phash=f"{look:016x}") for n, look in looks.items()])
    small = make_signals(uid(5), sha(5), phash=f"{0b1:016x}", width=7)
    write_snapshot(tmp_path, "s2", [make_signals(uid(6), sha(6), phash=f"{0b0111:016x}"), small])
    near = {"rule": "near_duplicate", "max_distance": 2, "max_rmse": None, **ONE}
    recipe: list[dict[str, Any]] = [{"rule": "side", "min_px": 8}, near]
    assert told(tmp_path, recipe, ("s1", "s2")) == [
        {
            1: ("kept", None, None),
            2: ("duplicate_near", 2.0, "1"),
            3: ("kept", None, None),  # looks like 2, which went
            4: ("duplicate_near", 2.0, "3"),
        },
        # near both 1 (3 bits: too far) and 3 (1 bit); the small one is out, its value says what it looks like
        {5: ("too_small", 1.0, None), 6: ("duplicate_near", 1.0, "3")},
    ]


def test_the_thumbnail_tells_a_green_book_from_an_orange_one(tmp_path: Path) -> None:
    rows = [
        make_signals(uid(n), sha(n), phash="0" * 16, thumbnail=grey(level)) for n, level in ((1, 0), (2, 5), (3, 9))
    ]
    write_snapshot(tmp_path, "s1", rows)
    write_snapshot(tmp_path, "s2", [make_signals(uid(4), sha(4), phash="0" * 16, thumbnail=grey(12))])
    for bound, expected in ((None, [None, "1", "1"]), (5.0, [None, "1", None]), (4.0, [None, None, "2"])):
        recipe: list[dict[str, Any]] = [{"rule": "near_duplicate", "max_distance": 0, "max_rmse": bound, **ONE}]
        first, second = told(tmp_path, recipe, ("s1", "s2"))
        assert [whose for _, _, whose in first.values()] == expected
        assert second[4][2] == {None: "1", 5.0: "3", 4.0: None}[bound]


def test_semantic_duplicates_are_sought_within_frozen_clusters(tmp_path: Path) -> None:
    write_roots(tmp_path)
    vectors = {uid(1): unit(1), uid(2): unit(1, 0.1), uid(3): unit(0, 1), uid(5): unit(0, 1, 0.1)}
    write_snapshot(tmp_path, "s1", [make_signals(uid(n), sha(n)) for n in range(1, 5)], vectors=vectors)
    write_snapshot(tmp_path, "s2", [make_signals(uid(5), sha(5)), make_signals(uid(6), sha(6))], vectors=vectors)
    rule = {"rule": "semantic_duplicate", "num_clusters": 2, "num_samples": 9, "seed": 0, "min_cosine": 0.99, **ONE}
    first, second = told(tmp_path, [rule], ("s1", "s2"))
    assert first[1] == first[3] == first[4] == ("kept", None, None)  # 4 has no vector
    assert first[2] == ("duplicate_semantic", pytest.approx(1 / np.sqrt(1.01), abs=1e-3), "1")
    assert second == {
        5: ("duplicate_semantic", pytest.approx(1 / np.sqrt(1.01), abs=1e-3), "3"),
        6: ("kept", None, None),
    }
    (found,) = told(tmp_path, [{**rule, "min_cosine": 0.999}])
    assert {reason for reason, _, _ in found.values()} == {"kept"}


def test_top_fraction_is_of_each_snapshot_and_keeps_ties(tmp_path: Path) -> None:
    scores = {uid(n): score for n, score in enumerate([0.9, 0.8, 0.8, 0.5, 0.1, 0.1, 0.2, 0.3])}
    vectors = {one: unit(1) for one in scores}
    rows = [make_signals(uid(n), sha(n), width=7 if n == 0 else 20) for n in range(9)]
    write_snapshot(tmp_path, "s1", [*rows[:6], rows[8]], vectors=vectors, scores=scores)
    write_snapshot(tmp_path, "s2", rows[6:8], vectors=vectors, scores=scores)
    recipe: list[dict[str, Any]] = [
        {"rule": "side", "min_px": 8},
        {"rule": "top_fraction", "score": "clip_score", "fraction": 0.2, "missing": "drop"},
    ]
    first, second = told(tmp_path, recipe, ("s1", "s2"))
    # of five that are in and have a score one may stay, and its tie does
    low = "below_top_fraction"
    reasons = ["too_small", "kept", "kept", low, low, low, "score_missing"]
    assert [reason for reason, _, _ in first.values()] == reasons
    assert second == {6: (low, 0.2, None), 7: ("kept", 0.3, None)}
    (outcome,) = run_fold(tmp_path, recipe, ["s1"])
    verdicts = verdicts_of(outcome)
    assert [(verdicts[uid(n)]["value"], verdicts[uid(n)]["threshold"]) for n in (3, 8)] == [
        ("0.5", "0.8"),
        (None, "clip_score"),
    ]
    for fraction, kept in ((0.01, 2), (1.0, 5)):
        recipe[1]["fraction"] = fraction
        (outcome,) = run_fold(tmp_path, recipe, ["s1"])
        assert outcome.count(-1) == kept


def test_a_caption_at_too_many_pictures_of_the_snapshot_goes(tmp_path: Path) -> None:
    captions = ["buy now", "Buy now", "buy now", "a cat"]
    rows = [make_signals(uid(n), sha(n), caption=caption) for n, caption in enumerate(captions)]
    rows[1]["caption_sha256"] = rows[0]["caption_sha256"]  # case makes no difference
    write_snapshot(tmp_path, "s1", rows)
    write_snapshot(tmp_path, "s2", [make_signals(uid(9), sha(9), caption="buy now")])
    first, second = told(tmp_path, [{"rule": "repeated_caption", "max_times": 2}], ("s1", "s2"))
    assert first == {**dict.fromkeys(range(3), ("caption_boilerplate", 3.0, None)), 3: ("kept", 1.0, None)}
    assert second == {9: ("kept", 1.0, None)}  # another snapshot's count


def test_decontamination_by_look_and_by_vector(tmp_path: Path) -> None:
    write_roots(tmp_path)
    write_set(tmp_path, "tests", ["0" * 16, "f" * 16], [unit(1), unit(0, 1)])
    looks = {1: (0b11, 3), 2: (0b11, 9), 3: (0b111, 0), 4: (0, 0)}
    rows = [make_signals(uid(n), sha(n), phash=f"{h:016x}", thumbnail=grey(level)) for n, (h, level) in looks.items()]
    vectors = {uid(1): unit(1, 0.1), uid(2): unit(1, 1, 1), uid(4): unit(0, 1)}
    write_snapshot(tmp_path, "s1", [*rows, failed(5, "truncated")], vectors=vectors)
    (found,) = told(tmp_path, [{"rule": "decontaminate", "max_distance": 2, "max_rmse": None}])
    far = ("kept", None, None)
    lost = {5: ("truncated", None, None)}
    assert (
        found
        == {1: ("test_picture", 2, None), 2: ("test_picture", 2, None), 3: far, 4: ("test_picture", 0, None)} | lost
    )
    (found,) = told(tmp_path, [{"rule": "decontaminate", "max_distance": 2, "max_rmse": 3.0}])
    assert found == {1: ("test_picture", 2, None), 2: far, 3: far, 4: ("test_picture", 0, None)} | lost
    (found,) = told(tmp_path, [{"rule": "decontaminate_vectors", "min_cosine": 0.99}])
    assert [reason for reason, _, _ in found.values()] == ["test_picture", "kept", "kept", "test_picture", "truncated"]
    assert [value for _, value, _ in found.values()] == [
        pytest.approx(0.995, abs=1e-3),
        pytest.approx(0.577, abs=1e-3),
        None,
        pytest.approx(1, abs=1e-3),
        None,
    ]


def test_image_based_keeps_the_clusters_of_the_wanted_pictures(tmp_path: Path) -> None:
    write_roots(tmp_path)
    write_set(tmp_path, "tests", ["0" * 16], [unit(1, 0.2)])
    vectors = {uid(1): unit(1), uid(2): unit(1, 0.1), uid(3): unit(0, 1), uid(4): unit(0.1, 1), uid(6): unit(0.2, 1)}
    write_snapshot(tmp_path, "s1", [make_signals(uid(n), sha(n)) for n in range(1, 6)], vectors=vectors)
    write_snapshot(tmp_path, "s2", [make_signals(uid(6), sha(6))], vectors=vectors)
    rule = {"rule": "image_based", "sets": ["tests"], "num_clusters": 2, "num_samples": 9, "seed": 0}
    first, second = told(tmp_path, [rule], ("s1", "s2"))
    off = "image_off_concept"
    assert [reason for reason, _, _ in first.values()] == ["kept", "kept", off, off, "kept"]
    assert [reason for reason, _, _ in second.values()] == [off]
    assert second[6][1] == first[3][1] != first[1][1]


def test_a_lonely_picture_is_a_backdoor_outlier(tmp_path: Path) -> None:
    write_roots(tmp_path)
    random = np.random.default_rng(0)
    crowd = {uid(n): unit(1, *random.normal(0, 0.1, 2)) for n in range(30)}
    rows = [make_signals(uid(n), sha(n)) for n in range(32)]
    write_snapshot(tmp_path, "s1", rows[:30], vectors=crowd)
    write_snapshot(tmp_path, "s2", rows[30:], vectors={uid(30): unit(0, 0, 0, 1), uid(31): unit(1, 0.05)})
    rule: dict[str, Any] = {"rule": "backdoor", "num_reference": 30, "num_neighbours": 4, "max_score": 8.0}
    first, second = told(tmp_path, [rule], ("s1", "s2"))
    assert {reason for reason, _, _ in first.values()} == {"kept"}, max(value for _, value, _ in first.values())
    assert [reason for reason, _, _ in second.values()] == ["backdoor_outlier", "kept"], second
    assert second[30][1] > 8 > second[31][1]


def test_balancing_draws_by_uid_with_counts_of_the_first_snapshot(tmp_path: Path) -> None:
    write_roots(tmp_path, concepts=["cat", "dog"])
    captions = dict.fromkeys(range(8), "a cat") | {8: "a dog", 9: "a bird"}
    rows: list[Row] = [make_signals(uid(n), sha(n), caption=caption) for n, caption in captions.items()]
    write_snapshot(tmp_path, "s1", rows)
    write_snapshot(tmp_path, "s2", [make_signals(uid(n), sha(n), caption="cats: a cat") for n in range(20, 40)])
    first, second = told(tmp_path, [{"rule": "balance", "max_pairs": 2.0}], ("s1", "s2"))
    assert {n: value for n, (_, value, _) in first.items()} == {**dict.fromkeys(range(8), 0.25), 8: 1.0, 9: 0.0}
    assert (first[8][0], first[9][0]) == ("kept", "balanced_out")
    for found in (first, second):
        for number, (reason, value, _) in found.items():
            if value == 0.25:
                assert (reason == "kept") == (draw(uid(number), "cat") < 0.25)
    assert {value for _, value, _ in second.values()} == {0.25}  # of 8 in the first snapshot, not of 20


def test_rules_in_the_scorers_space_say_nothing_where_there_are_no_vectors(tmp_path: Path) -> None:
    write_roots(tmp_path)
    write_set(tmp_path, "tests", ["f" * 16], [unit(1)])
    write_snapshot(tmp_path, "s1", [make_signals(uid(n), sha(n)) for n in range(3)])
    write_snapshot(tmp_path, "s2", [make_signals(uid(5), sha(5))], vectors={uid(5): unit(1)})
    clusters = {"num_clusters": 2, "num_samples": 9, "seed": 0}
    for rule in (
        {"rule": "semantic_duplicate", **clusters, "min_cosine": 0.9, **ONE},
        {"rule": "image_based", "sets": ["tests"], **clusters},
        {"rule": "backdoor", "num_reference": 9, "num_neighbours": 2, "max_score": 0.0},
    ):
        for found in told(tmp_path, [rule], ("s1", "s2")):
            assert {reason for reason, _, _ in found.values()} == {"kept"}


def test_partitions_go_by_the_first_bits() -> None:
    words = np.array([0, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1], np.uint64)
    assert partitions(words, 2).tolist() == [0, 0, 0, 1, 1]
    assert partitions(words, 4).tolist() == [0, 1, 1, 2, 3]
    assert partitions(words, 1).tolist() == [0] * 5


def test_first_of_each_is_what_a_loop_finds() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        ids = random.permutation(40)
        table = pa.table(
            {
                "key": [f"{n:02x}" for n in random.integers(0, 8, 40)],
                "picture": pa.array(random.integers(0, 3, 40), pa.uint64()),
                "id": ids,
                "alive": random.random(40) < 0.7,
            }
        ).sort_by("id")
        before, now = table.slice(0, 15), table.slice(15)
        for keep_all in (False, True):
            found = first_of_each(now, before, keep_all=keep_all).to_pylist()
            for row, expected in zip(found, now.to_pylist(), strict=True):
                alike = [one for one in table.to_pylist() if one["key"] == expected["key"]]
                leaders = [one for one in alike if one["id"] < 15 or one["alive"]]
                leader = leaders[0] if leaders else expected
                same = keep_all and leader["picture"] == expected["picture"]
                named = -1 if leader["id"] == expected["id"] or same else leader["id"]
                assert row == {"id": expected["id"], "duplicate_of": named, "copies": len(alike)}
