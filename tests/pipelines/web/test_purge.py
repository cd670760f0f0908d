"""Records go from the store for good, bodies too; every other one stays where it is, whenever the purge is killed."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from lineage import digests, records
from pipelines.web import purge, store
from pipelines.web.consent import ConsentStore
from pipelines.web.store import FetchStore
from tests.pipelines.web.test_store import failed, ok

ROOT = Path(__file__).resolve().parents[3]
BODIES = {f"u{number}": f"picture {number} ".encode() * 3000 for number in range(6)}


def fill(root: Path) -> None:
    """Two runs of s1, of three pictures and a failure each; s2 has copies of all pictures and one of its own."""
    for run in (0, 3):
        fetched = FetchStore(root, "s1")
        for number in range(run, run + 3):
            fetched.put(ok(f"u{number}", BODIES[f"u{number}"]), BODIES[f"u{number}"])
        fetched.put(failed(f"f{run}"), None)
        fetched.close()
    fetched = FetchStore(root, "s1")
    fetched.mark_complete([*BODIES, "f0", "f3"])
    fetched.close()
    fetched = FetchStore(root, "s2", earlier=["s1"])
    fetched.copy_from("s1", BODIES)
    fetched.put(ok("own", b"of s2"), b"of s2")
    fetched.mark_complete([*BODIES, "own"])
    fetched.close()


def of(*uids: str, snapshots: tuple[str, ...] = ("s1", "s2")) -> purge.Goes:
    return lambda snapshot, line: snapshot in snapshots and line["uid"] in uids


def everything(root: Path) -> bytes:
    """Returns the bytes of every file of a store, attempts unpacked, bodies as they are."""
    found = [path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()]
    attempts = [repr(records.read_table(path).to_pylist()) for path in root.glob("attempts/*/attempts.parquet")]
    return b"".join(found) + "".join(attempts).encode()


def read(root: Path, snapshot: str) -> dict[str, bytes | None]:
    """Returns {uid: body} of a snapshot's records, all of which can be read."""
    fetched = FetchStore(root, snapshot, earlier=["s1"])
    try:
        return {uid: fetched.body(uid) if fetched[uid].outcome == "ok" else None for uid in sorted(fetched._known)}
    finally:
        fetched.close()


def purge_all(root: Path, goes: purge.Goes, uids: set[str]) -> purge.Purged:
    for name in ("s1", "s2"):
        purge.purge_attempts(root / "attempts" / name / "attempts.parquet", uids)
    return purge.purge(root / "fetch", goes)


@pytest.mark.parametrize("gone", [["u0"], ["u1"], ["u2"], ["u1", "u2"], ["u0", "u4", "f3"], sorted(BODIES), ["f0"]])
def test_lines_bodies_and_attempts_go_and_the_others_stay_where_they_are(tmp_path: Path, gone: list[str]) -> None:
    fill(tmp_path)
    before = {name: read(tmp_path, name) for name in ("s1", "s2")}
    places = {uid: FetchStore(tmp_path, "s1", replay=True)[uid].offset for uid in BODIES}
    done = purge_all(tmp_path, of(*gone), set(gone))
    pictures = [uid for uid in gone if uid in BODIES]
    assert done == purge.Purged(lines=2 * len(pictures) + len(gone) - len(pictures), bodies=len(pictures))
    for name in ("s1", "s2"):
        assert read(tmp_path, name) == {uid: body for uid, body in before[name].items() if uid not in gone}
    left = FetchStore(tmp_path, "s1", replay=True)
    assert all(left[uid].offset == places[uid] for uid in BODIES if uid not in gone)
    assert store.is_complete(tmp_path, "s1")
    content = everything(tmp_path)
    for uid in gone:
        assert f"/{uid}".encode() not in content
        assert f"picture {uid[1:]} ".encode() not in content or uid not in BODIES
    assert all(BODIES[uid][:1000] in content for uid in BODIES if uid not in gone)
    assert purge_all(tmp_path, of(*gone), set(gone)) == purge.Purged(0, 0)
    assert everything(tmp_path) == content


def test_another_tool_reads_on_over_what_was_taken_out(tmp_path: Path) -> None:
    fill(tmp_path)
    purge.purge(tmp_path / "fetch", of("u0", "u1"))
    with (tmp_path / "fetch/s1/00000.warc.gz").open("rb") as file:
        found = [
            (record.rec_type, record.content_stream().read()) for record in ArchiveIterator(file, check_digests="raise")
        ]
    assert found == [("metadata", b""), ("metadata", b""), ("response", BODIES["u2"])]


def test_a_body_that_another_snapshot_still_has_stays(tmp_path: Path) -> None:
    fill(tmp_path)
    assert purge.purge(tmp_path / "fetch", of("u1", snapshots=("s1",))) == purge.Purged(lines=1, bodies=0)
    assert read(tmp_path, "s2")["u1"] == BODIES["u1"]
    assert "u1" not in read(tmp_path, "s1")


def test_bodies_go_one_takedown_after_the_other(tmp_path: Path) -> None:
    fill(tmp_path)
    for number in range(5):
        purge_all(tmp_path, of(f"u{number}"), {f"u{number}"})
        left = {f"u{other}": BODIES[f"u{other}"] for other in range(number + 1, 6)}
        assert {uid: body for uid, body in read(tmp_path, "s2").items() if uid in BODIES} == left
    assert not (tmp_path / "fetch/s1/00000.warc.gz").exists(), "nothing speaks of it any more"


def test_what_a_killed_download_left_behind_the_last_record_goes_with_it(tmp_path: Path) -> None:
    fill(tmp_path)
    segment = tmp_path / "fetch/s1/00001.warc.gz"
    whole = segment.read_bytes()
    fetched = FetchStore(tmp_path, "s3")
    fetched.put(ok("orphan", b"an orphan's bytes"), b"an orphan's bytes")
    fetched.close()
    segment.write_bytes(whole + (tmp_path / "fetch/s3/00000.warc.gz").read_bytes())
    purge.purge(tmp_path / "fetch", of("u3"))
    assert b"an orphan's bytes" not in segment.read_bytes()
    assert read(tmp_path, "s1")["u5"] == BODIES["u5"]


def test_new_records_go_on_after_a_purge(tmp_path: Path) -> None:
    fill(tmp_path)
    purge.purge(tmp_path / "fetch", of("u0"))
    fetched = FetchStore(tmp_path, "s1")
    fetched.put(ok("u9", b"nine"), b"nine")
    fetched.close()
    assert read(tmp_path, "s1")["u9"] == b"nine"


def test_a_store_at_work_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    before = everything(tmp_path)
    fetched = FetchStore(tmp_path, "s1")
    with pytest.raises(ValueError, match="another download of this snapshot is at work"):
        purge.purge(tmp_path / "fetch", of("u0"))
    fetched.close()
    assert everything(tmp_path) == before


def test_a_store_opened_before_and_locked_after_is_the_new_one(tmp_path: Path) -> None:
    fill(tmp_path)
    index = tmp_path / "fetch/s1/index.jsonl"
    waiting = (
        "import sys, os, fcntl\nfrom pathlib import Path\nfrom pipelines.web import journal\n"
        "flock = fcntl.flock\n"
        "def late(file, how):\n"
        "    fcntl.flock = flock\n"
        "    print('opened', flush=True); sys.stdin.readline(); flock(file, how)\n"
        "fcntl.flock = late\n"
        "made = journal.Journal(Path(sys.argv[1]), 's1'); made.append({'uid': 'late'}); made.close()\n"
    )
    command = [sys.executable, "-c", waiting, str(tmp_path / "fetch")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        purge.purge(tmp_path / "fetch", of("u0"))
        process.communicate("go\n")
    assert json.loads(index.read_text().splitlines()[-1]) == {"uid": "late"}
    assert "u0" not in index.read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.pipelines.web import test_purge
left = int(sys.argv[2])
def counted(real):
    def call(*words):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words)
    return call
for name in ("replace", "fsync", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
test_purge.purge_all(Path(sys.argv[1]), test_purge.of("u1", "u2", "u4"), {"u1", "u2", "u4"})
"""


def test_a_kill_at_any_step_leaves_a_store_that_can_be_read_and_the_next_run_ends_it(tmp_path: Path) -> None:
    gone, num_kills = ("u1", "u2", "u4"), 0
    for step in range(100):
        root = tmp_path / str(step)
        fill(root)
        done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(step)], cwd=ROOT)
        for name in ("s1", "s2"):
            fetched = FetchStore(root, name, replay=True)
            assert all(fetched.body(uid) == BODIES[uid] for uid in BODIES if uid not in gone)
        purge_all(root, of(*gone), set(gone))
        content = everything(root)
        assert all(f"picture {uid[1:]} ".encode() not in content for uid in gone)
        assert sorted(read(root, "s2")) == ["own", "u0", "u3", "u5"]
        assert list(root.rglob(".*")) == []
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        num_kills += 1
    assert num_kills >= 8


def facts(origin: str) -> dict[str, Any]:
    known = {"origin": origin, "kind": "robots", "outcome": "read", "reason": None, "message": "", "status": 200}
    sha256 = digests.sha256_bytes(f"robots of {origin}".encode())
    return {**known, "final_url": f"{origin}/robots.txt", "sha256": sha256, "attempts": []} | {
        "fetched_at": "2026-11-01T00:00:00+00:00",
        "expires_at": 4e9,
    }


def test_what_hosts_said_goes_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    origins = [f"http://{name}.test" for name in "abc"]
    said = ConsentStore(tmp_path, "s1")
    ids = [said.put(facts(origin), f"robots of {origin}".encode()).id for origin in origins]
    said.close()
    assert ids == ["s1/1", "s1/2", "s1/3"]
    done = purge.purge(tmp_path / "consent", lambda _, line: line["origin"] != origins[1], keep_numbers=True)
    assert done == purge.Purged(lines=2, bodies=2)
    again = ConsentStore(tmp_path, "s1")
    try:
        found = again.find(origins[1], "robots")
        assert found is not None
        assert (found.id, again.body(found)) == ("s1/2", b"robots of http://b.test")
        assert again.find(origins[0], "robots") is None
        assert again.put(facts("http://d.test"), None).id == "s1/4"
    finally:
        again.close()
    assert (tmp_path / "consent/s1/index.jsonl").read_text().splitlines()[0] == ""
    assert b"a.test" not in everything(tmp_path)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    index = tmp_path / "fetch/s1/index.jsonl"
    index.write_bytes(b"[1]\n" + index.read_bytes())
    with pytest.raises(ValueError, match=r"index\.jsonl:1: no record"):
        purge.purge(tmp_path / "fetch", of("u0"))


@pytest.mark.parametrize("change", [lambda line: line | {"warc": "../x"}, lambda line: line | {"offset": "0"}])
def test_a_place_outside_the_store_is_none(tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    fill(tmp_path)
    (tmp_path / "x").write_text("not the store's")
    index = tmp_path / "fetch/s1/index.jsonl"
    first, *others = index.read_text().splitlines(keepends=True)
    index.write_text(json.dumps(change(json.loads(first))) + "\n" + "".join(others))
    purge.purge(tmp_path / "fetch", of("u0", snapshots=("s1",)))
    assert (tmp_path / "x").read_text() == "not the store's"
