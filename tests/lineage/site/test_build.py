import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, files, records
from lineage.site import build, holding, shelf
from lineage.site.rows import PLACE, WORDS
from tests.lineage.site import trail_project
from tests.lineage.site.trail_project import FATES, OPTED_OUT, caption_of, png, uid, url_of


def content(path: Path) -> Any:
    """Returns what a script file hands over."""
    found = re.fullmatch(r'clipline\("([a-z0-9/]+)", (.*)\);\n', path.read_text("ascii"), re.S)
    assert found is not None
    return json.loads(found[2])


def entries(report: Path, kind: str) -> dict[str, Any]:
    """Returns {key: entry} of a kind."""
    return {entry[0]: entry for path in sorted(report.glob(f"index/{kind}/*/*.js")) for entry in content(path)}


def rows(report: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns {(uid, number of the snapshot): row}."""
    found = {}
    for entry in entries(report, "uid").values():
        for row in entry[1:]:
            found[row[PLACE["uid"]], row[0]] = {name: row[place] for name, place in PLACE.items()}
    return found


def test_every_pair_of_every_snapshot_has_its_trail(report: Path) -> None:
    found = rows(report)
    assert set(found) == {(uid(name), 0) for name in FATES} | {(uid(name), 1) for name in trail_project.AGAIN}
    plain, copy, gone = (found[uid(name), 0] for name in ("plain", "copy", "gone"))
    assert (plain["url"], plain["caption"]) == (url_of("plain"), caption_of("plain"))
    assert (plain["split"], plain["shard"], plain["offset"]) == ("train", "train/00000.tar", 512)
    assert plain["exposures"] == [11, 4]
    assert WORDS[copy["reason"]] == "duplicate_exact"
    assert (copy["duplicate_of"], copy["value"], copy["threshold"]) == (uid("plain"), "3", "8")
    assert (WORDS[gone["failure"]], gone["exposures"], gone["sha256"]) == ("http_404", None, None)
    again = found[uid("plain"), 1]
    assert (WORDS[again["reason"]], again["url"], again["caption"]) == ("seen_before", None, None), "stands there once"


def test_links_and_pictures_lead_to_their_pairs(report: Path) -> None:
    urls, looks = entries(report, "url"), entries(report, "sha256")
    key = digests.sha256_bytes(url_of("copy").encode())[:16]
    assert urls[key] == [key, 1, [uid("copy"), WORDS.index("duplicate_exact")]]
    shared = digests.sha256_bytes(png("plain"))[:16]
    assert looks[shared] == [shared, 2, [uid("plain"), 0, uid("copy"), WORDS.index("duplicate_exact")]]


def test_domains_count_the_hosts_below_them(report: Path) -> None:
    hosts = entries(report, "host")
    _, reasons, pairs, exposures, uids, below = hosts[digests.sha256_bytes(b"pictures.test")[:16]]
    assert below == [["a.pictures.test", 12]]
    assert dict(reasons)[0] == len(trail_project.KEPT)
    assert (pairs, exposures) == ([8, 8], [88, 32])
    assert len(uids) == 11
    private = hosts[digests.sha256_bytes(b"private.pictures.test")[:16]]
    assert sum(count for _, count in private[1]) == 4
    assert private[5] == []


def test_nothing_of_what_is_opted_out_is_anywhere(report: Path) -> None:
    written = b"".join(path.read_bytes() for path in sorted(report.rglob("*")) if path.is_file())
    for name, caption in OPTED_OUT.items():
        assert caption.encode() not in written
        assert f"private.pictures.test/{name}".encode() not in written
        assert uid(name).encode() in written
    assert b"private.pictures" not in written
    found = rows(report)
    for key in [(uid(name), 0) for name in OPTED_OUT] + [(uid("takedown"), 1)]:
        row = found[key]
        assert row["withheld"] == 1
        assert len(row["url_sha256"]) == len(row["host_sha256"]) == 64
        assert all(row[name] is None for name in ("url", "caption", "host", "license", "format", "phash", "language"))
    index = (report / "index.html").read_text("utf-8")
    assert not any(f"#uid={uid(name)}" in index for name in OPTED_OUT), "no picture of it"


def test_the_bytes_fetched_are_nowhere_and_thumbnails_are_our_own(report: Path) -> None:
    for path in report.glob("pictures/*.png"):
        thumbnail = path.read_bytes()
        assert b"SECRET" not in thumbnail
        assert thumbnail != png("plain")
    assert {path.name.rpartition("-")[0] for path in report.glob("pictures/*.png")} == {
        "kept",
        "duplicate_exact",
        "too_small",
    } | {"seen_before"}


def test_data_in_script_files_can_neither_end_the_script_nor_be_markup(report: Path) -> None:
    for path in [*report.glob("index/*/*/*.js"), report / "manifest.js"]:
        octets = path.read_bytes()
        assert not set(b"<>&\0\x7f") & set(octets)
        assert max(octets) < 0x7F
        assert len(octets) < 2 * shelf.MAX_BYTES


def test_a_caption_of_a_megabyte_is_cut_and_its_length_told(report: Path) -> None:
    row = rows(report)[uid("long"), 0]
    assert row["caption"] == caption_of("long")[:2000]
    assert row["caption_chars"] == len(caption_of("long")) > 10**6


def test_equal_inputs_give_equal_bytes(tmp_path: Path, report: Path) -> None:
    root = tmp_path / "somewhere else"
    trail_project.lay_down(root)
    again = build.build(holding.holding(root, None), root / "other name").out
    made = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert made == {path.relative_to(report): path.read_bytes() for path in report.rglob("*") if path.is_file()}


def test_small_ranges_and_files_tell_the_same(project: Path, report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage.site.cursors.ROWS_PER_RANGE", 3)
    monkeypatch.setattr("lineage.site.lookup._ROWS_PER_PART", 4)
    monkeypatch.setattr(shelf, "MAX_BYTES", 1500)
    out = build.build(holding.holding(project, None), Path("report-lineage")).out
    assert len(list(out.glob("index/uid/*/*.js"))) >= 5
    for kind in ("uid", "url", "sha256", "host"):
        assert entries(out, kind) == entries(report, kind)
    bounds = content(out / "manifest.js")["bounds"]["uid"]
    firsts = [content(path)[0][0] for path in sorted(out.glob("index/uid/*/*.js"))]
    assert bounds == "".join(key[: shelf.KEY_DIGITS] for key in firsts)


def test_a_report_replaces_a_report_and_nothing_else(project: Path) -> None:
    first = build.build(holding.holding(project, None), Path("made"))
    (first.out / "old.txt").write_text("of the last time")
    build.build(holding.holding(project, None), Path("made"))
    assert not (project / "made/old.txt").exists()
    (project / "mine").mkdir()
    (project / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="mine: holds something other than a report"):
        build.build(holding.holding(project, None), Path("mine"))
    assert (project / "mine/thesis.txt").exists()
    assert not list(project.glob(".*.partial"))


def test_records_that_do_not_belong_together_are_named(project: Path) -> None:
    path = project / "data/raw/s1/ledger.parquet"
    table = records.read_table(path)
    records.write_table(table.slice(1), path)
    missing = table["uid"][0].as_py()
    with pytest.raises(ValueError, match=f"data/source/s1/source.parquet has {missing}, data/raw/s1/ledger.parquet"):
        build.build(holding.holding(project, None), Path("made"))
    assert not list(project.glob(".*.partial"))


def test_without_pictures_the_report_says_so(project: Path) -> None:
    (project / "data/raw/s1/00000.tar").unlink()
    (project / "data/raw/s2/00000.tar").unlink()
    built = build.build(holding.holding(project, None), Path("made"))
    assert (built.thumbnails, built.thumbnails_of_fetched) == (0, 0)
    assert "No picture is shown" in (built.out / "index.html").read_text("utf-8")
    assert not (built.out / "pictures").exists()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("data/audit/graph.json", "[]", "graph.json of the working tree: not a JSON object"),
        ("data/audit/graph.json", '{"nodes": {"a": {}}, "edges": []}', "not what stage audit writes"),
        ("data/audit/graph.json", '{"nodes": {}, "edges": [{"reader": "x"}]}', "not what stage audit writes"),
        ("data/audit/graph.json", "{", "not valid JSON"),
        ("params.yaml", "snapshots: []\nobjectives: [clip]\nseeds: ['../../x']\n", "seeds must be a list of integers"),
        ("data/shards/s1/manifest.parquet", "PAR1", "data/shards/s1/manifest.parquet: cannot be read as parquet"),
    ],
)
def test_what_is_not_of_its_form_is_one_clear_error(project: Path, path: str, content: str, message: str) -> None:
    (project / path).write_text(content)
    with pytest.raises(ValueError, match=message):
        build.build(holding.holding(project, None), Path("made"))
    assert not (project / "made").exists()


def test_a_folder_that_dvc_keeps_is_left_alone(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {compare: {cmd: x, outs: [report]}}")
    with pytest.raises(ValueError, match="report/mine: lies in report, which DVC keeps"):
        build.build(holding.holding(project, None), Path("report/mine"))


def test_a_project_without_snapshots_and_models_has_a_report(project: Path) -> None:
    (project / "params.yaml").write_text("snapshots: []\nobjectives: []\nseeds: []\n")
    shutil.rmtree(project / "models")
    files.write_json(project / "data/audit/graph.json", {"nodes": {}, "edges": []})
    built = build.build(holding.holding(project, None), Path("made"))
    assert (built.rows, built.models) == (0, [])
