"""The scorer is a model like any other, trained on the screened pairs alone or taken from others, with its exposure."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import yaml

from cyclip_model import scorer
from cyclip_model.model import towers
from lineage import digests, records
from tests.builders import RawPair, contents, write_raw
from tests.cyclip_model.breaking import BrokenOff
from tests.pipelines.models import write_model

RAW, SCREENED, MODEL = Path("data/raw/s1"), Path("data/screen"), Path("models/scorer")
PROVENANCE = Path("provenance/scorer/all.json")
EXTERNAL: dict[str, Any] = {"external": None, "external_sha256": None, "seed": 0, "train": None}


@pytest.fixture
def pairs(shards: Any) -> list[RawPair]:
    made = []
    for number in range(24):
        image, caption = shards.picture(number)
        made.append(RawPair(url=f"https://a.test/{number}", caption=caption, picture=shards.encoded(image)))
    return made


@pytest.fixture
def run(
    tmp_path: Path, pairs: list[RawPair], train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Runs the stage with all pairs but the first four screened in, and returns its account."""
    monkeypatch.chdir(tmp_path)
    write_raw(RAW, pairs)
    write_screened([pair.uid for pair in pairs[4:]])

    def run_stage(changes: dict[str, Any] | None = None, **section: Any) -> dict[str, Any]:
        config = {**EXTERNAL, "train": train_section(**(changes or {})), **section}
        Path("params.yaml").write_text(yaml.safe_dump({"scorer": config}))
        scorer.main(SCREENED, RAW, MODEL, PROVENANCE)
        counts: dict[str, Any] = json.loads(PROVENANCE.read_text())["counts"]
        return counts

    return run_stage


def write_screened(uids: list[str]) -> None:
    records.write_table(pa.table({"uid": sorted(uids)}), SCREENED / "rows.parquet")


def test_the_screened_pairs_become_a_model_with_history_and_exposure(run: Any, pairs: list[RawPair]) -> None:
    counts = run()
    names = [
        "emoji-tiny.json",
        "exposure.parquet",
        "history.csv",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    assert sorted(path.name for path in MODEL.iterdir()) == names
    assert not towers.load(MODEL).model.training
    seen = records.read_table(MODEL / "exposure.parquet", records.EXPOSURE).to_pylist()
    assert {row["uid"] for row in seen} <= {pair.uid for pair in pairs[4:]}
    assert {row["snapshot"] for row in seen} == {"s1"}
    assert sum(row["count"] for row in seen) == counts["pairs_drawn"] == 2 * 2 * 8
    assert (counts["rows_in"], counts["kept"]) == (20, len(seen))
    assert counts["dropped"].get("never_drawn", 0) == 20 - len(seen)


def test_the_screen_decides_and_not_the_raw_folder(run: Any, pairs: list[RawPair]) -> None:
    run()
    first = (MODEL / towers.WEIGHTS).read_bytes()
    write_screened([pair.uid for pair in pairs[:20]])
    run()
    assert (MODEL / towers.WEIGHTS).read_bytes() != first


def test_a_second_run_and_one_that_broke_off_make_the_same_bytes(run: Any, broken_off: BrokenOff) -> None:
    run()
    first = contents(MODEL)

    with broken_off():
        run()
    (left,) = Path(".work").rglob("checkpoint.pt")
    assert left.is_file()
    run()
    assert contents(MODEL) == first


def test_the_seed_is_part_of_it(run: Any) -> None:
    run()
    first = (MODEL / towers.WEIGHTS).read_bytes()
    run(seed=1)
    assert (MODEL / towers.WEIGHTS).read_bytes() != first


def test_too_few_pairs_leave_no_model(run: Any, pairs: list[RawPair]) -> None:
    write_screened([pair.uid for pair in pairs[:5]])
    with pytest.raises(ValueError, match=r"5 pairs passed the screen, fewer than scorer.train.batch_size = 8"):
        run()
    assert not MODEL.exists()


def test_it_starts_from_no_other_model(run: Any) -> None:
    with pytest.raises(ValueError, match=r"params.yaml: scorer.train.warm_start must be null"):
        run({"warm_start": {"model": "x", "sha256": "0" * 64}})


def test_an_external_model_is_taken_as_it_is_and_saw_none_of_our_rows(run: Any, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "other")
    counts = run(train=None, external=str(folder))
    ours, theirs = towers.load(MODEL).model.state_dict(), towers.load(folder).model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for name in ("tiny-resnet.json", "open_clip_config.json"):
        assert json.loads((MODEL / name).read_text()) == json.loads((folder / name).read_text())
    assert records.read_table(MODEL / "exposure.parquet", records.EXPOSURE).num_rows == 0
    sha256 = digests.sha256_file(folder / towers.WEIGHTS)
    assert counts["external"] == {"name": str(folder), "sha256": sha256}
    assert (counts["rows_in"], counts["kept"]) == (0, 0)
    run(train=None, external=str(folder), external_sha256=sha256)
    with pytest.raises(ValueError, match=rf"have sha256 {sha256}, not scorer.external_sha256"):
        run(train=None, external=str(folder), external_sha256="0" * 64)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"external": "ViT-B-32/openai"}, "give either external"),
        ({"train": None}, "give either external"),
        ({"external_sha256": "abc"}, "external_sha256 must be 64 hex digits"),
        ({"seed": -1}, "seed must be >= 0"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(run: Any, section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"params.yaml: scorer: {message}"):
        run(**section)
