"""The words that signals have for languages and scripts: a recipe that asks for another one would drop everything."""

import functools
import sys
import unicodedata
from collections.abc import Sequence

LANGUAGES = frozenset(
    "af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de "
    "diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie ilo "
    "io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms "
    "mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn "
    "sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf "
    "yi yo yue zh".split()
)
"""What fastText's lid.176 knows, ISO 639."""


def demand_languages(key: str, words: Sequence[str]) -> None:
    """Checks that a rule's languages are the detector's.

    Raises:
        ValueError: naming the key and the word.
    """
    if not words:
        raise ValueError(f"{key} is empty: nothing would be kept")
    for word in words:
        if word not in LANGUAGES:
            raise ValueError(f"{key}: no language is called {word!r} here; ISO 639, as in en, de or zh")


def demand_scripts(key: str, words: Sequence[str]) -> None:
    """Checks that a rule's scripts are Unicode's.

    Raises:
        ValueError: naming the key and the word.
    """
    if not words:
        raise ValueError(f"{key} is empty: nothing would be kept")
    for word in words:
        if word not in scripts():
            raise ValueError(
                f"{key}: no script is called {word!r} here; the first word of a letter's name, as in latin"
            )


@functools.cache
def scripts() -> frozenset[str]:
    """Returns the first word of every letter's Unicode name, in lower case."""
    letters = (char for char in map(chr, range(sys.maxunicode + 1)) if char.isalpha())
    return frozenset(unicodedata.name(letter, "").split(" ")[0].lower() for letter in letters) - {""}
