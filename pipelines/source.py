"""Stage source: a URL list in, one schema out; list rows = source + rejects + repeats.

A row that was taken down is no longer in the list. It counts as a row of it all the same, and as one of the source: a
tombstone, of which only uid, url_sha256 and host_sha256 are known.

Rows are put aside on disk by the first digits of their uid and then sorted a partition at a time, so that a list may
be larger than memory. Where equal (url, caption) rows bring different hashes or scores, the first in list order counts.
"""

import dataclasses
import re
from collections import Counter
from itertools import compress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import digests, files, params, records, stage
from pipelines import lists
from pipelines.lists import tombstones
from pipelines.lists.partitions import MAX_PARTITIONS, Partitions

_REJECTED_TEXT_CHARS = 500
HASH_DIGITS = {"expected_sha256": 64, "expected_phash": 16}
"""Hex digits of the hashes a list can bring."""
_DERIVED = ("url_sha256", "host", "host_sha256")  # made of what is kept, not put aside
_ASIDE = pa.schema([field for field in records.SOURCE if field.name not in _DERIVED] + [("copies", pa.int64())])
_plain_start = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._-]+)(?::[0-9]{1,4})?(?:[/?#]|\Z)").match


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Section `source` of params.yaml."""

    max_url_chars: int
    """A longer URL is rejected, characters."""
    num_partitions: int
    """Of the rows on disk; one has to fit into memory. The result does not depend on it."""

    def __post_init__(self) -> None:
        if self.max_url_chars < 1:
            raise ValueError(f"max_url_chars must be >= 1, not {self.max_url_chars}")
        if not 1 <= self.num_partitions <= MAX_PARTITIONS:
            raise ValueError(f"num_partitions must be 1 to {MAX_PARTITIONS}, not {self.num_partitions}")


def main(list_folder: Path, source: Path, provenance: Path) -> None:
    """Reads a URL list into source.parquet, rejects.parquet and repeats.parquet."""
    config = params.load("source", SourceConfig)
    with stage.run(
        "source", source.name, params=config, deps=[list_folder], outs=[source], provenance=provenance
    ) as this:
        made = this.scratch / "out"
        this.account(**convert(list_folder, made, config, scratch=this.scratch / "aside"))
        this.publish(made, source)


def convert(list_folder: Path, made: Path, config: SourceConfig, *, scratch: Path) -> dict[str, Any]:
    """Writes source.parquet, rejects.parquet and repeats.parquet into `made` and returns where every row went.

    Args:
        scratch: folder for the rows put aside, as large as the list; gone in the end.

    Returns:
        rows_in, kept, dropped and failed, for `Run.account`.

    Raises:
        ValueError: as lists.read.
    """
    for left in (made, scratch):  # by a killed run
        files.remove(left)
    taken_down = tombstones.read(list_folder)
    label, rows_in, failed = f"source {list_folder.name}", taken_down.num_rows, Counter[str]()
    aside = Partitions(scratch, _ASIDE, config.num_partitions)
    with aside, records.TableWriter(made / "rejects.parquet", records.REJECTS) as rejects:
        aside.add(_tombstones(taken_down))  # before the list: they count where the list has such a row again
        with stage.watch(label, 0, lambda: rows_in):
            for batch in lists.read(list_folder):
                reasons = judge(batch, config.max_url_chars)
                rows_in += len(reasons)
                failed.update(reason for reason in reasons if reason)
                rejects.write(_rejects(batch, reasons))
                aside.add(_pairs(batch, [reason is None for reason in reasons]))
    num_repeats = 0
    with (
        records.TableWriter(made / "source.parquet", records.SOURCE) as pairs,
        records.TableWriter(made / "repeats.parquet", records.REPEATS) as repeats,
    ):
        for table in stage.progress(aside.tables(), label=f"{label}: sort", total=config.num_partitions):
            firsts, copies_N = _unite(table)
            pairs.write(_complete(firsts, taken_down))
            repeated = pa.table({"uid": firsts["uid"], "repeats": pa.array(copies_N - 1)})
            repeats.write(repeated.filter(pa.array(copies_N > 1)))
            num_repeats += int(copies_N.sum()) - len(copies_N)
    files.remove(scratch)
    return {"rows_in": rows_in, "kept": pairs.num_rows, "dropped": {"repeat": num_repeats}, "failed": failed}


def judge(batch: lists.Batch, max_url_chars: int) -> list[str | None]:
    """Returns for each row why it is rejected, or None where it is a pair."""
    columns = zip(batch.reasons, batch.values["url"], batch.values["caption"], strict=True)
    reasons = [reason or _judge_pair(url, caption, max_url_chars) for reason, url, caption in columns]
    for field in HASH_DIGITS.keys() & batch.values.keys():
        hashes = zip(reasons, batch.values[field], strict=True)
        reasons = [reason or _judge_hash(value, HASH_DIGITS[field]) for reason, value in hashes]
    return reasons


def is_url(text: str) -> bool:
    """Returns whether `text` is an absolute http or https URL with a host and without white space."""
    return _is_plain(text) or _is_url(text)


def host_of(url: str) -> str:
    """Returns the host of a URL that `is_url`, in lower case."""
    start = _plain_start(url)
    return start[1].lower() if start else (urlsplit(url).hostname or "").lower()


def hash_text(value: object) -> str | None:
    """Returns a hash as the list brings it in lower case, None where it brings none."""
    return (_text(value) or "").strip().lower() or None


def is_hash(text: str, num_digits: int) -> bool:
    """Returns whether `text` is `num_digits` hex digits in lower case."""
    return len(text) == num_digits and not text.strip("0123456789abcdef")


def _judge_pair(url: Any, caption: Any, max_url_chars: int) -> str | None:
    if not isinstance(url, str) or not (bare := url.strip()):
        return "no_url"
    if len(url) > max_url_chars or not is_url(bare):
        return "not_a_url"
    if not isinstance(caption, str) or not caption.strip():
        return "no_caption"
    return None


def _judge_hash(value: Any, num_digits: int) -> str | None:
    """Returns `bad_hash` for what is no hash: taken for none, it would let any picture pass for the listed one."""
    text = hash_text(value)
    return None if text is None or is_hash(text, num_digits) else "bad_hash"


def _is_plain(text: str) -> bool:
    """Returns whether `text` is a URL as nearly all of them are: those need no closer, slower look."""
    return text.isascii() and text.isprintable() and " " not in text and _plain_start(text) is not None


def _is_url(text: str) -> bool:
    if any(char.isspace() or ord(char) < 32 for char in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _pairs(batch: lists.Batch, is_pair: list[bool]) -> pa.Table:
    """Returns a batch's pairs as they are put aside, each once, with the number of its copies."""
    values = {field: list(compress(column, is_pair)) for field, column in batch.values.items()}
    urls, captions = [url.strip() for url in values.pop("url")], values.pop("caption")
    uids = list(map(records.uid_of, urls, captions))
    texts = {field: list(map(hash_text if field in HASH_DIGITS else _text, values[field])) for field in values}
    columns = {"uid": uids, "url": urls, "caption": captions, **texts, "given": batch.given.filter(pa.array(is_pair))}
    arrays = [
        pa.array(columns.get(field.name, [None] * len(uids)), field.type) for field in _ASIDE if field.name != "copies"
    ]
    copies = Counter(uids)  # in order of their first
    first_at = dict(zip(reversed(uids), range(len(uids) - 1, -1, -1), strict=True))
    firsts = pa.table(arrays, schema=_ASIDE.remove(len(arrays))).take(
        pa.array([first_at[uid] for uid in copies], pa.int64())
    )
    return firsts.append_column(_ASIDE.field("copies"), pa.array(copies.values(), pa.int64()))


def _tombstones(taken_down: pa.Table) -> pa.Table:
    """Returns rows that were taken down as they are put aside."""
    known = {"uid": taken_down["uid"], "copies": pa.array([1] * taken_down.num_rows, pa.int64())}
    columns = [known.get(field.name, pa.nulls(taken_down.num_rows, field.type)) for field in _ASIDE]
    return pa.table(columns, schema=_ASIDE)


def _unite(table: pa.Table) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Returns the first row of each uid and, N int64, how often it stands in the list; `table` is sorted by uid."""
    uids = table["uid"].combine_chunks()
    is_first_N = np.ones(len(uids), dtype=bool)
    is_first_N[1:] = pc.not_equal(uids[1:], uids[:-1]).to_numpy(zero_copy_only=False)
    starts_N = np.flatnonzero(is_first_N)
    copies_N = table["copies"].to_numpy()
    return table.take(pa.array(starts_N)), np.add.reduceat(copies_N, starts_N) if len(starts_N) else copies_N


def _complete(firsts: pa.Table, taken_down: pa.Table) -> pa.Table:
    """Returns pairs in the source schema, with what is derived from their URLs, or known of them if taken down."""
    urls = firsts["url"].to_numpy().tolist()
    hosts = pa.array([None if url is None else host_of(url) for url in urls], pa.string()).dictionary_encode()
    host_hashes = [digests.sha256_bytes(host.encode()) for host in hosts.dictionary.to_pylist()]
    derived = {
        "url_sha256": pa.array([url and digests.sha256_bytes(url.encode()) for url in urls], pa.string()),
        "host": hosts.dictionary_decode(),
        "host_sha256": pa.array(host_hashes, pa.string()).take(hosts.indices),
    }
    place_N = pc.index_in(firsts["uid"].combine_chunks(), value_set=taken_down["uid"].combine_chunks())
    for name in ("url_sha256", "host_sha256"):
        derived[name] = pc.coalesce(derived[name], taken_down[name].combine_chunks().take(place_N))
    columns = [derived[name] if name in derived else firsts[name] for name in records.SOURCE.names]
    return pa.table(columns, schema=records.SOURCE)


def _rejects(batch: lists.Batch, reasons: list[str | None]) -> pa.Table:
    numbers = list(compress(batch.numbers, reasons))
    shown = {
        name: [(_text(value) or "")[:_REJECTED_TEXT_CHARS] for value in compress(batch.values[name], reasons)]
        for name in ("url", "caption")
    }
    columns = {"file": [batch.file] * len(numbers), "row": numbers, "reason": list(filter(None, reasons)), **shown}
    return pa.table(columns, schema=records.REJECTS)


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


if __name__ == "__main__":
    from pipelines.source import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
