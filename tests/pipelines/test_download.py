import dataclasses
import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage import digests, files, records
from pipelines import download
from pipelines.web import fetch_record, store
from tests.pipelines.download_project import Project
from tests.pipelines.fault_server import Answer, FaultServer, answer, drip, picture

PATHS = ["/0.png", "/1.png", "/gone.png", "/drip.png", "/noai.png", "/html.png", "/2.png", "/late.png"]
REASONS = {"/gone.png": "http_404", "/drip.png": "timeout", "/noai.png": "opt_out", "/html.png": "not_an_image"}
REASONS["/late.png"] = "http_410"


def faults() -> dict[str, Answer]:
    return {
        **{f"/{number}.png": answer(picture(number)) for number in range(3)},
        "/drip.png": drip,
        "/noai.png": answer(picture(), headers={"X-Robots-Tag": "noai"}),
        "/html.png": answer(b"<html>"),
        "/late.png": answer(b"", 410),
    }


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer(faults()) as running:
        yield running


@dataclasses.dataclass
class First:
    """The first run of the first snapshot, shared by the tests that only look."""

    project: Project
    made: dict[str, str]
    uids: dict[str, str]
    """{path: uid}."""


@pytest.fixture(scope="module")
def first(server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> First:
    folder = tmp_path_factory.mktemp("first")
    project = Project(folder / "project", folder / "store")
    project.params(["s1", "s2"])
    uids = project.source("s1", [server.url(path) for path in PATHS])
    return First(project, project.made("s1"), dict(zip(PATHS, uids, strict=True)))


@pytest.mark.slow
def test_the_ledger_has_one_row_for_every_source_row(first: First) -> None:
    ledger = first.project.ledger("s1")
    assert [row["uid"] for row in ledger] == sorted(first.uids.values())
    assert {row["uid"]: row["reason"] for row in ledger} == {uid: REASONS.get(path) for path, uid in first.uids.items()}
    assert [row["shard"] for row in ledger] == [0, 0, 0, 1, 1, 1, 2, 2]
    for row in ledger:
        assert (row["outcome"] == "ok") == (row["sha256"] is not None) == (row["offset"] is not None)


@pytest.mark.slow
def test_the_shards_hold_the_pictures_as_sent(first: First) -> None:
    folder = first.project.folder / "data/raw/s1"
    assert sorted(first.made) == ["00000.tar", "00001.tar", "00002.tar", "ledger.parquet"]
    rows = {row["uid"]: row for row in first.project.ledger("s1")}
    for number in range(3):
        row = rows[first.uids[f"/{number}.png"]]
        with (folder / f"{row['shard']:05d}.tar").open("rb") as shard:
            shard.seek(row["offset"])
            assert shard.read(row["bytes"]) == picture(number)
        assert row["sha256"] == digests.sha256_bytes(picture(number))
    members = []
    for name in ("00000.tar", "00001.tar", "00002.tar"):
        with tarfile.open(folder / name) as archive:
            members += [member.name for member in archive]
            assert all((member.mtime, member.uid, member.uname) == (0, 0, "") for member in archive)
    kept = sorted(first.uids[f"/{number}.png"] for number in range(3))
    assert members == [f"{uid}.{extension}" for uid in kept for extension in ("png", "json", "txt")]


@pytest.mark.slow
def test_the_sidecars_say_whose_picture_it_is(first: First) -> None:
    uid = first.uids["/2.png"]
    row = next(row for row in first.project.ledger("s1") if row["uid"] == uid)
    with tarfile.open(first.project.folder / f"data/raw/s1/{row['shard']:05d}.tar") as archive:
        facts = json.loads(archive.extractfile(f"{uid}.json").read())  # type: ignore[union-attr]
        assert archive.extractfile(f"{uid}.txt").read().decode() == "picture 6 ☃"  # type: ignore[union-attr]
    assert facts["url"].endswith("/2.png")
    assert facts == {
        "uid": uid,
        "url": facts["url"],
        "caption": "picture 6 ☃",
        "license": "CC0",
        "origin": "here",
    }


@pytest.mark.slow
def test_what_depends_on_time_is_in_the_store_only(first: First) -> None:
    path = first.project.store / "attempts/s1/attempts.parquet"
    attempts = records.read_table(path, fetch_record.ATTEMPTS).to_pylist()
    assert [row["uid"] for row in attempts] == sorted(first.uids.values())
    assert store.is_complete(first.project.store, "s1")
    provenance = files.read_json(first.project.folder / "provenance/download/s1.json")
    assert provenance["counts"]["rows_in"] == 8
    assert provenance["counts"]["kept"] == 3
    assert provenance["counts"]["failed"] == dict(sorted(dict.fromkeys(REASONS.values(), 1).items()))
    assert not [path for path in first.project.folder.glob(".work/*") if path.suffix != ".lock"]


@pytest.mark.slow
def test_a_forced_run_asks_the_web_for_nothing_and_makes_the_same(first: First, server: FaultServer) -> None:
    before = server.hits.copy()
    assert first.project.made("s1") == first.made
    assert server.hits == before


@pytest.mark.slow
def test_another_folder_and_more_processes_make_the_same(first: First, server: FaultServer, tmp_path: Path) -> None:
    other = Project(tmp_path / "elsewhere/deeper", tmp_path / "store")
    other.params(["s1"], {"download_processes": 2, "download_threads": 1})
    other.source("s1", [server.url(path) for path in PATHS])
    assert other.made("s1") == first.made
    provenance = "provenance/download/s1.json"
    assert (other.folder / provenance).read_bytes() == (first.project.folder / provenance).read_bytes()


@pytest.mark.slow
def test_what_failed_earlier_is_tried_again_and_what_came_is_copied(first: First, server: FaultServer) -> None:
    server.answers["/late.png"] = answer(picture(7))
    server.answers["/new.png"] = answer(picture(8))
    before = server.hits.copy()
    url_of = {path: server.url(path) for path in PATHS}
    first.project.source("s2", [*url_of.values(), server.url("/new.png")])
    first.project.made("s2")
    asked = server.hits - before
    assert asked == dict.fromkeys([*REASONS, "/new.png"], 1)
    ledger = {row["uid"]: row for row in first.project.ledger("s2")}
    assert ledger[first.uids["/late.png"]]["sha256"] == digests.sha256_bytes(picture(7))
    assert ledger[first.uids["/gone.png"]]["reason"] == "http_404"
    attempts = records.read_table(first.project.store / "attempts/s2/attempts.parquet").to_pylist()
    assert {row["uid"] for row in attempts if row["copied_from"]} == {first.uids[f"/{n}.png"] for n in range(3)}


def error_of(project: Project, snapshot: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the stage here, where it is to end before it starts img2dataset, and returns its error."""
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("CLIPLINE_STORE", str(project.store))
    paths = [Path("data/source") / snapshot, Path("data/raw") / snapshot, Path(f"provenance/download/{snapshot}.json")]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        download.main(*paths)
    assert not paths[1].exists()
    return str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", tmp_path / "store")


def test_an_earlier_snapshot_comes_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.params(["s1", "s2"])
    project.source("s2", ["http://127.0.0.1:9/"])
    store.FetchStore(project.store, "s1").close()
    told = error_of(project, "s2", monkeypatch)
    assert told.startswith(f"{project.store}: no complete records of snapshot s1, which is listed before; ")
    assert "CLIPLINE_STORE" in told
    assert "download@s1" in told


def test_a_snapshot_must_be_listed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.params(["s1"])
    project.source("s2", [])
    assert error_of(project, "s2", monkeypatch) == "snapshot 's2' is not listed in params.yaml: snapshots"


def test_a_missing_demo_says_how_to_lay_it_down(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.params(["s1"], demo_site="data/demo/site")
    project.source("s1", ["http://a.demo.test/"])
    error = error_of(project, "s1", monkeypatch)
    assert error.startswith("data/demo/site: not there; lay the demo down with `python -m pipelines.demo`, ")
    (project.folder / "data/demo/site").mkdir(parents=True)
    assert "behaviours.json: not there" in error_of(project, "s1", monkeypatch)


def test_a_missing_source_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.params(["s1"])
    assert error_of(project, "s1", monkeypatch).startswith("data/source/s1: no such file or folder")


def test_earlier_snapshots_are_asked_nearest_first() -> None:
    assert download.snapshots_before("s3", ["s1", "s2", "s3", "s4"]) == ["s2", "s1"]
    assert download.snapshots_before("s1", ["s1", "s2"]) == []


def test_an_empty_source_makes_an_empty_ledger(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project.params(["s1"])
    project.source("s1", [])
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("CLIPLINE_STORE", str(project.store))
    with caplog.at_level(logging.INFO, "clipline"):
        download.main(Path("data/source/s1"), Path("data/raw/s1"), Path("provenance/download/s1.json"))
    assert [path.name for path in Path("data/raw/s1").iterdir()] == ["ledger.parquet"]
    assert project.ledger("s1") == []
    assert store.is_complete(project.store, "s1")
    assert "download@s1: 0 in, 0 kept" in caplog.text


def lay_site(folder: Path) -> None:
    (folder / "a.demo.test").mkdir(parents=True)
    (folder / "a.demo.test/good.png").write_bytes(picture(1))
    (folder / "a.demo.test/bad.png").write_bytes(picture(2))
    files.write_json(folder / "behaviours.json", {"http://a.demo.test/bad.png": {"status": 503}})


@pytest.mark.slow
def test_the_demos_hosts_are_served_by_the_stage(project: Project) -> None:
    project.params(["s1"], demo_site="site", allow_addresses=[])
    lay_site(project.folder / "site")
    names = ["a.demo.test/good.png", "a.demo.test/bad.png", "b.demo.test/x.png", "localhost/x.png", "127.0.0.1/x.png"]
    uids = project.source("s1", [f"http://{name}" for name in names])
    project.made("s1")
    reasons = {row["uid"]: row["reason"] for row in project.ledger("s1")}
    assert [reasons[uid] for uid in uids] == [
        None,
        "server_error",
        "dns",
        "address_not_allowed",
        "address_not_allowed",
    ]
