"""What a plan says of a recipe is what a run of it takes: parameters, operations, memory, steps."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cyclip_model import losses, plan
from cyclip_model import recipe as recipes
from cyclip_model.model import heads, recompute, towers
from cyclip_model.model.learner import Learner
from cyclip_model.trainer.config import TrainConfig
from lineage import files, params

NAMES = [name for name in recipes.names() if "rows:" in recipes.path_of(name).read_text()]
A100 = plan.GPUS["a100-80gb"]
ROOT = Path(__file__).parents[2]
MEASURED = """
import gc, re, sys
from pathlib import Path
import torch
from tests.cyclip_model.test_plan import built, small
recipe = small(sys.argv[1])
torch.set_num_threads(1)
learner = built(recipe)
size = recipe.train.micro_batch_size
given = torch.randn(size, 3, 64, 64), torch.zeros((size, 16), dtype=torch.long)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
def step(images, tokens):
    features = learner(images, tokens)
    sum(each.sum() for each in features if each is not None and each.ndim == 2).backward()
step(given[0][:2], given[1][:2])
gc.collect()
Path("/proc/self/clear_refs").write_text("5")
before = peak()
step(*given)
print(peak() - before)
"""


def small(name: str) -> plan.Recipe:
    """A recipe with towers that a CPU can run."""
    recipe = plan.read(name)
    text: dict[str, object] = {"context_length": 16, "vocab_size": 300, "width": 64, "heads": 4, "layers": 2}
    vision: dict[str, Any] = {**recipe.train.towers.vision_cfg, "image_size": 64, "width": 64}
    vision["layers"] = [1, 1, 1, 1] if isinstance(vision["layers"], list) else 2
    cfg = dataclasses.replace(recipe.train.towers, embed_dim=64, vision_cfg=vision, text_cfg=text)
    changes: dict[str, Any] = {"batch_size": 256, "micro_batch_size": 128, "processes": 2, "precision": "fp32"}
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, towers=cfg, **changes))


def built(recipe: plan.Recipe) -> Learner:
    """The learner of a recipe, with memory."""
    objective = losses.objective(recipe.objective)
    config = params.build(objective.config, recipe.losses, "losses", recipe.objective)
    preprocess = towers.preprocess_cfg(recipe.train.preprocess)
    made = towers.build(recipe.train.towers.model_cfg() | (objective.model_cfg or {}), preprocess, 0).model
    recompute.checkpoint_activations(made, recipe.train.checkpoint_activations)
    nclip = objective.nclip(config) if objective.nclip else None
    return Learner(made, heads.build(64, nclip.head, 0) if nclip else None, is_bf16=False).train()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_operations_are_those_of_a_run(name: str) -> None:
    recipe = small(name)
    learner = built(recipe)
    found = plan.plan(recipe, A100)
    assert found.parameters == sum(each.numel() for each in learner.parameters())
    size = recipe.train.micro_batch_size
    counter = FlopCounterMode(display=False)
    with counter:
        features = learner(torch.randn(size, 3, 64, 64), torch.zeros((size, 16), dtype=torch.long))
        torch.stack([each.sum() for each in features if each is not None and each.ndim == 2]).sum().backward()
    assert found.flops_a_step == pytest.approx(2 * counter.get_total_flops(), rel=0.05), "two ranks"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cyclip-cc3m", "clip-vit-b-32"])
def test_activations_are_what_a_run_holds(name: str) -> None:
    recipe = small(name)
    _, activations = plan.one_pass(plan.on_meta(recipe), recipe.train, recipe.train.micro_batch_size)
    done = subprocess.run([sys.executable, "-c", MEASURED, name], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.6 < int(done.stdout.split()[-1]) / activations < 1.7


def test_steps_and_hours_follow() -> None:
    recipe = dataclasses.replace(plan.read("cyclip-cc3m"), rows=1280)
    found = plan.plan(recipe, A100)
    assert found.steps == 640
    faster = plan.plan(recipe, plan.Gpu(2 * A100.tflops, 1, 80))
    assert found.hours == pytest.approx(2 * faster.hours)


def test_micro_batches_take_less_memory_and_more_operations() -> None:
    recipe = small("clip-vit-b-32")
    less = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, micro_batch_size=32))
    whole, parts = plan.plan(recipe, A100), plan.plan(less, A100)
    assert parts.memory_gib < whole.memory_gib
    assert parts.flops_a_step == pytest.approx(whole.flops_a_step * 4 / 3, rel=0.01)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder with the project's params.yaml and a data set of 4000 pairs; returns params.yaml."""
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    files.write_json(plan.ROOT_JSON, {"rows": {"train": 4000, "val": 200}})
    found: dict[str, Any] = params.parse_yaml(text)
    return found


def test_the_demo_is_params_yaml_itself(own: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    recipe = plan.read("emoji-tiny")
    assert recipe.train == params.load("train", TrainConfig)
    assert (recipe.rows, recipe.objective) == (4000, own["objectives"][0])
    assert recipe.losses == own["losses"][recipe.objective]
    other = plan.read("emoji-tiny", "xclip")
    assert (other.objective, other.losses, other.train) == ("xclip", own["losses"]["xclip"], recipe.train)
    plan.main("emoji-tiny", objective="xclip")
    said = capsys.readouterr().out
    assert "emoji-tiny: xclip, emoji-tiny, 4,000 pairs, 11 epochs" in said
    assert re.search(r"0.\d+ TFLOP a step, [\d.]+ PFLOP in all", said)
    assert re.search(r"time +[\d.]+ min on 1 x a100-80gb, at 35% of its float32 peak of 19.5 TFLOP/s", said)


@pytest.mark.usefixtures("own")
def test_another_objective_for_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    plan.main("cyclip-cc3m", objective="clip")
    assert capsys.readouterr().out.startswith("cyclip-cc3m: clip, cyclip-rn50")
    with pytest.raises(ValueError, match=r"--objective simclr: params.yaml has no losses.simclr; it has clip"):
        plan.main("cyclip-cc3m", objective="simclr")


@pytest.mark.usefixtures("own")
def test_without_a_data_set_the_demo_has_no_plan() -> None:
    plan.ROOT_JSON.unlink()
    with pytest.raises(ValueError, match=r"root.json is missing, and with it the number of pairs: `dvc repro dataset`"):
        plan.read("emoji-tiny")
    with pytest.raises(ValueError, match=r"recipes: clip-vit-b-32, clusters, cyclip-cc3m, emoji-tiny"):
        plan.read("nothing")


def test_a_gpu_without_bfloat16_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    plan.main("cyclip-cc3m", "v100-32gb")
    said = capsys.readouterr().out
    assert "of its float16 peak of 125 TFLOP/s" in said
    assert "v100-32gb has no bfloat16, and float16 is not trained in: take precision fp32, whose peak is 15.7" in said


def test_activations_made_again_take_less_memory_and_a_third_more_operations() -> None:
    recipe = small("cyclip-cc3m")
    again = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, checkpoint_activations=True))
    (flops, kept), (more_flops, less) = (
        plan.one_pass(plan.on_meta(each), each.train, each.train.micro_batch_size) for each in (recipe, again)
    )
    assert less < 0.7 * kept
    assert 1.1 < more_flops / flops < 1.34


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    plan.main("cyclip-cc3m")
    assert re.search(r"parameters   102\\.0 M\nsteps        1,299,968\n", capsys.readouterr().out.replace(".", "\\."))
    with pytest.raises(ValueError, match=r"--plan cyclip: there is no such recipe; recipes: clip-vit-b-32"):
        plan.main("cyclip")
    with pytest.raises(ValueError, match=r"--plan study: .*study.yaml is a study, not a training"):
        plan.main("study")
    with pytest.raises(ValueError, match=r"--gpu tpu: unknown; GPUs: a100-40gb"):
        plan.main("cyclip-cc3m", "tpu")
