"""Who is dropped by which rule: by language, host, top-level domain and caption length.

Amplification of a group by a rule: the share of the group's rows that the rule drops, over the share of all rows it
drops. 1 is even-handed; 2 means that the rule falls on the group twice as often as on everyone. The audit of
CommonPool (arXiv 2405.08209) found such differences after the fact; here every run of select brings them.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIMENSIONS = ("language", "host", "tld", "caption_length")
NONE = "(none)"
"""The group of rows without a language, host, ..."""
ANY = "any"
"""All rules together."""

_LENGTHS = (0, 10, 20, 40, 80, 160, 320)
"""Where the groups of caption lengths begin, characters."""
_MAX_GROUPS = 50
"""Groups shown of one dimension and rule: the most amplified."""
_DECIMALS = 4

_MAX_WAITING = 1 << 20
"""Rows of counts that wait to be added up."""


class Tally:
    """Counts of judged rows by dimension, group and rule, over any number of tables."""

    def __init__(self) -> None:
        self._counts = {name: [_COUNTS.empty_table()] for name in DIMENSIONS}

    def add(self, rows: pa.Table, verdicts: pa.Table) -> None:
        """Counts rows that the rules have judged: measured, and not seen in an earlier snapshot.

        Args:
            rows: columns language, host, tld, caption_chars, error.
            verdicts: records.VERDICTS of the same rows.
        """
        seen = pc.fill_null(pc.equal(verdicts["rule"], "seen_before"), False)
        judged = pc.and_(pc.is_null(rows["error"]), pc.invert(seen))
        rule, groups = pc.fill_null(verdicts["rule"].filter(judged), _KEPT), grouped(rows.filter(judged))
        for name, waiting in self._counts.items():
            one = pa.nulls(len(rule), pa.int64()).fill_null(1)
            waiting.append(_added_up(pa.table({"group": groups[name], "rule": rule, "rows": one})))
            if sum(table.num_rows for table in waiting) > _MAX_WAITING:
                waiting[:] = [_added_up(pa.concat_tables(waiting))]

    def report(self, min_rows: int) -> dict[str, Any]:
        """Returns the report as plain data: for each rule, and for all, its share and the groups by amplification.

        Args:
            min_rows: smaller groups are left out.
        """
        counts = {name: _added_up(pa.concat_tables(waiting)) for name, waiting in self._counts.items()}
        by_rule = _sums(counts[DIMENSIONS[0]], "rule")
        total, kept = sum(by_rule.values()), by_rule.pop(_KEPT, 0)
        dropped = {ANY: total - kept, **dict(sorted(by_rule.items()))}
        groups = {name: _large_groups(table, min_rows) for name, table in counts.items()}
        rules = {
            rule: {
                "dropped": number,
                "share": round(number / total, _DECIMALS),
                "groups": {name: _amplified(found, rule, number / total) for name, found in groups.items()},
            }
            for rule, number in dropped.items()
            if number
        }
        return {"rows": total, "min_group_rows": min_rows, "rules": rules}


_COUNTS = pa.schema([("group", pa.string()), ("rule", pa.string()), ("rows", pa.int64())])
_KEPT = ""
"""The rule of kept rows."""


def _added_up(table: pa.Table) -> pa.Table:
    sums = table.group_by(["group", "rule"]).aggregate([("rows", "sum")])
    return sums.rename_columns(["rows" if name == "rows_sum" else name for name in sums.column_names]).select(
        _COUNTS.names
    )


def _sums(table: pa.Table, by: str) -> dict[str, int]:
    sums = table.group_by(by).aggregate([("rows", "sum")])
    return dict(zip(sums[by].to_pylist(), sums["rows_sum"].to_pylist(), strict=True))


def _large_groups(table: pa.Table, min_rows: int) -> dict[str, dict[str, int]]:
    """Returns the rows of each large enough group by rule."""
    sizes = table.group_by("group").aggregate([("rows", "sum")])
    large = sizes.filter(pc.greater_equal(sizes["rows_sum"], min_rows))["group"]
    found: dict[str, dict[str, int]] = {}
    for row in table.filter(pc.is_in(table["group"], value_set=large.combine_chunks())).to_pylist():
        found.setdefault(row["group"], {})[row["rule"]] = row["rows"]
    return found


def _amplified(groups: Mapping[str, Mapping[str, int]], rule: str, share: float) -> list[dict[str, Any]]:
    """Returns the groups that a rule falls on most often, most amplified first."""
    found: list[dict[str, Any]] = []
    for group, by_rule in groups.items():
        size = sum(by_rule.values())
        number = size - by_rule.get(_KEPT, 0) if rule == ANY else by_rule.get(rule, 0)
        row = {"group": group, "rows": size, "dropped": number, "share": round(number / size, _DECIMALS)}
        found.append({**row, "amplification": round(number / size / share, _DECIMALS)})
    found.sort(key=lambda row: (-row["amplification"], -row["rows"], row["group"]))
    return found[:_MAX_GROUPS]


def grouped(rows: pa.Table) -> pa.Table:
    """Returns the group of each row in each dimension, a column each.

    Args:
        rows: columns language, host, tld, caption_chars.
    """
    texts = {name: pc.fill_null(rows[name], NONE) for name in ("language", "host", "tld")}
    chars_N = rows["caption_chars"].cast(pa.float64()).to_numpy()
    names = [*(f"{low} to {high - 1}" for low, high in itertools.pairwise(_LENGTHS)), f"{_LENGTHS[-1]} up"]
    place_N = np.searchsorted(np.array(_LENGTHS), chars_N, side="right") - 1
    index = pa.array(np.where(np.isnan(chars_N), 0, place_N), mask=np.isnan(chars_N))
    return pa.table({**texts, "caption_length": pc.fill_null(pa.array(names).take(index), NONE)})


def markdown(reports: Mapping[str, Mapping[str, Any]], *, min_amplification: float = 1.5, min_dropped: int = 5) -> str:
    """Returns what stands out in the reports of some snapshots, as Markdown tables.

    Args:
        reports: by snapshot.
        min_amplification: groups below it are left out.
        min_dropped: and groups of which a rule drops fewer rows: of few rows a share says little.
    """
    lines = []
    for snapshot, report in reports.items():
        lines += [f"### {snapshot}: {report['rows']} rows judged", ""]
        lines += [
            "| rule | drops | group | its rows | of them dropped | amplification |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for rule, found in report["rules"].items():
            for name in DIMENSIONS:
                for row in found["groups"][name]:
                    if row["amplification"] >= min_amplification and row["dropped"] >= min_dropped:
                        lines.append(
                            f"| {rule} | {found['share']:.1%} | {name} {_escaped(row['group'])} | {row['rows']} "
                            f"| {row['share']:.1%} | {row['amplification']:.1f} |"
                        )
        lines.append("")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Returns text that cannot break out of its cell: hosts come from URL lists."""
    return "".join(
        character if character.isalnum() or character in " .-()" else f"&#{ord(character)};" for character in text
    )
