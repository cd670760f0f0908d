"""What opt-outs name goes from lists and store; what a run still needs, and what lies elsewhere, stays and is told."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lineage import digests, records
from pipelines import purge, roots, snapshot, source
from pipelines.lists import descriptions, recognition, tombstones
from pipelines.web.store import FetchStore
from tests.builders import PARAMS, contents, init_repository, make_signals, write_signals
from tests.pipelines.web.test_store import ok

HOSTS = {"s1": ["a.test", "b.test", "img.c.test"], "s2": ["a.test", "d.test"]}


def url(host: str) -> str:
    return f"http://{host}/1.png"


def uid(host: str) -> str:
    return records.uid_of(url(host), f"of {host}")


def sha(text: str) -> str:
    return digests.sha256_bytes(text.encode())


def lay_source(name: str) -> None:
    """Runs stage source, and writes signals as measure would."""
    folder = Path("data/lists") / name
    config = source.SourceConfig(max_url_chars=200, num_partitions=2)
    made = Path("data/source") / name
    shutil.rmtree(made, ignore_errors=True)
    source.convert(folder, made, config, scratch=Path("aside"))
    rows = records.read_table(made / "source.parquet", records.SOURCE).to_pylist()
    copied = ("url_sha256", "host", "host_sha256", "caption")
    signals = [make_signals(row["uid"], sha256=sha(row["uid"])) | {key: row[key] for key in copied} for row in rows]
    write_signals(Path("data/signals") / name, signals)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two snapshots, tracked by DVC, with no opt-outs."""
    folder = tmp_path_factory.mktemp("template")
    init_repository(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rules = [*PARAMS["select"]["rules"], {"rule": "opt_out", "max_distance": 0}]
        content = PARAMS | {"snapshots": ["s1", "s2"], "select": PARAMS["select"] | {"rules": rules}}
        content["screen"] = {"rules": [], "num_partitions": 1}
        Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        for name, hosts in HOSTS.items():
            made = Path("data/lists") / name
            made.mkdir(parents=True)
            (made / "a.csv").write_text("url,caption\n" + "".join(f"{url(host)},of {host}\n" for host in hosts))
            descriptions.save(recognition.describe(made / "a.csv", {}), made)
            lay_source(name)
        roots.lay()
        roots.dvc("add", *(f"data/lists/{name}" for name in HOSTS))
    return folder


@pytest.fixture(autouse=True)
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What DVC was asked for, and it still does it."""
    found: list[tuple[str, ...]] = []
    real = roots.dvc

    def asked(*arguments: str) -> None:
        found.append(arguments)
        real(*arguments)

    monkeypatch.setattr(roots, "dvc", asked)
    return found


def opt_out(*entries: tuple[str, str]) -> None:
    rows = [{"kind": kind, "value": value} for kind, value in sorted(entries)]
    records.write_table(records.rows_table(rows, records.OPTOUTS), roots.OPTOUTS)


def listed(name: str) -> str:
    (path,) = (Path("data/lists") / name).glob("*.csv")
    return path.read_text()


def test_only_lists_that_have_such_rows_are_changed_and_tracked_anew(calls: list[tuple[str, ...]]) -> None:
    opt_out(("host_sha256", sha("c.test")), ("sha256", sha(uid("b.test"))))
    before = Path("data/lists/s2.dvc").read_bytes()
    purge.purge_lists()
    assert calls == [("add", "data/lists/s1")]
    assert listed("s1") == f"url,caption\n{url('a.test')},of a.test\n"
    gone = {uid("b.test"), uid("img.c.test")}
    assert set(tombstones.read(Path("data/lists/s1"))["uid"].to_pylist()) == gone
    assert roots.recorded(Path("data/lists/s1")) == digests.dvc_digest(Path("data/lists/s1"))
    assert Path("data/lists/s2.dvc").read_bytes() == before
    assert not tombstones.read(Path("data/lists/s2")).num_rows
    purge.purge_lists()
    assert len(calls) == 1, "done already, it changes nothing"


def test_a_pair_goes_from_every_list_that_has_it() -> None:
    opt_out(("url_sha256", sha(url("a.test"))))
    purge.purge_lists()
    for name in HOSTS:
        assert tombstones.read(Path("data/lists") / name)["uid"].to_pylist() == [uid("a.test")]
        assert "a.test" not in listed(name)


def test_what_was_cut_off_before_dvc_knew_is_ended(calls: list[tuple[str, ...]]) -> None:
    opt_out(("url_sha256", sha(url("d.test"))))
    before = Path("data/lists/s2.dvc").read_text()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(roots, "dvc", cut_off)
        purge.purge_lists()
    assert Path("data/lists/s2.dvc").read_text() == before
    purge.purge_lists()
    assert calls == [("add", "data/lists/s2")]
    assert Path("data/lists/s2.dvc").read_text() != before


def cut_off(*_: str) -> None:
    raise KeyboardInterrupt


def test_a_list_that_somebody_changed_is_not_taken_for_ours(calls: list[tuple[str, ...]]) -> None:
    path = Path("data/lists/s1/a.csv")
    path.write_text(path.read_text().replace("of a.test", "forged"))
    with pytest.raises(ValueError, match="data/lists/s1: not what DVC has of it; `dvc checkout data/lists/s1`"):
        purge.purge_lists()
    assert calls == []


@pytest.mark.parametrize("how", ["no .dvc file", "imported"])
def test_a_list_that_lies_elsewhere_is_told_and_the_others_go_on(how: str, caplog: pytest.LogCaptureFixture) -> None:
    tracked = Path("data/lists/s1.dvc")
    if how == "imported":
        tracked.write_text("deps:\n- path: s3://bucket/lists/s1\n" + tracked.read_text())
    else:
        tracked.unlink()
        shutil.rmtree("data/lists/s1")
    opt_out(("url_sha256", sha(url("a.test"))))
    caplog.set_level("INFO", logger="clipline")
    purge.purge_lists()
    assert "data/lists/s1: the list of s1 cannot be purged from here: it lies elsewhere" in caplog.text
    assert tombstones.read(Path("data/lists/s2")).num_rows == 1


def test_a_list_that_was_not_pulled_is_an_error() -> None:
    shutil.rmtree("data/lists/s1")
    opt_out(("url_sha256", sha(url("a.test"))))
    with pytest.raises(ValueError, match=r"data/lists/s1: not in the workspace; `dvc pull data/lists/s1\.dvc`"):
        purge.purge_lists()


def test_a_new_list_comes_without_what_is_opted_out(calls: list[tuple[str, ...]]) -> None:
    opt_out(("sha256", sha(uid("b.test"))), ("host_sha256", sha("c.test")))
    purge.purge_lists()
    lines = [f"{url(host)},of {host}\n" for host in ("b.test", "new.test", "img.c.test")]
    Path("new.csv").write_text("url,caption\n" + "".join(lines))
    snapshot.add_list(Path("new.csv"), "s3", {})
    assert listed("s3") == "url,caption\n" + lines[1]
    gone = {uid("b.test"), uid("img.c.test")}
    assert set(tombstones.read(Path("data/lists/s3"))["uid"].to_pylist()) == gone
    before = contents(Path("data/lists"))
    snapshot.add_list(Path("new.csv"), "s3", {})
    assert contents(Path("data/lists")) == before
    assert calls[0] == ("add", "data/lists/s1")


def test_the_same_list_may_be_added_again_whatever_was_opted_out_since() -> None:
    before = contents(Path("data/lists"))
    opt_out(("host_sha256", sha("c.test")))
    snapshot.add_list(Path("data/lists/s1/a.csv"), "s1", {})
    assert contents(Path("data/lists")) == before


def fill(root: Path, **others: list[str]) -> None:
    """Stores a picture of each host, by snapshot."""
    for name, hosts in {**HOSTS, **others}.items():
        fetched = FetchStore(root, name)
        for host in hosts:
            record = ok(uid(host), host.encode())
            changes = {"url": url(host), "final_url": url(host)}
            fetched.put(type(record)(**(record.as_line() | changes)), host.encode())
        fetched.mark_complete(map(uid, hosts))
        fetched.close()


def stored(root: Path, name: str) -> set[str]:
    fetched = FetchStore(root, name, replay=True)
    return {host for host in [*HOSTS["s1"], *HOSTS["s2"]] if uid(host) in fetched}


def test_the_store_loses_what_is_a_tombstone_and_what_no_list_has(project: Path) -> None:
    fill(project / "store", old=["a.test", "b.test", "img.c.test", "d.test"])
    opt_out(("host_sha256", sha("c.test")), ("url_sha256", sha(url("b.test"))), ("sha256", sha("d.test")))
    purge.purge_lists()
    lay_source("s1")
    purge.purge_store(project / "store")
    assert stored(project / "store", "s1") == {"a.test"}
    assert stored(project / "store", "old") == {"a.test"}
    assert stored(project / "store", "s2") == {"a.test", "d.test"}, "its list has the row still"
    left = b"".join(path.read_bytes() for path in (project / "store").rglob("*") if path.is_file())
    assert b"c.test" not in left
    assert b"//b.test" not in left


def test_a_row_that_a_run_would_ask_for_again_keeps_its_record(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(project / "store")
    opt_out(("url_sha256", sha(url("b.test"))))
    caplog.set_level("INFO", logger="clipline")
    purge.purge_store(project / "store")
    assert "s1: 1 opted-out rows stand in its list still and keep their records" in caplog.text
    assert stored(project / "store", "s1") == set(HOSTS["s1"])


def test_without_its_source_nothing_of_a_snapshot_goes(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(project / "store")
    opt_out(("url_sha256", sha(url("b.test"))))
    purge.purge_lists()
    shutil.rmtree("data/source/s1")
    purge.purge_store(project / "store")
    assert "s1: nothing of it is taken out of the store" in caplog.text
    assert "b.test" in stored(project / "store", "s1")


def test_where_there_is_no_store_there_is_nothing_to_do(project: Path) -> None:
    purge.purge_store(project / "none")
    assert not (project / "none").exists()


def test_the_command_line(project: Path) -> None:
    opt_out(("url_sha256", sha(url("b.test"))))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CLIPLINE_STORE": str(project / "store"),
        "DVC_NO_ANALYTICS": "1",
    }
    fill(project / "store")
    for word, told in (("lists", "data/lists/s1: 1 rows taken down, and 0 rejects"), ("store", "0 records")):
        command = [sys.executable, "-m", "pipelines.purge", word]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert told in done.stderr
    shutil.rmtree("data/signals/s1")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.purge", "lists"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: data/signals/s1: not there")
