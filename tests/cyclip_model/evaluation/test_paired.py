"""Captioned sets and Winoground under a small model, each number taken again by plain loops."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cyclip_model.evaluation import kinds, paired, stored
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.model import towers
from lineage import records
from tests.cyclip_model import kinds_of_sets, small_set


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(towers.load(small_set.write_model(tmp_path_factory.mktemp("models") / "clip-0")), None, 4)


def cosines(encoder: Encoder, folder: Path, lines: list[str]) -> np.ndarray:
    image_ND = encoder.compared(stored.pictures(encoder, folder, "test").features, "image")
    return image_ND.astype(np.float64) @ encoder.compared(encoder.texts(lines), "text").astype(np.float64).T


def test_all_five_captions_count(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_captioned(tmp_path / "coco")
    results = paired.retrieve(encoder, folder, small_set.PROTOCOLS)
    captions = stored.columns(folder, "test", "captions")["captions"].to_pylist()
    score = cosines(encoder, folder, [line for of in captions for line in of])
    found = results.metrics["retrieval"]["test"]
    image_hits = [np.argmax(score[row]) // 5 == row for row in range(6)]
    text_hits = [np.argmax(score[:, column]) == column // 5 for column in range(30)]
    assert found["image_to_text"]["recall_1"]["value"] == pytest.approx(np.mean(image_hits), abs=1e-6)
    assert found["text_to_image"]["recall_1"]["value"] == pytest.approx(np.mean(text_hits), abs=1e-6)
    assert (found["image_to_text"]["recall_1"]["n"], found["text_to_image"]["recall_1"]["n"]) == (6, 30)
    assert found["image_to_text"]["recall_1"]["chance"] == pytest.approx(5 / 30, abs=1e-6)
    assert found["text_to_image"]["recall_5"]["chance"] == pytest.approx(5 / 6, abs=1e-6)
    ranks = [row["rank"] for row in results.predictions if row["variant"] == "text_to_image"]
    assert np.mean(np.array(ranks) == 0) == pytest.approx(np.mean(text_hits))


def test_winoground_is_counted_as_its_paper_does(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_twos(tmp_path / "winoground")
    results = kinds.run(lambda _: encoder, folder, kinds.description(folder), small_set.PROTOCOLS)
    found = results.metrics["winoground"]["test"]["all"]
    table = stored.columns(folder, "test", "example", "side", "caption").to_pylist()
    score = cosines(encoder, folder, [row["caption"] for row in table])
    at = {(row["example"], row["side"]): number for number, row in enumerate(table)}
    text, image = [], []
    for example in range(3):
        a, b = at[example, 0], at[example, 1]
        text.append(score[a, a] > score[a, b] and score[b, b] > score[b, a])
        image.append(score[a, a] > score[b, a] and score[b, b] > score[a, b])
    group = np.array(text) & np.array(image)
    said = [found[name]["value"] for name in ("text", "image", "group")]
    assert said == pytest.approx([np.mean(text), np.mean(image), group.mean()], abs=1e-6)
    assert found["group"]["chance"] == pytest.approx(1 / 6, abs=1e-6)
    assert found["group"]["n"] == 3


def test_an_example_without_both_pictures_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_twos(tmp_path / "winoground")
    path = folder / "test/test.parquet"
    table = records.read_table(path)
    lost = [not (row["example"] == 1 and row["side"] == 0) for row in table.to_pylist()]
    records.write_table(table.filter(pa.array(lost)), path)
    with pytest.raises(ValueError, match="example 1 does not have two pictures"):
        paired.compose(encoder, folder)


def test_one_pair_has_no_uniformity(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_captioned(tmp_path / "coco")
    path = folder / "test/test.parquet"
    records.write_table(records.read_table(path).slice(0, 1), path)
    found = paired.retrieve(encoder, folder, small_set.PROTOCOLS).metrics
    assert "uniformity_image" not in found["geometry"]["test"]["pairs"]
    assert found["retrieval"]["test"]["text_to_image"]["recall_1"]["value"] == 1.0
