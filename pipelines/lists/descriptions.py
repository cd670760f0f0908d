"""What is known of a URL list: its format, its files, and which of its columns is which of our fields."""

import dataclasses
from pathlib import Path

from lineage import files
from pipelines.lists.formats import FORMATS

DESCRIPTION = "list.json"
"""The file beside a list that says its format and columns."""
REQUIRED = ("url", "caption")
FIELDS = (*REQUIRED, "license", "origin", "list_uid", "expected_sha256", "expected_phash")
"""What a column can be to us; `list_uid` is what the list calls the row, `expected_phash` is of our own kind."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListDescription:
    """Format and columns of one URL list."""

    format: str
    """csv, tsv, jsonl, json, txt or parquet."""
    files: list[str]
    """File names beside the description, in reading order."""
    columns: dict[str, str]
    """Our field -> the list's column."""
    header: bool = True
    """Whether the first line names the columns; else they are 1, 2, ... (CC3M, CC12M)."""
    scores: dict[str, str] = dataclasses.field(default_factory=dict)
    """Name of a given score -> the list's column."""
    widths: dict[str, int] = dataclasses.field(default_factory=dict)
    """Cells of a row of a file without header whose first row, which tells them otherwise, was taken down."""


def load(folder: Path) -> ListDescription:
    """Returns the description kept in `folder`.

    Raises:
        ValueError: if there is none, or it is not one, naming the file.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(f"{path}: not there; add lists with `python -m pipelines.snapshot add`")
    try:
        description = ListDescription(**files.read_json(path))
        missing = [field for field in REQUIRED if field not in description.columns]
        unknown = [field for field in description.columns if field not in FIELDS]
        if missing or unknown or description.format not in FORMATS.values():
            raise TypeError(f"format {description.format}, columns {description.columns}")
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the description of a list ({error}); add the list again") from None
    return description


def save(description: ListDescription, folder: Path) -> None:
    """Writes the description into `folder`; what is as usual is left unsaid, so that equal lists stay equal files."""
    content = dataclasses.asdict(description)
    if description.header:
        del content["header"]
    for name in ("scores", "widths"):
        if not content[name]:
            del content[name]
    files.write_json(folder / DESCRIPTION, content)
