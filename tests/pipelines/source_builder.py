"""Source tables of the builders' pairs: what stage source would have made of a list with them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lineage import digests, records
from tests.builders import RawPair


def source_row(pair: RawPair) -> dict[str, Any]:
    """Returns a pair's row of the source."""
    host = urlsplit(pair.url).hostname or ""
    return {
        "uid": pair.uid,
        "url": pair.url,
        "caption": pair.caption,
        "url_sha256": digests.sha256_bytes(pair.url.encode()),
        "host": host,
        "host_sha256": digests.sha256_bytes(host.encode()),
        "license": pair.license,
        "origin": pair.origin,
        "given": json.dumps({"similarity": 0.25}),
    }


def write_source(folder: Path, pairs: Sequence[RawPair], taken_down: Sequence[str] = ()) -> Path:
    """Writes data/source/S; of a uid taken down only the hashes stay."""
    rows = [source_row(pair) for pair in pairs]
    for row in rows:
        if row["uid"] in taken_down:
            row |= dict.fromkeys(["url", "caption", "host", "license", "origin", "given"])
    records.write_table(records.rows_table(rows, records.SOURCE), folder / "source.parquet")
    return folder
