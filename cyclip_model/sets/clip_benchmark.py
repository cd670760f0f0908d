"""Family clip_benchmark: sets in the WebDataset layout that CLIP_benchmark reads (clip_benchmark_export_wds writes it).

classnames.txt, zeroshot_classification_templates.txt    a line each; in templates {c} is the place of the name
dataset_type.txt                                         "retrieval" for captions; absent for classes
SPLIT/nshards.txt, SPLIT/0.tar, SPLIT/1.tar, ...         KEY.webp|png|jpg|jpeg and KEY.cls, or KEY.txt
"""

import functools
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cyclip_model.sets import wording
from cyclip_model.sets.entry import PARTS, TEST, Entry, Opened
from cyclip_model.sets.pictures import Row

KEYS = frozenset(("kind", "superclasses"))
PICTURES = ("webp", "png", "jpg", "jpeg")
HOW = (
    "`clip_benchmark_export_wds` writes a set of CLIP_benchmark in this form, or clone it from the hub "
    "(huggingface.co/datasets/clip-benchmark/wds_NAME), and name its folder as `path` in set.json"
)


def load(entry: Entry) -> Opened:
    """The set in the entry's folder.

    Raises:
        AbsentError: the folder is not there.
        FileNotFoundError: a file that the layout has is missing; names it.
        ValueError: a file is damaged; names it.
    """
    entry.require(HOW)
    kind = entry.option("kind", "") or _kind(entry.folder)
    second = {"classification": "cls", "retrieval": "txt"}.get(kind)
    if second is None:
        raise ValueError(f"{entry.folder}: dataset type {kind!r} has no protocol here: use classification or retrieval")
    found = [part for part in PARTS if part == TEST or (entry.folder / part).is_dir()]
    parts = {part: functools.partial(_rows, entry.folder / part, second) for part in found if entry.wants(part)}
    for part in parts:
        shards(entry.folder / part)
    if kind == "retrieval":
        return Opened(kind=kind, parts=parts)
    classnames = _lines(entry.folder / "classnames.txt")
    templates, sources = wording.chosen(
        entry.templates, lambda: _templates(entry.folder / "zeroshot_classification_templates.txt")
    )
    facts = wording.described(classnames, templates, entry.shift_of)
    if entry.option("superclasses", False):
        facts["superclasses"] = wording.superclasses(classnames)
    return Opened(kind=kind, parts=parts, facts=facts, sources=sources)


def _kind(folder: Path) -> str:
    path = folder / "dataset_type.txt"
    return path.read_text(encoding="utf-8").strip().lower() if path.is_file() else "classification"


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it belongs to CLIP_benchmark's layout")
    lines = path.read_text(encoding="utf-8").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines):
        if not line.strip():
            raise ValueError(f"{path}: line {number + 1} is empty")
    return lines


def _templates(path: Path) -> list[str]:
    return [wording.braced(line) for line in _lines(path)]


def shards(folder: Path) -> list[Path]:
    """The tars of a split, in the order of their numbers.

    Raises:
        FileNotFoundError: nshards.txt or one of the tars it counts is missing.
        ValueError: nshards.txt is no number, or there are more tars than it says.
    """
    text = _lines(folder / "nshards.txt")
    if len(text) != 1 or not text[0].strip().isdigit():
        raise ValueError(f"{folder / 'nshards.txt'}: must be one number, how many tars there are")
    paths = [folder / f"{number}.tar" for number in range(int(text[0]))]
    if missing := [path for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"{missing[0]} is missing: nshards.txt says {len(paths)} tars")
    if more := sorted(set(folder.glob("*.tar")) - set(paths)):
        raise ValueError(f"{more[0]} is more than the {len(paths)} tars that nshards.txt says")
    return paths


def _rows(folder: Path, second: str) -> Iterator[Row]:
    for path in shards(folder):
        for key, members in _samples(path):
            image = next((members[suffix] for suffix in PICTURES if suffix in members), None)
            if image is None or second not in members:
                lacks = "picture" if image is None else f".{second}"
                raise ValueError(f"{path}: {key} has no {lacks}")
            yield {"image": image, **_said(path, key, second, members[second])}


def _said(path: Path, key: str, second: str, content: bytes) -> Row:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: {key}.{second} is not UTF-8") from None
    if second == "cls":
        if not text.strip().isdigit():
            raise ValueError(f"{path}: {key}.cls must be the number of a class, not {text[:40]!r}")
        return {"label": int(text)}
    captions = [line for line in text.splitlines() if line.strip()]
    if not captions:
        raise ValueError(f"{path}: {key}.txt has no caption")
    return {"captions": captions}


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The samples of a tar: neighbours of one key, which is the member's name up to its first dot."""
    key, members = "", dict[str, bytes]()
    for name, content in _members(path):
        stem, _, suffix = PurePosixPath(name).name.partition(".")
        mine = f"{PurePosixPath(name).parent}/{stem}".removeprefix("./")
        if mine != key and members:
            yield key, members
            members = {}
        key = mine
        members[suffix.lower()] = content
    if members:
        yield key, members


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is None:
                    continue
                content = file.read()
                if len(content) != member.size:
                    raise ValueError(f"{path}: cut off in {member.name}")
                yield member.name, content
            if path.stat().st_size < tar.offset + tarfile.BLOCKSIZE:
                raise ValueError(f"{path}: cut off after its last whole member: a tar ends with empty blocks")
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a whole tar ({error})") from None
