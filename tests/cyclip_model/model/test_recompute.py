"""Activations made again: equal bits in weights and in what BatchNorms remember, and less memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from cyclip_model import train
from cyclip_model.losses import clip_loss
from cyclip_model.model import recompute, towers
from cyclip_model.model.learner import Learner
from cyclip_model.trainer import step
from tests.cyclip_model.test_train import LOADER, LOSSES
from tests.cyclip_model.trainer.test_loop import Fit, digest, fit
from tests.cyclip_model.trainer.test_ranks import ROOT
from tests.pipelines.models import ARCHITECTURES, PREPROCESS

__all__ = ["fit"]
Section = Callable[..., dict[str, Any]]


def learner(is_recomputed: bool, *, is_bf16: bool = False) -> Learner:
    """A small ResNet with two blocks in a stage."""
    cfg = {**ARCHITECTURES["tiny-resnet"], "vision_cfg": {"layers": [1, 2, 1, 1], "width": 8, "image_size": 32}}
    made = towers.build(cfg, PREPROCESS, seed=0).model
    recompute.checkpoint_activations(made, is_recomputed)
    return Learner(made, None, is_bf16=is_bf16).train()


def stepped(is_recomputed: bool, micro_batch: int, *, is_bf16: bool = False) -> dict[str, torch.Tensor]:
    """Weights and buffers after three steps on the same pictures."""
    made = learner(is_recomputed, is_bf16=is_bf16)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        images = torch.randn(8, 3, 32, 32, generator=generator)
        tokens = torch.randint(1, 99, (8, 12), generator=generator)
        optimizer.zero_grad()
        step.backward(made, images, tokens, lambda found: {"loss": clip_loss(*found[:3])}, micro_batch)
        optimizer.step()
    return made.state_dict()


@pytest.mark.parametrize(("micro_batch", "is_bf16"), [(8, False), (4, False), (8, True)])
def test_weights_and_what_norms_remember_are_equal_bit_by_bit(micro_batch: int, is_bf16: bool) -> None:
    plain, again = (stepped(is_recomputed, micro_batch, is_bf16=is_bf16) for is_recomputed in (False, True))
    assert list(plain) == list(again)
    for name, value in plain.items():
        assert torch.equal(value, again[name]), name
    assert plain["towers.visual.layer2.1.bn3.num_batches_tracked"] == 3 * 8 // micro_batch
    assert plain["towers.visual.layer2.1.bn3.running_mean"].any()


def kept_bytes(made: Learner) -> int:
    """What autograd keeps of a pass over eight pictures."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage()._cdata] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        rows = made.towers.encode_image(torch.randn(8, 3, 32, 32))
    assert rows.requires_grad
    return sum(kept.values())


def test_less_is_kept() -> None:
    assert kept_bytes(learner(True)) < 0.8 * kept_bytes(learner(False))


def test_it_is_turned_off_again_and_rests_without_gradients() -> None:
    made, images = learner(True), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        first = made.eval().towers.encode_image(images)
        recompute.checkpoint_activations(made.towers, False)
        assert type(made.towers.visual.layer1) is nn.Sequential
        assert torch.equal(made.towers.encode_image(images), first)


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}, {"micro_batch_size": 4}])
def test_a_training_ends_with_the_same_bits(fit: Fit, changes: dict[str, Any]) -> None:
    plain, again = (fit("xclip", checkpoint_activations=wanted, **changes) for wanted in (False, True))
    assert digest(plain[0]) == digest(again[0])
    assert repr(plain[1]) == repr(again[1])


@pytest.mark.slow
def test_ranks_end_with_the_same_bits(
    tmp_path: Path, shards: Any, train_section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root, found = shards.pack(Path("data"), {"train": shards.drawings(24), "val": shards.drawings(3)}), []
    for wanted in (False, True):
        section = train_section(processes=2, checkpoint_activations=wanted)
        Path("params.yaml").write_text(yaml.safe_dump({"train": section, "losses": LOSSES, "loader": LOADER}))
        model = Path(f"models{wanted}") / "clip-0"
        train.main(root, root.parent / "shards", model, Path("provenance.json"))
        found.append((model / towers.WEIGHTS).read_bytes())
    assert found[0] == found[1]
