"""Families sts and sst: sentences alone, in the files that STS-B and GLUE's SST-2 are handed out in."""

import functools
from collections.abc import Iterator
from pathlib import Path

from cyclip_model.sets.entry import TEST, TRAIN, Entry, Opened
from cyclip_model.sets.pictures import Row

STS_HOW = "Stsbenchmark.tar.gz of ixa2.si.ehu.eus/stswiki holds sts-test.csv: lay it down"
SST_HOW = "SST-2.zip of GLUE (gluebenchmark.com/tasks) holds train.tsv and dev.tsv: lay them down"
MOST = 5.0
"""STS-B's scores lie in [0, 5]."""
SCORE, ONE, OTHER = 4, 5, 6
"""Columns of sts-*.csv: genre, file, year, number, score, two sentences, and sometimes their licences."""


def load_sts(entry: Entry) -> Opened:
    """Pairs of sentences with scores: sts-test.csv, tab-separated without quoting.

    Raises:
        AbsentError: the folder is not there.
        FileNotFoundError: the file is missing.
        ValueError: a row is short or its score no number; names it.
    """
    entry.require(STS_HOW)
    path = _there(entry.folder / "sts-test.csv", STS_HOW)
    return Opened(kind="sts", parts={TEST: functools.partial(_pairs, path)})


def load_sst(entry: Entry) -> Opened:
    """Sentences of two classes: train.tsv, and dev.tsv to test on, for GLUE keeps the labels of its test part.

    Raises:
        AbsentError: the folder is not there.
        FileNotFoundError: a file is missing.
        ValueError: a row is short or its label neither 0 nor 1; names it.
    """
    entry.require(SST_HOW)
    parts = {part: _there(entry.folder / f"{name}.tsv", SST_HOW) for part, name in ((TRAIN, "train"), (TEST, "dev"))}
    facts = {"classnames": ["negative", "positive"]}
    return Opened(
        kind="sentences", parts={part: functools.partial(_sentences, parts[part]) for part in parts}, facts=facts
    )


def _there(path: Path, how: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {how}")
    return path


def _fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n").split("\t")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None


def _pairs(path: Path) -> Iterator[Row]:
    for number, fields in _fields(path):
        if len(fields) <= OTHER:
            raise ValueError(
                f"{path}: row {number} has {len(fields)} columns: it is cut off, for there are {OTHER + 1}"
            )
        try:
            score = float(fields[SCORE])
        except ValueError:
            raise ValueError(f"{path}: row {number}: score {fields[SCORE]!r} is not a number") from None
        if not 0 <= score <= MOST:
            raise ValueError(f"{path}: row {number}: score {score} is not between 0 and {MOST:g}")
        yield {"sentence_1": fields[ONE].strip(), "sentence_2": fields[OTHER].strip(), "score": score}


def _sentences(path: Path) -> Iterator[Row]:
    for number, fields in _fields(path):
        if number == 1:
            if fields != ["sentence", "label"]:
                raise ValueError(f"{path}: row 1 must be the header: sentence TAB label")
            continue
        if len(fields) != len(("sentence", "label")) or fields[1] not in ("0", "1"):
            raise ValueError(f"{path}: row {number} must be a sentence, a tab, and 0 or 1")
        yield {"sentence": fields[0].strip(), "label": int(fields[1])}
