"""The reasons are one closed set of words."""

import re

import pytest

from lineage import reasons


def test_every_reason_is_a_word_with_a_meaning_in_one_group() -> None:
    groups = [group for name, group in vars(reasons).items() if name.isupper() and name not in ("ALL", "KEPT")]
    assert sum(map(len, groups)) == len(reasons.ALL)
    for word, meaning in reasons.ALL.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", word)
        assert len(meaning) > 10
    assert reasons.KEPT not in reasons.ALL


def test_check_lets_known_words_through() -> None:
    assert [reasons.check(word) for word in reasons.ALL] == list(reasons.ALL)
    with pytest.raises(ValueError, match=r"reason 'Too_Small' is not one of lineage/reasons\.py"):
        reasons.check("Too_Small")
