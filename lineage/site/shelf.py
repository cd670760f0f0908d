"""Script files of bounded size: sorted entries, cut where a file is full, found again by the first key of each file.

fetch does not work from file://, script elements do: a file calls `clipline("KIND/000/000", [...])` with its entries.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MAX_BYTES = 160_000
"""Of a script file; one entry alone may be larger."""
KEY_DIGITS = 10
"""Hex digits of a key that tell files apart."""
FILES_PER_FOLDER = 1000
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class Shelf:
    """Entries of one kind, added in ascending order of their keys, written as they come."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._kind = folder, kind
        self._entries: list[str] = []
        self._size = 0
        self._last = ""
        self.bounds: list[str] = []
        """The first KEY_DIGITS of the key that each file begins with."""

    def add(self, key: str, content: Any) -> None:
        """Adds what stands under a key; a key comes once."""
        head = key[:KEY_DIGITS]
        assert head >= self._last, "keys ascend"
        text = script_json(content)
        if self._entries and self._size + len(text) > MAX_BYTES and head != self._last:
            self._write()
        if not self._entries:
            self.bounds.append(head)
        self._entries.append(text)
        self._size += len(text) + 2
        self._last = head

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._entries:
            self._write()

    def _write(self) -> None:
        number = len(self.bounds) - 1
        name = f"{self._kind}/{number // FILES_PER_FOLDER:03d}/{number % FILES_PER_FOLDER:03d}"
        path = self._folder / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'clipline("{name}", [\n' + ",\n".join(self._entries) + "\n]);\n", encoding="ascii")
        self._entries, self._size = [], 0


def script_json(content: Any) -> str:
    """Returns JSON in ASCII that is also JavaScript, wherever it stands in a page: no <, > or & is left in it."""
    text = _ENCODER.encode(content)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
