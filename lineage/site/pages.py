"""The pages themselves: templates filled, every value escaped, and their first page weighed."""

import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lineage import files
from lineage.site import cards
from lineage.site.pictures import Found
from lineage.site.shelf import script_json

MARK = "clipline lineage report"
"""Stands in index.html: a folder with it is a report and may be replaced."""
ASSETS = ("report.css", "report.js")
_HEAD_BYTES = 4096
_INVISIBLE = frozenset("\u061c\u200b\u200e\u200f\u2028\u2029\u2060\ufeff")
_HASH_DIGITS = 12
_LARGE = 100


class Pages:
    """Writes pages into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = Environment(
            loader=PackageLoader("lineage.site"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_spelt,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters |= {"count": _count, "number": _number, "short": _shortened}
        self._environment.globals["mark"] = MARK

    @staticmethod
    def check_target(out: Path) -> None:
        """Raises ValueError if there is anything but a report at `out`."""
        if not out.exists():
            return
        if out.is_dir() and not any(out.iterdir()):
            return
        page = out / "index.html"
        head = b""
        if page.is_file():
            with page.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        if MARK.encode() not in head:
            raise ValueError(f"{out}: holds something other than a report; name another folder with --out")

    def assets(self) -> None:
        """Writes style and script."""
        for name in ASSETS:
            content = importlib.resources.files("lineage.site").joinpath(f"templates/{name}").read_bytes()
            files.write_bytes(self._folder / name, content)

    def script(self, path: str, name: str, content: Any) -> None:
        """Writes a script file that hands its content to the page under a name."""
        files.write_text(self._folder / path, f'clipline("{name}", {script_json(content)});\n')

    def pictures(self, samples: Mapping[str, Sequence[tuple[str, str]]], found: Found) -> dict[str, list[list[str]]]:
        """Writes thumbnails and returns {reason: [path, snapshot, uid] of each}."""
        shown: dict[str, list[list[str]]] = {}
        for word, some in sorted(samples.items()):
            for snapshot, uid in some:
                png = found.get((snapshot, uid))
                if png is not None:
                    path = f"pictures/{word}-{len(shown.setdefault(word, []))}.png"
                    files.write_bytes(self._folder / path, png)
                    shown[word].append([path, snapshot, uid])
        return shown

    def models(self, made_cards: Iterable[cards.Card]) -> None:
        """Writes the page of each model."""
        for card in made_cards:
            self._page("model.html", f"models/{card.name}.html", card=card, base="../")

    def index(self, **content: Any) -> None:
        """Writes the first page."""
        self._page("index.html", "index.html", base="", **content)

    def first_page_bytes(self) -> int:
        """Returns what a browser loads for the first page: all but the index, the models' pages and hidden pictures."""
        first = [*(self._folder.glob("*")), *(self._folder / "pictures").glob("*")]
        return sum(path.stat().st_size for path in first if path.is_file())

    def _page(self, template: str, path: str, **content: Any) -> None:
        files.write_text(self._folder / path, self._environment.get_template(template).render(**content))


def visible(text: str) -> str:
    """Returns text with its control and direction characters spelt out, so that none of them acts."""
    return "".join(f"⟨U+{ord(char):04X}⟩" if _is_invisible(char) else char for char in text)


def _is_invisible(char: str) -> bool:
    code = ord(char)
    return (
        code < 0x20
        or char in _INVISIBLE
        or any(first <= code <= last for first, last in ((0x7F, 0x9F), (0x202A, 0x202E), (0x2066, 0x2069)))
        or 0xD800 <= code <= 0xDFFF
        or 0xE0000 <= code <= 0xE007F
    )


def _spelt(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def _count(value: int) -> str:
    return f"{value:,}"


def _number(value: float | None) -> str:
    """Returns four digits behind the point, so that columns can be compared; of large numbers four in all."""
    return "" if value is None else f"{value:.4f}" if abs(value) < _LARGE else f"{value:.4g}"


def _shortened(digest: str) -> str:
    return digest[:_HASH_DIGITS]
