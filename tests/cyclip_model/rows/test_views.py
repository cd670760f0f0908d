"""Second views: of their own draws, of pictures as the first ones, of captions with few edits; and trained with."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cyclip_model import losses, train
from cyclip_model.losses import CaptionEdits
from cyclip_model.losses.cyclip import CyclipConfig
from cyclip_model.model.towers import PreprocessConfig
from cyclip_model.rows import augment, views
from cyclip_model.rows.augment import AugmentConfig
from cyclip_model.rows.data import Batch
from cyclip_model.trainer import loop
from cyclip_model.trainer.step import backward
from tests.cyclip_model.losses.settings import CONFIGS
from tests.cyclip_model.rows.test_augment import STRONG, pictures
from tests.cyclip_model.test_train import LOADER, LOSSES
from tests.cyclip_model.trainer.test_step import batch, gradients, learner

START, END = 49406, 49407
PREPROCESS = PreprocessConfig(mean=[0.5] * 3, std=[0.25] * 3, interpolation="bicubic", resize_mode="shortest")
EDITS = CaptionEdits(token_delete_prob=0.3, token_swap_prob=0.3)


def captions(*lengths: int, context: int = 12) -> torch.Tensor:
    """Token rows with so many inner tokens, numbered from 1."""
    rows = torch.zeros((len(lengths), context), dtype=torch.long)
    for row, length in enumerate(lengths):
        rows[row, : length + 2] = torch.tensor([START, *range(1, length + 1), END])
    return rows


def edit(tokens: torch.Tensor, delete: float, swap: float, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    found = views.edited(tokens, CaptionEdits(delete, swap), generator, slice(None), len(tokens))
    assert found.shape == tokens.shape
    return [[token for token in row if token] for row in found.tolist()]


def test_start_and_end_stay_and_zeros_follow() -> None:
    tokens = captions(*([0, 1, 2, 5, 10] * 40))
    generator = torch.Generator().manual_seed(0)
    found = views.edited(tokens, EDITS, generator, slice(None), len(tokens))
    ends = found.argmax(1)
    for row, before, end in zip(found.tolist(), tokens.tolist(), ends.tolist(), strict=True):
        assert (row[0], row[end]) == (START, END)
        assert not any(row[end + 1 :])
        inner = row[1:end]
        assert len(set(inner)) == len(inner)
        assert set(inner) <= set(before)
        assert bool(inner) == (before[1] != END)
    assert not torch.equal(found, tokens)


def test_no_chance_leaves_captions_and_certainty_leaves_one_token() -> None:
    tokens = captions(0, 1, 4, 10)
    assert edit(tokens, 0.0, 0.0) == [[token for token in row if token] for row in tokens.tolist()]
    assert [len(row) for row in edit(tokens, 1.0, 0.0)] == [2, 3, 3, 3]


def test_swaps_are_of_neighbours_and_of_each_once() -> None:
    assert edit(captions(4), 0.0, 1.0) == [[START, 2, 1, 4, 3, END]]
    assert edit(captions(5), 0.0, 1.0) == [[START, 2, 1, 4, 3, 5, END]]


def test_edits_come_as_often_as_asked_for() -> None:
    tokens = captions(*[10] * 4000)
    kept = sum(len(row) - 2 for row in edit(tokens, 0.2, 0.0)) / 40000
    assert kept == pytest.approx(0.8, abs=0.01)
    moved = sum(token != place for row in edit(tokens, 0.0, 0.1) for place, token in enumerate(row[1:-1], 1)) / 40000
    # a swap moves two tokens, and rules out the one after it
    assert moved == pytest.approx(2 * 0.9 * 0.1 / 1.1, abs=0.015)


def made(own: slice, first: bool = True, place: tuple[int, int, int] = (3, 1, 2)) -> tuple[Any, views.Second]:
    rows = Batch(pictures(8)[own], captions(*range(2, 10))[own])
    share = views.Share(*place, own, 8)
    config = AugmentConfig(**STRONG)
    shown = views.pictures(rows, config, PREPROCESS, share) if first else None
    return shown, views.second(rows, config, PREPROCESS, share, EDITS)


def test_first_views_stay_as_they_were_and_second_ones_differ() -> None:
    shown, second = made(slice(0, 8))
    plain = augment.augment(pictures(8), AugmentConfig(**STRONG), augment.draws(3, 1, 2))
    assert torch.equal(shown, augment.normalise(plain, PREPROCESS.mean, PREPROCESS.std))
    assert not torch.equal(shown, second.images_RCHW)
    assert not torch.equal(second.tokens_RL, captions(*range(2, 10)))


def test_second_views_are_a_function_of_seed_epoch_and_batch() -> None:
    before = torch.random.get_rng_state()
    _, second = made(slice(0, 8))
    _, again = made(slice(0, 8), first=False)
    assert all(torch.equal(one, other) for one, other in zip(second, again, strict=True))
    for place in ((4, 1, 2), (3, 2, 2), (3, 1, 3)):
        _, other = made(slice(0, 8), place=place)
        assert not torch.equal(second.images_RCHW, other.images_RCHW)
        assert not torch.equal(second.tokens_RL, other.tokens_RL)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_ranks_together_draw_what_one_process_does() -> None:
    _, whole = made(slice(0, 8))
    parts = [made(slice(start, start + 4))[1] for start in (0, 4)]
    for name in views.Second._fields:
        joined = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(joined, getattr(whole, name))


def test_the_table_of_objectives_says_who_asks_for_views() -> None:
    asking = {name for name, objective in losses.OBJECTIVES.items() if objective.views}
    assert asking == {"cyclip"}
    wanted = losses.objective("cyclip").views
    assert wanted is not None
    assert wanted(CONFIGS["cyclip"]) is None
    assert wanted(with_views()) == CaptionEdits(0.2, 0.2)


@pytest.mark.parametrize("key", ["token_delete_prob", "token_swap_prob"])
def test_probabilities_out_of_range_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} must be in 0..1, not 1.5"):
        CyclipConfig(**{**LOSSES["cyclip"], key: 1.5})


def with_views() -> CyclipConfig:
    return CyclipConfig(**{**LOSSES["cyclip"], "inmodal_views": True})


@pytest.mark.parametrize("micro_batch", [1, 4, 5])
def test_micro_batches_leave_loss_and_gradients_as_they_are_with_views(micro_batch: int) -> None:
    whole = learner("cyclip")
    cached = copy.deepcopy(whole)
    images, tokens = batch(20)
    given, second = (images[:10], tokens[:10]), (images[10:], tokens[10:])
    parts = lambda features: losses.objective("cyclip").parts(features, with_views())  # noqa: E731
    wanted = backward(whole, *given, parts, 10, second)
    found = backward(cached, *given, parts, micro_batch, second)
    for part, value in wanted.items():
        torch.testing.assert_close(found[part], value, rtol=1e-6, atol=1e-8)
    of_whole, of_cached = gradients(whole), gradients(cached)
    for parameter, gradient in of_whole.items():
        if gradient is not None:
            torch.testing.assert_close(of_cached[parameter], gradient, rtol=1e-5, atol=1e-8, msg=parameter)
    without = backward(
        learner("cyclip"), *given, lambda features: losses.objective("cyclip").parts(features, CONFIGS["cyclip"]), 10
    )
    assert without["loss"] != wanted["loss"]


def test_features_of_views_are_those_of_the_views_alone() -> None:
    towers = learner("cyclip")
    images, tokens = batch(8)
    found = towers(images[:4], tokens[:4], images[4:], tokens[4:])
    alone, others = towers(images[:4], tokens[:4]), towers(images[4:], tokens[4:])
    torch.testing.assert_close(found.image_BD, alone.image_BD)
    torch.testing.assert_close(found.text_view_BD, others.text_BD)
    torch.testing.assert_close(found.image_view_BD, others.image_BD)
    assert alone.image_view_BD is None


def trained(root: Path, name: str = "cyclip-0") -> tuple[bytes, list[list[float]]]:
    model = Path("models") / name
    train.main(root, root.parent / "shards", model, Path("provenance.json"))
    _, *lines = (model / "history.csv").read_text().splitlines()
    content = b"".join((model / each).read_bytes() for each in sorted(path.name for path in model.iterdir()))
    return content, [[float(value) for value in line.split(",")] for line in lines]


def test_training_with_views_learns_and_goes_on_bit_by_bit(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    section = train_section(epochs=6, lr=0.003, micro_batch_size=4)
    asked = {**LOSSES, "cyclip": {**LOSSES["cyclip"], "inmodal_views": True}}
    Path("params.yaml").write_text(yaml.safe_dump({"train": section, "losses": asked, "loader": LOADER}))
    root = shards.pack(Path("data"), {"train": shards.drawings(24), "val": shards.drawings(3)})
    content, history = trained(root)
    assert history[-1][3] < history[0][3]
    assert json.loads(Path("provenance.json").read_text())["params"]["losses.cyclip"]["inmodal_views"] is True
    step, calls = backward, [0]

    def dying(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "_SAVE_EVERY_S", -1)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "backward", dying)
        with pytest.raises(KeyboardInterrupt):
            trained(root)
    assert trained(root)[0] == content
