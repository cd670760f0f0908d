"""Plain pictures whose captions name their colour, so that a scorer learns them in seconds, and their web server."""

import functools
import http.server
import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {
    "red": (200, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 200),
    "yellow": (210, 200, 50),
    "purple": (140, 50, 160),
    "white": (215, 215, 215),
}
_SHADES = 40
"""How far the shades of a picture's blocks lie apart, either way, of 255."""


def colour(number: int) -> str:
    """Returns the colour of a picture."""
    return list(COLOURS)[number % len(COLOURS)]


def caption(number: int) -> str:
    """Returns the caption of a picture."""
    return f"picture number {number} with a {colour(number)} square"


def file_name(number: int) -> str:
    """Returns the name of a picture's file."""
    return f"{number}.{('png', 'jpeg')[number % 2]}"


def write(folder: Path, numbers: Sequence[int]) -> None:
    """Writes pictures of 6 x 6 blocks in shades of one colour, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        shades = np.random.default_rng(number).integers(-_SHADES, _SHADES, (6, 6, 1))
        blocks = np.clip(np.array(COLOURS[colour(number)]) + shades, 0, 255)
        pixels = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, ("PNG", "JPEG")[number % 2])
        (folder / file_name(number)).write_bytes(target.getvalue())


def write_list(path: Path, base: str, numbers: Sequence[int]) -> None:
    """Writes a csv list of pictures, with two rows that fail and one repeated."""
    rows = [f"{base}/{file_name(number)},{caption(number)}" for number in numbers]
    rows += [f"{base}/missing.png,a picture that is not there", "not a url,nothing", rows[0]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("url,caption\n" + "\n".join(rows) + "\n")


class Site:
    """A web server of a folder on loopback, which keeps some files back as long as it is told to."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.asked = threading.Event()
        self._kept_back: set[str] = set()
        self._released = threading.Event()
        self._server = http.server.ThreadingHTTPServer(
            (address, 0), functools.partial(_Handler, self, directory=str(folder))
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def base(self) -> str:
        """The address."""
        return "http://{}:{}".format(*self._server.server_address)

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def keep_back(self, *names: str) -> None:
        """Answers requests of these files only after `release`, and then by closing the connection."""
        self.asked.clear()
        self._released.clear()
        self._kept_back = {f"/{name}" for name in names}

    def release(self) -> None:
        """Ends every wait; all files are answered again."""
        self._kept_back = set()
        self._released.set()

    def waited(self, path: str) -> bool:
        """Returns whether a request of a path was kept back, after it was."""
        if path not in self._kept_back:
            return False
        self.asked.set()
        self._released.wait()
        return True


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, site: Site, *words: Any, **options: Any) -> None:
        self.site = site
        super().__init__(*words, **options)

    def do_GET(self) -> None:
        if self.site.waited(self.path):
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
