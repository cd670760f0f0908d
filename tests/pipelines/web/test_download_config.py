from pathlib import Path
from typing import Any

import pytest

from lineage import params
from pipelines.web.download_config import DownloadConfig
from pipelines.web.drift import DriftPolicy
from tests.pipelines.download_project import DOWNLOAD, Project, config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows_per_shard": 1}, "download: rows_per_shard must be >= 2, not 1"),
        ({"num_attempts": 0}, "download: num_attempts must be >= 1, not 0"),
        ({"max_redirects": -1}, "download: max_redirects must be >= 0, not -1"),
        ({"max_bytes": 0}, "download: max_bytes must be >= 1, not 0"),
        ({"deadline_s": 0}, "download: deadline_s must be > 0 and backoff_s >= 0"),
        ({"backoff_s": -1.0}, "download: deadline_s must be > 0 and backoff_s >= 0"),
        ({"allow_addresses": ["10.0.0.1/8"]}, "allow_addresses: 10.0.0.1/8 has host bits set"),
        ({"demo_site": 3}, "download.demo_site must be text"),
        ({"host_connections": 0}, "download: host_connections must be >= 1, not 0"),
        ({"host_delay_s": -0.1}, "download: host_delay_s must be >= 0, not -0.1"),
        ({"max_wait_s": -1.0}, "download: max_wait_s must be >= 0, not -1.0"),
        ({"consent_ttl_s": 0.0}, "download: consent_ttl_s must be > 0 and at most 86400, not 0.0"),
        ({"consent_ttl_s": 86401.0}, "download: consent_ttl_s must be > 0 and at most 86400, not 86401.0"),
        ({"stall_s": 0.0}, "download: stall_s must be > 0 and at most inf, not 0.0"),
        ({"user_agent": ""}, "download: user_agent must be one line of printable ASCII, not ''"),
        ({"user_agent": "bot\nX-Header: 1"}, "download: user_agent must be one line of printable ASCII"),
        ({"user_agent": "büro"}, "download: user_agent must be one line of printable ASCII"),
        ({"drift_max_distance": -1}, "download: drift_max_distance must be >= 0, not -1"),
        ({"drift_max_pixels": 0}, "download: drift_max_pixels must be >= 1, not 0"),
        ({"unverified": "drop"}, "download.unverified must be one of keep, quarantine"),
        ({"retries": 3}, "unknown key download.retries"),
    ],
)
def test_numbers_out_of_range_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    Project(tmp_path, tmp_path).params(["s1"], **change)
    with pytest.raises(ValueError) as caught:
        params.load("download", DownloadConfig, tmp_path / "params.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'params.yaml'}: ")
    assert message in str(caught.value)


def test_the_fetch_and_the_triage_get_their_parts() -> None:
    limits = config(max_wait_s=7.5, respect_robots=False).limits()
    assert {name: getattr(limits, name) for name in ("max_wait_s", "deadline_s", "respect_robots")} == {
        "max_wait_s": 7.5,
        "deadline_s": DOWNLOAD["deadline_s"],
        "respect_robots": False,
    }
    policy = config(drift_max_distance=3, unverified="quarantine").drift()
    assert policy == DriftPolicy(max_distance=3, max_pixels=DOWNLOAD["drift_max_pixels"], unverified="quarantine")
