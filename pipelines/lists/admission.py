"""What is looked at before a URL list becomes a snapshot: mistakes that would show much later otherwise."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc

from lineage import params
from pipelines import lists, source
from pipelines.lists import descriptions

_SHOWN_CHARS = 80


def check_recipes() -> None:
    """Looks for mistakes in what the rows will be judged by: better now than once they are downloaded.

    Raises:
        ValueError: naming the rule and the key.
    """
    from pipelines import rules, screen  # late: they import much

    rules.parse(params.load("select", rules.SelectConfig).rules)
    rules.parse(params.load("screen", screen.ScreenConfig).rules, "screen.rules")


def check_rows(path: Path, made: Path, scores: Mapping[str, str]) -> None:
    """Looks at the top of a list.

    Args:
        path: what the list is called in errors.
        made: the folder with its files and its description.
        scores: name of a score -> the list's column, as asked for.

    Raises:
        ValueError: if the list has no row or, at its top, no pair, or a column has no hash or score there.
    """
    first = next(lists.read(made), None)
    if first is None:
        raise ValueError(f"{path}: the list has no rows")
    description = descriptions.load(made)
    for field, num_digits in source.HASH_DIGITS.items():
        hashes = [text for text in map(source.hash_text, first.values.get(field, [])) if text is not None]
        if hashes and not any(source.is_hash(text, num_digits) for text in hashes):
            column = description.columns[field]
            raise ValueError(
                f"{path}: column {column} has no {field}: {hashes[0][:80]!r} is not {num_digits} hex digits"
            )
    _check_pairs(path, first, description)
    brought = {name for text in pc.unique(first.given).drop_null().to_pylist() for name in json.loads(text)}
    for name, column in scores.items():
        if name not in brought:
            raise ValueError(
                f"{path}: column {column} has no number in the first {len(first.reasons)} rows (score {name})"
            )


def _check_pairs(path: Path, first: lists.Batch, description: descriptions.ListDescription) -> None:
    reasons = Counter(source.judge(first, max_url_chars=sys.maxsize))
    if None in reasons:
        return
    [(reason, number)] = reasons.most_common(1)
    url, caption = (repr(first.values[field][0])[:_SHOWN_CHARS] for field in ("url", "caption"))
    columns = ", ".join(f"{field} is column {column}" for field, column in description.columns.items())
    raise ValueError(
        f"{path}: none of the first {len(first.reasons)} rows is a pair (most: {number} {reason}); {columns}; "
        f"the first row says {url} and {caption}; name the right columns with --map"
    )
