"""Small sets of every kind as stage benchmarks stores them, and a model with cluster heads."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cyclip_model.losses.nclip import HeadConfig
from cyclip_model.model import heads
from cyclip_model.sets.pictures import HASHES
from lineage import files, records
from tests.cyclip_model import small_set

CLASSES = [f"{colour} {kind}" for colour in ("red", "green", "blue") for kind in ("ball", "box")]
SUPERCLASSES = {"names": ["ball", "box"], "of": [0, 1, 0, 1, 0, 1]}
HEAD = HeadConfig(num_clusters=8, hidden_dim=12, bottleneck_dim=6)
_PICTURE = [("uid", pa.string()), ("image", pa.binary())]
_SIZE = [("width", pa.int64()), ("height", pa.int64())]
LABELLED = pa.schema([*_PICTURE, ("label", pa.int64()), *_SIZE])
CAPTIONED = pa.schema([*_PICTURE, ("captions", pa.list_(pa.string())), *_SIZE])
TWOS = pa.schema(
    [*_PICTURE, ("example", pa.int64()), ("side", pa.int64()), ("caption", pa.string()), ("tag", pa.string()), *_SIZE]
)


def picture(class_name: str, vendor: str) -> dict[str, Any]:
    """uid, image and size of a drawing of a class."""
    colour, kind = class_name.split()
    image = small_set.drawing(colour, "round-things" if kind == "ball" else "square-things", vendor)
    return {"uid": hashlib.sha256(image).hexdigest()[:32], "image": image, "width": 36, "height": 36}


def describe(folder: Path, kind: str, parts: dict[str, int], **more: Any) -> Path:
    """set.json, and hashes of no test picture."""
    shared: dict[str, Any] = {
        "name": folder.name,
        "kind": kind,
        "family": "made",
        "sources": [],
        "parts": parts,
        "absent": None,
    }
    files.write_json(folder / "set.json", {**shared, **more})
    records.write_table(HASHES.empty_table(), folder / "test_hashes.parquet")
    return folder


def write_labelled(
    folder: Path, classes: Sequence[str] = CLASSES, *, train: bool = True, test_vendor: str = "fluent", **more: Any
) -> Path:
    """Every class once a vendor: two vendors to train on, one to test."""
    vendors = {"train": ("noto", "twemoji"), "test": (test_vendor,)} if train else {"test": (test_vendor,)}
    for part, of in vendors.items():
        rows = [{**picture(name, vendor), "label": label} for vendor in of for label, name in enumerate(classes)]
        table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["uid"])), schema=LABELLED)
        records.write_table(table, folder / part / f"{part}.parquet")
    parts = {part: len(of) * len(classes) for part, of in vendors.items()}
    shared: dict[str, Any] = {"classnames": list(classes), "templates": ["{}", "a drawing of a {}"], "shift_of": None}
    return describe(folder, "classification", parts, **{**shared, "superclasses": None, "parent_classes": None, **more})


def write_captioned(folder: Path, *, each: int = 5) -> Path:
    """Every class a picture with `each` captions."""
    rows = []
    for number, name in enumerate(CLASSES):
        captions = [f"{'very ' * times}{name} number {number}" for times in range(each)]
        rows.append({**picture(name, "noto"), "captions": captions})
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["uid"])), schema=CAPTIONED)
    records.write_table(table, folder / "test/test.parquet")
    return describe(folder, "retrieval", {"test": len(rows)})


def write_twos(folder: Path) -> Path:
    """Three examples: a ball and a box of one colour each."""
    rows = [
        {**picture(CLASSES[2 * example + side], "noto"), "example": example, "side": side, "tag": "object"}
        | {"caption": CLASSES[2 * example + side]}
        for example in range(3)
        for side in (0, 1)
    ]
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["uid"])), schema=TWOS)
    records.write_table(table, folder / "test/test.parquet")
    return describe(folder, "winoground", {"test": len(rows)})


def write_likeness(folder: Path) -> Path:
    """Four pairs of sentences with scores."""
    table = pa.table(
        {
            "sentence_1": ["red ball", "green box", "blue ball", "red box"],
            "sentence_2": ["red ball", "green ball", "an old house", "the sea at night"],
            "score": [5.0, 3.0, 1.0, 0.0],
        }
    )
    records.write_table(table, folder / "texts/test.parquet")
    return describe(folder, "sts", {"test": 4})


def write_sentences(folder: Path) -> Path:
    """Sentences of two classes that one word tells apart."""
    rows = [(f"{word} {name}", int(word == "good")) for name in CLASSES for word in ("good", "bad")]
    for part, of in (("train", rows), ("test", rows[::3])):
        table = pa.table({"sentence": [line for line, _ in of], "label": [label for _, label in of]})
        records.write_table(table, folder / f"texts/{part}.parquet")
    return describe(folder, "sentences", {"train": 12, "test": 4}, classnames=["negative", "positive"])


def write_headed_model(folder: Path, *, compares: bool = True) -> Path:
    """An untrained model with cluster heads under folder."""
    small_set.write_model(folder)
    made = heads.build(small_set.MODEL_CFG["embed_dim"], HEAD, seed=0).eval()
    heads.save(heads.Saved(made, 0.1, compares), folder, HEAD)
    return folder
