"""Labelled sets under a small model: every protocol a set has the parts for, each number taken again by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cyclip_model.evaluation import encode, kinds, labelled
from cyclip_model.evaluation.answers import Results
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.metrics.zeroshot import TIE, Floats, Ints
from cyclip_model.model import heads, towers
from tests.cyclip_model import kinds_of_sets, small_set


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(towers.load(small_set.write_model(tmp_path_factory.mktemp("models") / "clip-0")), None, 4)


def run(encoder: Encoder, folder: Path) -> Results:
    return kinds.run(lambda _: encoder, folder, kinds.description(folder), small_set.PROTOCOLS)


def hits(score_NC: Floats, truth_N: Ints) -> float:
    """Share of rows whose truth is ahead of all others by more than a tie."""
    own_N = score_NC[np.arange(len(truth_N)), truth_N]
    others_NC = np.where(np.arange(score_NC.shape[1])[None, :] == truth_N[:, None], -np.inf, score_NC)
    return float((own_N - others_NC.max(axis=1) > TIE).mean())


def test_a_set_with_both_parts_has_every_protocol(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_labelled(tmp_path / "toys", superclasses=kinds_of_sets.SUPERCLASSES)
    found = run(encoder, folder).metrics
    assert set(found) == {"zero_shot", "hierarchy", "geometry", "linear_probe", "knn", "consistency"}
    assert set(found["zero_shot"]["test"]["prompt"]) == {"top_1", "top_3", "top_5", "top_6", "balanced_accuracy"}
    assert found["zero_shot"]["test"]["prompt"]["top_6"]["value"] == 1.0, "10 is capped at the six classes"
    assert set(found["linear_probe"]["test"]) == {"all", "backbone"}
    assert found["hierarchy"]["test"]["prompt"]["fine_top_1"]["chance"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["hierarchy"]["test"]["prompt"]["fine_top_3"]["value"] == 1.0, "three classes in each superclass"
    assert found["hierarchy"]["test"]["prompt"]["coarse_top_1"]["chance"] == 0.5
    assert set(found["consistency"]["test"]["prompt"]) == {"k_1", "k_3"}


def test_without_a_train_part_nothing_is_trained(encoder: Encoder, tmp_path: Path) -> None:
    found = run(encoder, kinds_of_sets.write_labelled(tmp_path / "toys", train=False)).metrics
    assert set(found) == {"zero_shot", "geometry"}


def test_zero_shot_is_what_open_clips_own_steps_give(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_labelled(tmp_path / "toys", train=False)
    said = run(encoder, folder)
    model = encoder.loaded.model
    with torch.no_grad():
        classes = [
            torch.nn.functional.normalize(
                model.encode_text(encoder.loaded.tokenizer([name, f"a drawing of a {name}"]), normalize=True).mean(0),
                dim=0,
            )
            for name in kinds_of_sets.CLASSES
        ]
        table = labelled.read(encoder, folder, "test")
        images = torch.nn.functional.normalize(torch.from_numpy(np.asarray(table.pictures.features)), dim=1)
        score = (images @ torch.stack(classes).T).double().numpy()
        top = score.argmax(1)
    assert said.metrics["zero_shot"]["test"]["prompt"]["top_1"]["value"] == pytest.approx(
        hits(score, table.truth), abs=1e-6
    )
    rows = [row for row in said.predictions if row["protocol"] == "zero_shot"]
    assert [row["prediction"] for row in rows] == [kinds_of_sets.CLASSES[number] for number in top]
    assert [row["uid"] for row in rows] == table.uids


def test_a_shift_stands_beside_its_parent_among_the_same_classes(encoder: Encoder, tmp_path: Path) -> None:
    parent = kinds_of_sets.write_labelled(tmp_path / "toys", train=False)
    kept = [1, 4]
    shifted = kinds_of_sets.write_labelled(
        tmp_path / "toys_r",
        [kinds_of_sets.CLASSES[number] for number in kept],
        train=False,
        test_vendor="line",
        shift_of="toys",
        parent_classes=kept,
    )
    found = run(encoder, shifted).metrics
    leaves = found["shift"]["test"]["toys"]
    assert leaves["top_1"] == found["zero_shot"]["test"]["prompt"]["top_1"]
    whole = labelled.read(encoder, parent, "test")
    rows = np.isin(whole.truth, kept)
    class_CD = labelled.classifier(encoder, kinds.description(parent))[kept]
    right = np.array(kept)[(whole.images[rows] @ class_CD.T).argmax(1)] == whole.truth[rows]
    assert leaves["parent_top_1"]["value"] == pytest.approx(right.mean(), abs=1e-6)
    assert leaves["parent_top_1"]["n"] == 2


def test_a_shift_of_nothing_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    folder = kinds_of_sets.write_labelled(tmp_path / "toys_r", train=False, shift_of="toys")
    with pytest.raises(ValueError, match=r"toys_r/set.json: shift_of names toys, which is no labelled set"):
        run(encoder, folder)


def test_a_model_with_heads_has_its_scores_and_gauges(tmp_path: Path) -> None:
    model = kinds_of_sets.write_headed_model(tmp_path / "nclip-0")
    headed = Encoder(towers.load(model), heads.load(model), 4)
    folder = kinds_of_sets.write_labelled(tmp_path / "toys", train=False)
    found = run(headed, folder).metrics
    assert set(found["scores"]["test"]) == {"cluster_cosine", "cross_entropy", "head_cosine", "tower_cosine"}
    assert found["scores"]["test"]["cluster_cosine"]["top_1"] == found["zero_shot"]["test"]["prompt"]["top_1"]
    assert set(found["clusters"]["test"]["images"]) == {"active_clusters", "smoothness", "nmi"}
    plain = Encoder(headed.loaded, None, 4)
    tower = run(plain, folder).metrics["zero_shot"]["test"]["prompt"]["top_1"]
    assert found["scores"]["test"]["tower_cosine"]["top_1"] == tower


def test_cross_entropy_is_the_one_of_the_distributions(tmp_path: Path) -> None:
    model = kinds_of_sets.write_headed_model(tmp_path / "nclip-0")
    headed = Encoder(towers.load(model), heads.load(model), 4)
    assert headed.saved is not None
    folder = kinds_of_sets.write_labelled(tmp_path / "toys", train=False)
    test = labelled.read(headed, folder, "test")
    lines, class_P = labelled.prompts(kinds.description(folder))
    p_NK = encode.shares(headed.saved, test.pictures.features, "image").astype(np.float64)
    q_PK = encode.shares(headed.saved, headed.texts(lines), "text").astype(np.float64)
    q_CK = np.stack([q_PK[class_P == number].mean(0) for number in range(6)])
    score = [[0.5 * ((p * np.log(q)).sum() + (q * np.log(p)).sum()) for q in q_CK] for p in p_NK]
    hit = hits(np.array(score), test.truth)
    said = run(headed, folder).metrics["scores"]["test"]["cross_entropy"]["top_1"]["value"]
    assert said == pytest.approx(hit, abs=1e-6)


def test_a_parent_of_some_classes_is_asked_by_their_numbers(encoder: Encoder, tmp_path: Path) -> None:
    names = kinds_of_sets.CLASSES
    numbers = [0, 2, 4, 6, 8, 10]
    parent = kinds_of_sets.write_labelled(tmp_path / "toys", train=False, parent_classes=numbers)
    shifted = kinds_of_sets.write_labelled(
        tmp_path / "toys_r", names[1:3], train=False, test_vendor="line", shift_of="toys", parent_classes=[2, 4]
    )
    said = run(encoder, shifted).metrics["shift"]["test"]["toys"]["parent_top_1"]
    whole, class_CD = labelled.read(encoder, parent, "test"), labelled.classifier(encoder, kinds.description(parent))
    rows = np.isin(whole.truth, [1, 2])
    right = np.array([1, 2])[(whole.images[rows] @ class_CD[1:3].T).argmax(1)] == whole.truth[rows]
    assert said["value"] == pytest.approx(right.mean(), abs=1e-6)
    beyond = kinds_of_sets.write_labelled(
        tmp_path / "toys_b", names[:2], train=False, shift_of="toys", parent_classes=[2, 5]
    )
    with pytest.raises(ValueError, match="its parent toys has no class with number 5"):
        run(encoder, beyond)
    other = kinds_of_sets.write_labelled(tmp_path / "toys_o", names[:2], train=False, shift_of="toys")
    with pytest.raises(ValueError, match="whose classes are others"):
        run(encoder, other)


def test_two_classes_of_one_name_are_answered_as_arg_max_does(encoder: Encoder, tmp_path: Path) -> None:
    assert labelled.later_namesakes(["missile", "cat", "missile", "missile"]).tolist() == [2, 0, 1, 0]
    names = ["red ball", "green box", "red ball"]
    folder = kinds_of_sets.write_labelled(tmp_path / "toys", names, train=False)
    results = run(encoder, folder)
    table = labelled.read(encoder, folder, "test")
    score = table.images.astype(np.float64) @ labelled.classifier(encoder, kinds.description(folder)).T
    ranks = {row["uid"]: row["rank"] for row in results.predictions}
    assert results.metrics["zero_shot"]["test"]["prompt"]["top_1"]["value"] == pytest.approx(
        (score.argmax(1) == table.truth).mean(), abs=1e-6
    )
    assert len(ranks) == 2, "the two red balls are one picture"


def test_one_class_has_no_uniformity(encoder: Encoder, tmp_path: Path) -> None:
    found = run(encoder, kinds_of_sets.write_labelled(tmp_path / "toys", ["red ball"], train=False)).metrics
    assert set(found["geometry"]["test"]["names"]) == {"alignment", "modality_gap"}
