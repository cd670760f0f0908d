"""A real browser, headless Chromium, spoken to by its DevTools protocol: no driver, no playwright."""

import asyncio
import base64
import contextlib
import io
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

PROGRAM = "chromium"
_NUM_COLOURS = 128
_PATIENCE_S = 60.0
_LOUD = ("error", "warning", "assert")


class Tab:
    """One page of a browser, and all it asked for and complained of since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.requests: list[str] = []
        self.loaded_bytes = 0
        """Of what was asked for, as stored."""
        self.complaints: list[str] = []
        """Errors and warnings on the console, exceptions, dialogs."""
        self._num_sent = 0

    async def send(self, method: str, **words: Any) -> dict[str, Any]:
        """Sends a command and returns its result; what is told meanwhile is noted.

        Raises:
            ValueError: if the browser refuses it.
        """
        self._num_sent += 1
        await self.socket.send_json({"id": self._num_sent, "method": method, "params": words})
        while True:
            told = await self.socket.receive_json()
            self.note(told.get("method", ""), told.get("params", {}))
            if told.get("id") == self._num_sent:
                if "error" in told:
                    raise ValueError(f"{method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result

    def note(self, method: str, words: dict[str, Any]) -> None:
        """Notes what the browser tells unasked."""
        if method == "Network.requestWillBeSent":
            self.requests.append(words["request"]["url"])
        elif method == "Network.dataReceived":
            self.loaded_bytes += words["dataLength"]
        elif method == "Log.entryAdded" and words["entry"]["level"] in _LOUD:
            self.complaints.append(f"{words['entry']['text']} {words['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and words["type"] in _LOUD:
            self.complaints.append(f"console.{words['type']}: {words['args']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {words['exceptionDetails']}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {words['message']}")

    async def watch(self) -> None:
        """Has the browser tell of requests, of the console and of dialogs."""
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")

    async def open(self, url: str, *, width: int = 1280, height: int = 900, is_dark: bool = False) -> None:
        """Opens a page and waits until all of it is there."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Page.navigate", url="about:blank")
        await self.send("Page.navigate", url=url)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def value(self, expression: str) -> Any:
        """Returns what an expression of JavaScript is; a promise is waited for.

        Raises:
            ValueError: if it throws.
        """
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise ValueError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until an expression holds.

        Raises:
            ValueError: if it does not, for a minute.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while not await self.value(expression):
            if asyncio.get_running_loop().time() > deadline:
                text = await self.value("document.body.innerText")
                raise ValueError(f"{expression} does not come true; the page: {text[:1000]}; {self.complaints}")
            await asyncio.sleep(0.02)

    async def shot(self, selector: str | None = None) -> bytes:
        """Returns the page as a PNG: what is seen of it, or all of the element that a selector finds."""
        if selector is None:
            found = await self.send("Page.captureScreenshot", format="png")
        else:
            box = await self.value(
                f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
                " return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}; })()"
            )
            found = await self.send("Page.captureScreenshot", format="png", clip=box, captureBeyondViewport=True)
        return base64.b64decode(found["data"])


def is_there(program: str = PROGRAM) -> bool:
    """Returns whether there is such a browser."""
    return shutil.which(program) is not None


def visit(use: Callable[[Tab], Awaitable[Any]], program: str = PROGRAM) -> Any:
    """Returns what `use` does with a tab of a browser of its own."""

    async def inside() -> Any:
        async with tab(program) as opened:
            return await use(opened)

    return asyncio.run(inside())


@contextlib.asynccontextmanager
async def tab(program: str = PROGRAM) -> AsyncIterator[Tab]:
    """Yields a watched tab of a browser of its own."""
    async with aiohttp.ClientSession() as session, browser(program) as port:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as opened:
            address = (await opened.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(address, max_msg_size=0) as socket:
            made = Tab(socket)
            await made.watch()
            yield made


@contextlib.asynccontextmanager
async def browser(program: str = PROGRAM) -> AsyncIterator[int]:
    """Yields the port of a headless Chromium's DevTools."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ["--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--no-first-run"]
        own = [f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
        with subprocess.Popen([program, *options, *own], stderr=subprocess.DEVNULL) as started:
            try:
                yield await _port(Path(folder) / "DevToolsActivePort", started)
            finally:
                started.terminate()


def small(png: bytes) -> bytes:
    """Returns a PNG of few colours."""
    target = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(_NUM_COLOURS).save(target, "PNG", optimize=True)
    return target.getvalue()


async def _port(path: Path, started: subprocess.Popen[bytes]) -> int:
    while not path.exists() or not path.read_text().strip():
        if started.poll() is not None:
            raise ValueError(f"the browser ended with status {started.returncode}")
        await asyncio.sleep(0.1)
    return int(path.read_text().split()[0])
