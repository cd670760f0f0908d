"""Stage trail: what became of every pair of a snapshot, and by which link, host, bytes or look it is found.

    pairs.parquet           one row a pair, sorted by uid; row N is row N of source, ledger, signals and verdicts, too
    uid, url, sha256,       .keys.npy and .rows.npy (lineage.keys): rows by uid, digest of the link or of the picture,
    duplicate_of            and by the uid of what they duplicate
    hosts.parquet           the hosts by number of rows; the rows of each stand together in host.rows.npy, (N,) uint32
    looks.npy, looked.npy   perceptual hashes, (n,) uint64, and their rows, (n,) uint32, of the n pictures that have one

A question costs a bisection and one row group of each record, however many rows there are. A snapshot's files depend
on its own rows alone, so a refresh adds its own and touches no other.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import keys, reasons, records, stage
from lineage.cursors import Cursor

PAIRS = pa.schema(
    [("uid", pa.string()), ("kept", pa.bool_()), ("reason", pa.string()), ("rule", pa.string())]
    + [("duplicate_of", pa.string()), ("duplicate_of_snapshot", pa.string())]
    + [("split", pa.string()), ("shard", pa.string()), ("offset", pa.int64())]
)
HOSTS = pa.schema([("host", pa.string()), ("host_sha256", pa.string()), ("first", pa.int64()), ("rows", pa.int64())])
"""The rows of a host are host.rows.npy[first : first + rows]; `host` is null where all of its rows were opted out."""
DIGESTS = {"uid": "uid", "url": "url_sha256", "sha256": "sha256"}
"""What rows are found by: {name of the keys: column of the signals}."""
DUPLICATES = "duplicate_of"
"""The keys by which all that duplicate a pair are found."""
_HOST = ["host", "host_sha256"]
VERDICT, PLACE = (
    ["uid", "keep", "reason", "rule", "duplicate_of", "duplicate_of_snapshot"],
    ["uid", "split", "shard", "offset"],
)
"""Columns of verdicts and of a manifest that make PAIRS."""


def pairs(snapshot: str, verdicts: Cursor, kept: Cursor, manifest: Cursor) -> Iterator[pa.Table]:
    """Yields the rows of one snapshot as PAIRS, in order of uid: each verdict with its place in the shards.

    Raises:
        ValueError: if verdicts, kept and manifest do not tell of the same rows, naming snapshot and uid.
    """
    for told, is_last in _with_last(verdicts.groups()):
        end = None if is_last else told["uid"][-1].as_py()
        chosen, placed = kept.upto(end), manifest.upto(end)
        uids = told["uid"].filter(told["keep"])
        _check_same(snapshot, "verdicts.parquet keeps", uids, "kept.parquet", chosen["uid"])
        _check_same(snapshot, "kept.parquet", chosen["uid"], "the shards' manifest", placed["uid"])
        moved = placed.filter(pc.not_equal(placed["split"], chosen["split"]))
        if moved.num_rows:
            raise ValueError(f"{snapshot}: {moved['uid'][0]} is packed into another split than select chose")
        yield _joined(told, placed)


def main(signals: Path, selection: Path, manifest: Path, out: Path, provenance: Path) -> None:
    """Writes the trail of the snapshot that the folders are named for."""
    with stage.run(
        "trail", out.name, params={}, deps=[signals, selection, manifest], outs=[out], provenance=provenance
    ) as this:
        made = this.scratch / "out"
        told = pairs(
            out.name,
            Cursor(selection / "verdicts.parquet", records.VERDICTS, VERDICT),
            Cursor(selection / "kept.parquet", records.KEPT, records.KEPT.names),
            Cursor(manifest, records.MANIFEST, PLACE),
        )
        account = Counter[str]()
        found = Cursor(signals, records.SIGNALS, ["uid"])
        with records.TableWriter(made / "pairs.parquet", PAIRS) as writer:
            for table, is_last in _with_last(told):
                end = None if is_last else table["uid"][-1].as_py()
                _check_same(out.name, "the signals", found.upto(end)["uid"], "verdicts.parquet", table["uid"])
                writer.write(table)
                account.update({row["values"]: row["counts"] for row in pc.value_counts(table["reason"]).to_pylist()})
        index(signals, made)
        this.account(rows_in=account.total(), kept=account.pop(reasons.KEPT, 0), dropped=account)
        this.publish(made, out)


def index(signals: Path, made: Path) -> None:
    """Writes what rows are found by: keys, hosts and looks of some signals, duplicates of the pairs made of them."""

    def column(name: str) -> Iterator[pa.ChunkedArray]:
        names = ["uid", name] if name != "uid" else ["uid"]
        return (group[name] for group in Cursor(signals, records.SIGNALS, names).groups())

    for name, digest in DIGESTS.items():
        keys.save(keys.of(column(digest)), made, name)
    groups = Cursor(made / "pairs.parquet", PAIRS, ["uid", DUPLICATES]).groups()
    keys.save(keys.of(group[DUPLICATES] for group in groups), made, DUPLICATES)
    table, row_N = hosts(Cursor(signals, records.SIGNALS, ["uid", *_HOST]).groups())
    records.write_table(table, made / "hosts.parquet")
    keys.save_array(row_N, made / "host.rows.npy")
    hash_n, row_n = looks(column("phash"))
    keys.save_array(hash_n, made / "looks.npy")
    keys.save_array(row_n, made / "looked.npy")


def hosts(groups: Iterator[pa.Table]) -> tuple[pa.Table, npt.NDArray[np.uint32]]:
    """Returns HOSTS, that of most rows first, and the rows of all, (N,) uint32, ascending within each.

    Args:
        groups: tables with host, as text or null, and host_sha256, of the N rows in order.
    """
    names: dict[str, str | None] = {}
    known: dict[str, int] = {}
    parts = []
    for group in groups:
        coded = group["host_sha256"].combine_chunks().dictionary_encode()
        for name, digest in _distinct(group):
            names[digest] = names.get(digest) or name
        number_of = np.array([known.setdefault(digest, len(known)) for digest in coded.dictionary.to_pylist()])
        parts.append(number_of.astype(np.uint32)[coded.indices.to_numpy()])
    number_N = np.concatenate([np.empty(0, np.uint32), *parts])
    counts, found = np.bincount(number_N, minlength=len(known)), list(known)
    order = sorted(range(len(found)), key=lambda number: (-counts[number], found[number]))
    rank = np.empty(len(found), np.uint32)
    rank[order] = np.arange(len(found), dtype=np.uint32)
    rows = counts[order].astype(np.int64)
    first = np.cumsum(rows) - rows
    ordered = [found[number] for number in order]
    table = pa.table([[names[digest] for digest in ordered], ordered, first, rows], schema=HOSTS)
    return table, np.argsort(rank[number_N], kind="stable").astype(np.uint32)


def looks(batches: Iterator[pa.ChunkedArray]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Returns the perceptual hashes of the rows that have one, (n,) uint64, and those rows, (n,) uint32."""
    hashes, rows, start = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], 0
    for batch in batches:
        hashes.append(keys.unhex_words(batch.drop_null()))
        rows.append((np.flatnonzero(pc.is_valid(batch).to_numpy()) + start).astype(np.uint32))
        start += len(batch)
    return np.concatenate(hashes), np.concatenate(rows)


def _joined(told: pa.Table, placed: pa.Table) -> pa.Table:
    """Returns verdicts as PAIRS; `placed` holds the kept ones, in their order."""
    for reason in pc.unique(told["reason"].filter(pc.invert(told["keep"]))).to_pylist():
        reasons.check(reason)
    keep_N = told["keep"].to_numpy()
    place_N = pa.array(np.cumsum(keep_N) - 1, mask=~keep_N)
    columns: dict[str, Any] = {name: told[name] for name in told.column_names if name != "keep"}
    places = {name: placed[name].take(place_N) for name in PLACE[1:]}
    return pa.table({**columns, "kept": told["keep"], **places}).select(PAIRS.names).cast(PAIRS)


def _distinct(group: pa.Table) -> list[tuple[str | None, str]]:
    found = group.select(_HOST).group_by(_HOST).aggregate([])
    return list(zip(found["host"].to_pylist(), found["host_sha256"].to_pylist(), strict=True))


def _with_last(groups: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, bool]]:
    """Yields each table and whether it is the last."""
    group = next(groups, None)
    while group is not None:
        following = next(groups, None)
        yield group, following is None
        group = following


def _check_same(snapshot: str, left_name: str, left: pa.ChunkedArray, right_name: str, right: pa.ChunkedArray) -> None:
    """Raises ValueError if a uid stands on one side alone, naming it and both."""
    if left.equals(right):
        return
    for name, other, rows, against in ((left_name, right_name, left, right), (right_name, left_name, right, left)):
        alone = rows.filter(pc.invert(pc.is_in(rows, value_set=against.combine_chunks())))
        if len(alone):
            raise ValueError(f"{snapshot}: {name} has {pc.min(alone)}, {other} has not")


if __name__ == "__main__":
    stage.command(main)
