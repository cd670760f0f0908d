"""concepts finds what captions name, and balances by a draw that depends on nothing else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rules import concepts
from pipelines.rules.concepts import Matcher


def named(entries: list[str], text: str) -> list[str]:
    matcher = Matcher(entries)
    return [matcher.entries[place] for place in matcher.match(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a hot dog", ["dog", "hot dog"]),
        ("Dogs, hot", []),
        ("DOG!", ["dog"]),
        ("(dog) or “cat”", ["dog", "cat"]),
        ("cat\tdog\ncat", ["dog", "cat"]),
        ("hot   dog", ["dog", "hot dog"]),
        ("hot. dog", ["dog"]),
        ("the catalogue of a hotdog", []),
        ("cat", ["cat"]),
        ("", []),
        ("a catcat cat", ["cat"]),
    ],
)
def test_a_concept_is_named_as_whole_words(text: str, expected: list[str]) -> None:
    assert named(["dog", "hot dog", "cat"], text) == expected


def test_other_scripts_and_signs_are_concepts_too() -> None:
    assert named(["солнце", "c++", "u.s. army", "STRASSE"], "Солнце, C++ and the U.S. Army in a Straße") == [
        "солнце",
        "c++",
        "u.s. army",
        "STRASSE",
    ]


def test_entries_that_look_alike_count_once_and_none_may_be_empty() -> None:
    assert Matcher(["Dog", "dog ", "cat"]).entries == ["Dog", "cat"]
    assert Matcher([]).match("dog") == []
    with pytest.raises(ValueError, match="a concept is empty"):
        Matcher(["dog", " "])


words = st.text(alphabet="ab c.", min_size=1, max_size=5).filter(lambda text: text.strip() != "")


@given(st.lists(words, max_size=5), st.text(alphabet="ab c.", max_size=20))
def test_matching_is_a_padded_substring(entries: list[str], text: str) -> None:
    spaced = concepts._spaced(text)
    expected = [entry for entry in Matcher(entries).entries if concepts._spaced(entry) in spaced]
    assert named(entries, text) == expected


def test_concepts_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "concepts.txt"
    path.write_bytes("\ufeffdog\r\n\n  hot dog \nсолнце".encode())
    assert concepts.read_concepts(path) == ["dog", "hot dog", "солнце"]
    path.write_bytes(b"")
    assert concepts.read_concepts(path) == []
    path.write_bytes(b"dog\n\xff\n")
    with pytest.raises(ValueError, match="line 2 is not UTF-8"):
        concepts.read_concepts(path)


def test_counts_and_probabilities_by_eye() -> None:
    counts = concepts.count_matches([[0, 2], [2], [], [2], [2]], 4)
    assert counts.tolist() == [1, 0, 4, 0]
    assert concepts.keep_probabilities(counts, 2).tolist() == [1.0, 1.0, 0.5, 1.0]
    assert concepts.keep_probability([0.5, 0.5]) == 0.75
    assert concepts.keep_probability([]) == 0.0
    with pytest.raises(ValueError, match="max_pairs must be > 0"):
        concepts.keep_probabilities(counts, 0)


def test_a_pair_stays_if_any_entry_keeps_it_and_goes_if_it_matches_none() -> None:
    uid = "0" * 32
    assert concepts.is_drawn(uid, {"cat": 0.0, "dog": 1.0})
    assert not concepts.is_drawn(uid, {"cat": 0.0})
    assert not concepts.is_drawn(uid, {})


def test_the_draw_is_uniform_and_its_value_never_changes() -> None:
    assert concepts.draw("0" * 32, "hot dog") == pytest.approx(0.5154930090250371, rel=1e-12)
    assert concepts.draw("0" * 32, " Hot  DOG ") == concepts.draw("0" * 32, "hot dog")
    draws = np.array([concepts.draw(f"{number:032x}", entry) for number in range(4000) for entry in ("cat", "dog")])
    assert np.histogram(draws, bins=8, range=(0, 1))[0] == pytest.approx(1000, abs=120)
    assert abs(np.corrcoef(draws[::2], draws[1::2])[0, 1]) < 0.05


def test_an_entry_keeps_about_max_pairs_of_its_pairs() -> None:
    probability = concepts.keep_probabilities(np.array([5000]), 1000)[0]
    kept = sum(concepts.is_drawn(f"{number:032x}", {"cat": probability}) for number in range(5000))
    assert 900 < kept < 1100
    both = sum(concepts.is_drawn(f"{number:032x}", {"cat": probability, "dog": 0.5}) for number in range(5000))
    assert both / 5000 == pytest.approx(concepts.keep_probability([probability, 0.5]), abs=0.03)
