"""A model that starts from another one's weights: what it takes, what it has seen, and what it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import yaml

from cyclip_model.model import external, heads, towers, warm_start
from cyclip_model.model.warm_start import WarmStartConfig
from lineage import digests, files, records
from tests.builders import contents
from tests.cyclip_model.breaking import BrokenOff
from tests.cyclip_model.test_train import Prepare, prepare, run
from tests.cyclip_model.trainer.test_ranks import ROOT

__all__ = ["prepare"]
PARENT = Path("weights/parent")


def change(**changes: Any) -> None:
    """Changes section train of params.yaml."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["train"].update(changes)
    Path("params.yaml").write_text(yaml.safe_dump(content))


def start_from(folder: Path = PARENT, sha256: str | None = None) -> dict[str, str]:
    """Makes params.yaml start from the folder, and returns that section."""
    section = {"model": str(folder), "sha256": sha256 or digests.sha256_file(folder / towers.WEIGHTS)}
    change(warm_start=section)
    return section


def parent_of(root: Path, name: str = "clip-0") -> Path:
    """Trains a model and lays it aside as the parent."""
    model, _ = run(root, name)
    shutil.copytree(model, PARENT)
    return PARENT


def seen(folder: Path, name: str = "exposure.parquet") -> dict[tuple[str, str], int]:
    rows = records.read_table(folder / name, records.EXPOSURE).to_pylist()
    return {(row["snapshot"], row["uid"]): row["count"] for row in rows}


def test_the_child_goes_on_from_the_parents_weights(prepare: Prepare) -> None:
    root = prepare()
    parent, fresh = parent_of(root), (Path("models/clip-0") / towers.WEIGHTS).read_bytes()
    start_from()
    change(lr=1e-12, weight_decay=0.0)
    model, provenance = run(root, "clip-0")
    ours, theirs = (towers.load(folder).model for folder in (model, parent))
    for (name, value), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value, other, msg=name)
    assert (model / towers.WEIGHTS).read_bytes() != fresh
    assert provenance["counts"]["warm_start"]["model"] == str(PARENT)
    assert "warm_start" not in provenance["parents"]


def test_what_the_parent_saw_the_child_has_seen(prepare: Prepare) -> None:
    root = prepare()
    parent = parent_of(root)
    own = seen(Path("models/clip-0"))
    shared = next(iter(own))
    rows = [("s0", "f" * 32, 3), (*shared, 5), ("s0", "e" * 32, 0)]
    table = pa.Table.from_pylist([dict(zip(records.EXPOSURE.names, row, strict=True)) for row in rows])
    records.write_table(table.cast(records.EXPOSURE), parent / "exposure.parquet")
    section = start_from()
    model, provenance = run(root, "clip-0")
    assert seen(model) == {**own, shared: own[shared] + 5, ("s0", "f" * 32): 3}
    assert list(seen(model)) == sorted(seen(model))
    assert seen(model, "inherited.parquet") == {("s0", "f" * 32): 3, shared: 5}
    sha256 = digests.sha256_file(parent / "exposure.parquet")
    known = {"exposure": "known", "exposure_rows": 2, "exposure_sha256": sha256}
    assert provenance["counts"]["warm_start"] == {**section, **known}
    assert provenance["counts"]["kept"] == len(own), "the account is of this training's rows"


def test_where_nobody_knows_what_the_parent_saw_the_account_says_so(
    prepare: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    root = prepare()
    (parent_of(root) / "exposure.parquet").unlink()
    section = start_from()
    model, provenance = run(root, "clip-0")
    assert provenance["counts"]["warm_start"] == {**section, "exposure": "unknown"}
    assert "what it saw is unknown" in caplog.text
    assert not (model / "inherited.parquet").exists()


def test_a_gap_in_what_ancestors_saw_is_not_forgotten(prepare: Prepare, caplog: pytest.LogCaptureFixture) -> None:
    root = prepare()
    (parent_of(root) / "exposure.parquet").unlink()
    section = start_from()
    first = {"name": str(PARENT), "sha256": section["sha256"], "exposure": "unknown"}
    lines = [first]
    for generation in ("b", "c"):
        model, _ = run(root, "clip-0")
        assert files.read_json(model / "ancestors.json") == lines
        caplog.clear()
        child = Path("weights") / generation
        shutil.copytree(model, child)
        section = start_from(child)
        _, provenance = run(root, "clip-0")
        assert provenance["counts"]["warm_start"]["exposure"] == "partly known"
        assert f"{child}: what its ancestors ['weights/parent'] saw is unknown" in caplog.text
        lines = [*lines, {"name": str(child), "sha256": section["sha256"], "exposure": "known"}]
    external_arch = external.load(str(child), Path("arch"), warm_start.KEYS).arch
    assert external_arch == "emoji-tiny", "the list of ancestors is taken for no architecture"


def test_ancestors_that_are_damaged_are_named(prepare: Prepare) -> None:
    root = prepare()
    path = parent_of(root) / "ancestors.json"
    start_from()
    for content in ("{", "{}", "[1]", '[{"name": "x"}]'):
        path.write_text(content)
        with pytest.raises(
            ValueError, match=r"weights/parent/ancestors.json: (not valid JSON|is no list of ancestors)"
        ):
            run(root, "clip-0")


def test_a_killed_warm_start_goes_on_bit_by_bit(prepare: Prepare, broken_off: BrokenOff) -> None:
    root = prepare()
    parent_of(root)
    start_from()
    model, _ = run(root, "cyclip-0")
    first = contents(model)

    with broken_off():
        run(root, "cyclip-0")
    assert list(Path(".work").rglob("checkpoint.pt"))
    run(root, "cyclip-0")
    assert contents(model) == first


@pytest.mark.parametrize("is_alike", [True, False])
def test_heads_are_the_parents_where_they_are_built_alike(prepare: Prepare, is_alike: bool) -> None:
    root = prepare()
    parent = parent_of(root, "xclip-0")
    if not is_alike:
        content = yaml.safe_load(Path("params.yaml").read_text())
        content["losses"]["xclip"]["nclip"]["head"]["hidden_dim"] += 1
        Path("params.yaml").write_text(yaml.safe_dump(content))
    start_from()
    change(lr=1e-12, weight_decay=0.0)
    model, provenance = run(root, "xclip-0")
    found = provenance["counts"]["warm_start"]["heads_sha256"]
    assert found == (digests.sha256_file(parent / heads.WEIGHTS) if is_alike else None)
    if is_alike:
        ours, theirs = heads.load(model), heads.load(parent)
        assert ours is not None
        assert theirs is not None
        for value, other in zip(ours.heads.parameters(), theirs.heads.parameters(), strict=True):
            torch.testing.assert_close(value, other)


def test_other_weights_than_the_pinned_ones_are_refused(prepare: Prepare) -> None:
    root = prepare()
    found = digests.sha256_file(parent_of(root) / towers.WEIGHTS)
    start_from(sha256="0" * 64)
    with pytest.raises(ValueError, match=rf"start.model: the weights of .* {found}, not train.warm_start.sha256"):
        run(root, "clip-0")


def test_another_architecture_is_refused_with_the_name_and_both_shapes(
    prepare: Prepare, train_section: Callable[..., dict[str, Any]]
) -> None:
    root = prepare()
    parent_of(root)
    start_from()
    change(towers={**train_section()["towers"], "embed_dim": 24})
    message = r"train.warm_start.model: weights/parent has another architecture than train.towers: text_projection is "
    with pytest.raises(ValueError, match=message + r"\(16, 16\) there, \(16, 24\) here"):
        run(root, "clip-0")
    start_from()
    change(towers=train_section()["towers"])
    with pytest.raises(ValueError, match=r"logit_bias is absent there, \(\) here"):
        run(root, "siglip-0")


@pytest.mark.parametrize(
    ("part", "key", "value", "default"),
    [
        ("text_cfg", "heads", 4, 2),
        ("text_cfg", "no_causal_mask", True, False),
        ("text_cfg", "pool_type", "last", "argmax"),
        ("vision_cfg", "head_width", 32, 64),
    ],
)
def test_weights_of_equal_shapes_of_another_architecture_are_refused(
    prepare: Prepare, train_section: Callable[..., dict[str, Any]], part: str, key: str, value: object, default: object
) -> None:
    root = prepare()
    parent_of(root)
    start_from()
    section = train_section()["towers"]
    change(towers={**section, part: {**section[part], key: value}})
    message = (
        f"weights/parent has another architecture than train.towers: {part}.{key} is {default} there, {value} here"
    )
    with pytest.raises(ValueError, match=f"train.warm_start.model: {message}$"):
        run(root, "clip-0")


def test_words_that_change_nothing_are_no_other_architecture(train_section: Callable[..., dict[str, Any]]) -> None:
    section = train_section()["towers"]
    plain = {key: section[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    vision = {
        **plain["vision_cfg"],
        "image_size": (32, 32),
        "patch_size": None,
        "pool_type": "tok",
        "patch_dropout": 0.5,
    }
    more = {**plain, "vision_cfg": vision, "quick_gelu": False, "init_logit_bias": -10}
    assert warm_start._model_words(plain) == warm_start._model_words(more)


def test_another_preprocessing_is_a_warning(prepare: Prepare, caplog: pytest.LogCaptureFixture) -> None:
    root = prepare()
    parent_of(root)
    start_from()
    run(root, "clip-0")
    assert "prepared" not in caplog.text
    section = yaml.safe_load(Path("params.yaml").read_text())["train"]["preprocess"]
    change(preprocess={**section, "mean": [0.5, 0.5, 0.5], "resize_mode": "squash"})
    run(root, "clip-0")
    assert (
        "train.warm_start.model: weights/parent saw pictures prepared in another way than train.preprocess: "
        "mean is [0.48145466, 0.4578275, 0.40821073] there, [0.5, 0.5, 0.5] here; "
        "resize_mode is shortest there, squash here"
    ) in caplog.text


def test_a_model_that_is_nowhere_is_named_by_this_key(prepare: Prepare) -> None:
    root = prepare()
    start_from(Path("nowhere"), "0" * 64)
    with pytest.raises(ValueError, match=r"train.warm_start.model: 'nowhere' is neither a folder nor ARCH/FILE"):
        run(root, "clip-0")
    with pytest.raises(ValueError, match=r"warm_start.sha256 must be 64 hex digits"):
        WarmStartConfig(model="x", sha256="0")


@pytest.mark.slow
def test_ranks_start_from_it_too(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root = prepare()
    parent = parent_of(root)
    start_from()
    change(lr=1e-12, weight_decay=0.0, processes=2)
    model, provenance = run(root, "clip-0")
    ours, theirs = (towers.load(folder).model for folder in (model, parent))
    for value, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value, other)
    assert seen(model) == {pair: 2 * count for pair, count in seen(parent).items()}, "the same batches twice"
    assert provenance["counts"]["warm_start"]["exposure"] == "known"


def test_the_global_generator_is_left_alone(prepare: Prepare, tmp_path: Path) -> None:
    parent_of(prepare())
    config = WarmStartConfig(model=str(PARENT), sha256=digests.sha256_file(PARENT / towers.WEIGHTS))
    made = towers.load(PARENT).model
    before = torch.get_rng_state()
    described = files.read_json(PARENT / towers.HUB_CONFIG)
    warm_start.apply(config, warm_start.Built(made, **described), None, None, tmp_path / "arch")
    assert torch.equal(torch.get_rng_state(), before)
