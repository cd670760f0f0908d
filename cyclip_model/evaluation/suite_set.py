"""The suite's own sets (the demo's is one) under one model: parts encoded, classifiers built from names and members."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.evaluation.suite import Encoded, Part, Space
from cyclip_model.metrics.zeroshot import Floats, class_embeddings
from cyclip_model.sets.layout import KNOWN, NOVEL, ROWS, TRAIN
from lineage import files, records

CLASSES = "classes.json"
"""The file that tells a set of the suite from the other kinds."""


class Texts:
    """Unit embeddings of texts, each distinct one encoded once."""

    def __init__(self, encoder: Encoder, lines: Iterable[str]) -> None:
        distinct = sorted(set(lines))
        self._row = {line: row for row, line in enumerate(distinct)}
        self._features = encoder.texts(distinct)
        self._vectors = encoder.compared(self._features, "text")

    def features(self, lines: Sequence[str]) -> Floats:
        """(N, D) float32, as the text tower gives them."""
        return self._features[[self._row[line] for line in lines]]

    def space(self, prompts: Mapping[str, Sequence[str]]) -> Space:
        """One class for each key, embedded as the normalised mean of its prompts' embeddings."""
        rows = [self._row[line] for lines in prompts.values() for line in lines]
        class_P = np.repeat(np.arange(len(prompts)), [len(lines) for lines in prompts.values()])
        return Space(classes=list(prompts), vectors=class_embeddings(self._vectors[rows], class_P, len(prompts)))


def fill(templates: Sequence[str], words: Iterable[str]) -> list[str]:
    """Every word in every template."""
    return [template.replace("{}", word) for word in words for template in templates]


def spoken(class_name: str) -> str:
    """The class name as words: face-smiling becomes face smiling."""
    return class_name.replace("-", " ").replace("_", " ")


def prompts(described: Mapping[str, Any]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """field -> variant -> class -> its prompts: the class's own name, or the names of its members in the train part."""
    templates = described["templates"]
    found = {"name": {"names": {name: fill(templates, [name]) for name in described["names"]}}}
    for field, key in (("subcategory", "subcategories"), ("category", "categories")):
        classes = described[key]
        found[field] = {
            "prompt": {name: fill(templates, [spoken(name)]) for name in classes},
            "members": {name: fill(templates, members["names"]) for name, members in classes.items()},
        }
    return found


def read_set(folder: Path) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """classes.json of a benchmark, and its parts as tables of layout.ROWS."""
    path = folder / CLASSES
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `dvc repro benchmarks@{folder.name}` makes it")
    places = {TRAIN: TRAIN, **dict.fromkeys((*KNOWN, *NOVEL), "test")}
    tables = {part: records.read_table(folder / place / f"{part}.parquet", ROWS) for part, place in places.items()}
    return files.read_json(path), tables


def encode_set(encoder: Encoder, folder: Path, without: str | None) -> Encoded:
    """The set in folder under the model.

    Raises:
        ValueError: the category to leave out is none of the set's.
    """
    described, tables = read_set(folder)
    if without is not None and without not in described["categories"]:
        known = ", ".join(described["categories"])
        raise ValueError(f"evaluate.protocols.without_category: {folder} has no category {without!r}; it has {known}")
    wanted = prompts(described)
    parts = {part: encode_part(encoder, part, table) for part, table in tables.items()}
    captions = {line: [line] for line in sorted({line for part in parts.values() for line in part.labels["caption"]})}
    lines = [line for field in wanted.values() for variant in field.values() for line in _flat(variant)]
    texts = Texts(encoder, [*lines, *captions])
    spaces = {field: {name: texts.space(of) for name, of in variants.items()} for field, variants in wanted.items()}
    names = wanted["name"]["names"]
    name_P = np.repeat(np.arange(len(names)), [len(of) for of in names.values()])
    parent = {name: members["category"] for name, members in described["subcategories"].items()}
    return Encoded(
        train=parts[TRAIN],
        tests={part: parts[part] for part in (*KNOWN, *NOVEL)},
        spaces=add_restricted(spaces, parent, without),
        categories=parent,
        captions=texts.space(captions),
        names=(texts.features([line for of in names.values() for line in of]), name_P),
        device=encoder.device,
    )


def _flat(prompts_by_class: Mapping[str, Sequence[str]]) -> list[str]:
    return [line for lines in prompts_by_class.values() for line in lines]


def encode_part(encoder: Encoder, part: str, table: pa.Table) -> Part:
    """One part under the image tower."""
    columns = {name: table[name].to_pylist() for name in ("uid", "image", "name", "caption", "subcategory", "category")}
    made = encoder.pictures(part, columns.pop("image"), table.num_rows)
    return Part(
        uids=columns.pop("uid"),
        labels=columns,
        features=made.features,
        backbone=made.backbone,
        images=encoder.compared(made.features, "image"),
    )


def add_restricted(
    spaces: Mapping[str, Mapping[str, Space]], parent: Mapping[str, str], without: str | None
) -> dict[str, dict[str, Space]]:
    """The spaces, and beside each of subcategories or categories the same one without the category left out."""
    found = {field: dict(variants) for field, variants in spaces.items()}
    if without is None:
        return found
    for name, space in spaces["category"].items():
        found["category"][f"{name}_without_{without}"] = space.restricted(lambda label: label != without)
    for name, space in spaces["subcategory"].items():
        found["subcategory"][f"{name}_without_{without}"] = space.restricted(lambda label: parent[label] != without)
    return found
