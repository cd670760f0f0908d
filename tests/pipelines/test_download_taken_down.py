"""Rows that were taken down: nobody is asked for them, and their neighbours' bytes stay what they are."""

from pathlib import Path

import pytest

from lineage import files, records
from pipelines.web import fetch_record, store
from tests.pipelines.download_project import Project
from tests.pipelines.fault_server import FaultServer, answer, picture

PATHS = [f"/{number}.png" for number in range(8)]
pytestmark = pytest.mark.slow


def take_down(project: Project, snapshot: str, *uids: str) -> None:
    path = project.folder / "data/source" / snapshot / "source.parquet"
    rows = records.read_table(path, records.SOURCE).to_pylist()
    empty = dict.fromkeys(name for name in records.SOURCE.names if name != "uid") | {"url_sha256": "x"}
    rows = [row | (empty if row["uid"] in uids else {}) for row in rows]
    records.write_table(records.rows_table(rows, records.SOURCE), path)


def reasons(project: Project) -> dict[str, str | None]:
    return {row["uid"]: row["reason"] for row in project.ledger("s1")}


@pytest.mark.parametrize("is_stored", [True, False])
def test_nobody_is_asked_for_a_row_that_was_taken_down(tmp_path: Path, is_stored: bool) -> None:
    with FaultServer({path: answer(picture(number)) for number, path in enumerate(PATHS)}) as server:
        project = Project(tmp_path / "project", tmp_path / "store")
        project.params(["s1"])
        uids = project.source("s1", [server.url(path) for path in PATHS])
        gone = sorted(uids)[2:7]  # the whole second shard of three, and some of its neighbours
        if is_stored:
            project.made("s1")
        before = server.hits.copy()
        take_down(project, "s1", *gone)
        project.made("s1")
        asked = {path for path in PATHS if server.hits[path] > before[path]}
        assert asked == (
            set() if is_stored else {path for path, uid in zip(PATHS, uids, strict=True) if uid not in gone}
        )
        assert reasons(project) == {uid: "opt_out" if uid in gone else None for uid in uids}
        ledger = project.ledger("s1")
        assert [row["shard"] for row in ledger] == [0, 0, 0, 1, 1, 1, 2, 2]
        assert all(row["sha256"] is None and row["key"] is None for row in ledger if row["uid"] in gone)
        counts = files.read_json(project.folder / "provenance/download/s1.json")["counts"]
        assert (counts["rows_in"], counts["kept"], counts["failed"]) == (8, 3, {"opt_out": 5})
        attempts = records.read_table(project.store / "attempts/s1/attempts.parquet", fetch_record.ATTEMPTS)
        assert attempts["uid"].to_pylist() == sorted(set(uids) - set(gone))
        assert store.is_complete(project.store, "s1")
        made = {path.name: path.read_bytes() for path in (project.folder / "data/raw/s1").iterdir()}
        for path, uid in zip(PATHS, uids, strict=True):
            found = any(uid.encode() in content for name, content in made.items() if name.endswith(".tar"))
            assert found == (uid not in gone), path


def test_of_a_list_of_which_all_was_taken_down_nothing_is_asked(tmp_path: Path) -> None:
    with FaultServer({path: answer(picture(number)) for number, path in enumerate(PATHS)}) as server:
        project = Project(tmp_path / "project", tmp_path / "store")
        project.params(["s1"])
        uids = project.source("s1", [server.url(path) for path in PATHS])
        take_down(project, "s1", *uids)
        project.made("s1")
        assert not server.hits
        assert set(reasons(project).values()) == {"opt_out"}
