from pathlib import Path
from typing import Any

from lineage import digests
from lineage.site import hosts
from lineage.site.hosts import Hosts
from lineage.site.lookup import Parts
from lineage.site.rows import FIELDS, Row
from lineage.site.shelf import Shelf
from tests.lineage.site.test_build import entries


def row(number: int, host: str | None, reason: int = 0, seen: list[int] | None = None) -> Row:
    values = {"uid": f"{number:032x}", "host": host, "reason": reason, "exposures": seen}
    values["host_sha256"] = None if host else digests.sha256_bytes(b"secret.test")
    return [values.get(name) for name in FIELDS]


def shelved(folder: Path, ranges: list[list[Row]]) -> dict[str, Any]:
    (folder / "spill").mkdir()
    with Parts(folder / "spill", "host", 10**6) as parts:
        collected = Hosts(parts)
        for rows in ranges:
            collected.add(rows)
        with Shelf(folder / "index", "host") as shelf:
            collected.shelve(shelf)
    return entries(folder, "host")


def key(host: str) -> str:
    return digests.sha256_bytes(host.encode())[:16]


def test_counts_of_all_ranges_are_added_up(tmp_path: Path) -> None:
    ranges = [[row(1, "a.b.test", 0, [2, 0]), row(2, "b.test", 4)], [row(3, "a.b.test", 4, [0, 1]), row(4, "c.test")]]
    found = shelved(tmp_path, ranges)
    assert set(found) == {key(host) for host in ("a.b.test", "b.test", "c.test")}, "no entry for a top level domain"
    _, reasons, pairs, exposures, uids, below = found[key("b.test")]
    assert reasons == [[0, 1], [4, 2]]
    assert (pairs, exposures) == ([1, 1], [2, 1])
    assert uids == [[f"{1:032x}", 0], [f"{2:032x}", 4], [f"{3:032x}", 4]]
    assert below == [["a.b.test", 2]]
    assert found[key("a.b.test")][5] == []


def test_what_is_opted_out_counts_under_its_digest_alone(tmp_path: Path) -> None:
    found = shelved(tmp_path, [[row(1, None, 20)]])
    assert list(found) == [key("secret.test")]
    assert found[key("secret.test")][1] == [[20, 1]]


def test_lists_are_cut_and_their_counts_stay_whole(tmp_path: Path) -> None:
    ranges = [[row(100 * part + n, f"h{n:03d}.b.test") for n in range(100)] for part in range(3)]
    _, reasons, _, _, uids, below = shelved(tmp_path, ranges)[key("b.test")]
    assert reasons == [[0, 300]]
    assert len(uids) == hosts.MAX_UIDS
    assert below == [[f"h{n:03d}.b.test", 3] for n in range(hosts.MAX_HOSTS)]


def test_a_host_counts_for_few_domains_and_an_address_for_itself(tmp_path: Path) -> None:
    deep = ".".join("abcdefghij") + ".test"
    found = shelved(tmp_path, [[row(1, deep), row(2, "192.0.2.7")]])
    assert set(found) == {key(name) for name in (deep, "j.test", "i.j.test", "h.i.j.test", "g.h.i.j.test", "192.0.2.7")}
