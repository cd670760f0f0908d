from pathlib import Path

import pytest

from lineage import digests
from lineage.site import lookup
from lineage.site.lookup import Lookup, Parts
from lineage.site.shelf import Shelf
from tests.lineage.site.test_build import entries


def digest(number: int) -> str:
    return digests.sha256_bytes(str(number).encode())


def shelved(folder: Path, rows: list[tuple[str | None, str, int]], num_rows: int) -> dict[str, list[object]]:
    (folder / "spill").mkdir(parents=True)
    with Parts(folder / "spill", "url", num_rows) as parts:
        collected = Lookup(parts)
        for start in range(0, len(rows), 7):
            collected.add(*(list(column) for column in zip(*rows[start : start + 7], strict=True)))
        with Shelf(folder / "index", "url") as shelf:
            collected.shelve(shelf)
    assert not list((folder / "spill").iterdir())
    return entries(folder, "url")


@pytest.mark.parametrize("num_rows", [10, 10**6, 10**9])
def test_pairs_are_found_by_digest_kept_ones_first(tmp_path: Path, num_rows: int) -> None:
    rows: list[tuple[str | None, str, int]] = [(digest(n), f"{n:032x}", 3) for n in range(100)]
    rows += [(digest(5), f"{900:032x}", 0), (digest(5), f"{5:032x}", 9), (None, f"{901:032x}", 0)]
    found = shelved(tmp_path, rows, num_rows)
    assert len(found) == 100
    key = digest(5)[:16]
    assert found[key] == [key, 2, [f"{900:032x}", 0, f"{5:032x}", 3]]
    assert found[digest(6)[:16]][1:] == [1, [f"{6:032x}", 3]]


def test_a_link_with_many_captions_is_counted_and_cut(tmp_path: Path) -> None:
    found = shelved(tmp_path, [(digest(0), f"{n:032x}", 1) for n in range(500)], 500)
    ((_, total, shown),) = found.values()
    assert (total, len(shown)) == (500, 2 * lookup.MAX_UIDS)  # type: ignore[arg-type]
