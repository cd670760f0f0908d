"""Rules on the caption alone: length, letters, script, language, repetition, stock phrases, addresses."""

import dataclasses

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rules.base import Bounds, RowRule, Value, demand_least, demand_range, number_text
from pipelines.rules.tongues import demand_languages, demand_scripts
from pipelines.selection.rows import Bools, Rows

_URL_LIKE = (
    r"(?i)^\s*(https?://|www\.)\S+\s*$"  # an address
    r"|^\s*\S+\.(jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic|html?|php)\s*$"  # a file name
    r"|^\s*(img|dsc[fn]?|dcim|pict?|image|photo|screenshot|untitled)[-_ ]*\d[-_.\d]*\s*$"  # a camera's, without ending
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CaptionLength(RowRule):
    """Drops captions that are too short or too long."""

    min_chars: int
    max_chars: int

    def __post_init__(self) -> None:
        demand_least(self, min_chars=0, max_chars=self.min_chars)

    def bounds(self) -> Bounds:
        """Two: either end."""
        return ("caption_too_short", str(self.min_chars)), ("caption_too_long", str(self.max_chars))

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools, Bools]]:
        """Value: characters."""
        chars_N = rows.number("caption_chars")
        return chars_N, (chars_N < self.min_chars, chars_N > self.max_chars)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CaptionWords(RowRule):
    """Drops captions of too few words."""

    min_words: int

    def __post_init__(self) -> None:
        demand_least(self, min_words=1)

    def bounds(self) -> Bounds:
        """One: the number of words."""
        return (("caption_too_few_words", str(self.min_words)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: words, as white space parts them."""
        return rows.number("caption_words"), (rows.number("caption_words") < self.min_words,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CaptionLetters(RowRule):
    """Drops captions of too few letters, or of too many other characters."""

    min_letters: int
    min_frac: float
    """Letters' share of the characters that are not white space, 0 to 1."""

    def __post_init__(self) -> None:
        demand_least(self, min_letters=0)
        demand_range(self, "min_frac", 0, 1)

    def bounds(self) -> Bounds:
        """Two, with one reason: the number of letters and their share."""
        return (
            ("caption_without_letters", f"{self.min_letters} letters"),
            ("caption_without_letters", f"{number_text(self.min_frac)} of the characters"),
        )

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools, Bools]]:
        """Value: letters and their share."""
        letters_N, frac_N = rows.number("caption_letters"), rows.number("caption_letter_frac")
        value = _joined(pa.array(letters_N, from_pandas=True), pa.array(frac_N.round(3), from_pandas=True))
        return value, (letters_N < self.min_letters, frac_N < self.min_frac)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRepetition(RowRule):
    """Drops captions that say the same words again and again."""

    max_frac: float
    """1 - distinct words / words, 0 to 1."""

    def __post_init__(self) -> None:
        demand_range(self, "max_frac", 0, 1)

    def bounds(self) -> Bounds:
        """One: the share of repeated words."""
        return (("caption_repetitive", number_text(self.max_frac)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the share of repeated words."""
        return rows.number("caption_repetition"), (rows.number("caption_repetition") > self.max_frac,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Boilerplate(RowRule):
    """Drops captions that contain a stock phrase."""

    phrases: list[str]
    """Looked for in any case."""

    def __post_init__(self) -> None:
        if not all(phrase.strip() for phrase in self.phrases):
            raise ValueError("phrases has an empty one, which stands in every caption")

    def bounds(self) -> Bounds:
        """One: the phrases."""
        return (("caption_boilerplate", "; ".join(self.phrases)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the first phrase of the list that the caption contains."""
        lower, value = pc.utf8_lower(rows.text("caption")), pa.nulls(len(rows), pa.string())
        for phrase in reversed(self.phrases):
            stands = pc.fill_null(pc.match_substring(lower, phrase.lower()), False)
            value = pc.if_else(stands, phrase, value)
        return value, (pc.is_valid(value).to_numpy(zero_copy_only=False),)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UrlLike(RowRule):
    """Drops captions that are nothing but an address or a file name."""

    def bounds(self) -> Bounds:
        """One: being such."""
        return (("caption_url_like", "1"),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: 1 where it is, else 0."""
        found = pc.match_substring_regex(rows.text("caption"), _URL_LIKE)
        value_N = found.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return value_N, (value_N == 1,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Script(RowRule):
    """Drops captions whose letters are mostly of a script that is not wanted."""

    scripts: list[str]
    """By the first word of their letters' Unicode names: latin, greek, cjk, ..."""

    def __post_init__(self) -> None:
        demand_scripts("scripts", self.scripts)

    def bounds(self) -> Bounds:
        """One: the wanted scripts."""
        return (("script", " ".join(self.scripts)),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the most frequent script and its share of the letters; a caption without letters has none."""
        script = rows.text("script")
        value = _joined(script, pa.array(rows.number("script_frac").round(3), from_pandas=True))
        return value, (_known_but_not_in(script, self.scripts),)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Language(RowRule):
    """Drops captions that are surely in another language: likely enough, and long enough to tell."""

    languages: list[str]
    """ISO 639 codes."""
    min_probability: float
    """Another language drops a row only with at least this probability, 0 to 1."""
    min_letters: int
    """... and with at least this many letters."""

    def __post_init__(self) -> None:
        demand_languages("languages", self.languages)
        demand_least(self, min_letters=0)
        demand_range(self, "min_probability", 0, 1)

    def bounds(self) -> Bounds:
        """One: the wanted languages, and how sure another must be."""
        return (("language", f"{' '.join(self.languages)}, or less sure than {number_text(self.min_probability)}"),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the most likely language and its probability."""
        language, probability_N = rows.text("language"), rows.number("language_probability")
        value = _joined(language, pa.array(probability_N.round(3), from_pandas=True))
        sure_N = probability_N >= self.min_probability
        long_N = rows.number("caption_letters") >= self.min_letters
        return value, (_known_but_not_in(language, self.languages) & sure_N & long_N,)


def _known_but_not_in(column: pa.Array, wanted: list[str]) -> Bools:
    there = pc.or_(pc.is_in(column, value_set=pa.array(wanted, pa.string())), pc.is_null(column))
    absent_N: Bools = ~there.to_numpy(zero_copy_only=False)
    return absent_N


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    """Returns both as one text, null where either is."""
    return pc.binary_join_element_wise(first.cast(pa.string()), second.cast(pa.string()), " ")
