"""Section `download` of params.yaml: how far a fetch may go, and what becomes of a picture that changed."""

import dataclasses
from typing import Literal

from pipelines.web import drift
from pipelines.web.addresses import parse_networks
from pipelines.web.fetch import FetchLimits

_MOST_CONSENT_S = 24 * 3600
"""RFC 9309, section 2.4: a robots.txt is not to be relied on for longer."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DownloadConfig:
    """Section `download` of params.yaml."""

    rows_per_shard: int
    """Rows of one raw shard, >= 2."""
    deadline_s: float
    """Total time of one attempt, s."""
    max_bytes: int
    """Largest body, bytes."""
    max_redirects: int
    """Hops after the first."""
    num_attempts: int
    """Attempts where the failure may pass (time-out, 5xx, 429, broken connection), >= 1."""
    backoff_s: float
    """Wait before the second attempt, doubling, s."""
    max_wait_s: float
    """Longest wait that a server may ask for (Retry-After), s."""
    host_connections: int
    """Requests to one host at a time, >= 1."""
    host_delay_s: float
    """Least time between two requests to one host, s."""
    respect_robots: bool
    """Whether robots.txt counts. Opt-out headers and TDMRep always do."""
    consent_ttl_s: float
    """How long what a site says about robots and mining counts, s."""
    user_agent: str
    """Who we say we are, with an address to complain to."""
    allow_addresses: list[str]
    """Networks that may be reached although not public, e.g. 127.0.0.0/8 for a server of one's own."""
    stall_s: float
    """How long nothing may move before img2dataset is started anew, s."""
    drift_max_distance: int
    """Bits of 64 in which a picture's perceptual hash may differ from the one that the list means."""
    drift_max_pixels: int
    """Pictures declaring more pixels (width x height) are not decoded to compare them."""
    unverified: Literal["keep", "quarantine"]
    """What becomes of bytes that differ from the list's hash where nothing tells whether the picture is the same."""
    demo_site: str | None
    """Folder of the demo's websites, served for *.demo.test while the stage runs; null without the demo."""

    def __post_init__(self) -> None:
        least = {"rows_per_shard": 2, "num_attempts": 1, "max_redirects": 0, "max_bytes": 1, "host_connections": 1}
        least |= {"max_wait_s": 0, "host_delay_s": 0, "drift_max_distance": 0, "drift_max_pixels": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be >= {bound}, not {getattr(self, name)}")
        for name, most in (("consent_ttl_s", _MOST_CONSENT_S), ("stall_s", float("inf"))):
            if not 0 < getattr(self, name) <= most:
                raise ValueError(f"{name} must be > 0 and at most {most:g}, not {getattr(self, name)}")
        if not self.user_agent.strip() or not self.user_agent.isascii() or not self.user_agent.isprintable():
            raise ValueError(f"user_agent must be one line of printable ASCII, not {self.user_agent!r}")
        if self.deadline_s <= 0 or self.backoff_s < 0:
            raise ValueError("deadline_s must be > 0 and backoff_s >= 0")
        parse_networks(self.allow_addresses)

    def limits(self) -> FetchLimits:
        """Returns the bounds of one fetch."""
        names = [field.name for field in dataclasses.fields(FetchLimits)]
        return FetchLimits(**{name: getattr(self, name) for name in names})

    def drift(self) -> drift.DriftPolicy:
        """Returns when a picture is the one that the list means."""
        return drift.DriftPolicy(
            max_distance=self.drift_max_distance, max_pixels=self.drift_max_pixels, unverified=self.unverified
        )
