"""Raw shards in their canonical form: the pictures of a range of uids as fetched, with their facts and captions.

A shard is a pure function of source rows, ledger rows and bodies: the store can bring a damaged one back.
"""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import digests, files, records
from pipelines import tar
from pipelines.pictures import sniff

FACTS = ("uid", "url", "caption", "license", "origin")
"""Columns of the source that a sample's json holds."""
_ROWS_PER_GROUP = 1 << 17


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


def rebuild_raw_shard(raw: Path, source: Path, shard: int, read_body: Callable[[str], bytes]) -> None:
    """Puts a damaged or lost shard of a raw snapshot back, by a rename, so that no copy in a cache is touched.

    Args:
        raw: folder with ledger.parquet and the shards.
        source: folder with source.parquet.
        read_body: as in `rebuild_shard_bytes`.

    Raises:
        ValueError: if it cannot be rebuilt, naming shard and uid; nothing is written then.
    """
    ledger = records.read_table(raw / "ledger.parquet", records.LEDGER)
    rows = ledger.filter(pc.equal(ledger["shard"], shard))
    pairs = records.read_table(source / "source.parquet", columns=list(FACTS))
    pairs = pairs.filter(pc.is_in(pairs["uid"], rows["uid"]))
    path = raw / tar.shard_name(shard)
    try:
        content = rebuild_shard_bytes(pairs.to_pylist(), rows.to_pylist(), read_body)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be rebuilt: {error}") from None
    files.write_bytes(path, content)


def write_ledger(parts: Sequence[Path], path: Path) -> None:
    """Writes ledger.parquet from its parts, one a shard in order of uid; no more than a row group is held at once."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    # the very options of records.write_table: the bytes are those it would write
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "version": "2.6", "store_schema": False}
    with pq.ParquetWriter(partial, records.LEDGER, **options) as writer:
        for group in _regrouped((records.read_table(part, records.LEDGER) for part in parts), _ROWS_PER_GROUP):
            writer.write_table(group, row_group_size=_ROWS_PER_GROUP)
    os.replace(partial, path)


def _regrouped(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Yields the rows of all tables in tables of `num_rows` rows; the last one has the rest, and may have none."""
    held = records.LEDGER.empty_table()
    for table in tables:
        held = pa.concat_tables([held, table])
        while held.num_rows > num_rows:
            yield held.slice(0, num_rows).combine_chunks()
            held = held.slice(num_rows)
    yield held.combine_chunks()


def _add_sample(file: BinaryIO, pair: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    uid, extension = pair["uid"], sniff(content)
    assert extension is not None, "the gateway answers ok for pictures only"
    key = f"{uid}.{extension}"
    offset = tar.add(file, key, content)
    facts = {name: pair[name] for name in FACTS}
    tar.add(file, f"{uid}.json", json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())
    tar.add(file, f"{uid}.txt", pair["caption"].encode())
    return {"bytes": len(content), "key": key, "offset": offset}
