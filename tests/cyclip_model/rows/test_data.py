from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cyclip_model.model import towers
from cyclip_model.model.towers import TowersConfig
from cyclip_model.rows import data

END = 49407


@pytest.fixture
def tiny(train_section: Callable[..., dict[str, Any]]) -> towers.Loaded:
    section = train_section()
    return towers.build(TowersConfig(**section["towers"]).model_cfg(), section["preprocess"], seed=0)


def read(root: Path, split: str, tiny: towers.Loaded) -> data.Rows:
    shards = root.parent / "shards"
    return data.read(shards, data.verified(root, shards), split, tiny)


def test_rows_come_as_packed_split_by_split(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    pairs = shards.drawings(6)
    root = shards.pack(tmp_path, {"train": pairs[:4], "val": pairs[4:]})
    rows, held_out = read(root, "train", tiny), read(root, "val", tiny)
    assert rows.uid == ["train0000", "train0001", "train0002", "train0003"]
    assert (rows.snapshot, held_out.snapshot) == (["s1"] * 4, ["s1"] * 2)
    assert held_out.uid == ["val0000", "val0001"]
    assert torch.equal(rows.tokens, tiny.tokenizer([shards.picture(number)[1] for number in range(4)]))


def test_snapshots_come_in_order(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    pairs = shards.drawings(2)
    roots = [shards.pack(tmp_path / name, {"train": pairs}, snapshot=name) for name in ("s2", "s1")]
    listed = [shard for root in roots for shard in data.verified(root, root.parent / "shards")]
    (tmp_path / "s1" / "shards" / "s1").rename(tmp_path / "s2" / "shards" / "s1")
    root = tmp_path / "both.json"
    root.write_text(str({"shards": listed}).replace("'", '"'))
    rows = data.read(tmp_path / "s2" / "shards", data.verified(root, tmp_path / "s2" / "shards"), "train", tiny)
    assert rows.snapshot == ["s1", "s1", "s2", "s2"]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("size", [(50, 40), (20, 64), (32, 32)])
def test_pixels_are_those_of_open_clips_transform(
    tmp_path: Path, shards: Any, tiny: towers.Loaded, mode: str, size: tuple[int, int]
) -> None:
    from torchvision.transforms.functional import normalize

    image = Image.radial_gradient("L").convert("RGB").resize(size).convert(mode)
    root = shards.pack(tmp_path, {"train": [{"png": shards.encoded(image), "txt": b"a gradient"}]})
    rows = read(root, "train", tiny)
    assert rows.images.dtype == torch.uint8
    final = tiny.preprocess.transforms[-1]  # type: ignore[attr-defined]
    made = normalize(rows.images[0].float() / 255, final.mean, final.std)
    assert torch.equal(made, tiny.preprocess(image))


@pytest.mark.parametrize(("suffix", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("gif", "GIF")])
def test_every_format_of_the_shards_is_read(
    tmp_path: Path, shards: Any, tiny: towers.Loaded, suffix: str, kind: str
) -> None:
    image, caption = shards.picture(0)
    root = shards.pack(tmp_path, {"train": [{suffix: shards.encoded(image, kind), "txt": caption.encode()}]})
    assert read(root, "train", tiny).images.shape == (1, 3, 32, 32)


def test_a_long_caption_keeps_its_end_token(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    image = shards.encoded(shards.picture(0)[0])
    captions = [b"one two three four five six seven eight nine", b"one two three four five six seven", b"one"]
    rows = read(shards.pack(tmp_path, {"train": [{"png": image, "txt": text} for text in captions]}), "train", tiny)
    assert rows.tokens.shape == (3, 8)
    assert (rows.tokens == END).sum(1).tolist() == [1, 1, 1]
    assert rows.tokens.argmax(1).tolist() == [7, 7, 2]


def test_an_empty_split_is_no_rows(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    rows = read(shards.pack(tmp_path, {"train": shards.drawings(1)}), "val", tiny)
    assert len(rows) == 0
    assert rows.images.shape == (0, 3, 32, 32)
    assert rows.tokens.shape == (0, 8)


@pytest.mark.parametrize("content", [b"", b"<html>", "cut"])
def test_a_picture_that_does_not_decode_is_named(
    tmp_path: Path, shards: Any, tiny: towers.Loaded, content: bytes | str
) -> None:
    good = shards.drawings(2)
    broken = good[1]["png"][:100] if isinstance(content, str) else content
    root = shards.pack(tmp_path, {"train": [good[0], {**good[1], "png": broken}]})
    with pytest.raises(ValueError, match=r"s1/train/00000.tar, key train0001: the picture does not decode") as found:
        read(root, "train", tiny)
    assert " at 0x" not in str(found.value)


def test_a_caption_that_is_no_utf_8_is_named(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    good = shards.drawings(2)
    root = shards.pack(tmp_path, {"train": [good[0], {**good[1], "txt": b"a\xff"}]})
    message = r"s1/train/00000.tar, key train0001: the caption is no UTF-8 \(invalid start byte at byte 1\)"
    with pytest.raises(ValueError, match=message):
        read(root, "train", tiny)


@pytest.mark.parametrize("shard", ["{}", "7", '{"snapshot": "s1", "split": "train", "shard": "x", "rows": "2"}'])
def test_a_list_of_no_shards_is_named(tmp_path: Path, shards: Any, shard: str) -> None:
    root = shards.pack(tmp_path, {"train": shards.drawings(1)})
    root.write_text(f'{{"shards": [{shard}]}}')
    with pytest.raises(ValueError, match=r"root.json: shards\[0\] lacks one of snapshot, split, shard, rows, sha256; "):
        data.verified(root, tmp_path / "shards")


def test_swapped_arguments_are_named(tmp_path: Path, shards: Any) -> None:
    root = shards.pack(tmp_path, {"train": shards.drawings(1)})
    with pytest.raises(
        ValueError, match=r"shards, .*root.json: root.json comes first, the folder of its shards second"
    ):
        data.verified(tmp_path / "shards", root)


def test_a_pair_without_caption_is_named(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    root = shards.pack(tmp_path, {"train": [{"png": shards.drawings(1)[0]["png"]}]})
    with pytest.raises(ValueError, match=r"00000.tar, key train0000: a pair needs .txt and one of"):
        read(root, "train", tiny)


def test_a_changed_shard_is_named(tmp_path: Path, shards: Any) -> None:
    root = shards.pack(tmp_path, {"train": shards.drawings(2)})
    path = tmp_path / "shards" / "s1" / "train" / "00000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"00000.tar is not the shard that .*root.json lists: its sha256 differs"):
        data.verified(root, tmp_path / "shards")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"00000.tar is missing, but .*root.json lists it"):
        data.verified(root, tmp_path / "shards")


def test_a_shard_with_other_rows_than_listed_is_named(tmp_path: Path, shards: Any, tiny: towers.Loaded) -> None:
    root = shards.pack(tmp_path, {"train": shards.drawings(2)})
    root.write_text(root.read_text().replace('"rows": 2', '"rows": 3'))
    with pytest.raises(ValueError, match=r"00000.tar holds 2 pairs where root.json lists 3"):
        read(root, "train", tiny)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first = data.batches(50, 8, seed=1, epoch=2)
    assert np.array_equal(first, data.batches(50, 8, seed=1, epoch=2))
    assert not np.array_equal(first, data.batches(50, 8, seed=1, epoch=3))
    assert not np.array_equal(first, data.batches(50, 8, seed=2, epoch=2))


@pytest.mark.parametrize(("rows", "number"), [(8, 1), (15, 1), (16, 2), (7, 0)])
def test_each_row_comes_at_most_once_and_the_remainder_is_left_out(rows: int, number: int) -> None:
    made = data.batches(rows, 8, seed=0, epoch=0)
    assert made.shape == (number, 8)
    assert len(np.unique(made)) == made.size
