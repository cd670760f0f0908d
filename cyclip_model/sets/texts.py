"""Families sts and sst: sets of sentences, without pictures.

sts: STS-B's sts-test.csv: no header, tabs; fields 5, 6 and 7 are the score (0 to 5) and the two sentences.
sst: SST-2 as GLUE has it: train.tsv and dev.tsv, a header, then sentence TAB label; test.tsv there has no labels.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cyclip_model.sets.description import TEST, TRAIN, Description, Loaded, check_settings, require
from cyclip_model.sets.pictures import Row

HOW_STS = (
    "unpack http://ixa2.si.ehu.eus/stswiki/images/4/48/Stsbenchmark.tar.gz and name its folder as path in set.json"
)
HOW_SST = "unpack https://dl.fbaipublicfiles.com/glue/data/SST-2.zip and name its folder as path in set.json"
_MAX_SCORE = 5.0


def load_sts(described: Description, folder: Path) -> Loaded:
    """Returns pairs of sentences with their similarity.

    Raises:
        AbsentError: nothing is in the folder.
        ValueError: a row is short, or a score is not within 0 to 5, when the rows are read.
    """
    check_settings(described, ())
    path = require(folder / "sts-test.csv", folder, described.how or HOW_STS)
    return Loaded(kind="sts", parts={TEST: partial(_pairs, path)})


def load_sst(described: Description, folder: Path) -> Loaded:
    """Returns sentences labelled 0 (negative) or 1 (positive); the dev part is the test part.

    Raises:
        AbsentError: nothing is in the folder.
        ValueError: a row is no sentence with a label, when the rows are read.
    """
    check_settings(described, ())
    how = described.how or HOW_SST
    names = {TRAIN: "train.tsv", TEST: "dev.tsv"}
    paths = {part: require(folder / names[part], folder, how) for part in described.parts or names}
    parts = {part: partial(_sentences, path) for part, path in paths.items()}
    return Loaded(kind="sentences", parts=parts, classnames=["negative", "positive"])


def _fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields number and fields of each line; quotes are text there, as the files mean them."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            yield number, line.rstrip("\r\n").split("\t")


def _pairs(path: Path) -> Iterator[Row]:
    for number, fields in _fields(path):
        if len(fields) < 7:
            raise ValueError(f"{path}: line {number}: {len(fields)} fields, but at least 7 are needed")
        try:
            score = float(fields[4])
        except ValueError:
            score = math.nan
        if not 0 <= score <= _MAX_SCORE:
            raise ValueError(f"{path}: line {number}: score {fields[4]!r} is not a number from 0 to 5")
        if not fields[5].strip() or not fields[6].strip():
            raise ValueError(f"{path}: line {number}: a sentence is empty")
        yield {"sentence_1": fields[5].strip(), "sentence_2": fields[6].strip(), "score": score}


def _sentences(path: Path) -> Iterator[Row]:
    for number, fields in _fields(path):
        if number == 1:
            if fields != ["sentence", "label"]:
                raise ValueError(f"{path}: line 1: the header must be sentence TAB label")
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1") or not fields[0].strip():
            raise ValueError(f"{path}: line {number}: not a sentence, a tab and a label, 0 or 1")
        yield {"sentence": fields[0].strip(), "label": int(fields[1])}
