"""What the questions print: text of strangers as text, whatever it holds."""

import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from lineage.questions import holdings

MOST_CHARS = 300
_WIDTH = 200
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def text(value: Any, most: int = MOST_CHARS) -> str:
    """Returns a value as one harmless line: control, bidi and unassigned characters escaped, long text cut and told."""
    whole = value if isinstance(value, str) else str(value)
    cut = "".join(_escaped(char) for char in whole[:most])
    return cut if len(whole) <= most else f"{cut}… ({len(whole)} characters)"


def number(value: float) -> str:
    """Returns a number with its thousands apart."""
    return f"{value:,}"


def counted(count: int, word: str, words: str | None = None) -> str:
    """Returns `1 pair`, `1,200 pairs`; `words` where an s does not make the plural."""
    return f"{number(count)} {word if count == 1 else words or word + 's'}"


def reasons(counts: Mapping[str, int], most: int = 6) -> str:
    """Returns `12 kept, 3 too_small`, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{number(count)} {text(word)}" for word, count in ordered[:most]]
    left = sum(count for _, count in ordered[most:])
    return ", ".join(told + ([f"{number(left)} for {len(ordered) - most} other reasons"] if left else []))


def console() -> Console:
    """Returns where answers go: lines are never cut, markup in values is never read."""
    return Console(highlight=False, markup=False, emoji=False, width=_WIDTH)


def line(out: Console, *parts: str | tuple[str, str]) -> None:
    """Prints a line of parts: text, or (text, style)."""
    out.print(Text.assemble(*parts), soft_wrap=True)


def as_json(value: Any) -> None:
    """Prints an answer as JSON."""
    sys.stdout.write(holdings.dumped(value))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode() if unicodedata.category(char) in _HIDDEN else char
