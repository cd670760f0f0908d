"""The pages of a server that answers in every way a fetch must bear."""

import dataclasses
import gzip
from typing import Any

from pipelines.web.fetch import FetchLimits
from tests.pipelines.fault_server import Answer, answer, drip, endless, picture, raw, reset, then

PICTURE = picture()
LIMITS = FetchLimits(
    deadline_s=2.0,
    max_bytes=200_000,
    max_redirects=3,
    num_attempts=3,
    backoff_s=0.01,
    max_wait_s=5.0,
    host_connections=8,
    host_delay_s=0.0,
    consent_ttl_s=60.0,
    respect_robots=True,
)
HOST = "a.demo.test"


def limits(**changes: Any) -> FetchLimits:
    """Returns LIMITS but for some."""
    return dataclasses.replace(LIMITS, **changes)


def redirect(location: str, status: int = 302) -> Answer:
    return answer(b"moved", status, {"Location": location})


ANSWERS: dict[str, Answer] = {
    "/good": answer(PICTURE, headers={"Content-Type": "text/html", "ETag": '"x"', "Set-Cookie": "a=b", "Server": "s"}),
    "/410": answer(b"gone", 410),
    "/403": answer(b"no", 403),
    "/418": answer(PICTURE, 418),
    "/204": answer(b"", 204),
    "/408": answer(b"too slow", 408),
    "/429": answer(b"too many", 429),
    "/500": answer(b"broken", 500),
    "/501-x": answer(PICTURE, 501),
    "/429-then": then(answer(b"", 429, {"Retry-After": "1"}), answer(PICTURE)),
    "/503-then": then(answer(b"broken", 503), answer(b"broken", 503), answer(PICTURE)),
    "/drip": drip,
    "/drip-then": then(drip, answer(PICTURE)),
    "/endless": endless,
    "/slow": answer(PICTURE, delay_s=60.0),
    "/short": answer(PICTURE, short_by=7),
    "/short-then": then(answer(PICTURE, short_by=7), answer(PICTURE)),
    "/short-chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n\x89PNG"),
    "/large": answer(PICTURE + bytes(LIMITS.max_bytes)),
    "/largest": answer(PICTURE + bytes(LIMITS.max_bytes - len(PICTURE))),
    "/empty": answer(b""),
    "/html": answer(b"<!doctype html><p>not here", headers={"Content-Type": "image/png"}),
    "/svg": answer(b'<svg xmlns="http://www.w3.org/2000/svg"/>', headers={"Content-Type": "image/svg+xml"}),
    "/half": answer(PICTURE[: len(PICTURE) // 2]),
    "/no-length": raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PICTURE),
    "/reset": reset,
    "/no-http": raw(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "/nothing": raw(b""),
    "/gzip": answer(gzip.compress(PICTURE), headers={"Content-Encoding": "gzip"}),
    "/gzip-damaged": answer(gzip.compress(PICTURE)[:-9] + b"000000000", headers={"Content-Encoding": "gzip"}),
    "/gzip-bomb": answer(gzip.compress(bytes(1 << 28)), headers={"Content-Encoding": "gzip"}),
    "/noai": answer(PICTURE, headers={"X-Robots-Tag": "NoAI", "Content-Language": "de"}),
    "/noai-other": answer(PICTURE, headers={"X-Robots-Tag": "otherbot: noai"}),
    "/noai-ours": answer(PICTURE, headers={"X-Robots-Tag": "clipline: noimageai"}),
    "/noai-second": answer(PICTURE, headers=[("X-Robots-Tag", "otherbot: noarchive"), ("x-robots-tag", "noai")]),
    "/tdm": answer(PICTURE, headers={"TDM-Reservation": "1"}),
    "/tdm-0": answer(PICTURE, headers={"TDM-Reservation": "0"}),
    "/noai-404": answer(b"", 404, headers={"X-Robots-Tag": "noai"}),
    "/hop": redirect("/hop2", 301),
    "/hop2": redirect(f"http://{HOST}/good", 308),
    "/two-hops": redirect("/hop"),
    "/three-hops": redirect("/two-hops"),
    "/loop": redirect("/loop"),
    "/no-location": answer(b"", 302),
    "/to-file": redirect("file:///etc/passwd"),
    "/to-data": redirect("data:image/png;base64,iVBORw0KGgo="),
    "/to-private": redirect("http://10.0.0.1/"),
    "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/to-localhost": redirect("http://localhost/"),
    "/to-decimal": redirect("//2130706433/"),
    "/to-wide": redirect("http://１２７.0.0.1/".encode().decode("latin-1")),
    "/to-unknown": redirect("http://gone.demo.test/"),
    "/to-nonsense": redirect("http://[::1/"),
    "/to-bad-port": redirect("http://a.demo.test:99999/"),
    "/to-ftp": redirect("ftp://a.demo.test/x"),
    "/to-octal": redirect("http://0177.0.0.1/"),
    "/to-hex": redirect("http://0x7f.0.0.1/"),
    "/to-mail": redirect(f"http://{HOST}:25/"),
    "/to-account": redirect(f"http://me:secret@{HOST}/good"),
    "/to-crlf": redirect("/%0d%0aX-Injected:%201"),
    "/crlf": raw(b"HTTP/1.1 302 -\r\nLocation: /good\r\nX: a\rb\r\n\r\n"),
    "/to-bytes": redirect("/\xff\xfe"),
    "/bad-header": answer(PICTURE, headers={"ETag": "\xff\xfe"}),
}
