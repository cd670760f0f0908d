"""Which protocols a set is for: the suite's own, or those of its kind, as stage benchmarks wrote it down."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cyclip_model.evaluation import labelled, paired, protocols, sentences, stored, suite_set
from cyclip_model.evaluation.answers import Results
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.evaluation.protocols import ProtocolsConfig
from lineage import files

SUITE = "suite"


def description(folder: Path) -> dict[str, Any]:
    """What stage benchmarks wrote down of a set; its `kind` is suite, classification, retrieval, winoground, ..."""
    if (folder / suite_set.CLASSES).is_file():
        found: dict[str, Any] = files.read_json(folder / suite_set.CLASSES)
        return {**found, "kind": SUITE}
    return stored.description(folder)


def run(
    encoder: Callable[[str], Encoder], folder: Path, described: Mapping[str, Any], config: ProtocolsConfig
) -> Results:
    """Every protocol on one set.

    Args:
        encoder: set name -> the model's encoder for that set; a shifted set asks for its parent's as well.

    Raises:
        ValueError: the set's kind is unknown, or it is a shift of a set that is not listed or not here.
    """
    mine = encoder(folder.name)
    match described["kind"]:
        case "suite":
            encoded = suite_set.encode_set(mine, folder, config.without_category)
            return protocols.run(encoded, config, mine.saved)
        case "classification":
            results = labelled.run(mine, folder, described, config)
            if parent := described.get("shift_of"):
                above = _parent(folder, parent)
                labelled.shift(results, encoder(parent), folder.with_name(parent), above, described)
            return results
        case "retrieval":
            return paired.retrieve(mine, folder, config)
        case "winoground":
            return paired.compose(mine, folder)
        case "sts":
            return sentences.compare(mine, folder)
        case "sentences":
            return sentences.classify(mine, folder, described, config)
        case unknown:
            raise ValueError(f"{folder / stored.DESCRIPTION}: kind {unknown!r} has no protocol")


def _parent(folder: Path, parent: str) -> dict[str, Any]:
    above = folder.with_name(parent)
    described = stored.description(above) if (above / stored.DESCRIPTION).is_file() else {"absent": "not listed"}
    if described.get("absent") or described.get("kind") != "classification":
        raise ValueError(
            f"{folder / stored.DESCRIPTION}: shift_of names {parent}, which is no labelled set that is here: lay it "
            "down and list it in `sets` of params.yaml, or leave shift_of out"
        )
    return described


def num_listed(described: Mapping[str, Any]) -> int:
    """Rows that a set has by its description."""
    return sum(described["parts"].values())


def num_stored(folder: Path) -> int:
    """Rows that a set has on disk."""
    sides = ("train", stored.TEST, "texts")
    return sum(pq.read_metadata(path).num_rows for side in sides for path in sorted((folder / side).glob("*.parquet")))
