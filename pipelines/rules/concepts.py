"""Concepts that captions name, and MetaCLIP's balancing over them (arXiv 2309.16671, section 3 and algorithm 1).

A concept is matched as the paper's authors do: both it and the caption get a space at either end and round
punctuation, and it must then be a substring. So "cat" is in "my cat, asleep" and not in "catalogue"; "hot dog" also
matches "dog". Ours beyond theirs: letter case, runs of white space, quotation marks and brackets make no difference.
DataComp's text-based filter (arXiv 2304.14108, section 4.1) asks only whether any concept is named at all; it looks
words up in WordNet's synsets of ImageNet classes, for which the user's list stands here.

Balancing: an entry that n captions match is kept with probability min(1, t / n), independently for each pair that
matches it, and a pair stays if any entry it matches keeps it. Pairs that match nothing go. The draw is a hash of uid
and entry, so it depends on no order, no other row and no other entry; the counts n come from the first snapshot and
never change, so that later snapshots cannot alter what was decided.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ahocorasick_rs
import numpy as np
import numpy.typing as npt

_APART = re.compile(r"""([,.;:?!`"'()\[\]{}<>“”‘’„«»])""")  # what stands for itself even where no space is round it
_DRAW_BITS = 53  # as many as a float in [0, 1) has


class Matcher:
    """Finds which of some concepts a text names, all at once."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Takes the concepts; those that differ only in case, white space or spacing count as one, the first.

        Raises:
            ValueError: if a concept has no letter, digit or sign at all.
        """
        spaced = {_spaced(entry): entry for entry in reversed(entries)}
        if any(not padded.strip() for padded in spaced):
            raise ValueError("a concept is empty; give one of at least one letter, digit or sign")
        self._patterns = list(reversed(spaced))
        self.entries = [spaced[padded] for padded in self._patterns]
        """The concepts, in the order given; a match is a place in this list."""
        self._automaton = ahocorasick_rs.AhoCorasick(self._patterns)

    def match(self, text: str) -> list[int]:
        """Returns the places, ascending, of the concepts that the text names, each once."""
        found = self._automaton.find_matches_as_indexes(_spaced(text), overlapping=True)
        return sorted({place for place, _, _ in found})


def read_concepts(path: Path) -> list[str]:
    """Returns the concepts of a UTF-8 file, one a line, without empty lines; an empty file has none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is not UTF-8, naming it.
    """
    concepts = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            concepts.append(line.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError:
            raise ValueError(
                f"{path}: line {number} is not UTF-8; save the list as UTF-8, one concept a line"
            ) from None
    return [concept for concept in concepts if concept]


def count_matches(matches: Iterable[Sequence[int]], num_entries: int) -> npt.NDArray[np.int64]:
    """Returns how many texts match each entry: (E,) int64. `matches` has what `Matcher.match` returns for each text."""
    counts_E = np.zeros(num_entries, np.int64)
    for places in matches:
        counts_E[list(places)] += 1
    return counts_E


def keep_probabilities(counts_E: npt.NDArray[np.int64], max_pairs: float) -> npt.NDArray[np.float64]:
    """Returns min(1, t / n) for each entry: (E,) float64.

    Args:
        counts_E: (E,) int64, the pairs that match each entry; one that matches none is always kept.
        max_pairs: t, the pairs of one entry that are expected to stay, > 0; 20 000 in the paper, of 400 million.

    Raises:
        ValueError: if max_pairs is not > 0.
    """
    if not max_pairs > 0:
        raise ValueError(f"max_pairs must be > 0, not {max_pairs}")
    return np.minimum(1.0, max_pairs / np.maximum(counts_E, 1))


def keep_probability(probabilities: Iterable[float]) -> float:
    """Returns with which probability a pair stays that matches entries of these: 1 - prod(1 - p), 0 for none."""
    return float(1.0 - np.prod([1.0 - probability for probability in probabilities]))


def is_drawn(uid: str, probability_of: Mapping[str, float]) -> bool:
    """Returns whether a pair stays: whether any entry it matches keeps it.

    Args:
        uid: of the pair.
        probability_of: the keep probability of each entry that its caption matches.
    """
    return any(draw(uid, entry) < probability for entry, probability in probability_of.items())


def draw(uid: str, entry: str) -> float:
    """Returns a number in [0, 1), uniform over uids and entries, the same on every run: from sha256(uid NUL entry).

    The entry goes in as matching sees it, so that neither its case nor its place in the list changes the draw.
    """
    digest = hashlib.sha256(f"balance:{uid}\0{_spaced(entry).strip()}".encode()).digest()
    return float((int.from_bytes(digest[:8], "big") >> (64 - _DRAW_BITS)) / 2**_DRAW_BITS)


def _spaced(text: str) -> str:
    """Returns a text as matching sees it: lower case, one space between words and signs and at either end."""
    words = _APART.sub(r" \1 ", text.casefold()).split()
    return " " + " ".join(words) + " "
