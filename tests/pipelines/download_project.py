"""A project of one stage: params.yaml, source tables, and the stage run as a process."""

import contextlib
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from lineage import digests, records
from pipelines.web.download_config import DownloadConfig
from pipelines.web.fetch_record import FetchRecord
from pipelines.web.store import FetchStore

ROOT = Path(__file__).resolve().parents[2]
DOWNLOAD: dict[str, Any] = {
    "rows_per_shard": 3,
    "deadline_s": 2.0,
    "max_bytes": 100_000,
    "max_redirects": 2,
    "num_attempts": 1,
    "backoff_s": 0.0,
    "max_wait_s": 1.0,
    "host_connections": 16,
    "host_delay_s": 0.0,
    "respect_robots": True,
    "consent_ttl_s": 3600.0,
    "user_agent": "Clipline/0.1 (+https://example.org/bot)",
    "allow_addresses": ["127.0.0.0/8"],
    "stall_s": 60.0,
    "drift_max_distance": 8,
    "drift_max_pixels": 1_000_000,
    "unverified": "keep",
    "demo_site": None,
}
RUNNER: dict[str, Any] = {
    "name": "FnApiRunner",
    "num_workers": 1,
    "running_mode": "in_memory",
    "options": [],
    "download_processes": 1,
    "download_threads": 4,
}


def config(**changes: Any) -> DownloadConfig:
    """Returns the section as a config."""
    return DownloadConfig(**DOWNLOAD | changes)


@dataclasses.dataclass
class Project:
    """A folder with params.yaml and sources, in which the stage runs; the store lies beside it."""

    folder: Path
    store: Path

    def params(self, snapshots: list[str], runner: dict[str, Any] | None = None, **changes: Any) -> None:
        content = {"snapshots": snapshots, "runner": RUNNER | (runner or {}), "download": DOWNLOAD | changes}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content))

    def source(self, snapshot: str, urls: list[str], given: dict[str, dict[str, str]] | None = None) -> list[str]:
        """Writes the source table of a snapshot and returns the uids in order of the URLs; `given` adds columns."""
        rows = []
        for number, url in enumerate(urls):
            uid = records.uid_of(url, f"picture {number} ☃")
            row = {"uid": uid, "url": url, "caption": f"picture {number} ☃", "license": "CC0", "origin": "here"}
            rows.append({**dict.fromkeys(records.SOURCE.names), **row, **(given or {}).get(url, {})})
        table = records.rows_table(rows, records.SOURCE)
        records.write_table(table, self.folder / "data/source" / snapshot / "source.parquet")
        return [str(row["uid"]) for row in rows]

    def command(self, snapshot: str) -> list[str]:
        paths = [f"data/source/{snapshot}", f"data/raw/{snapshot}", f"provenance/download/{snapshot}.json"]
        return [sys.executable, "-m", "pipelines.download", *paths]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "CLIPLINE_STORE": str(self.store)}

    def run(self, snapshot: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command(snapshot), *options], cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )

    def made(self, snapshot: str) -> dict[str, str]:
        """Runs the stage and returns {name: sha256} of what it made."""
        done = self.run(snapshot)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "img2dataset" not in done.stderr, "it came to an early end, or lost pictures"
        folder = self.folder / "data/raw" / snapshot
        return {path.name: digests.sha256_file(path) for path in sorted(folder.iterdir())}

    def store_pictures(self, snapshot: str, pictures: dict[str, bytes]) -> None:
        """Puts pictures into the store under their URLs, numbered as `source` does, as if they had been fetched."""
        with contextlib.closing(FetchStore(self.store, snapshot)) as fetched:
            for number, (url, content) in enumerate(pictures.items()):
                if records.uid_of(url, f"picture {number} ☃") in fetched:
                    continue
                record = FetchRecord(
                    uid=records.uid_of(url, f"picture {number} ☃"),
                    url=url,
                    outcome="ok",
                    reason=None,
                    message="",
                    status=200,
                    final_url=url,
                    headers={},
                    sha256=digests.sha256_bytes(content),
                    bytes=len(content),
                    num_attempts=1,
                    seconds=0.0,
                    fetched_at="2026-01-01T00:00:00+00:00",
                )
                fetched.put(record, content)

    def ledger(self, snapshot: str) -> list[dict[str, Any]]:
        path = self.folder / "data/raw" / snapshot / "ledger.parquet"
        rows: list[dict[str, Any]] = records.read_table(path, records.LEDGER).to_pylist()
        return rows
