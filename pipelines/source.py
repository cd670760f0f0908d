"""Stage source: a URL list in, one schema out; list rows = source + rejects + repeats."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from lineage import digests, params, records, stage
from pipelines import lists

_REJECTED_TEXT_CHARS = 500


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Section `source` of params.yaml."""

    max_url_chars: int
    """A longer URL is rejected, characters."""

    def __post_init__(self) -> None:
        if self.max_url_chars < 1:
            raise ValueError(f"max_url_chars must be >= 1, not {self.max_url_chars}")


def main(list_folder: Path, source: Path, provenance: Path) -> None:
    """Reads a URL list into source.parquet, rejects.parquet and repeats.parquet."""
    config = params.load("source", SourceConfig)
    with stage.run(
        "source", source.name, params=config, deps=[list_folder], outs=[source], provenance=provenance
    ) as this:
        rows = stage.progress(lists.read(list_folder), label=f"source {source.name}")
        pairs, rejects, repeats, num_rows = sort_rows(rows, config.max_url_chars)
        out = this.scratch / "out"
        records.write_table(records.rows_table(pairs, records.SOURCE), out / "source.parquet")
        records.write_table(pa.Table.from_pylist(rejects, schema=records.REJECTS), out / "rejects.parquet")
        records.write_table(records.rows_table(repeats, records.REPEATS), out / "repeats.parquet")
        num_repeats = sum(row["repeats"] for row in repeats)
        failed = Counter(row["reason"] for row in rejects)
        this.account(
            rows_in=num_rows,
            kept=len(pairs),
            dropped={"repeat": num_repeats},
            failed=failed,
        )
        this.publish(out, source)


def sort_rows(
    rows: Iterable[lists.ListRow], max_url_chars: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]], int]:
    """Returns pairs, rejects and repeats, as rows of their schemas, and how many rows were read.

    A pair that stands in the list n times is one pair and n - 1 repeats, counted by uid.
    """
    pairs: dict[str, dict[str, Any]] = {}
    rejects: list[dict[str, Any]] = []
    repeats: Counter[str] = Counter()
    num_rows = 0
    for row in rows:
        num_rows += 1
        reason = judge(row, max_url_chars)
        if reason is not None:
            rejects.append(_reject(row, reason))
            continue
        pair = as_pair(row)
        if pair["uid"] in pairs:
            repeats[pair["uid"]] += 1
        else:
            pairs[pair["uid"]] = pair
    counted = [{"uid": uid, "repeats": number} for uid, number in repeats.items()]
    return list(pairs.values()), rejects, counted, num_rows


def judge(row: lists.ListRow, max_url_chars: int) -> str | None:
    """Returns why a row is rejected, or None where it is a pair."""
    if row.values is None:
        return row.reason
    url, caption = row.values["url"], row.values["caption"]
    if not isinstance(url, str) or not url.strip():
        return "no_url"
    if len(url) > max_url_chars or not is_url(url.strip()):
        return "not_a_url"
    if not isinstance(caption, str) or not caption.strip():
        return "no_caption"
    return None


def is_url(text: str) -> bool:
    """Returns whether `text` is an absolute http or https URL with a host and without white space."""
    if any(char.isspace() or ord(char) < 32 for char in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def as_pair(row: lists.ListRow) -> dict[str, Any]:
    """Returns a judged row in the source schema."""
    assert row.values is not None
    url, caption = row.values["url"].strip(), row.values["caption"]
    host = (urlsplit(url).hostname or "").lower()
    given = {name: _text(row.values.get(name)) for name in ("license", "origin", "expected_sha256")}
    return {
        "uid": records.uid_of(url, caption),
        "url": url,
        "caption": caption,
        "url_sha256": digests.sha256_bytes(url.encode()),
        "host": host,
        "host_sha256": digests.sha256_bytes(host.encode()),
        **given,
    }


def _reject(row: lists.ListRow, reason: str) -> dict[str, Any]:
    values = row.values or {}
    shown = {name: (_text(values.get(name)) or "")[:_REJECTED_TEXT_CHARS] for name in ("url", "caption")}
    return {"file": row.file, "row": row.number, "reason": reason, **shown}


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


if __name__ == "__main__":
    from pipelines.source import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
