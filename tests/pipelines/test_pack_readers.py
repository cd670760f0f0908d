"""Packed shards as other tools read them: GNU tar, webdataset, img2dataset's readers, open_clip's own loader."""

import argparse
import functools
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lineage import records
from pipelines import pack
from tests.builders import contents, enter, make_pairs, write_kept, write_raw

pytestmark = [
    pytest.mark.slow,  # torch and open_clip take their time to be imported
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"),
]
OUT = Path("data/shards/s1")
PAIRS = make_pairs(12)
BY_UID = {pair.uid: pair for pair in PAIRS}
KINDS = ("png", "jpg", "webp", "gif")


@pytest.fixture(autouse=True)
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The train shards, as a brace pattern."""
    enter(tmp_path, monkeypatch)
    write_raw(Path("data/raw/s1"), PAIRS)
    kept = write_kept(Path("data/selection/s1/kept.parquet"), {pair.uid: "train" for pair in PAIRS})
    pack.main(Path("data/raw/s1"), kept, OUT, Path("provenance/pack/s1.json"))
    return f"{OUT}/train/{{00000..00003}}.tar"


def kind_of(uid: str) -> str:
    return KINDS[PAIRS.index(BY_UID[uid]) % 4]


def test_gnu_tar_extracts_every_member(tmp_path: Path) -> None:
    folder = tmp_path / "extracted"
    folder.mkdir()
    for shard in sorted(OUT.glob("train/*.tar")):
        done = subprocess.run(["tar", "xf", shard, "-C", folder], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert subprocess.run(["tar", "df", shard, "-C", folder], check=False).returncode == 0
    expected = {f"{pair.uid}.{kind_of(pair.uid)}": pair.picture for pair in PAIRS}
    expected |= {f"{pair.uid}.txt": pair.caption.encode() for pair in PAIRS}
    found = contents(folder)
    assert {name: content for name, content in found.items() if not name.endswith(".json")} == expected
    assert {json.loads(found[f"{pair.uid}.json"])["url"] for pair in PAIRS} == {pair.url for pair in PAIRS}


def test_webdataset_decodes_them_as_img2datasets_output(shards: str) -> None:
    import webdataset

    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    dataset = dataset.to_tuple("__key__", "png;jpg;webp;gif", "txt", "json")
    samples = {key: (picture, text, facts) for key, picture, text, facts in dataset}
    assert set(samples) == set(BY_UID)
    for uid, (picture, text, facts) in samples.items():
        assert picture.size == (20, 16)
        assert text == facts["caption"] == BY_UID[uid].caption
        assert (facts["uid"], facts["split"]) == (uid, "train")


@pytest.mark.parametrize("kind", KINDS)
def test_clip_retrieval_reads_them(shards: str, kind: str) -> None:
    """It looks for one extension at a time; img2dataset calls every picture .jpg, whatever it is."""
    from clip_retrieval.clip_inference.reader import create_webdataset

    samples = create_webdataset(
        shards, lambda picture: picture.size, lambda texts: texts, image_key=kind, enable_metadata=True
    )
    read = {sample["image_filename"]: sample for sample in samples}
    assert set(read) == {uid for uid in BY_UID if kind_of(uid) == kind}
    assert all(sample["image_tensor"] == (20, 16) for sample in read.values())
    assert all(sample["text"] == BY_UID[uid].caption for uid, sample in read.items())


@pytest.mark.parametrize("is_train", [False, True])
def test_open_clips_own_loader_reads_them(shards: str, is_train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no use for GIFs: it leaves them out, and nothing else."""
    import torch
    from open_clip_train import data as loader  # type: ignore[import-untyped]

    # its train loader was written for webdataset <= 0.2.86, where a shard has no end mark (webdataset issue 384)
    monkeypatch.setattr(loader, "tar_file_expander", functools.partial(loader.tar_file_expander, eof_value=None))

    texts = {pair.caption: number for number, pair in enumerate(PAIRS)}
    data = {"train_data": shards, "val_data": shards, "train_num_samples": 9, "val_num_samples": 9}
    plain = {"train_data_upsampling_factors": None, "dataset_resampled": False, "seed": 0, "world_size": 1}
    args = argparse.Namespace(**data, **plain, batch_size=3, workers=0)

    def preprocess(picture: Image.Image) -> Any:
        assert picture.size == (20, 16)
        return torch.zeros(3)

    info = loader.get_wds_dataset(args, preprocess, is_train, tokenizer=lambda text: torch.tensor([texts[text]]))
    read = [number for _, batch in info.dataloader for number in batch.tolist()]
    assert sorted(read) == [number for number, pair in enumerate(PAIRS) if kind_of(pair.uid) != "gif"]


def test_a_pillow_reader_needs_the_manifest_alone() -> None:
    for row in records.read_table(OUT / "manifest.parquet", records.MANIFEST).to_pylist():
        with (OUT / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            with Image.open(io.BytesIO(file.read(row["length"]))) as picture:
                assert picture.size == (20, 16)
