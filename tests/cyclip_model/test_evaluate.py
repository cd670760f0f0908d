"""The evaluate stage on a small model and a small set, and the same number by open_clip alone."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cyclip_model import benchmarks, evaluate
from cyclip_model.evaluate import EvaluateConfig
from cyclip_model.model import towers
from lineage import digests, records
from tests.cyclip_model import small_set
from tests.cyclip_model.plain_open_clip import naming_accuracy


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a set, its benchmark and a model."""
    root = tmp_path_factory.mktemp("project")
    small_set.write_params(root)
    small_set.write_set(root / "data/sets/emoji")
    small_set.write_model(root / "models/clip-0")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        source, provenance = Path("data/sets/emoji"), Path("provenance/benchmarks/emoji.json")
        benchmarks.main(source, Path("data/benchmarks/emoji"), provenance)
    return root


def run(root: Path, out: str, patch: pytest.MonkeyPatch) -> Path:
    patch.chdir(root)
    model, provenance = Path("models/clip-0"), Path("provenance/evaluate/clip-0.json")
    evaluate.main(model, Path("data/benchmarks"), Path(out), Path(f"{out}.parquet"), provenance)
    return root / out


def predictions_of(out: Path) -> Path:
    """Returns where `run` puts the predictions of the results in `out`."""
    return out.with_name(f"{out.name}.parquet")


def test_results_are_the_same_bytes_twice(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = run(project, "results/clip-0", monkeypatch), run(project, "results/again", monkeypatch)
    assert digests.dvc_digest(first) == digests.dvc_digest(second)
    assert [path.name for path in first.iterdir()] == ["metrics.json"]
    assert digests.dvc_digest(predictions_of(first)) == digests.dvc_digest(predictions_of(second))


def test_every_protocol_is_there_with_its_baselines(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(project, "results/clip-0", monkeypatch)
    found = json.loads((out / "metrics.json").read_text())["sets"]["emoji"]
    assert set(found) == {
        *("naming", "category", "subcategory", "hierarchy", "retrieval"),
        *("linear_probe", "knn", "consistency", "geometry"),
    }
    assert found["naming"]["twemoji"]["names"]["top_1"]["chance"] == 0.0625
    assert found["naming"]["twemoji"]["names"]["top_1"]["n"] == 16
    assert set(found["subcategory"]["novel"]) == {
        "prompt",
        "members",
        "prompt_without_flags",
        "members_without_flags",
    }
    assert found["subcategory"]["novel"]["prompt_without_flags"]["top_1"]["n"] == 12
    assert set(found["category"]["novel"]["prompt"]) == {"top_1", "top_3", "balanced_accuracy"}, "5 is capped at 3"
    assert found["category"]["novel"]["prompt"]["top_3"]["value"] == 1.0
    assert found["category"]["novel"]["prompt"]["top_1"]["majority"] == 0.5
    assert set(found["retrieval"]["novel"]) == {"image_to_text", "text_to_image"}
    assert found["retrieval"]["novel"]["text_to_image"]["recall_1"]["n"] == 8
    assert found["retrieval"]["novel"]["text_to_image"]["recall_1"]["chance"] == 0.125
    assert set(found["consistency"]["novel"]["prompt"]) == {"k_1", "k_3"}


def test_accuracies_follow_from_the_predictions(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(project, "results/clip-0", monkeypatch)
    metrics = json.loads((out / "metrics.json").read_text())["sets"]["emoji"]
    table = pq.read_table(predictions_of(out)).to_pandas()
    for (protocol, part, variant), rows in table.groupby(["protocol", "part", "variant"]):
        said = metrics[protocol][part][variant]
        first = said["recall_1" if protocol == "retrieval" else "top_1"]
        assert first["value"] == pytest.approx((rows["rank"] == 0).mean(), abs=1e-6)
        if protocol != "retrieval":
            assert ((rows["prediction"] == rows["label"]) | (rows["rank"] > 0)).all()


def test_naming_is_what_open_clip_alone_finds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(project, "results/clip-0", monkeypatch)
    said = json.loads((out / "metrics.json").read_text())["sets"]["emoji"]["naming"]["twemoji"]["names"]
    found = naming_accuracy(project / "models/clip-0", project / "data/benchmarks/emoji", "twemoji", (1, 5))
    for k, accuracy in found.items():
        assert said[f"top_{k}"]["value"] == pytest.approx(accuracy, abs=1e-6)


def test_exposure_is_summed_up(tmp_path: Path) -> None:
    folder = small_set.write_model(tmp_path / "clip-0")
    rows: list[dict[str, Any]] = [
        {"snapshot": "s1", "uid": "a" * 32, "count": 3},
        {"snapshot": "s2", "uid": "b" * 32, "count": 0},
    ]
    records.write_table(records.rows_table(rows, records.EXPOSURE), folder / "exposure.parquet")
    facts = evaluate.model_facts(towers.load(folder), folder)
    assert (facts["samples_seen"], facts["pairs_seen"], facts["snapshots"]) == (3, 1, ["s1", "s2"])


def test_what_training_measured_stands_beside_the_tests(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "val" not in json.loads((run(project, "results/clip-0", monkeypatch) / "metrics.json").read_text())["sets"]
    path = project / "models/clip-0/history.csv"
    path.write_text("epoch,loss,val_loss,val_recall_10\n1,5.1,3.5,0.25\n2,4.2,2.123456789,0.5\n")
    found = json.loads((run(project, "results/clip-0", monkeypatch) / "metrics.json").read_text())["sets"]
    path.unlink()
    none = {"n": None, "chance": None, "majority": None, "standard_error": None}
    assert found["val"] == {
        "history": {
            "val": {"last_epoch": {"loss": {**none, "value": 2.123457}, "recall_10": {**none, "value": 0.5}}},
        }
    }


def test_no_set_is_called_as_the_val_split_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (project / "params.yaml").read_bytes()
    small_set.write_params(project, sets=["emoji", "val"])
    with pytest.raises(ValueError, match=r"params.yaml: sets: val is what the report calls the val split"):
        run(project, "results/clip-0", monkeypatch)
    (project / "params.yaml").write_bytes(before)


def test_thread_count_is_checked() -> None:
    with pytest.raises(ValueError, match="threads"):
        EvaluateConfig(threads=0, batch_size=1, device="cpu", protocols=small_set.PROTOCOLS)
