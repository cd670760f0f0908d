"""Takes the pictures of this folder: the lineage report of the project as it stands, in headless Chromium.

python -m lineage report
python docs/lineage/screenshots.py report-lineage
"""

import argparse
import asyncio
import sys
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests import chromium

_FOLDER = Path(__file__).resolve().parent
_COPY = "[...document.querySelectorAll('.losses a')].find(a => a.firstChild.alt.startsWith('duplicate_near')).hash"
_WIDTH = 1180


async def take_all(page: str, program: str) -> None:
    """Writes the pictures beside this file.

    Raises:
        ValueError: if the page asks for anything outside its folder, or complains.
    """
    async with chromium.tab(program) as tab:
        await tab.open(page, width=_WIDTH, height=1000)
        question = await tab.value(_COPY)
        await tab.open(f"{page}{question}", width=_WIDTH, height=870)
        await tab.until("document.querySelector('#answer .trail') !== null")
        await _write("trail", tab)
        await tab.open(page, width=_WIDTH, height=1400)
        await _write("stages", tab, "#dag")
        outside = [url for url in tab.requests if not url.startswith(("file:", "about:"))]
        if outside or tab.complaints:
            raise ValueError(f"{page}: asks for {outside}, complains {tab.complaints}")


async def _write(name: str, tab: chromium.Tab, selector: str | None = None) -> None:
    (_FOLDER / f"{name}.png").write_bytes(chromium.small(await tab.shot(selector)))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="the folder of the report")
    parser.add_argument("--browser", default=chromium.PROGRAM, help="the program; %(default)s by default")
    words = parser.parse_args()
    page = words.report / "index.html"
    if not page.is_file():
        raise SystemExit(f"error: {page}: no such page; `python -m lineage report` makes it")
    try:
        asyncio.run(take_all(page.resolve().as_uri(), words.browser))
    except (ValueError, OSError, aiohttp.ClientError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
