"""Row rules (captions, pictures, scores, known_pictures, concept_lists): a crafted row on each side of every bound."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, reasons
from pipelines import rules
from pipelines.rules.base import Rule
from pipelines.rules.recipe import RULES
from tests.builders import make_signals
from tests.pipelines.snapshots import failed, judged, part_rows, uid, unit, write_roots

KEEP = (None, None)


@pytest.mark.parametrize(
    ("rule", "column", "cases"),
    [
        (
            {"rule": "side", "min_px": 20},
            {},
            [({"width": 20, "height": 30}, 20.0, None), ({"width": 19}, 16.0, "too_small")],
        ),
        (
            {"rule": "aspect", "max_ratio": 3.0},
            {},
            [({"width": 60, "height": 20}, 3.0, None), ({"width": 20, "height": 61}, 3.05, "too_elongated")],
        ),
        ({"rule": "blur", "min_variance": 5.0}, {}, [({"blur": 5.0}, 5.0, None), ({"blur": 4.9}, 4.9, "too_blurred")]),
        (
            {"rule": "flatness", "max_frac": 0.9},
            {},
            [({"flatness": 0.9}, 0.9, None), ({"flatness": 0.91}, 0.91, "too_flat")],
        ),
        (
            {"rule": "caption_length", "min_chars": 3, "max_chars": 5},
            {},
            [
                ({"caption_chars": 3}, 3.0, None),
                ({"caption_chars": 5}, 5.0, None),
                ({"caption_chars": 2}, 2.0, "caption_too_short"),
                ({"caption_chars": 6}, 6.0, "caption_too_long"),
            ],
        ),
        (
            {"rule": "caption_words", "min_words": 3},
            {},
            [({"caption_words": 3}, 3.0, None), ({"caption_words": 2}, 2.0, "caption_too_few_words")],
        ),
        (
            {"rule": "caption_letters", "min_letters": 2, "min_frac": 0.5},
            {},
            [
                ({"caption_letters": 2, "caption_letter_frac": 0.5}, "2 0.5", None),
                ({"caption_letters": 1, "caption_letter_frac": 0.5}, "1 0.5", "caption_without_letters"),
                ({"caption_letters": 2, "caption_letter_frac": 0.4}, "2 0.4", "caption_without_letters"),
            ],
        ),
        (
            {"rule": "caption_repetition", "max_frac": 0.5},
            {},
            [({"caption_repetition": 0.5}, 0.5, None), ({"caption_repetition": 0.6}, 0.6, "caption_repetitive")],
        ),
        (
            {"rule": "boilerplate", "phrases": ["Click Here", "photo"]},
            {},
            [
                ({"caption": "click there"}, None, None),
                ({"caption": "A PHOTO; click here!"}, "Click Here", "caption_boilerplate"),
                ({"caption": "photograph"}, "photo", "caption_boilerplate"),
            ],
        ),
        (
            {"rule": "url_like"},
            {},
            [
                ({"caption": "see https://a.test for more"}, 0.0, None),
                ({"caption": "an image of 3 cats"}, 0.0, None),
                ({"caption": "https://a.test/b"}, 1.0, "caption_url_like"),
                ({"caption": "www.a.test"}, 1.0, "caption_url_like"),
                ({"caption": " my-cat_01.JPG "}, 1.0, "caption_url_like"),
                ({"caption": "IMG_20240102"}, 1.0, "caption_url_like"),
            ],
        ),
        (
            {"rule": "script", "scripts": ["latin", "greek"]},
            {},
            [
                ({"script": "greek", "script_frac": 0.75}, "greek 0.75", None),
                ({"script": None, "script_frac": None}, None, None),
                ({"script": "cyrillic", "script_frac": 0.5}, "cyrillic 0.5", "script"),
            ],
        ),
        (
            {"rule": "language", "languages": ["en"], "min_probability": 0.9, "min_letters": 12},
            {},
            [
                ({"language": "en", "language_probability": 0.1}, "en 0.1", None),
                ({"language": "de", "language_probability": 0.89}, "de 0.89", None),
                ({"language": "de", "language_probability": 0.9, "caption_letters": 11}, "de 0.9", None),
                ({"language": None, "language_probability": None}, None, None),
                ({"language": "de", "language_probability": 0.9, "caption_letters": 12}, "de 0.9", "language"),
            ],
        ),
        (
            {
                "rule": "basic_filter",
                "language": "en",
                "min_words": 3,
                "min_chars": 6,
                "min_side_px": 9,
                "max_aspect": 3.0,
            },
            {"width": 20, "height": 10, "caption_words": 3, "caption_chars": 6},
            [
                ({}, "en 3 6 10 2", None),
                ({"language": "fr"}, "fr 3 6 10 2", "language"),
                ({"language": None}, "? 3 6 10 2", "language"),
                ({"caption_words": 2}, "en 2 6 10 2", "caption_too_few_words"),
                ({"caption_chars": 5}, "en 3 5 10 2", "caption_too_short"),
                ({"height": 8}, "en 3 6 8 2.5", "too_small"),
                ({"width": 31}, "en 3 6 10 3.1", "too_elongated"),
                ({"width": 8, "caption_chars": 1}, "en 3 1 8 1.25", "caption_too_short"),  # the first ground counts
            ],
        ),
        (
            {"rule": "score", "name": "flatness", "min": 0.2, "max": 0.6, "missing": "keep"},
            {},
            [
                ({"flatness": 0.2}, 0.2, None),
                ({"flatness": 0.6}, 0.6, None),
                ({"flatness": 0.1}, 0.1, "score_too_low"),
                ({"flatness": 0.7}, 0.7, "score_too_high"),
                ({"flatness": None}, None, None),
            ],
        ),
    ],
    ids=lambda one: one["rule"] if isinstance(one, dict) and "rule" in one else "",
)
def test_both_sides_of_each_bound(
    rule: dict[str, Any], column: dict[str, Any], cases: list[Any], tmp_path: Path
) -> None:
    rows = [make_signals(uid(n), **{**column, **change}) for n, (change, _, _) in enumerate(cases)]
    found = judged(rule, part_rows(tmp_path, rows))
    assert [(value, reason) for value, reason, _ in found] == [(value, reason) for _, value, reason in cases]


def test_scores_come_from_the_scorer_the_user_and_the_list(tmp_path: Path) -> None:
    write_roots(tmp_path, scores=[(uid(1), "aesthetic", 9.0), (uid(2), "unsafe", 1.0)])
    given = ['{"aesthetic":5.5,"x":1}', '{"aesthetic":5.5}', '{"my aesthetic":1.0}', None]
    rows = part_rows(
        tmp_path,
        [*(make_signals(uid(n), given=one) for n, one in enumerate(given)), failed(4, "http_404")],
        vectors={uid(n): unit(1) for n in range(3)},
        scores={uid(0): 0.3, uid(1): 0.2, uid(2): 0.1},
    )
    aesthetic: dict[str, Any] = {"rule": "score", "name": "aesthetic", "min": 6.0, "max": None, "missing": "drop"}
    missing = (None, "score_missing", "aesthetic")
    assert judged(aesthetic, rows) == [(5.5, "score_too_low", "6"), (9.0, *KEEP), missing, missing, missing]
    clip = {"rule": "clip_score", "min": 0.2, "missing": "keep"}
    low = (0.1, "low_clip_score", "0.2")
    assert judged(clip, rows) == [(0.3, *KEEP), (0.2, *KEEP), low, (None, *KEEP), (None, *KEEP)]
    assert judged({**clip, "missing": "drop"}, rows)[3] == (None, "score_missing", "clip_score")
    laion = judged({"rule": "laion2b", "min_clip_score": 0.2, "language": "en", "missing": "drop"}, rows)
    assert laion[:4] == [
        ("0.3 en", *KEEP),
        ("0.2 en", *KEEP),
        ("0.1 en", "low_clip_score", "0.2"),
        ("? en", "score_missing", "clip_score"),
    ]
    french = part_rows(tmp_path, [make_signals(uid(0), language="fr")])
    rule = {"rule": "laion2b", "min_clip_score": 0.2, "language": "en", "missing": "keep"}
    assert judged(rule, french) == [("? fr", "language", "en")]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("a", '{"a":-1.5e-3,"b":2}', -0.0015),
        ("b", '{"a":1,"b": 2}', 2.0),
        ('b"', '{"b\\"":3}', 3.0),
        ("b", '{"a,\\"b":3}', None),
        ("a.c", '{"abc":3}', None),
        ("größe", '{"größe":0.5}', 0.5),
    ],
)
def test_a_given_score_is_found_by_its_whole_name(
    name: str, given: str, expected: float | None, tmp_path: Path
) -> None:
    write_roots(tmp_path)
    rule: dict[str, Any] = {"rule": "score", "name": name, "min": None, "max": None, "missing": "keep"}
    assert judged(rule, part_rows(tmp_path, [make_signals(uid(1), given=given)])) == [(expected, *KEEP)]


def test_a_score_that_no_row_has_is_no_silent_success(tmp_path: Path) -> None:
    """The recipe's author sees a typing error in a score's name: nothing of it is known."""
    write_roots(tmp_path)
    rule: dict[str, Any] = {"rule": "score", "name": "aesthetik", "min": 6.0, "max": None, "missing": "drop"}
    rows = part_rows(tmp_path, [make_signals(uid(1), given='{"aesthetic":9}')])
    assert judged(rule, rows) == [(None, "score_missing", "aesthetik")]


def test_opt_outs_by_url_host_bytes_and_look(tmp_path: Path) -> None:
    row = make_signals(uid(0))
    assert row["host"] == "a.test"
    look = int(row["phash"], 16)
    cases = {
        "url_sha256": [("url_sha256", row["url_sha256"]), ("sha256", row["sha256"])],
        "host_sha256": [("host_sha256", row["host_sha256"])],
        "sha256": [("sha256", row["sha256"])],
        "phash": [("phash", f"{look ^ 0b11:016x}")],
    }
    rule = {"rule": "opt_out", "max_distance": 2}
    for number, (kind, optouts) in enumerate(cases.items()):
        root = tmp_path / str(number)
        write_roots(root, optouts=optouts)
        rows = part_rows(root, [row, make_signals(uid(1), host="b.test", host_sha256="0" * 64)])
        assert judged(rule, rows) == [(kind, "opted_out", "phash within 2"), (None, *KEEP)]
    write_roots(tmp_path, optouts=[("phash", f"{look ^ 0b111:016x}")])
    assert judged(rule, part_rows(tmp_path, [row])) == [(None, *KEEP)]


def test_an_opt_out_of_a_host_covers_those_below_it(tmp_path: Path) -> None:
    write_roots(tmp_path, optouts=[("host_sha256", digests.sha256_bytes(b"a.test"))])
    hosts = ["a.test", "img.a.test", "x.img.a.test", "ba.test", "a.test.b", None]
    rows = [
        make_signals(uid(n), host=host, host_sha256=digests.sha256_bytes(f"{host}".encode()))
        for n, host in enumerate(hosts)
    ]
    found = judged({"rule": "opt_out", "max_distance": 0}, part_rows(tmp_path, rows))
    assert [value for value, _, _ in found] == ["host_sha256"] * 3 + [None] * 3


def test_text_based_keeps_captions_that_name_a_concept(tmp_path: Path) -> None:
    write_roots(tmp_path, concepts=["hot dog", "cat"])
    captions = ["my Cat, asleep", "a catalogue", "hot dogs and a hot dog", "dog hot"]
    rows = part_rows(tmp_path, [make_signals(uid(n), caption=caption) for n, caption in enumerate(captions)])
    off = (None, "off_concept", "data/concepts.txt")
    assert judged({"rule": "text_based"}, rows) == [("cat", *KEEP), off, ("hot dog", *KEEP), off]


def test_every_rule_drops_for_known_reasons_and_says_what_it_does() -> None:
    examples: dict[str, Any] = {
        **{"min_px": 1, "max_ratio": 2.0, "min_variance": 1.0, "max_frac": 0.5, "language": "en", "min_words": 1},
        **{"min_chars": 1, "max_chars": 9, "min_side_px": 1, "max_aspect": 2.0, "min_letters": 1, "min_frac": 0.1},
        **{"phrases": ["x"], "scripts": ["latin"], "languages": ["en"], "min_probability": 0.5, "max_times": 2},
        **{"min": 0.5, "max": 0.6, "missing": "keep", "min_clip_score": 0.2, "name": "x", "score": "x"},
        **{"sets": ["a"], "num_clusters": 2, "num_samples": 5, "seed": 0, "num_reference": 9, "num_neighbours": 2},
        **{"max_score": 1.0, "same_image_captions": "keep_one", "max_distance": 1, "max_rmse": 2.0},
        **{"min_cosine": 0.9, "max_pairs": 5.0, "fraction": 0.5},
    }
    for name, rule in RULES.items():
        assert issubclass(rule, Rule)
        assert rule.__doc__
        keys = {field.name: examples[field.name] for field in dataclasses.fields(rule)}  # type: ignore[arg-type]
        (step,) = rules.parse([{"rule": name, **keys}])
        for reason, threshold in step.rule.bounds():
            assert reason in reasons.SELECT
            assert threshold
