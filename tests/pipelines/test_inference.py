"""clip-retrieval's inference gives our own encoder's embeddings, for it gets the towers in eval mode."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from cyclip_model.evaluation import encode
from cyclip_model.model import towers
from pipelines import inference
from tests.pipelines.models import ARCHITECTURES, PREPROCESS, make_drawing, make_model, write_model

KINDS = ("PNG", "JPEG", "WEBP", "GIF")
SAMPLES = [
    inference.Sample(f"{n:032x}", make_drawing(n, size=(40 + n, 24), kind=KINDS[n % 4]), f"größer drawing {n}".encode())
    for n in range(11)
]
HALF_FLOAT16_ULP = 2.0**-11
"""Half the spacing of float16 relative to a value, at most."""


def run(tmp_path: Path, samples: Sequence[inference.Sample], scorer: Path, batch_size: int = 4) -> inference.Embedded:
    chosen = inference.settings(scorer, batch_size, 1, "cpu")
    return inference.embed(samples, chosen, tmp_path / "work", with_text=True)


def unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_embeddings_are_our_own_encoders_to_float16_precision(arch: str, tmp_path: Path) -> None:
    scorer = write_model(tmp_path / "scorer", arch)
    found = run(tmp_path, SAMPLES, scorer)
    own = towers.load(scorer)
    with inference._threads(1):  # and the same batches: kernels for other shapes round otherwise, in the fifth decimal
        image = unit(encode.images(own, [sample.picture for sample in SAMPLES], 4).features)
        text = unit(encode.texts(own, [sample.caption.decode() for sample in SAMPLES], 4))
    assert found.uids == [sample.uid for sample in SAMPLES]
    assert found.image_ND.dtype == found.text_ND.dtype == np.float16
    np.testing.assert_allclose(found.image_ND, image, rtol=HALF_FLOAT16_ULP, atol=1e-5)
    np.testing.assert_allclose(found.text_ND, text, rtol=HALF_FLOAT16_ULP, atol=1e-5)
    for vectors in (image, text):  # of which each is its own: rows that change places would be seen
        assert (vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)].max() < 0.9999


def test_in_training_mode_they_would_be_others(tmp_path: Path) -> None:
    """What the test above would see if nobody called eval(): clip-retrieval alone does not."""
    scorer = write_model(tmp_path / "scorer")
    right = run(tmp_path, SAMPLES, scorer)
    inference._loaded(scorer, inference.settings(scorer, 4, 1, "cpu").scorer_sha256, "cpu").model.train()
    wrong = run(tmp_path, SAMPLES, scorer)
    inference._loaded.cache_clear()
    cosine = (unit(right.image_ND.astype(np.float32)) * unit(wrong.image_ND.astype(np.float32))).sum(axis=1)
    assert cosine.min() < 0.9
    assert not np.allclose(right.image_ND, wrong.image_ND, atol=0.01)


def test_they_are_those_of_plain_open_clip(tmp_path: Path) -> None:
    found = run(tmp_path, SAMPLES, write_model(tmp_path / "scorer", "tiny-vit"))
    model = make_model("tiny-vit")
    transform = image_transform_v2(PreprocessCfg(size=32, **PREPROCESS), is_train=False)
    with torch.no_grad():
        pixels = torch.stack([transform(Image.open(io.BytesIO(sample.picture))) for sample in SAMPLES])
        image = model.encode_image(pixels, normalize=True).numpy()
        tokens = SimpleTokenizer(context_length=12)([sample.caption.decode() for sample in SAMPLES])
        text = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(found.image_ND, image, rtol=HALF_FLOAT16_ULP, atol=1e-5)
    np.testing.assert_allclose(found.text_ND, text, rtol=HALF_FLOAT16_ULP, atol=1e-5)
    np.testing.assert_allclose(inference.cosines(found.image_ND, found.text_ND), (image * text).sum(axis=1), atol=1e-3)


def test_rows_come_in_order_of_uid_and_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    scorer = write_model(tmp_path / "scorer")
    broken = inference.Sample("f" * 32, b"\x89PNG no picture", b"broken")
    not_text = SAMPLES[3]._replace(uid="e" * 32, caption=b"\xff\xfe")
    found = run(tmp_path, [SAMPLES[5], broken, SAMPLES[2], not_text, SAMPLES[9]], scorer)
    assert found.uids == [SAMPLES[n].uid for n in (2, 5, 9)]
    alone = run(tmp_path, [SAMPLES[2]], scorer)
    np.testing.assert_allclose(found.image_ND[0], alone.image_ND[0], rtol=HALF_FLOAT16_ULP, atol=1e-5)
    assert not (tmp_path / "work").exists()


def test_nothing_to_embed_has_the_width_of_the_model(tmp_path: Path) -> None:
    scorer = write_model(tmp_path / "scorer")
    for samples in ([], [SAMPLES[0]._replace(picture=b"no picture")]):
        found = run(tmp_path, samples, scorer)
        assert (found.uids, found.image_ND.shape, found.text_ND.shape) == ([], (0, 16), (0, 16))


def test_equal_runs_are_equal_bits_and_another_scorer_in_the_same_folder_is_another(tmp_path: Path) -> None:
    first = run(tmp_path, SAMPLES, write_model(tmp_path / "scorer"))
    again = run(tmp_path, SAMPLES, write_model(tmp_path / "scorer"))
    other = run(tmp_path, SAMPLES, write_model(tmp_path / "scorer", seed=1))
    assert np.array_equal(first.image_ND, again.image_ND)
    assert np.array_equal(first.text_ND, again.text_ND)
    assert not np.allclose(first.image_ND, other.image_ND, atol=0.01)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, SAMPLES, write_model(tmp_path / "scorer"))
    assert capfd.readouterr() == ("", "")


def test_cosines_by_hand() -> None:
    first = np.array([[3, 4], [1, 0], [0, 2]], dtype=np.float16)
    second = np.array([[4, 3], [-1, 0], [5, 0]], dtype=np.float16)
    assert inference.cosines(first, second) == [0.96, -1.0, 0.0]


def test_vectors_are_saved_the_same_whatever_their_layout(tmp_path: Path) -> None:
    vectors = np.arange(6, dtype=np.float16).reshape(2, 3)
    inference.save_vectors(vectors, tmp_path / "c.npy")
    inference.save_vectors(np.asfortranarray(vectors), tmp_path / "f.npy")
    assert (tmp_path / "c.npy").read_bytes() == (tmp_path / "f.npy").read_bytes()
    assert np.array_equal(np.load(tmp_path / "c.npy"), vectors)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"open_clip_model.safetensors: no such file; `dvc repro scorer`"):
        inference.settings(tmp_path, 4, 1, "cpu")
    scorer = write_model(tmp_path / "scorer")
    (scorer / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"needs one ARCH.json beside open_clip_config.json, found other, tiny-resnet"):
        inference.settings(scorer, 4, 1, "cpu")


def test_weights_of_another_architecture_are_one_error(tmp_path: Path) -> None:
    scorer = write_model(tmp_path / "scorer")
    other = write_model(tmp_path / "other", "tiny-vit")
    (scorer / inference.WEIGHTS).write_bytes((other / inference.WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match="open_clip cannot load this model"):
        inference.load(scorer, "cpu")
