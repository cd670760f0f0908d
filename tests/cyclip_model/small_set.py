"""A small evaluation set in the layout of data/sets, and a small untrained model in the layout of models."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from PIL import Image, ImageDraw

from cyclip_model.evaluation.protocols import ProtocolsConfig
from cyclip_model.metrics.probe import ProbeConfig
from cyclip_model.model import towers
from cyclip_model.sets import layout
from lineage import files, records

COLOURS = ("red", "green", "blue", "orange", "purple", "teal")
KINDS = {
    "round-things": "shapes",
    "square-things": "shapes",
    "thin-things": "strokes",
    "country-flag": "flags",
}
VENDORS = {"noto": "white", "fluent": "#eeeeee", "twemoji": "#ffffdd", "line": "#ddffff"}
PROTOCOLS = ProtocolsConfig(
    naming_k=[1, 5],
    zero_shot_k=[1, 3, 5, 10],
    hierarchy_k=[1, 2, 3],
    probe_k=[1, 5],
    class_k=[1, 3, 5],
    recall_k=[1, 5, 10],
    consistency_k=[1, 3],
    knn_k=3,
    without_category="flags",
    probe=ProbeConfig(learning_rate=0.005, weight_decay=0.01, epochs=2, batch_size=16, seed=0),
)
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESS_CFG: dict[str, Any] = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def drawing(colour: str, kind: str, vendor: str) -> bytes:
    """A 36 x 36 px PNG on the vendor's ground."""
    image = Image.new("RGB", (36, 36), VENDORS[vendor])
    pen = ImageDraw.Draw(image)
    if kind == "round-things":
        pen.ellipse((5, 5, 30, 30), fill=colour)
    elif kind == "square-things":
        pen.rectangle((8, 8, 28, 28), fill=colour)
    elif kind == "thin-things":
        pen.line((4, 4, 32, 32), fill=colour, width=4)
    else:
        pen.polygon(((2, 2), (34, 10), (2, 20)), fill=colour)
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def row(colour: str, kind: str, vendor: str) -> dict[str, Any]:
    """One row of a part."""
    image, name = drawing(colour, kind, vendor), f"{colour} {kind.removesuffix('-things').replace('-', ' ')}"
    return {
        "uid": hashlib.sha256(image).hexdigest()[:32],
        "image": image,
        "vendor": vendor,
        "concept": name,
        "name": name,
        "caption": name,
        "subcategory": kind,
        "category": KINDS[kind],
    }


def rows_of_parts() -> dict[str, list[dict[str, Any]]]:
    """The rows of every part: four colours known, two held out."""
    known, novel = COLOURS[:4], COLOURS[4:]
    plan = {
        "train": (known, ["noto"]),
        "seen": (known, ["fluent"]),
        "twemoji": (known, ["twemoji"]),
        "lineart": (known, ["line"]),
        "novel": (novel, ["noto", "fluent"]),
        "novel_twemoji": (novel, ["twemoji"]),
        "novel_lineart": (novel, ["line"]),
    }
    return {
        part: [row(colour, kind, vendor) for colour in colours for kind in KINDS for vendor in vendors]
        for part, (colours, vendors) in plan.items()
    }


def write_set(folder: Path, parts: dict[str, list[dict[str, Any]]] | None = None) -> Path:
    """The set under folder, named as the folder is."""
    for part, rows in (parts or rows_of_parts()).items():
        table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["uid"])), schema=layout.SET_ROWS)
        records.write_table(table, folder / f"{part}.parquet")
    content = {"name": folder.name, "templates": ["{}", "an emoji of {}"], "sources": [{"name": "drawn by a test"}]}
    files.write_json(folder / "set.json", content)
    return folder


def write_model(folder: Path, seed: int = 0) -> Path:
    """An untrained model under folder."""
    loaded = towers.build(MODEL_CFG, PREPROCESS_CFG, seed=seed)
    towers.save(loaded.model, folder, MODEL_CFG, PREPROCESS_CFG, arch="emoji-tiny")
    return folder


def write_params(folder: Path, **changes: Any) -> Path:
    """A params.yaml under folder with the sections of benchmarks, evaluate and compare."""
    content: dict[str, Any] = {
        "objectives": ["clip"],
        "seeds": [0],
        "sets": ["emoji"],
        "benchmarks": {"max_pixels": 4096},
        "evaluate": {"threads": 1, "batch_size": 16, "device": "cpu", "protocols": plain_protocols()},
        **changes,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder / "params.yaml"


def plain_protocols() -> dict[str, Any]:
    """PROTOCOLS as it stands in params.yaml."""
    from dataclasses import asdict

    return asdict(PROTOCOLS)
