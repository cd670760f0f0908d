import re
from pathlib import Path

import pytest

from lineage.site import pages
from lineage.site.cards import Card, Metric
from lineage.site.pages import Pages, visible

HOSTILE = "</title><script>alert(1)</script>\u202e\0\ud800"


def test_what_cannot_be_seen_is_spelt_out() -> None:
    assert visible("a\0b\u202ec\U000e0041\ud800") == "a⟨U+0000⟩b⟨U+202E⟩c⟨U+E0041⟩⟨U+D800⟩"
    assert visible("é 日本 \U0001f469\u200d\U0001f680") == "é 日本 \U0001f469\u200d\U0001f680"


def test_values_in_pages_are_text(tmp_path: Path) -> None:
    metric = Metric(set="s", protocol=HOSTILE, part="p", variant="v", name="n", value=1.0, chance=None, n=None)
    words = [(HOSTILE, HOSTILE)]
    card = Card(
        objective=HOSTILE,
        seed=HOSTILE,
        dataset=HOSTILE,
        weights=HOSTILE,
        params=words,
        counts=words,
        environment=words,
        files=words,
        name="clip-0",
        metrics=[metric],
        headline=[metric],
        frequencies=[(1, 2)],
        strays=1,
    )
    Pages(tmp_path).models([card])
    text = (tmp_path / "models/clip-0.html").read_text("utf-8")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩⟨U+0000⟩⟨U+D800⟩" in text


def test_pages_ask_nothing_of_anyone(report: Path) -> None:
    for path in [*report.glob("*.html"), *report.glob("models/*.html")]:
        text = path.read_text("utf-8")
        addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
        assert len(addresses) > 1
        assert not [address for address in addresses if ":" in address or address.startswith("//")], path
        assert "default-src 'none'" in text
        assert not re.search(r"<[a-z][^>]* (?:on[a-z]+|style)=", text), path
    style, script = ((report / name).read_text("utf-8") for name in pages.ASSETS)
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttpRequest", script
    )


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    Pages.check_target(tmp_path / "absent")
    Pages.check_target(tmp_path)
    (tmp_path / "index.html").write_text("<title>mine</title>")
    with pytest.raises(ValueError, match="holds something other than a report"):
        Pages.check_target(tmp_path)
    (tmp_path / "index.html").write_text(f"<meta content='{pages.MARK}'>")
    Pages.check_target(tmp_path)
