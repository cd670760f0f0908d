"""Where OpenLineage events go: a file of one event a line, or an HTTP endpoint, both through the client's transports.

The client's own configuration (openlineage.yml, OPENLINEAGE__*) is not read: what is sent does not depend on the folder
or the environment. An API key comes from OPENLINEAGE_API_KEY, so that it need not stand in a command line.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import requests
from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

from lineage import files

ENDPOINT = "api/v1/lineage"
"""Where an OpenLineage server takes events, for a URL that has no path."""
_RETRY = {"total": 2, "read": 2, "connect": 2, "backoff_factor": 0.2, "raise_on_status": False}


def lines(events: Sequence[RunEvent]) -> str:
    """Returns the events as JSON, one a line."""
    return "".join(Serde.to_json(event) + "\n" for event in events)


def write(events: Sequence[RunEvent], out: Path) -> None:
    """Writes the events to a file by the client's file transport, and puts it in its place by one rename."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.write_bytes(b"")
    try:
        transport = FileTransport(FileConfig(log_file_path=str(partial.absolute()), append=True))
        for event in events:
            transport.emit(event)
        os.replace(partial, out)
    finally:
        files.remove(partial)


def post(events: Sequence[RunEvent], url: str, timeout_s: float = 10.0) -> None:
    """Posts the events in order; a second post of the same ones is the same runs to the server.

    Raises:
        ValueError: if the URL is none, or an event is not taken, naming how many were; of the URL only scheme, host
            and port are named, since its other parts may hold a password or a token.
    """
    server = _server(url)
    key = os.environ.get("OPENLINEAGE_API_KEY")
    with requests.Session() as session:
        session.max_redirects = 0  # a redirected POST arrives as a GET, without the event
        config = HttpConfig(
            url=url,
            endpoint="" if urlsplit(url).path.strip("/") or urlsplit(url).query else ENDPOINT,
            timeout=timeout_s,
            auth=ApiKeyTokenProvider({"apiKey": key}) if key else TokenProvider({}),
            session=session,
            retry={**HttpConfig(url=url).retry, **_RETRY},
        )
        transport = HttpTransport(config)
        for number, event in enumerate(events):
            try:
                transport.emit(event)
            except (requests.RequestException, ValueError) as error:
                raise ValueError(f"{server}: {_reason(error)}; {number} of {len(events)} events were taken") from None


def _server(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("--url: expected an address like http://127.0.0.1:5000/api/v1/lineage")
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _reason(error: Exception) -> str:
    """Returns why an event was not taken, in words without the URL."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.TooManyRedirects):
        return "the server redirects; give the address it redirects to"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return f"it cannot be reached ({type(error).__name__})"
