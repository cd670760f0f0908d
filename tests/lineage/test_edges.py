"""The digest of a path is computed from what its producers recorded, as DVC computes it from the disk."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import digests, edges

NAMES = st.text(alphabet="ab.Zé_- 名", min_size=1, max_size=3).filter(lambda name: name.strip(". ") == name)
TREES = st.dictionaries(st.tuples(NAMES, NAMES, NAMES), st.binary(max_size=3), min_size=1, max_size=6)


@given(tree=TREES)
@settings(max_examples=40, deadline=None)
def test_parents_and_parts_have_the_digest_of_the_disk(tree: dict[tuple[str, str, str], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        for parts, content in tree.items():
            file = root.joinpath(*parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        described = {f"data/{child.name}": digests.described(child) for child in root.iterdir()}
        outs = {path: out["md5"] for path, out in described.items()}
        asked = [root, *root.rglob("*")]
        for path in asked:
            relative = path.relative_to(folder).as_posix()
            made = edges.digest_from(relative, outs, lambda out: described[out].get("files"))
            assert made == digests.dvc_digest(path)


OUTS = {"data/raw/s1": "1.dir", "data/raw/s2": "2.dir", "data/raw/s1.json": "3", "models": "4.dir"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data/raw/s1", ["data/raw/s1"]),
        ("data/raw/s1/x/y", ["data/raw/s1"]),
        ("data/raw", ["data/raw/s1", "data/raw/s1.json", "data/raw/s2"]),
        ("data/raw/s", []),
        ("models2", []),
        ("lineage/dag.py", []),
    ],
)
def test_producing_outs_are_found_by_whole_names(path: str, found: list[str]) -> None:
    assert edges.producing(path, OUTS) == found


def test_a_missing_listing_is_no_digest() -> None:
    assert edges.digest_from("data/raw", OUTS, lambda _: None) is None
    assert edges.digest_from("models/x", OUTS, lambda _: None) is None
    assert edges.digest_from("models", OUTS, lambda _: None) == "4.dir"


def test_what_no_producer_has_is_absent() -> None:
    assert edges.digest_from("models/x", OUTS, lambda _: {"y": "5"}) == edges.ABSENT
    assert edges.digest_from("elsewhere", OUTS, lambda _: {}) == edges.ABSENT
