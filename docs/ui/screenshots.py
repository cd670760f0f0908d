"""Takes the pictures of this folder from a running Prefect server, with headless Chromium.

    python docs/ui/screenshots.py http://127.0.0.1:4200

Of the newest reproduce that completed and, where a refresh waits for a person, of what that person is asked. Fails
where a page shows an error or asks anything of another host than the server.
"""

import argparse
import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests import chromium

_FOLDER = Path(__file__).resolve().parent
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


async def take(tab: chromium.Tab, server: str, picture: Picture) -> bytes:
    """Returns a page as a PNG once all its words stand there.

    Raises:
        ValueError: if they do not come, if an error does, or if the page asks another host for something.
    """
    url = f"{server}{picture.path}"
    await tab.open(url, width=picture.width, height=picture.height)
    if picture.button:
        await _wait_for(tab, url, [picture.button])
        await tab.send("Runtime.evaluate", expression=_CLICK % picture.button)
    await _wait_for(tab, url, picture.words)
    await asyncio.sleep(_SETTLED_S)
    shot = await tab.shot()
    outside = {asked for asked in tab.requests if _is_outside(asked, urlsplit(server).netloc)}
    if outside:
        raise ValueError(f"{url} asks other hosts: {', '.join(sorted(outside))}")
    return shot


async def _wait_for(tab: chromium.Tab, url: str, words: list[str]) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        text = str(await tab.value("document.body?.innerText ?? ''"))
        if "Oops" in text:
            raise ValueError(f"{url} shows an error: {text[-300:]}; is PREFECT_SERVER_UI_API_URL set?")
        missing = [word for word in words if word not in text]
        if not missing:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise ValueError(f"{url} does not show {missing} but: {text[:1000]}")
        await asyncio.sleep(0.2)


def _is_outside(url: str, host: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != host


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
    async with aiohttp.ClientSession() as session:
        for picture in await pictures(Api(session, url)):
            async with chromium.tab(program) as tab:
                png = chromium.small(await take(tab, url, picture))
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
