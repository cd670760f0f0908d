"""Everything the web may answer, through the gateway and img2dataset into raw shards: every row has its reason."""

import contextlib
import logging
import socket
import tarfile
import time
from pathlib import Path

import pytest

from lineage import digests, files
from pipelines import download
from tests.pipelines.download_project import Project
from tests.pipelines.fault_pages import ANSWERS
from tests.pipelines.fault_server import FaultServer
from tests.pipelines.web.test_gateway_faults import OUTCOMES, PAGES


@pytest.mark.slow
def test_every_answer_ends_in_the_ledger_and_only_pictures_in_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project = Project(tmp_path / "project", tmp_path / "store")
    project.params(["s1"], rows_per_shard=10, allow_addresses=[], num_attempts=2, max_bytes=200_000, max_redirects=3)
    uids = dict(zip(project.source("s1", list(OUTCOMES)), OUTCOMES, strict=True))
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("CLIPLINE_STORE", str(project.store))
    with FaultServer(ANSWERS | PAGES) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hosts = ("a", "429", "429-long", "429-short", "503-long")
        sites = {f"{host}.demo.test": server.port for host in hosts}
        sites["refuses.demo.test"] = closed.getsockname()[1]
        monkeypatch.setattr(download, "demo_sites", lambda *_: contextlib.nullcontext(sites))
        begun = time.monotonic()
        with caplog.at_level(logging.INFO):
            download.main(Path("data/source/s1"), Path("data/raw/s1"), Path("provenance/download/s1.json"))
        assert time.monotonic() - begun < 120.0
    assert not [message for message in caplog.messages if "img2dataset" in message], "it fell behind, or lost some"
    ledger = project.ledger("s1")
    assert {uids[row["uid"]]: row["reason"] for row in ledger} == OUTCOMES
    counts = files.read_json(Path("provenance/download/s1.json"))["counts"]
    assert counts["rows_in"] == len(OUTCOMES) == counts["kept"] + sum(counts["failed"].values())
    held = {}
    for path in sorted(Path("data/raw/s1").glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                held[member.name] = digests.sha256_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    came = {row["key"]: row["sha256"] for row in ledger if row["outcome"] == "ok"}
    assert {name: sha256 for name, sha256 in held.items() if not name.endswith((".json", ".txt"))} == came
    assert len(held) == 3 * len(came) == 3 * sum(reason is None for reason in OUTCOMES.values())
