"""The web server of the demo's websites: every host of a site folder on one loopback port, misbehaving as told."""

import asyncio
import collections
import dataclasses
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from lineage import files
from pipelines.web.loopback import LoopbackServer

BEHAVIOURS = "behaviours.json"
"""The file in a site folder that says where the server does other than sending the file: {URL: behaviour}."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """How the server answers one URL; without any, it sends the file at HOST/path with status 200, or 404."""

    status: int = 200
    """An error comes with a short text for its body, not with the file."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    short_by: int = 0
    """How many bytes more than the body has the Content-Length promises."""
    delay_s: float = 0.0
    """Pause between the first half of the body and the second."""
    fail_first: int = 0
    """How many requests get `status`; those after them get the file. 0: all."""
    from_snapshot: str = ""
    """Holds from this snapshot on; before, the file is sent. Names of snapshots sort in the order of time."""
    until_snapshot: str = ""
    """Holds before this snapshot; from it on, the file is sent."""

    def holds_in(self, snapshot: str) -> bool:
        """Returns whether the server behaves so at the time of a snapshot."""
        return self.from_snapshot <= snapshot and (not self.until_snapshot or snapshot < self.until_snapshot)


class DemoSite(LoopbackServer):
    """The websites of a folder, served in a thread of their own on 127.0.0.1 while the context is open.

    Attributes:
        port: the port, once the context is open.
        hosts: names of the hosts that the folder has; any other host is unknown, as a name that does not resolve.
    """

    def __init__(self, folder: Path, snapshot: str) -> None:
        """Takes the site folder and the snapshot at whose time the web is to be.

        Raises:
            FileNotFoundError: if the folder is no site, saying what makes one.
            ValueError: if a behaviour is malformed, naming its URL.
        """
        if not (folder / BEHAVIOURS).is_file():
            raise FileNotFoundError(f"{folder / BEHAVIOURS}: not there; `python -m pipelines.demo` makes a site folder")
        self.hosts = frozenset(child.name for child in folder.iterdir() if child.is_dir())
        self._folder = folder.resolve()
        self._behaviours = {
            _address(url): behaviour
            for url, behaviour in _behaviours(folder / BEHAVIOURS).items()
            if behaviour.holds_in(snapshot)
        }
        self._num_asked: collections.Counter[str] = collections.Counter()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Returns the file at HOST/path, or whatever its behaviour says."""
        host = request.host.partition(":")[0].lower()
        address = f"{host}{unquote(request.rel_url.raw_path)}"
        behaviour = self._behaviours.get(address, Behaviour())
        self._num_asked[address] += 1
        if behaviour.fail_first and self._num_asked[address] > behaviour.fail_first:
            behaviour = Behaviour()
        file = self._file(host, address)
        if behaviour.status != 200 or file is None:
            status = 404 if behaviour.status == 200 else behaviour.status
            return web.Response(status=status, headers=behaviour.headers, text=f"status {status}\n")
        return await _send(request, file, behaviour)

    def _file(self, host: str, address: str) -> Path | None:
        """Returns the file at HOST/path; none outside the host's own folder."""
        path = (self._folder / address).resolve()
        if host not in self.hosts or not path.is_relative_to(self._folder / host) or not path.is_file():
            return None
        return path


async def _send(request: web.BaseRequest, file: Path, behaviour: Behaviour) -> web.StreamResponse:
    body = file.read_bytes()
    guessed = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    response = web.StreamResponse(headers={"Content-Type": guessed, **behaviour.headers})
    response.content_length = len(body) + behaviour.short_by
    if behaviour.short_by:
        response.force_close()
    await response.prepare(request)
    half = len(body) // 2 if behaviour.delay_s else 0
    await response.write(body[:half])
    await asyncio.sleep(behaviour.delay_s)
    await response.write(body[half:])
    return response


def _address(url: str) -> str:
    """Returns HOST/path, decoded: two spellings of one URL are one address; the query does not count."""
    return unquote(url.partition("://")[2].partition("?")[0])


def _behaviours(path: Path) -> dict[str, Behaviour]:
    content: dict[str, dict[str, Any]] = files.read_json(path)
    found = {}
    for url, entry in content.items():
        try:
            found[url] = Behaviour(**entry)
        except TypeError as error:
            raise ValueError(f"{path}: {url}: {error}; `python -m pipelines.demo` makes the file anew") from None
    return found
