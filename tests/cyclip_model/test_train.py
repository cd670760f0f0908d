import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cyclip_model import train
from cyclip_model.model import heads, towers
from cyclip_model.trainer import training
from lineage import files, records, runs
from tests.cyclip_model.losses.settings import CONFIGS

LOSSES = {name: dataclasses.asdict(config) for name, config in CONFIGS.items()}
LOADER = {"cache": "ram", "workers": 0, "prefetch": 2}
Prepare = Callable[..., Path]


@pytest.fixture
def prepare(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Prepare:
    """Makes a folder with params.yaml and packed drawings, goes there, and returns root.json."""
    monkeypatch.chdir(tmp_path)

    def make(train_rows: int = 20, val_rows: int = 3, **changes: Any) -> Path:
        sections = {"train": train_section(**changes), "losses": LOSSES, "loader": LOADER}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
        splits = {"train": shards.drawings(train_rows), "val": shards.drawings(val_rows)}
        root: Path = shards.pack(Path("data"), {split: rows for split, rows in splits.items() if rows})
        return root

    return make


def run(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    model, provenance = Path("models") / name, Path("provenance/train") / f"{name}.json"
    train.main(root, root.parent / "shards", model, provenance)
    return model, json.loads(provenance.read_text())


CLUSTERS = ["alignment", "sharpness", "smoothness", "active_clusters", "agreement", "smoothness/log K"]
PARTS = {
    "clip-0": ["loss", "contrastive"],
    "cyclip-1": ["loss", "contrastive", "in_modal", "cross_modal"],
    "nclip-0": ["loss", *CLUSTERS],
    "xclip-0": ["loss", "contrastive", "non_contrastive", *CLUSTERS],
    "siglip-0": ["loss"],
    "protoclip-0": ["loss", "contrastive", "prototypes"],
}


@pytest.mark.parametrize("name", PARTS)
def test_shards_become_a_model_with_history_and_exposure(prepare: Prepare, name: str) -> None:
    model, provenance = run(prepare(), name)
    has_heads = name in ("nclip-0", "xclip-0")
    assert sorted(path.name for path in model.iterdir()) == [
        "emoji-tiny.json",
        "exposure.parquet",
        *(["heads.json", "heads.safetensors"] if has_heads else []),
        "history.csv",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    loaded = towers.load(model)
    assert torch.isfinite(loaded.model.encode_text(loaded.tokenizer(["a red circle"]))).all()
    assert (heads.load(model) is not None) == has_heads
    assert (loaded.model.logit_bias is not None) == (name == "siglip-0")
    header, *lines = (model / "history.csv").read_text().splitlines()
    columns = ["epoch", "step", "lr", *PARTS[name], "grad_norm", "logit_scale", "2B/D", "val_loss", "val_recall_10"]
    assert header.split(",") == columns
    assert [line.split(",")[:2] for line in lines] == [["1", "2"], ["2", "4"]]
    assert provenance["params"][f"losses.{name[:-2]}"] == LOSSES[name[:-2]]


def test_every_row_is_accounted_for(prepare: Prepare) -> None:
    model, provenance = run(prepare(), "clip-0")
    seen = records.read_table(model / "exposure.parquet", records.EXPOSURE).to_pylist()
    counts = provenance["counts"]
    assert sum(row["count"] for row in seen) == counts["pairs_drawn"] == 2 * 2 * 8
    assert [row["uid"] for row in seen] == sorted({row["uid"] for row in seen})
    assert min(row["count"] for row in seen) == 1
    assert counts["rows_in"] == 23
    assert counts["kept"] == len(seen)
    assert counts["dropped"].get("never_drawn", 0) == 20 - len(seen)
    assert counts["dropped"]["val_split"] == counts["val_rows"] == 3


def test_how_fast_it_went_is_told_beside_the_results(prepare: Prepare) -> None:
    run(prepare(), "clip-0")
    lines = [json.loads(line) for line in Path(".work/timings/train-clip-0.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["samples"]) for line in lines] == [(1, 16), (2, 16)]
    assert all(line["samples_per_s"] > 0 and 0 < line["data_wait"] < 1 and line["peak_mib"] > 10 for line in lines)
    assert all(0 < line["augmentation"] < 1 - line["data_wait"] for line in lines)


def test_its_summary_stands_in_the_run_record_and_in_no_out(prepare: Prepare) -> None:
    model, provenance = run(prepare(), "clip-0")
    speed = next(runs.read("train"))["speed"]
    assert sorted(speed) == ["augmentation", "data_wait", "epochs", "peak_mib", "samples_per_s"]
    assert speed["epochs"] == 2
    written = [path.read_bytes() for path in model.iterdir()] + [json.dumps(provenance).encode()]
    assert not [content for content in written if b"samples_per_s" in content]


def test_a_second_run_makes_the_same_bytes(prepare: Prepare) -> None:
    root = prepare()
    model, provenance = run(root, "cyclip-0")
    first = {path.name: path.read_bytes() for path in model.iterdir()}
    assert run(root, "cyclip-0") == (model, provenance)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == first


def test_an_empty_val_split_is_said_and_leaves_the_column_empty(
    prepare: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    model, provenance = run(prepare(val_rows=0), "clip-0")
    assert "the val split is empty" in caplog.text
    assert provenance["counts"]["val_rows"] == 0
    assert all(line.endswith(",,") for line in (model / "history.csv").read_text().splitlines()[1:])


def test_too_few_rows_leave_no_model(prepare: Prepare) -> None:
    root = prepare(train_rows=5)
    with pytest.raises(ValueError, match=r"has 5 training rows, fewer than train.batch_size = 8"):
        run(root, "clip-0")
    assert not Path("models").exists()


@pytest.mark.parametrize("name", ["clip", "clip-x", "clip-01", "Clip-0", "clip-0.bak"])
def test_a_model_folder_is_named_for_objective_and_seed(name: str) -> None:
    with pytest.raises(ValueError, match="a model folder is named OBJECTIVE-SEED"):
        training.parse_name(name)


def test_an_objective_nobody_knows_is_refused(prepare: Prepare) -> None:
    root = prepare()
    with pytest.raises(ValueError, match=r"params.yaml: objectives: there is no objective 'simclr'"):
        run(root, "simclr-0")


def test_an_entry_of_objectives_may_be_a_setting_of_one(prepare: Prepare) -> None:
    root = prepare()
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["losses"]["cyclip_again"] = {"objective": "cyclip", **LOSSES["cyclip"]}
    content["losses"]["cyclip_strong"] = {"objective": "cyclip", **LOSSES["cyclip"], "lambda_in_modal": 4.0}
    content["losses"]["aimless"] = LOSSES["cyclip"]
    Path("params.yaml").write_text(yaml.safe_dump(content))
    weights = {
        name: (run(root, f"{name}-0")[0] / "open_clip_model.safetensors").read_bytes()
        for name in ("cyclip", "cyclip_again", "cyclip_strong")
    }
    assert weights["cyclip"] == weights["cyclip_again"] != weights["cyclip_strong"]
    with pytest.raises(ValueError, match=r"no objective 'aimless'.*section losses.aimless with `objective: ONE_OF"):
        run(root, "aimless-0")


def test_what_changes_in_params_meanwhile_is_refused(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    root = prepare()
    text = Path("params.yaml").read_bytes()
    changed = text.replace(b"batch_size: 8", b"batch_size: 4")
    assert changed != text
    copied = files.write_bytes

    def write(path: Path, content: bytes) -> None:
        copied(path, changed if path.name == "params.yaml" else content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", write)
        with pytest.raises(ValueError, match=r"params.yaml changed while the stage began: run it again"):
            run(root, "clip-0")
    assert not Path("models").exists()


def test_training_reads_what_the_stage_began_with(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    root = prepare()
    first = (run(root, "clip-0")[0] / "open_clip_model.safetensors").read_bytes()
    begun = training.train

    def late(*arguments: Any) -> None:
        Path("params.yaml").write_text(Path("params.yaml").read_text().replace("lr: ", "lr: 9"))
        begun(*arguments)

    monkeypatch.setattr(training, "train", late)
    model, provenance = run(root, "clip-0")
    assert (model / "open_clip_model.safetensors").read_bytes() == first
    assert str(provenance["params"]["train"]["lr"])[0] != "9"


def test_two_file_systems_are_refused_before_anything_is_trained(prepare: Prepare, tmp_path: Path) -> None:
    root = prepare()
    mounted = (Path("/dev", "shm"), Path("/run"), Path("/proc"))
    other = next((path for path in mounted if path.stat().st_dev != tmp_path.stat().st_dev), None)
    if other is None:
        pytest.skip("there is one file system only")
    Path("models").symlink_to(other)
    with pytest.raises(ValueError, match=r"lie on two file systems, but models are published by a rename"):
        run(root, "clip-0")


def test_weights_that_a_last_step_broke_are_no_model(prepare: Prepare) -> None:
    root = prepare(epochs=1, lr=1e30, warmup_frac=0.0, batch_size=20, micro_batch_size=20)
    with pytest.raises(ValueError, match=r"broke down in the last step of epoch 1: what its weights make is no"):
        run(root, "clip-0")
    assert not Path("models").exists()


def test_prototypes_are_not_asked_of_few_held_out_pairs(prepare: Prepare) -> None:
    run(prepare(val_rows=2), "protoclip-0")


@pytest.mark.parametrize("size", [1, 7])
def test_a_micro_batch_of_one_pair_is_refused(prepare: Prepare, size: int) -> None:
    with pytest.raises(ValueError, match=rf"train: micro_batch_size {size} leaves a micro-batch of one pair of the 8"):
        run(prepare(micro_batch_size=size), "clip-0")
