"""Raw shards in their canonical form: the pictures of a range of uids as fetched, with their facts and captions.

A shard is a pure function of source rows, ledger rows and bodies: the store can bring a damaged one back.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from lineage import digests, records
from pipelines import tar
from pipelines.pictures import sniff

FACTS = ("uid", "url", "caption", "license", "origin")
"""Columns of the source that a sample's json holds."""


def write_raw_shard(
    file: BinaryIO, rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], read_body: Callable[[str], bytes]
) -> list[dict[str, Any]]:
    """Writes the tar of one raw shard, in the order of the rows, and returns its ledger rows with key and offset.

    Args:
        file: open for binary writing, empty.
        rows: pairs of source row and ledger row; of the latter, those with outcome ok are written.
        read_body: gives the picture's bytes of a uid.

    Raises:
        ValueError: if bytes differ from the ledger row's sha256, naming the uid.
    """
    ledger = []
    for pair, row in rows:
        placed = {**row}
        if row["outcome"] == "ok":
            content = read_body(row["uid"])
            if digests.sha256_bytes(content) != row["sha256"]:
                raise ValueError(f"{row['uid']}: its bytes have another sha256 than the ledger says")
            placed |= _add_sample(file, pair, content)
        ledger.append(placed)
    tar.close(file)
    return ledger


def rebuild_shard_bytes(
    pairs: Iterable[Mapping[str, Any]], ledger_rows: Iterable[Mapping[str, Any]], read_body: Callable[[str], bytes]
) -> bytes:
    """Returns the whole tar of one raw shard, byte for byte as download wrote it.

    Args:
        pairs: source rows of at least the shard's ok uids.
        ledger_rows: the shard's ledger rows.
        read_body: gives the picture's bytes of a uid; may raise KeyError or ValueError where it holds none.

    Raises:
        ValueError: if source or bodies are not those of the ledger, naming the uid.
    """
    pair_of = {pair["uid"]: pair for pair in pairs}
    wanted = sorted((row for row in ledger_rows if row["outcome"] == "ok"), key=lambda row: str(row["uid"]))
    missing = [row["uid"] for row in wanted if row["uid"] not in pair_of]
    if missing:
        raise ValueError(f"{missing[0]}: the ledger has it, the source has not; they do not belong together")
    made = io.BytesIO()
    try:
        placed = write_raw_shard(made, ((pair_of[row["uid"]], row) for row in wanted), read_body)
    except KeyError as error:
        raise ValueError(f"{error.args[0]}: its bytes are not in the store") from None
    for row, again in zip(wanted, placed, strict=True):
        if any(row[name] != again[name] for name in ("key", "offset", "bytes")):
            raise ValueError(f"{row['uid']}: would not lie where the ledger says; source and ledger do not fit")
    return made.getvalue()


def write_ledger(parts: Sequence[Path], path: Path) -> None:
    """Writes ledger.parquet from its parts, one a shard in order of uid; no more than a row group is held at once."""
    records.write_tables((records.read_table(part, records.LEDGER) for part in parts), records.LEDGER, path)


def _add_sample(file: BinaryIO, pair: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    uid, extension = pair["uid"], sniff(content)
    assert extension is not None, "the gateway answers ok for pictures only"
    key = f"{uid}.{extension}"
    offset = tar.add(file, key, content)
    facts = {name: pair[name] for name in FACTS}
    tar.add(file, f"{uid}.json", json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())
    tar.add(file, f"{uid}.txt", pair["caption"].encode())
    return {"bytes": len(content), "key": key, "offset": offset}
