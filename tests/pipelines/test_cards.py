"""The datasheet shows counts, licences and reasons; a stranger's words have no meaning in it."""

from typing import Any

from lineage import reasons
from pipelines import cards
from tests.pipelines.test_funnel import make_funnel

ROOT: dict[str, Any] = {
    "digest": "d" * 64,
    "rows": {"train": 5, "val": 1},
    "shards": [{"snapshot": "s1", "split": "val", "shard": "val/00000.tar", "rows": 1, "bytes": 7, "sha256": "0" * 64}],
    "snapshots": ["s1", "s2"],
}


def test_the_datasheet() -> None:
    text = cards.datasheet("tiny", "A tiny set.", ROOT, make_funnel("s1", "s2"))
    assert text.startswith("# Datasheet of tiny\n\nA tiny set.\n")
    assert f"- digest: `{'d' * 64}`\n- snapshots: s1, s2\n- pairs: 5 for training, 1 for validation\n" in text
    assert "| all | 20 | 16 | 12 | 10 | 8 | 6 |\n" in text
    assert "An opt-out names 0 pairs, which were left out; so were 0 whose picture" in text
    assert f"| failed | http_404 | 4 | {reasons.ALL['http_404']} |\n" in text


def test_licences_are_added_up_and_escaped() -> None:
    made = make_funnel("s1", "s2")
    made.counts["s1"]["pack"]["licenses"] = {
        "CC0 | x": {"a": 2, "b": 1},
        "<script>&": {"[x](javascript:y)\n# head `\\|": 1},
    }
    text = cards.datasheet("tiny", "A tiny set.", ROOT, made)
    assert "| CC0 \\| x | a | 4 |\n| CC0 \\| x | b | 2 |\n" in text  # both snapshots share these counts
    assert "| &lt;script>&amp; | \\[x\\](javascript:y) # head \\`\\\\\\| | 2 |\n" in text


def test_a_card_lists_every_shard_with_its_digest() -> None:
    card = cards.croissant("tiny", "A tiny set.", ROOT, ["CC0"])
    shard, captions, pictures = card["distribution"]
    assert (shard["contentUrl"], shard["sha256"]) == ("../shards/s1/val/00000.tar", "0" * 64)
    assert captions["containedIn"] == pictures["containedIn"] == [{"@id": "s1/val/00000.tar"}]
    assert pictures["includes"] == ["*.png", "*.jpg", "*.webp", "*.gif"]
    assert card["license"] == ["CC0"]
    assert card["version"] == f"1.0.0+{'d' * 64}"
