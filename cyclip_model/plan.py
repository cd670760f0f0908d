"""What a recipe will take, before it is run: parameters, memory of a GPU, operations, steps and hours.

    python -m cyclip_model.train --plan cyclip-cc3m --gpu a100-80gb
    python -m cyclip_model.train --plan emoji-tiny --objective xclip    # params.yaml's own, by the name of its towers

Towers and heads are built without memory (torch's meta device) and taken through one micro-batch forward and backward:
torch counts the operations, and every tensor kept for the backward pass is added up. Hours follow from the GPU's peak
and a share of it that such models reach; both are stated.

Shapes: B batch, M micro-batch of a rank, L tokens, D embedding, K clusters.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cyclip_model import losses
from cyclip_model.model import heads
from cyclip_model.model.learner import Learner
from cyclip_model.model.recompute import checkpoint_activations
from cyclip_model.recipe import names, path_of
from cyclip_model.trainer.config import TrainConfig
from lineage import files, params, stage

_BYTES_A_PARAMETER = 16
"""float32 weight, its gradient, and AdamW's two moments."""
_REACHED = 0.35
"""Share of the peak that convolutional and small transformer towers reach; ours to state, not measured."""


class Gpu(NamedTuple):
    """One GPU by its vendor's data sheet."""

    tflops: float
    """Peak of dense bfloat16 products, 10^12 operations a second; float16 where a GPU has no bfloat16."""
    fp32_tflops: float
    """The same of float32, without tensor cores."""
    memory_gib: float
    has_bf16: bool = True

    def peak(self, precision: str) -> float:
        """10^12 operations a second of `train.precision`."""
        return self.tflops if precision == "bf16" else self.fp32_tflops


GPUS = {
    "a100-40gb": Gpu(312, 19.5, 40),
    "a100-80gb": Gpu(312, 19.5, 80),
    "h100-80gb": Gpu(989, 67, 80),
    "rtx-4090": Gpu(165, 82.6, 24),
    "v100-32gb": Gpu(125, 15.7, 32, has_bf16=False),
}
ROOT_JSON = Path("data/dataset/root.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A file of cyclip_model/recipes, or params.yaml's own sections with the pairs of data/dataset."""

    rows: int
    """Training pairs."""
    objective: str
    """One of losses.OBJECTIVES."""
    losses: dict[str, Any]
    """The objective's section."""
    train: TrainConfig


class Plan(NamedTuple):
    """What comes out."""

    parameters: int
    """Of towers and heads."""
    steps: int
    flops_a_step: float
    """Forward and backward of the whole batch, all ranks; recomputed activations counted."""
    memory_gib: float
    """Of one GPU: weights, gradients, moments, activations of a micro-batch, and the loss's own."""
    hours: float
    """On `train.processes` GPUs of the kind."""


def read(name: str, objective: str | None = None) -> Recipe:
    """The recipe of this name.

    Args:
        name: a file of cyclip_model/recipes, or the name of the towers in params.yaml.
        objective: another than the recipe's own, which has its section in params.yaml.

    Raises:
        ValueError: there is none, or its file has a mistake.
    """
    if name in names():
        recipe = _from_file(name, path_of(name))
        return recipe if objective is None else replace(recipe, **_objective(objective))
    own = params.PARAMS.is_file() and params.load("train", TrainConfig)
    if not own or own.towers.arch != name:
        known = sorted([*names(), *([own.towers.arch] if own else [])])
        raise ValueError(f"--plan {name}: there is no such recipe; recipes: {', '.join(known)}")
    chosen = objective or params.names("objectives")[0]
    return Recipe(rows=_own_rows(), train=own, **_objective(chosen))


def _from_file(name: str, path: Path) -> Recipe:
    content = params.parse_yaml(path.read_text(encoding="utf-8"))
    if "rows" not in content:
        raise ValueError(f"--plan {name}: {path} is a study, not a training: it names no rows")
    content["objective"] = content.pop("objectives")[0]
    content["losses"] = content.pop(f"losses.{content['objective']}")
    return params.build(Recipe, content, name, path)


def _own_rows() -> int:
    if not ROOT_JSON.is_file():
        raise ValueError(f"{ROOT_JSON} is missing, and with it the number of pairs: `dvc repro dataset` makes it")
    return int(files.read_json(ROOT_JSON)["rows"]["train"])


def _objective(name: str) -> dict[str, Any]:
    """A name of params section `losses` as a recipe says it."""
    sections = params.section("losses")
    if name not in sections:
        raise ValueError(f"--objective {name}: params.yaml has no losses.{name}; it has {', '.join(sections)}")
    section = dict(sections[name])
    return {"objective": section.pop("objective", name), "losses": section}


def plan(recipe: Recipe, gpu: Gpu) -> Plan:
    """What the recipe takes on GPUs of a kind."""
    config = recipe.train
    share = config.batch_size // config.processes
    micro_batch = min(config.micro_batch_size, share)
    learner = on_meta(recipe)
    parameters = sum(each.numel() for each in learner.parameters())
    flops, activations = one_pass(learner, config, micro_batch)
    num_passes = -(-share // micro_batch)
    repeated = flops / 3 if num_passes > 1 else 0.0  # a gradient cache goes forward twice
    flops_a_step = (flops + repeated) * num_passes * config.processes
    steps = recipe.rows // config.batch_size * config.epochs
    memory = parameters * _BYTES_A_PARAMETER + activations + loss_bytes(recipe)
    seconds = steps * flops_a_step / (config.processes * gpu.peak(config.precision) * 1e12 * _REACHED)
    return Plan(parameters, steps, flops_a_step, memory / 2**30, seconds / 3600)


def on_meta(recipe: Recipe) -> Learner:
    """Towers and heads without memory."""
    from open_clip import CLIP

    objective = losses.objective(recipe.objective)
    config = params.build(objective.config, recipe.losses, "losses", recipe.objective)
    with torch.device("meta"):
        towers = CLIP(**recipe.train.towers.model_cfg(), **(objective.model_cfg or {}))
        nclip = objective.nclip(config) if objective.nclip else None
        made = heads.Heads(recipe.train.towers.embed_dim, nclip.head) if nclip else None
    checkpoint_activations(towers, recipe.train.checkpoint_activations)
    return Learner(towers, made, is_bf16=False).train()


def one_pass(learner: Learner, config: TrainConfig, micro_batch: int) -> tuple[float, float]:
    """(operations, bytes kept for the backward pass) of one micro-batch, forward and backward.

    A multiplication and an addition are two operations. Bytes are those of the precision trained in.
    """
    size = learner.towers.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    images = torch.empty((micro_batch, 3, height, width), device="meta")
    tokens = torch.zeros((micro_batch, learner.towers.context_length), dtype=torch.long, device="meta")
    weights = {each.untyped_storage()._cdata for each in learner.parameters()}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return value

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        features = learner(images, tokens)
        heads_of = [each for each in (features.image_BK, features.text_BK) if each is not None]
        total = torch.stack([each.sum() for each in (features.image_BD, features.text_BD, *heads_of)]).sum()
        activations = float(sum(kept.values()))
        torch.autograd.backward(total)
    halved = 0.5 if config.precision == "bf16" else 1.0
    return float(counter.get_total_flops()), activations * halved


def loss_bytes(recipe: Recipe) -> float:
    """Bytes of the objective's own: gathered features, logits of tiles or of all pairs, cluster logits; float32."""
    config = recipe.train
    share, width = config.batch_size // config.processes, config.towers.embed_dim
    features = 4 * config.batch_size * width * 4
    tiles = 3 * 4 * min(share, 256) * config.batch_size
    objective = losses.objective(recipe.objective)
    clusters = 0
    if objective.nclip:
        head = objective.nclip(params.build(objective.config, recipe.losses, "losses", recipe.objective)).head
        clusters = 8 * 4 * share * head.num_clusters
    return float(features + tiles + clusters)


def main(
    name: Annotated[
        str, typer.Option("--plan", metavar="RECIPE", help="a file of cyclip_model/recipes, or params.yaml's towers")
    ],
    gpu: Annotated[str, typer.Option(help=f"one of {', '.join(GPUS)}")] = "a100-80gb",
    objective: Annotated[str | None, typer.Option(help="of params section losses; else the recipe's own")] = None,
) -> None:
    """Says what a recipe takes."""
    if gpu not in GPUS:
        raise ValueError(f"--gpu {gpu}: unknown; GPUs: {', '.join(GPUS)}")
    recipe = read(name, objective)
    sys.stdout.write(shown(name, recipe, plan(recipe, GPUS[gpu]), gpu))


def shown(name: str, recipe: Recipe, found: Plan, gpu_name: str) -> str:
    """The plan in words."""
    gpu, config = GPUS[gpu_name], recipe.train
    fits = "fits" if found.memory_gib < 0.9 * gpu.memory_gib else "does NOT fit: lower micro_batch_size"
    kind = "float32" if config.precision == "fp32" else "bfloat16" if gpu.has_bf16 else "float16"
    in_all = found.flops_a_step * found.steps / 1e18
    return (
        f"{name}: {recipe.objective}, {config.towers.arch}, {recipe.rows:,} pairs, {config.epochs} epochs, batches of "
        f"{config.batch_size}\n"
        f"parameters   {found.parameters / 1e6:,.1f} M\n"
        f"steps        {found.steps:,}\n"
        f"operations   {found.flops_a_step / 1e12:,.2f} TFLOP a step, "
        f"{f'{in_all:,.1f} EFLOP' if in_all > 0.1 else f'{1000 * in_all:.2g} PFLOP'} in all\n"
        f"memory       {found.memory_gib:.1f} GiB of {gpu.memory_gib:g} a GPU ({gpu_name}): {fits}\n"
        f"time         {f'{found.hours:,.0f} h' if found.hours > 1 else f'{60 * found.hours:.2g} min'} on "
        f"{config.processes} x {gpu_name}, at {_REACHED:.0%} of its {kind} peak of {gpu.peak(config.precision):g} "
        "TFLOP/s (an estimate)\n"
        + (
            f"note         {gpu_name} has no bfloat16, and float16 is not trained in: take precision fp32, whose peak "
            f"is {gpu.fp32_tflops:g} TFLOP/s\n"
            if kind == "float16"
            else ""
        )
    )


if __name__ == "__main__":
    from cyclip_model.plan import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
