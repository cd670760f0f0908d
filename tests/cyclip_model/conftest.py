"""Small pictures, small towers, and shards packed from them."""

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from cyclip_model.trainer import checkpoint
from tests.cyclip_model.breaking import BrokenOff

COLOURS = ("red", "green", "blue", "orange", "purple", "black", "teal", "brown")
SHAPES = ("circle", "square", "line")

TRAIN: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "lr": 0.001,
    "betas": [0.9, 0.98],
    "eps": 1e-6,
    "weight_decay": 0.1,
    "warmup_frac": 0.1,
    "grad_clip_norm": 1.0,
    "threads": 1,
    "processes": 1,
    "precision": "fp32",
    "micro_batch_size": 64,
    "checkpoint_activations": False,
    "compile": False,
    "ema_decay": 0.0,
    "warm_start": None,
    "augment": {"scale_min": 0.75, "scale_max": 1.15, "shift_frac": 0.15, "rotation_rad": 0.15, "gray_prob": 0.25},
    "towers": {
        "arch": "emoji-tiny",
        "embed_dim": 16,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess": {
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}


def picture(number: int) -> tuple[Image.Image, str]:
    """The number-th of 24 drawings, 40 x 40 px on white, with what it shows."""
    colour, shape = COLOURS[number % 8], SHAPES[number // 8 % 3]
    image = Image.new("RGB", (40, 40), "white")
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse((6, 6, 33, 33), fill=colour)
    elif shape == "square":
        pen.rectangle((8, 8, 31, 31), fill=colour)
    else:
        pen.line((4, 4, 35, 35), fill=colour, width=6)
    return image, f"{colour} {shape}"


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    image.save(target, kind)
    return target.getvalue()


def pack(folder: Path, splits: dict[str, list[dict[str, bytes]]], snapshot: str = "s1") -> Path:
    """One shard a split under folder/shards/SNAPSHOT, root.json beside; returns that file.

    A split is a list of pairs, each its members by suffix; keys are numbered.
    """
    listed = []
    for split, pairs in splits.items():
        path = folder / "shards" / snapshot / split / "00000.tar"
        path.parent.mkdir(parents=True)
        with tarfile.open(path, "w") as tar:
            for number, members in enumerate(pairs):
                for suffix, content in members.items():
                    info = tarfile.TarInfo(f"{split}{number:04d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shard = {"snapshot": snapshot, "split": split, "shard": f"{split}/00000.tar", "rows": len(pairs)}
        listed.append({**shard, "bytes": path.stat().st_size, "sha256": digest})
    root = folder / "root.json"
    rows = {split: len(splits.get(split, [])) for split in ("train", "val")}
    root.write_text(json.dumps({"digest": "", "rows": rows, "shards": listed, "snapshots": [snapshot]}))
    return root


def drawings(count: int) -> list[dict[str, bytes]]:
    """Members of the first count drawings."""
    made = []
    for number in range(count):
        image, caption = picture(number)
        made.append({"json": b"{}", "png": encoded(image), "txt": caption.encode()})
    return made


class Shards:
    """What tests reach the functions above through."""

    picture = staticmethod(picture)
    encoded = staticmethod(encoded)
    pack = staticmethod(pack)
    drawings = staticmethod(drawings)


@pytest.fixture
def shards() -> type[Shards]:
    return Shards


@pytest.fixture
def train_section() -> Callable[..., dict[str, Any]]:
    """Section train with tiny towers; arguments replace keys."""
    return lambda **changes: json.loads(json.dumps({**TRAIN, **changes}))


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch) -> BrokenOff:
    """A context in which training ends right after its first checkpoint, as if it had been killed."""

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        save = checkpoint.save

        def break_off(*arguments: Any) -> None:
            save(*arguments)
            raise OSError("broken off")

        with monkeypatch.context() as patch, pytest.raises(OSError, match="broken off"):
            patch.setattr(checkpoint, "save", break_off)
            yield

    return context
