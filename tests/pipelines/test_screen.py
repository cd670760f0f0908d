"""One crafted row a reason, both sides of each bound; nothing is lost, and select's thresholds are not asked."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lineage import digests, records
from pipelines import screen
from tests.builders import PARAMS, contents, enter, make_signals, write_params

SIGNALS, OPTOUTS, BENCHMARKS, OUT = (
    Path(f"data/{name}") for name in ("signals/s1", "optouts.parquet", "benchmarks", "screen")
)
PROVENANCE = Path("provenance/screen/all.json")
RULES: list[dict[str, Any]] = [
    {"rule": "opt_out", "max_distance": 2},
    {"rule": "side", "min_px": 8},
    {"rule": "language", "languages": ["en"], "min_probability": 0.9, "min_letters": 12},
    {"rule": "decontaminate", "max_distance": 3, "max_rmse": 4.0},
    {"rule": "exact", "same_image_captions": "keep_one"},
]
SCREEN: dict[str, Any] = {"rules": RULES, "num_partitions": 2}
HASHES = pa.schema(
    [(name, pa.string()) for name in ("uid", "part", "sha256", "pixel_sha256", "phash")] + [("thumbnail", pa.binary())]
)
"""What stage benchmarks writes."""
FAR = 0x0F0F0F0F0F0F0F0F
"""A hash far from every other one here."""


def make_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row that every rule of SCREEN keeps, but for `changes`; number gives its uid and its digests."""
    row = make_signals(f"{number:032x}", caption=f"the drawing number {number}")
    looks = {"phash": f"{FAR:016x}", "thumbnail": bytes(192), "width": 20, "height": 16}
    row |= looks | {
        "host": "a.test",
        "host_sha256": digests.sha256_bytes(b"a.test"),
        "sha256": digests.sha256_bytes(f"bytes {number}".encode()),
        "pixel_sha256": digests.sha256_bytes(f"pixels {number}".encode()),
    }
    return {**row, **changes}


def decontaminating(**changes: Any) -> list[dict[str, Any]]:
    """Returns a recipe of that rule alone."""
    return [{**RULES[3], **changes}]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS, "screen", SCREEN)
    monkeypatch.setitem(PARAMS, "sets", ["tiny"])
    enter(tmp_path, monkeypatch)
    write_optouts()
    write_tests("tiny")


def write_optouts(**values: str) -> None:
    rows = [{"kind": kind, "value": value} for kind, value in values.items()]
    records.write_table(records.rows_table(rows, records.OPTOUTS), OPTOUTS)


def write_tests(name: str, *rows: dict[str, Any]) -> None:
    empty = {"uid": "0" * 32, "part": "seen", "sha256": "", "pixel_sha256": "", "thumbnail": bytes(192)}
    table = pa.Table.from_pylist([{**empty, **row} for row in rows], schema=HASHES)
    records.write_table(table, BENCHMARKS / name / "test_hashes.parquet")


def run(*rows: dict[str, Any], num_parts: int = 2, **changes: Any) -> dict[str, dict[str, Any]]:
    """Returns the verdicts by uid."""
    write_params(screen=changes)
    for part in range(num_parts):
        records.write_table(records.rows_table(rows[part::num_parts], records.SIGNALS), SIGNALS / f"{part:05d}.parquet")
    screen.main(SIGNALS, OPTOUTS, BENCHMARKS, OUT, PROVENANCE)
    found = records.read_table(OUT / "verdicts.parquet", records.VERDICTS).to_pylist()
    assert [row["uid"] for row in found] == sorted(row["uid"] for row in rows)
    kept = records.read_table(OUT / "rows.parquet").to_pylist()
    assert kept == [{"uid": row["uid"]} for row in found if row["keep"]]
    return {row["uid"]: row for row in found}


def verdict(*rows: dict[str, Any], **changes: Any) -> tuple[str, str | None, str | None]:
    """Returns (reason, value, threshold) of the first row."""
    found = run(*rows, **changes)[rows[0]["uid"]]
    assert found["keep"] == (found["reason"] == "kept") == (found["rule"] is None)
    return found["reason"], found["value"], found["threshold"]


def test_a_bound_drops_on_one_side_and_keeps_on_the_other() -> None:
    found = run(make_row(1, width=7), make_row(2, width=8))
    row = found[make_row(1)["uid"]]
    assert (row["reason"], row["rule"], row["value"], row["threshold"]) == ("too_small", "side", "7", "8")
    assert found[make_row(2)["uid"]]["reason"] == "kept"


def test_rows_that_failed_before_keep_their_reason() -> None:
    empty = dict.fromkeys(records.SIGNALS.names)
    rows = [{**empty, "uid": f"{n:032x}", "error": error} for n, error in enumerate(["http_404", "truncated"])]
    found = run(*rows, make_row(9))
    assert [(row["reason"], row["rule"]) for row in found.values()] == [
        ("http_404", "download"),
        ("truncated", "measure"),
        ("kept", None),
    ]
    counts = json.loads(PROVENANCE.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["failed"]) == (3, 1, {"http_404": 1, "truncated": 1})


@pytest.mark.parametrize("kind", ["url_sha256", "host_sha256", "sha256", "phash"])
def test_an_opt_out_of_each_kind_takes_the_row_that_it_names(kind: str) -> None:
    other = make_row(2, host="b.test", host_sha256=digests.sha256_bytes(b"b.test"), phash=f"{FAR ^ 0b111:016x}")
    named = make_row(1, phash=f"{FAR ^ 0b1100 if kind == 'phash' else FAR:016x}")
    write_optouts(**{kind: f"{FAR:016x}" if kind == "phash" else named[kind]})
    found = run(named, other)
    assert (found[named["uid"]]["reason"], found[named["uid"]]["value"]) == ("opted_out", kind)
    assert found[other["uid"]]["reason"] == "kept"


def test_an_opt_out_of_a_host_takes_the_hosts_below_it() -> None:
    write_optouts(host_sha256=digests.sha256_bytes(b"a.test"))
    assert verdict(make_row(1, host="img.a.test", host_sha256=digests.sha256_bytes(b"img.a.test")))[0] == "opted_out"


def test_a_picture_within_the_distance_of_an_evaluation_picture_goes() -> None:
    write_tests("tiny", {"phash": f"{FAR ^ 0b111:016x}"}, {"phash": "f" * 16})
    assert verdict(make_row(1)) == ("test_picture", "3", "3 bits, rmse 4")
    assert verdict(make_row(1), rules=decontaminating(max_distance=2))[0] == "kept"


def test_a_picture_of_the_same_shapes_in_other_colours_stays() -> None:
    write_tests("tiny", {"phash": f"{FAR:016x}", "thumbnail": bytes([5]) * 192})
    assert verdict(make_row(1))[0] == "kept"
    assert verdict(make_row(1), rules=decontaminating(max_rmse=5.0))[0] == "test_picture"


@pytest.mark.parametrize("kind", ["sha256", "pixel_sha256"])
def test_an_evaluation_picture_goes_by_its_digests_whatever_its_hash(kind: str) -> None:
    row = make_row(1)
    write_tests("tiny", {kind: row[kind], "phash": "f" * 16})
    assert verdict(row) == ("test_picture", "0", "3 bits, rmse 4")


def test_every_set_of_the_params_counts_and_only_those() -> None:
    write_tests("old", {"phash": f"{FAR:016x}"})
    write_tests("tiny", {"phash": "f" * 16})
    assert verdict(make_row(1))[0] == "kept"
    assert not (BENCHMARKS / "old").exists()


def test_of_equal_bytes_the_smallest_uid_that_stays_is_kept() -> None:
    same = {"sha256": "a" * 64}
    rows = [make_row(1, **same, width=4), make_row(2, **same), make_row(3, **same), make_row(4, sha256="b" * 64)]
    found = list(run(*rows).values())
    assert [row["reason"] for row in found] == ["too_small", "kept", "duplicate_exact", "kept"]
    assert [row["duplicate_of"] for row in found] == [None, None, rows[1]["uid"], None]


def test_bytes_do_not_depend_on_the_parts() -> None:
    rows = [make_row(n, width=4 + n, sha256=f"{n % 3:064x}") for n in range(12)]
    run(*rows)
    first = contents(OUT)
    run(*rows[::-1], num_parts=3)
    assert contents(OUT) == first


def test_no_row_at_all_is_no_error() -> None:
    assert run() == {}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (decontaminating(max_distance=25), r"screen\.rules\[0\]: max_distance must be in 0\.\.24, not 25"),
        (
            [{"rule": "clip_score", "min": 0.2, "missing": "keep"}],
            r"screen\.rules\[0\]: clip_score is for select alone",
        ),
        ([{"rule": "side", "min_px": 1, "px": 2}], r"unknown key screen\.rules\[0\]\.px"),
    ],
)
def test_a_mistake_in_the_recipe_is_named(rules: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(make_row(1), rules=rules)
