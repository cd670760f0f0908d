"""A published set as stage benchmarks lays it out: set.json, parquet parts, hashes of the test pictures."""

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cyclip_model.sets import image_folder, karpathy, prompts, texts, torchvision_sets, webdatasets, winoground
from cyclip_model.sets.description import (
    DESCRIPTION,
    TEST,
    AbsentError,
    Description,
    Loaded,
    folder_of,
    read,
)
from cyclip_model.sets.pictures import HASHES, KNOWN_FORMATS, Row, UndecodableError, examine
from lineage import files, records, stage

_TEXT, _INT = pa.string(), pa.int64()
_SIZE = [("width", _INT), ("height", _INT)]
_PICTURE = [("uid", _TEXT), ("image", pa.binary())]
SCHEMAS = {
    "classification": pa.schema([*_PICTURE, ("label", _INT), *_SIZE]),
    "retrieval": pa.schema([*_PICTURE, ("captions", pa.list_(_TEXT)), *_SIZE]),
    "winoground": pa.schema([*_PICTURE, ("example", _INT), ("side", _INT), ("caption", _TEXT), ("tag", _TEXT), *_SIZE]),
    "sts": pa.schema([("sentence_1", _TEXT), ("sentence_2", _TEXT), ("score", pa.float64())]),
    "sentences": pa.schema([("sentence", _TEXT), ("label", _INT)]),
}
"""The columns of a part, by the kind of set."""
TEXT_KINDS = ("sts", "sentences")
"""Kinds without pictures; their parts lie in texts/."""
FAMILIES: dict[str, tuple[Callable[[Description, Path], Loaded], str]] = {
    "torchvision": (torchvision_sets.load, "classification"),
    "clip_benchmark": (webdatasets.load, "classification"),
    "image_folder": (image_folder.load, "classification"),
    "karpathy": (karpathy.load, "retrieval"),
    "winoground": (winoground.load, "winoground"),
    "sts": (texts.load_sts, "sts"),
    "sst": (texts.load_sst, "sentences"),
}
"""The loader of each family, and the kind an absent set of it is taken for."""
ROWS_PER_GROUP = 256
"""Of pictures: a few tens of megabytes at most; more of what is short."""
_ROWS_AT_A_TIME = 64

logger = logging.getLogger("clipline")


@dataclass(kw_only=True)
class Account:
    """Where the rows of a set went."""

    parts: dict[str, int] = field(default_factory=dict)
    """Rows kept."""
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    is_absent: bool = False

    @property
    def kept(self) -> int:
        """Rows of all parts."""
        return sum(self.parts.values())

    @property
    def rows_in(self) -> int:
        """Rows that the set brought."""
        return self.kept + self.dropped.total() + self.failed.total()


def is_described(source: Path) -> bool:
    """Returns whether a folder's set.json names a family: the emoji suite's does not."""
    path = source / DESCRIPTION
    return path.is_file() and "family" in files.read_json(path)


def build(source: Path, out: Path, max_pixels: int, refused: Collection[str] = frozenset()) -> Account:
    """Writes the benchmark of a set under `out`; a set that is absent is written as such, with a warning.

    Args:
        source: the folder of its set.json.
        out: made here.
        max_pixels: pictures that declare more are not decoded, unless the set has a bound of its own.
        refused: sha256 of pictures that are opted out.

    Raises:
        ValueError: the set is damaged or half there, naming the file or row.
    """
    described = read(source)
    if described.family not in FAMILIES:
        raise ValueError(
            f"{source / DESCRIPTION}: family {described.family!r} is not known; known: {', '.join(FAMILIES)}"
        )
    load, kind = FAMILIES[described.family]
    try:
        loaded = load(described, folder_of(source, described))
    except AbsentError as absent:
        how = described.how or absent.how
        logger.warning("set %s is absent: %s. To get it: %s", described.name, absent, how)
        _write_set(out, described, Loaded(kind=kind, parts={}), {}, absent={"why": str(absent), "how": how})
        records.write_table(HASHES.empty_table(), out / "test_hashes.parquet")
        return Account(is_absent=True)
    words = _words(described, loaded)
    account, hashes = Account(), list[Row]()
    bound = described.max_pixels or max_pixels
    for part in sorted(loaded.parts):
        rows = stage.progress(_checked(loaded.parts[part](), words, f"set {described.name}, part {part}"), label=part)
        if loaded.kind not in TEXT_KINDS:
            kept = _examined(rows, bound, refused, account, hashes if part == TEST else None)
            folder = part
        else:
            kept, folder = iter(rows), "texts"
        account.parts[part] = _write_part(kept, SCHEMAS[loaded.kind], out / folder / f"{part}.parquet")
        if not account.parts[part]:
            raise ValueError(f"set {described.name}: part {part} has no row that can be used")
    records.write_table(records.rows_table(hashes, HASHES), out / "test_hashes.parquet")
    _write_set(out, described, loaded, account.parts, **words)
    return account


def _words(described: Description, loaded: Loaded) -> dict[str, Any]:
    """Returns the keys of set.json that a kind of set has beside every set's.

    Raises:
        ValueError: names, templates or superclasses do not fit each other.
    """
    if loaded.kind == "sentences":
        return {"classnames": loaded.classnames}
    if loaded.kind != "classification":
        return {}
    names = described.classnames or loaded.classnames or []
    if loaded.classnames and len(names) != len(loaded.classnames):
        raise ValueError(f"set {described.name}: {len(names)} classnames, but it has {len(loaded.classnames)} classes")
    chosen: list[str] | None = described.templates
    if described.templates in ("own", "imagenet"):
        chosen = loaded.templates if described.templates == "own" else prompts.imagenet_templates()
    if not chosen or not all(text.count("{}") == 1 for text in chosen):
        raise ValueError(
            f"set {described.name}: its templates are not texts with one {{}} each; name others in set.json"
        )
    superclasses = described.superclasses or loaded.superclasses
    if superclasses is not None:
        _check_superclasses(superclasses, len(names), described.name)
    shift = {"shift_of": described.shift_of, "parent_classes": loaded.parent_classes}
    return {"classnames": names, "templates": chosen, "superclasses": superclasses, **shift}


def _check_superclasses(superclasses: dict[str, Any], num_classes: int, name: str) -> None:
    of, names = superclasses.get("of"), superclasses.get("names")
    are_lists = set(superclasses) == {"names", "of"} and isinstance(of, list) and isinstance(names, list)
    if not are_lists or len(of or []) != num_classes or set(of or []) != set(range(len(names or []))):
        raise ValueError(
            f"set {name}: superclasses must be {{names, of}}: `of` has the superclass's number for each of the "
            f"{num_classes} classes, and each superclass has a class"
        )


def _checked(rows: Iterable[Row], words: dict[str, Any], where: str) -> Iterator[Row]:
    num_classes = len(words.get("classnames") or [])
    for number, row in enumerate(rows):
        if "label" in row and not 0 <= row["label"] < num_classes:
            raise ValueError(f"{where}: row {number}: label {row['label']} is not one of its {num_classes} classes")
        yield row


def _examined(
    rows: Iterable[Row], max_pixels: int, refused: Collection[str], account: Account, hashes: list[Row] | None
) -> Iterator[Row]:
    """Yields the rows whose picture can be used, with uid, width and height; tells account and hashes."""
    for row in rows:
        sha256 = hashlib.sha256(row["image"]).hexdigest()
        if sha256 in refused:
            account.dropped["opt_out"] += 1
            continue
        try:
            kept, found = examine({**row, "uid": sha256[:32]}, max_pixels, KNOWN_FORMATS)
        except UndecodableError as error:
            account.failed[str(error)] += 1
            continue
        if hashes is not None:
            hashes.append({**found, "part": TEST})
        yield kept


def _write_part(rows: Iterator[Row], schema: pa.Schema, path: Path) -> int:
    per_group = ROWS_PER_GROUP if "image" in schema.names else records.ROWS_PER_GROUP
    with records.TableWriter(path, schema, per_group) as writer:
        while some := list(itertools.islice(rows, _ROWS_AT_A_TIME)):
            writer.write(pa.Table.from_pylist(some, schema=schema))
        return writer.num_rows


def _write_set(out: Path, described: Description, loaded: Loaded, parts: dict[str, int], **words: Any) -> None:
    of_words = prompts.source_of("open-clip-torch", "80 templates") if described.templates == "imagenet" else None
    sources = [*described.sources, *loaded.sources, *([of_words] if of_words and parts else [])]
    facts = {"name": described.name, "kind": loaded.kind, "family": described.family, "sources": sources}
    files.write_json(out / DESCRIPTION, {**facts, "parts": parts, "absent": None, **words})
