"""Takes the pictures of this folder from a running Prefect server, with headless Chromium.

    python docs/ui/screenshots.py http://127.0.0.1:4200

Of the newest reproduce that completed and, where a refresh waits for a person, of what that person is asked. Fails
where a page shows an error or asks anything of another host than the server.
"""

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import io
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from PIL import Image

_FOLDER = Path(__file__).resolve().parent
_NUM_COLOURS = 128
_PATIENCE_S = 60.0
_SETTLED_S = 2.0
"""Between the last word a page waits for and its picture: boxes fade in."""
_CLICK = "[...document.querySelectorAll('button')].find(button => button.innerText.trim() === '%s').click()"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture: which page, and when it is ready."""

    name: str
    path: str
    words: list[str]
    """To be waited for; after the click, if there is one."""
    width: int = 1400
    height: int = 900
    button: str | None = None
    """To be clicked first."""


class Api:
    """The Prefect server's own interface."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def post(self, path: str, **content: Any) -> Any:
        """Returns the answer to a question."""
        async with self.session.post(f"{self.url}/api{path}", json=content) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def newest_run(self, flow: str, state: str) -> dict[str, Any] | None:
        """Returns the newest run of a flow in a state, of those that no other flow has called."""
        wanted = {"state": {"type": {"any_": [state]}}, "parent_task_run_id": {"is_null_": True}}
        words = {"flow_runs": wanted, "flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC", "limit": 1}
        found: list[dict[str, Any]] = await self.post("/flow_runs/filter", **words)
        return found[0] if found else None

    async def artifact(self, run: dict[str, Any], prefix: str) -> str:
        """Returns the id of a run's artifact.

        Raises:
            ValueError: if it has none.
        """
        filters = {"key": {"like_": f"{prefix}-%"}, "flow_run_id": {"any_": [run["id"]]}}
        found = await self.post("/artifacts/filter", artifacts=filters, sort="CREATED_DESC", limit=1)
        if not found:
            raise ValueError(f"{self.url}: run {run['name']} has no artifact {prefix}")
        return str(found[0]["id"])

    async def deployment(self, name: str) -> str:
        """Returns the id of a deployment, by `flow/name`."""
        async with self.session.get(f"{self.url}/api/deployments/name/{name}") as answer:
            answer.raise_for_status()
            return str((await answer.json())["id"])


class Page:
    """One page of a browser, spoken to by Chromium's DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, host: str) -> None:
        self.socket = socket
        self.host = host
        self.outside: set[str] = set()
        self.num_sent = 0

    async def send(self, method: str, **words: Any) -> dict[str, Any]:
        """Sends a command and returns its result; requests to other hosts that are seen meanwhile are noted."""
        self.num_sent += 1
        await self.socket.send_json({"id": self.num_sent, "method": method, "params": words})
        while True:
            told = await self.socket.receive_json()
            if told.get("method") == "Network.requestWillBeSent":
                self._note(told["params"]["request"]["url"])
            if told.get("id") == self.num_sent:
                result: dict[str, Any] = told["result"]
                return result

    async def take(self, server: str, picture: Picture) -> bytes:
        """Returns a page as a PNG once all its words stand there.

        Raises:
            ValueError: if they do not come, if an error does, or if the page asks another host for something.
        """
        url = f"{server}{picture.path}"
        await self.send("Network.enable")
        size = {"width": picture.width, "height": picture.height}
        await self.send("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
        await self.send("Page.navigate", url=url)
        if picture.button:
            await self._wait_for(url, [picture.button])
            await self.send("Runtime.evaluate", expression=_CLICK % picture.button)
        await self._wait_for(url, picture.words)
        await asyncio.sleep(_SETTLED_S)
        shot = await self.send("Page.captureScreenshot", format="png")
        if self.outside:
            raise ValueError(f"{url} asks other hosts: {', '.join(sorted(self.outside))}")
        return base64.b64decode(shot["data"])

    async def _wait_for(self, url: str, words: list[str]) -> None:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            found = await self.send("Runtime.evaluate", expression="document.body?.innerText ?? ''")
            text = str(found["result"]["value"])
            if "Oops" in text:
                raise ValueError(f"{url} shows an error: {text[-300:]}; is PREFECT_SERVER_UI_API_URL set?")
            missing = [word for word in words if word not in text]
            if not missing:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise ValueError(f"{url} does not show {missing} but: {text[:1000]}")
            await asyncio.sleep(0.2)

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.outside.add(url)


@contextlib.asynccontextmanager
async def browser(program: str) -> AsyncIterator[int]:
    """Yields the port of a headless Chromium's DevTools."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--no-first-run"]
        own = [f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
        with subprocess.Popen([program, *options, *own], stderr=subprocess.DEVNULL) as started:
            try:
                yield await _port(Path(folder) / "DevToolsActivePort", started)
            finally:
                started.terminate()


async def _port(path: Path, started: subprocess.Popen[bytes]) -> int:
    while not path.exists() or not path.read_text().strip():
        if started.poll() is not None:
            raise ValueError(f"the browser ended with status {started.returncode}")
        await asyncio.sleep(0.1)
    return int(path.read_text().split()[0])


def small(png: bytes) -> bytes:
    """Returns a PNG of few colours."""
    target = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(_NUM_COLOURS).save(target, "PNG", optimize=True)
    return target.getvalue()


async def pictures(api: Api) -> list[Picture]:
    """Returns every picture there is to take.

    Raises:
        ValueError: if no reproduce has completed.
    """
    run, paused = await api.newest_run("reproduce", "COMPLETED"), await api.newest_run("refresh", "PAUSED")
    if run is None:
        raise ValueError(f"{api.url}: no completed run of flow reproduce")
    stages, metrics = [f"/artifacts/artifact/{await api.artifact(run, prefix)}" for prefix in ("stages", "metrics")]
    form = f"/deployments/deployment/{await api.deployment('refresh/weekly')}/run"
    made = [
        Picture(name="run", path=f"/runs/flow-run/{run['id']}", words=[run["name"], "Task runs", "Running stage"]),
        Picture(name="artifacts", path="/artifacts", words=["Lineage of the report", "Stages of the DAG"]),
        Picture(name="stages", path=stages, words=["peak memory, MiB", "audit"], height=1100),
        Picture(name="metrics", path=metrics, words=["metric", "("]),
        Picture(name="form", path=form, words=["Min Caption Match", "on_busy"], width=1100, height=3300),
    ]
    if paused is not None:
        held = f"/runs/flow-run/{paused['id']}"
        made.append(Picture(name="held", path=held, button="Resume", words=["Approve", "Reason"]))
    return made


async def take_all(url: str, program: str) -> None:
    """Writes every picture beside this file."""
    async with aiohttp.ClientSession() as session, browser(program) as port:
        for picture in await pictures(Api(session, url)):
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as opened:
                address = (await opened.json())["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket, urlsplit(url).netloc)
                png = small(await page.take(url, picture))
                await page.send("Page.close")
            (_FOLDER / f"{picture.name}.png").write_bytes(png)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="the server's address, as http://127.0.0.1:4200")
    parser.add_argument("--browser", default="chromium", help="the program; %(default)s by default")
    words = parser.parse_args()
    try:
        asyncio.run(take_all(words.server.rstrip("/"), words.browser))
    except (ValueError, OSError, aiohttp.ClientError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
