"""Pairs straight from the raw shards of a snapshot, by the places its ledger records, no tar ever extracted.

A raw shard is a plain tar with three members a pair, one after the other: the picture, UID.json and UID.txt.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from cyclip_model.rows.data import Pair
from lineage import records

_BLOCK = 512
_COLUMNS = ["uid", "outcome", "sha256", "bytes", "shard", "offset"]


def read(raw: Path, uids: list[str]) -> Iterator[Pair]:
    """Yields the pairs of these uids, shard by shard, in order of uid within each.

    Raises:
        ValueError: a uid was not fetched, or a shard is missing or holds other bytes than the ledger says.
    """
    ledger = records.read_table(raw / "ledger.parquet", records.LEDGER, columns=_COLUMNS)
    wanted = pc.and_(pc.is_in(ledger["uid"], pa.array(uids, pa.string())), pc.equal(ledger["outcome"], "ok"))
    rows = ledger.filter(wanted).sort_by([("shard", "ascending"), ("uid", "ascending")]).to_pylist()
    if len(rows) != len(set(uids)):
        missing = min(set(uids) - {row["uid"] for row in rows})
        raise ValueError(
            f"{raw}/ledger.parquet: {missing} was not fetched; `dvc repro` brings what asks for it up to date"
        )
    for shard, members in groupby(rows, key=itemgetter("shard")):
        path = raw / f"{shard:05d}.tar"
        if not path.is_file():
            raise ValueError(f"{path}: this shard is missing; `dvc checkout` or `dvc repro` brings it back")
        with path.open("rb") as file:
            for row in members:
                yield _pair(file, row, raw.name)


def _pair(file: BinaryIO, row: dict[str, Any], snapshot: str) -> Pair:
    """One pair, once its picture has the ledger's sha256 and URL and caption give its uid."""
    uid = row["uid"]
    file.seek(row["offset"])
    picture = file.read(row["bytes"])
    try:
        facts, caption = json.loads(_next_member(file, f"{uid}.json")), _next_member(file, f"{uid}.txt").decode()
        is_whole = records.uid_of(facts["url"], caption) == uid and hashlib.sha256(picture).hexdigest() == row["sha256"]
    except (tarfile.HeaderError, ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise ValueError(
            f"{file.name}, key {uid}: not what the ledger says: the shard is damaged; `dvc checkout` restores it"
        )
    return Pair(snapshot, uid, picture, caption, f"{file.name}, key {uid}")


def _next_member(file: BinaryIO, name: str) -> bytes:
    """Content of the member after the one just read to its end; ValueError if it has another name."""
    file.seek(-file.tell() % _BLOCK, 1)
    info = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "strict")
    if info.name != name:
        raise ValueError(info.name)
    return file.read(info.size)
