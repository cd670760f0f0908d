"""Family clip_benchmark: the WebDataset layout that CLIP_benchmark reads and its exporter writes.

PATH/classnames.txt, PATH/zeroshot_classification_templates.txt, PATH/dataset_type.txt (retrieval, or none)
PATH/test/nshards.txt, PATH/test/0.tar, ... with KEY.webp|png|jpg|jpeg and KEY.cls, or KEY.txt with a caption a line
"""

import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cyclip_model.sets.description import (
    TEST,
    TRAIN,
    Description,
    Loaded,
    check_settings,
    require,
)
from cyclip_model.sets.pictures import Row

PICTURES = ("webp", "png", "jpg", "jpeg")
HOW = (
    "download a set from https://huggingface.co/clip-benchmark (folders named wds_SET), or export one with "
    "`clip_benchmark_export_wds`, and name its folder as path in set.json"
)


def load(described: Description, folder: Path) -> Loaded:
    """Returns a set in CLIP_benchmark's layout.

    Raises:
        AbsentError: the folder is not there, or empty.
        ValueError: a file is missing or damaged, naming it.
    """
    check_settings(described, ())
    how = described.how or HOW
    require(folder / TEST / "nshards.txt", folder, how)
    parts = [part for part in (described.parts or [TRAIN, TEST]) if part == TEST or (folder / part).is_dir()]
    shards = {part: _shards(folder / part) for part in parts}
    kind_file = folder / "dataset_type.txt"
    kind = kind_file.read_text(encoding="utf-8").strip().lower() if kind_file.is_file() else "classification"
    if kind not in ("classification", "retrieval"):
        raise ValueError(f"{kind_file}: sets of type {kind!r} are not read, classification and retrieval are")
    label = "cls" if kind == "classification" else "txt"
    rows = {part: partial(_rows, paths, label) for part, paths in shards.items()}
    if kind == "retrieval":
        return Loaded(kind=kind, parts={TEST: rows[TEST]})
    names = described.classnames or _lines(require(folder / "classnames.txt", folder, how))
    templates = None
    if described.templates == "own":
        found = _lines(require(folder / "zeroshot_classification_templates.txt", folder, how))
        templates = [line.replace("{c}", "{}") for line in found]
    return Loaded(kind=kind, parts=rows, classnames=names, templates=templates)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _shards(folder: Path) -> list[Path]:
    path = folder / "nshards.txt"
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{path}: must say how many shards there are, not {text!r}")
    paths = [folder / f"{number}.tar" for number in range(int(text))]
    for shard in paths:
        if not shard.is_file():
            raise FileNotFoundError(f"{shard} is missing: {path} says {text} shards")
    return paths


def _rows(paths: list[Path], label: str) -> Iterator[Row]:
    for path in paths:
        for key, files in _samples(path):
            picture = next((files[word] for word in PICTURES if word in files), None)
            if picture is None or label not in files:
                lacks = "a picture" if picture is None else f"{key}.{label}"
                raise ValueError(f"{path}: sample {key}: {lacks} is missing; copy the shard again")
            yield {"image": picture, **_said(files[label], label, f"{path}: {key}.{label}")}


def _said(content: bytes, label: str, where: str) -> Row:
    try:
        text = content.decode("utf-8")
        if label == "cls":
            return {"label": int(text)}
    except ValueError:
        raise ValueError(f"{where} is no {'whole number' if label == 'cls' else 'UTF-8 text'}") from None
    captions = [line.strip() for line in text.splitlines() if line.strip()]
    if not captions:
        raise ValueError(f"{where} has no caption")
    return {"captions": captions}


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields the files of each sample by their suffix; members of one sample stand together.

    A tar that was cut off between two members has lost its end, two blocks of zeros, and tarfile alone would not say.
    """
    key, files, end = "", dict[str, bytes](), 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if not member.isfile():
                    continue
                stem, _, suffix = member.name.rpartition("/")[2].partition(".")
                of = member.name[: len(member.name) - len(suffix) - 1] if stem else member.name
                if of != key and files:
                    yield key, files
                    files = {}
                opened = archive.extractfile(member)
                assert opened is not None
                key, files[suffix.lower()] = of, opened.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a whole tar ({error}); copy it again") from None
    with path.open("rb") as raw:
        raw.seek(end)
        if len(raw.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise ValueError(f"{path}: the tar is cut off; copy it again")
    if files:
        yield key, files
