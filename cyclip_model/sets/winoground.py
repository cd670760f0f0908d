"""Family winoground: examples.jsonl and images/, as the hub's facebook/winoground has them (a gated set)."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclip_model.sets.entry import TEST, Entry, Opened
from cyclip_model.sets.pictures import Row

HOW = "accept its terms at huggingface.co/datasets/facebook/winoground and lay down examples.jsonl and images/"
SIDES = (0, 1)


def load(entry: Entry) -> Opened:
    """The set in the entry's folder.

    Raises:
        AbsentError: the folder is not there.
        FileNotFoundError: the list or a picture of it is missing.
        ValueError: a line of the list is damaged; names it.
    """
    entry.require(HOW)
    path = entry.folder / "examples.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {HOW}")
    examples = [_example(path, number, line) for number, line in enumerate(_lines(path), start=1)]
    for example in examples:
        for side in SIDES:
            if not example["paths"][side].is_file():
                raise FileNotFoundError(f"{example['paths'][side]} is missing: {path.name} has captions of it")
    return Opened(kind="winoground", parts={TEST: functools.partial(_rows, examples)})


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _example(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
        paths = [_picture(path.parent / "images", str(content[f"image_{side}"])) for side in SIDES]
        captions = [str(content[f"caption_{side}"]) for side in SIDES]
        found = {"example": int(content["id"]), "tag": str(content.get("tag", ""))}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {number} is not JSON ({error})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: line {number}: {error} is missing or wrong") from None
    return {**found, "paths": paths, "captions": captions}


def _picture(folder: Path, name: str) -> Path:
    """The list names pictures without .png; a name is no path."""
    plain = Path(name).name
    return folder / plain if Path(plain).suffix else folder / f"{plain}.png"


def _rows(examples: list[dict[str, Any]]) -> Iterator[Row]:
    for example in examples:
        for side in SIDES:
            shared = {"example": example["example"], "tag": example["tag"], "side": side}
            yield {**shared, "image": example["paths"][side].read_bytes(), "caption": example["captions"][side]}
