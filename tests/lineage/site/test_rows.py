from pathlib import Path

import pytest

from lineage import records
from lineage.site import holding, rows, withheld
from lineage.site.rows import PLACE
from lineage.site.tally import NUM_SAMPLES, Tally
from tests.lineage.site.trail_project import FATES, KEPT, MODELS, OPTED_OUT, uid, url_of


def opened(root: Path) -> tuple[list[rows.Snapshot], withheld.Withheld]:
    held = holding.holding(root, None)
    names = ["s1", "s2"]
    found = [rows.opened(held, name, number, MODELS) for number, name in enumerate(names)]
    return found, withheld.withheld(held, names)


def test_links_dropped_for_an_opt_out_or_taken_down_are_withheld(project: Path) -> None:
    _, found = opened(project)
    listed = {row["url"]: row["url_sha256"] for row in records.read_table(project / "data/source/s1").to_pylist()}
    assert found.urls == {listed[url_of(name)] for name in OPTED_OUT}
    ledger = records.read_table(project / "data/raw/s1/ledger.parquet").to_pylist()
    assert found.pictures == {row["sha256"] for row in ledger if row["uid"] == uid("hash")}
    assert found.hosts == frozenset()


def test_an_opted_out_host_is_withheld_whatever_the_verdict(project: Path) -> None:
    row = records.read_table(project / "data/source/s1").to_pylist()[0]
    optouts = [{"kind": "host_sha256", "value": row["host_sha256"]}]
    records.write_table(records.rows_table(optouts, records.OPTOUTS), project / "data/optouts.parquet")
    _, found = opened(project)
    assert found.covers(None, row["host_sha256"], None)
    assert not found.covers("0" * 64, "0" * 64, None)


def test_what_is_counted_adds_up(project: Path) -> None:
    snapshots, hidden = opened(project)
    tally = Tally(["s1", "s2"], MODELS)
    for some in rows.ranges(snapshots, hidden):
        tally.add(some)
    assert tally.num_rows == len(FATES) + 2
    assert tally.total()["kept"] == len(KEPT) + 1
    assert tally.reasons[1] == {"seen_before": 2}
    assert tally.num_withheld == len(OPTED_OUT) + 1
    assert [dict(one) for one in tally.frequencies] == [{11: len(KEPT)}, {4: len(KEPT)}]
    assert len(tally.samples["kept"]) == NUM_SAMPLES
    shown = {one for some in tally.samples.values() for _, one in some}
    assert not shown & {uid(name) for name in OPTED_OUT}


def test_exposures_to_pairs_of_no_snapshot_are_told(project: Path) -> None:
    path = project / "models/clip-0/exposure.parquet"
    seen = [*records.read_table(path).to_pylist(), {"snapshot": "s1", "uid": "f" * 32, "count": 5}]
    records.write_table(records.rows_table(seen, records.EXPOSURE), path)
    snapshots, hidden = opened(project)
    list(rows.ranges(snapshots, hidden))
    assert [one.strays["clip-0"] for one in snapshots] == [5, 0]


def test_long_words_of_strangers_are_cut(project: Path) -> None:
    path = project / "data/source/s1/source.parquet"
    found = [{**row, "license": "x" * 5000} for row in records.read_table(path).to_pylist()]
    records.write_table(records.rows_table(found, records.SOURCE), path)
    snapshots, hidden = opened(project)
    row = next(row for row in next(rows.ranges(snapshots, hidden)) if row[1] == uid("plain"))
    assert row[PLACE["license"]] == "x" * rows.MAX_WORD_CHARS + "… (5000 characters)"


@pytest.mark.parametrize(
    ("path", "column", "message"),
    [
        ("data/source/s1/source.parquet", "url_sha256", "snapshot s1: url_sha256 is not 64 hex digits"),
        ("data/selection/s1/verdicts.parquet", "reason", "reason '<b>' is not one of"),
    ],
)
def test_what_is_not_of_its_form_is_refused(project: Path, path: str, column: str, message: str) -> None:
    table = records.read_table(project / path)
    rows_ = [{**row, column: "<b>"} for row in table.to_pylist()]
    records.write_table(records.rows_table(rows_, table.schema), project / path)
    with pytest.raises(ValueError, match=message):
        snapshots, hidden = opened(project)
        list(rows.ranges(snapshots, hidden))
