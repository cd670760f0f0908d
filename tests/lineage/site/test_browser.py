"""The page in a real browser, from file://: what it answers, what it must not do."""

import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lineage import digests
from tests import chromium
from tests.chromium import Tab
from tests.lineage.site.trail_project import HOSTILE, KEPT, OPTED_OUT, caption_of, png, uid, url_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not chromium.is_there(), reason="no chromium: apt-get install chromium"),
]
SETTLED = "['done', 'failed'].includes(document.getElementById('answer').dataset.state)"
TYPE = """(() => {
  const answer = document.getElementById('answer');
  answer.dataset.state = '';
  document.getElementById('query').value = %s;
  document.getElementById('search').requestSubmit();
})()"""


def visit(report: Path, use: Callable[[Tab], Awaitable[Any]]) -> Any:
    """Returns what `use` does with the first page; the browser may not have asked outside, nor complained."""

    async def watched(tab: Tab) -> Any:
        await tab.open((report / "index.html").as_uri())
        found = await use(tab)
        outside = [url for url in tab.requests if not url.startswith(("file:", "about:"))]
        assert not outside
        assert not tab.complaints
        return found

    return chromium.visit(watched)


async def ask(tab: Tab, question: str) -> str:
    """Returns the text of the answer to what a person types."""
    await tab.value(TYPE % json.dumps(question))
    await tab.until(SETTLED)
    return str(await tab.value("document.getElementById('answer').innerText"))


def test_a_link_leads_to_the_trail_of_its_pair(report: Path) -> None:
    async def use(tab: Tab) -> None:
        text = await ask(tab, url_of("plain"))
        lines = [line for line in text.splitlines() if line.strip()]
        for told in (url_of("plain"), caption_of("plain"), "kept", "data/shards/s1/train/00000.tar", uid("plain")):
            assert told in text
        assert "Seen by clip-0 (11 times), scorer (4 times)." in lines
        assert "In snapshot s2 dropped: seen_before" in lines
        assert text.count(caption_of("plain")) == 2, "in each snapshot"
        assert digests.sha256_bytes(png("plain")) in text
        assert await tab.value("location.hash") == f"#url={quote(url_of('plain'), safe='')}".replace("%27", "'")

    visit(report, use)


def test_every_kind_of_key_is_answered(report: Path) -> None:
    async def use(tab: Tab) -> None:
        copy = await ask(tab, uid("copy"))
        assert "dropped: duplicate_exact" in copy
        assert "No model was trained on it." in copy
        assert uid("plain") in copy, "what was kept instead"
        shared = await ask(tab, digests.sha256_bytes(png("plain")))
        assert "2 pairs" in shared
        assert "Seen by clip-0 (11 times)" in shared
        domain = await ask(tab, "Pictures.Test")
        assert "12 rows of the lists" in domain
        assert f"kept\t{len(KEPT)}" in domain
        assert "a.pictures.test 12" in domain
        assert "clip-0\t8\t88" in domain
        gone = await ask(tab, url_of("gone"))
        assert "http_404 the server says the picture is not there" in gone
        for nothing in ("http://nowhere.test/x", "nowhere.test", "0" * 32, "0" * 64):
            assert "No" in await ask(tab, nothing)

    visit(report, use)


def test_of_what_is_opted_out_hashes_alone_are_shown(report: Path) -> None:
    async def use(tab: Tab) -> None:
        for name in OPTED_OUT:
            text = await ask(tab, url_of(name))
            assert "Opted out: hashes alone are shown." in text
            assert digests.sha256_bytes(url_of(name).encode()) in text
            shown = await tab.value("document.getElementById('answer').textContent")
            assert caption_of(name) not in shown
            assert url_of(name) not in shown
        assert "4 rows of the lists" in await ask(tab, "private.pictures.test")

    visit(report, use)


def test_hostile_captions_stay_text(report: Path) -> None:
    async def use(tab: Tab) -> None:
        seen = {}
        for name in HOSTILE:
            await ask(tab, uid(name))
            facts = "[...document.querySelectorAll('#answer dt')].find(dt => dt.innerText === 'caption').nextSibling"
            seen[name] = await tab.value(f"{facts}.textContent")
            assert await tab.value(f"{facts}.querySelector('bdi') !== null")
        assert await tab.value("document.querySelectorAll('#answer img, #answer script, #answer b').length") == 0
        assert seen["script"] == HOSTILE["script"]
        assert seen["quotes"] == HOSTILE["quotes"]
        assert seen["bidi"] == "safe U+202Egnp.exeU+202C U+2066turnedU+2069 U+200Bhidden"
        assert seen["null"] == "beforeU+0000afterU+001B[31mU+0007"
        assert seen["separators"] == "lineU+2028paragraphU+2029end & &lt;b&gt; \\u003c"
        assert seen["emoji"] == HOSTILE["emoji"]
        assert seen["long"] == f"{HOSTILE['long'][:2000]}… ({len(HOSTILE['long']):,} characters in all)"

    visit(report, use)


def test_links_with_a_key_open_its_answer(report: Path) -> None:
    async def use(tab: Tab) -> None:
        page = (report / "index.html").as_uri()
        for hash_, told in ((f"#uid={uid('copy')}", "duplicate_exact"), ("#domain=a.pictures.test", "12 rows")):
            await tab.open(page + hash_)
            await tab.until(SETTLED)
            assert told in await tab.value("document.getElementById('answer').innerText")
        await tab.value("document.querySelector('#answer .links a').click()")
        await tab.until("location.hash.startsWith('#uid=') && document.querySelector('#answer .trail') !== null")

    visit(report, use)


def test_the_keyboard_is_enough(report: Path) -> None:
    async def use(tab: Tab) -> None:
        async def press(key: str, text: str = "") -> None:
            await tab.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
            await tab.send("Input.dispatchKeyEvent", type="keyUp", key=key)

        await press("/", "/")
        assert await tab.value("document.activeElement.id") == "query"
        await tab.send("Input.insertText", text=uid("small"))
        await press("Enter", "\r")
        await tab.until(SETTLED)
        assert "too_small" in await tab.value("document.getElementById('answer').innerText")
        assert await tab.value("document.activeElement.textContent") == f"Pair {uid('small')}"

    visit(report, use)


def test_the_sha256_of_the_page_is_sha256(report: Path) -> None:
    texts = [*(("ab€" * 40)[:length] for length in (0, 1, 54, 55, 56, 63, 64, 65, 119)), "\U0001f600" * 30]

    source = (report / "report.js").read_text("utf-8")
    body = source[source.index("  const ROUND") : source.index("  // ---- the page")]

    async def use(tab: Tab) -> None:
        for text in texts:
            mine = await tab.value(f"(() => {{ {body} return sha256({json.dumps(text)}); }})()")
            assert mine == hashlib.sha256(text.encode()).hexdigest(), text

    visit(report, use)


def test_a_missing_file_is_named_and_the_page_lives_on(report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "report"
    shutil.copytree(report, copy)
    (copy / "index/url/000/000.js").unlink()

    async def use(tab: Tab) -> tuple[str, str]:
        await tab.open((copy / "index.html").as_uri())
        return await ask(tab, url_of("plain")), await ask(tab, uid("plain"))

    missing, present = chromium.visit(use)
    assert "index/url/000/000.js is missing or damaged; build the report again" in missing
    assert "Seen by clip-0" in present


def test_markup_and_what_is_elsewhere_are_refused_by_the_browser_itself(report: Path) -> None:
    async def use(tab: Tab) -> tuple[str, list[str]]:
        await tab.open((report / "index.html").as_uri())
        tried = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch (e) { return e.name } })()"
        refused = str(await tab.value(tried))
        await tab.value(
            """new Promise((resolve) => {
              const image = Object.assign(document.createElement('img'), {onerror: resolve});
              image.src = 'http://127.0.0.1:9/x.png';
              document.body.append(image);
            })"""
        )
        await tab.value("Promise.resolve()")
        return refused, tab.complaints

    refused, complaints = chromium.visit(use)
    assert refused == "TypeError"
    assert any("http://127.0.0.1:9/x.png" in told and "Content Security Policy" in told for told in complaints)
