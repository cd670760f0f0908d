"""An evaluation set of any family laid out as stage evaluate reads it, a few pictures in memory at a time.

set.json, test_hashes.parquet, and a part as PART/PART.parquet; parts of sentences as texts/PART.parquet.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cyclip_model.sets import clip_benchmark, image_folder, karpathy, sentences, torchvision_sets, winoground
from cyclip_model.sets.entry import DESCRIPTION, PARTS, SCHEMAS, TEST, TRAIN, AbsentError, Entry, Opened, read
from cyclip_model.sets.pictures import HASHES, Row, UndecodableError, examine, storable
from lineage import files, records, stage

Loader = Callable[[Entry], Opened]
LOADERS: Mapping[str, tuple[Loader, frozenset[str], str]] = {
    "clip_benchmark": (clip_benchmark.load, clip_benchmark.KEYS, "classification"),
    "image_folder": (image_folder.load, image_folder.KEYS, "classification"),
    "karpathy": (karpathy.load, karpathy.KEYS, "retrieval"),
    "sst": (sentences.load_sst, frozenset(), "sentences"),
    "sts": (sentences.load_sts, frozenset(), "sts"),
    "torchvision": (torchvision_sets.load, torchvision_sets.KEYS, "classification"),
    "winoground": (winoground.load, frozenset(), "winoground"),
}
"""Each family's loader, the keys it has of its own in set.json, and the kind of a set that is absent."""
_GROUP_BYTES = 1 << 26
"""A row group is closed at so much: a reader holds one in memory. CIFAR's test part fits, of ImageNet some 500."""
_ROWS_AT_ONCE = 64


@dataclass(kw_only=True, slots=True)
class Laid:
    """What became of a set's rows."""

    parts: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    hashes: list[Row] = field(default_factory=list)
    """Of the test pictures, as HASHES has them."""
    twins: dict[str, int] = field(default_factory=dict)
    """Of each test part, how many pictures have the very pixels of a train picture."""
    absent: dict[str, str] | None = None
    train_pixels: set[str] = field(default_factory=set)
    """pixel_sha256 of the train pictures: of millions of them no more than twins are told by."""

    def note(self, part: str, seen: Row) -> None:
        """Takes in the hashes of a picture; train comes first."""
        if part == TRAIN:
            self.train_pixels.add(seen["pixel_sha256"])
            return
        self.hashes.append({**seen, "part": part})
        self.twins[part] = self.twins.get(part, 0) + (seen["pixel_sha256"] in self.train_pixels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Which pictures are not taken."""

    max_pixels: int
    opted_out: frozenset[str]
    """sha256 of pictures, 64 hex digits each."""


class _PictureWriter(records.TableWriter):
    """Closes a row group by its bytes, where a record's writer goes by rows: 32768 pictures are too many."""

    def write(self, table: pa.Table) -> None:
        """Adds rows."""
        super().write(table)
        if self._waiting.nbytes >= _GROUP_BYTES:
            self._write_group(self._waiting.num_rows)


def entry_of(source: Path) -> Entry:
    """The set asked for in source, checked.

    Raises:
        ValueError: set.json is wrong; names file and key.
    """
    return read(source, {family: keys for family, (_, keys, _) in LOADERS.items()})


def lay(entry: Entry, out: Path, max_pixels: int, opted_out: frozenset[str] = frozenset()) -> Laid:
    """Writes the set under out; of one that is not here, why and how to get it.

    Args:
        entry: the set.
        out: a folder of the set's own.
        max_pixels: the bound on a picture where the entry has none of its own.
        opted_out: sha256 of pictures that are left out; of Winoground with the whole example.

    Raises:
        ValueError: the set is damaged or here in part only; names file and row.
        FileNotFoundError: one of its files is missing, while others are there.
    """
    laid = Laid()
    content: dict[str, Any] = {"name": entry.name, "family": entry.family, "sources": entry.sources}
    try:
        opened = LOADERS[entry.family][0](entry)
    except AbsentError as absence:
        why, how = absence.args
        laid.absent = {"why": why, "how": how}
        content["kind"] = entry.options.get("kind", LOADERS[entry.family][2])
    else:
        bounds = Bounds(max_pixels=entry.max_pixels or max_pixels, opted_out=opted_out)
        _lay_parts(entry, opened, out, bounds, laid)
        content |= {**opened.facts, "kind": opened.kind, "sources": [*entry.sources, *opened.sources]}
        if opened.kind == "classification":
            check_classes(entry, content)
    files.write_json(out / DESCRIPTION, {**content, "parts": laid.parts, "absent": laid.absent})
    records.write_table(records.rows_table(laid.hashes, HASHES), out / "test_hashes.parquet")
    return laid


def _lay_parts(entry: Entry, opened: Opened, out: Path, bounds: Bounds, laid: Laid) -> None:
    wanted = [part for part in PARTS if part in opened.parts and entry.wants(part)]
    if missing := [part for part in entry.parts or (TEST,) if part not in wanted]:
        raise ValueError(f"{entry.folder}: the set has no part {missing[0]}")
    schema, num_classes = SCHEMAS[opened.kind], len(opened.facts.get("classnames", ()))
    for part in wanted:
        rows = opened.parts[part]()
        if num_classes:
            rows = _labelled(entry, part, rows, num_classes)
        shown = stage.progress(rows, label=f"{entry.name} {part}")
        if "image" not in schema.names:
            laid.parts[part] = _write(shown, schema, out / "texts" / f"{part}.parquet")
            continue
        left = _left(shown, bounds.opted_out, laid.dropped, each=2 if "side" in schema.names else 1)
        examined = _examined(left, part, bounds.max_pixels, laid)
        laid.parts[part] = _write(examined, schema, out / part / f"{part}.parquet")
    for part, num_rows in laid.parts.items():
        if not num_rows:
            raise ValueError(f"{entry.folder}: part {part} has no row that can be used")


def _labelled(entry: Entry, part: str, rows: Iterable[Row], num_classes: int) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if not 0 <= row["label"] < num_classes:
            where = f"{entry.folder}: {part} row {number}"
            raise ValueError(f"{where}: label {row['label']} is not among its {num_classes} classes")
        yield row


def _left(rows: Iterable[Row], opted_out: frozenset[str], dropped: Counter[str], *, each: int) -> Iterator[Row]:
    """The rows but those opted out; `each` neighbours go together."""
    for group in zip(*[iter(rows)] * each, strict=True):
        if opted_out and any(hashlib.sha256(row["image"]).hexdigest() in opted_out for row in group):
            dropped["opt_out"] += len(group)
        else:
            yield from group


def _examined(rows: Iterable[Row], part: str, max_pixels: int, laid: Laid) -> Iterator[Row]:
    for row in rows:
        try:
            image = storable(row["image"], max_pixels)
            uid = hashlib.sha256(image).hexdigest()[:32]
            good, seen = examine({**row, "image": image, "uid": uid}, max_pixels)
        except UndecodableError as error:
            if "side" in row:  # without one of its pictures an example is none
                raise ValueError(f"example {row['example']}: picture {row['side']} cannot be used: {error}") from None
            laid.failed[str(error)] += 1
            continue
        laid.note(part, seen)
        yield good


def _write(rows: Iterable[Row], schema: pa.Schema, path: Path) -> int:
    with _PictureWriter(path, schema) as writer:
        waiting = iter(rows)
        while some := list(itertools.islice(waiting, _ROWS_AT_ONCE)):
            writer.write(pa.Table.from_pylist(some, schema=schema))
    return writer.num_rows


def check_classes(entry: Entry, content: Mapping[str, Any]) -> None:
    """Raises ValueError when a set's class names, templates or numbers of classes cannot be right."""
    names, parents = content["classnames"], content["parent_classes"]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{entry.folder}: a class has no name")
    if parents is not None and len(parents) != len(names):
        raise ValueError(f"{entry.folder}: {len(names)} classes, but {len(parents)} numbers in the parent set")
    if not all(text.count("{}") == 1 for text in content["templates"]):
        raise ValueError(f"{entry.folder}: every template must have one place for the class's name")
