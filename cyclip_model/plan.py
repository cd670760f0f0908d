"""What a recipe will take, before it is run: parameters, memory of a GPU, operations, steps and hours.

    python -m cyclip_model.train --plan cyclip-cc3m --gpu a100-80gb

Towers and heads are built without memory (torch's meta device) and taken through one micro-batch forward and backward:
torch counts the operations, and every tensor kept for the backward pass is added up. Hours follow from the GPU's peak
and a share of it that such models reach; both are stated.

Shapes: B batch, M micro-batch of a rank, L tokens, D embedding, K clusters.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cyclip_model import heads, losses
from cyclip_model.learner import Learner
from cyclip_model.loop import TrainConfig
from cyclip_model.recipe import path_of
from lineage import params, stage

_BYTES_A_PARAMETER = 16
"""float32 weight, its gradient, and AdamW's two moments."""
_REACHED = 0.35
"""Share of the peak that convolutional and small transformer towers reach in bfloat16; ours to state, not measured."""


class Gpu(NamedTuple):
    """One GPU by its vendor's data sheet."""

    tflops: float
    """Peak of dense bfloat16 products, 10^12 operations a second."""
    memory_gib: float


GPUS = {
    "a100-40gb": Gpu(312, 40),
    "a100-80gb": Gpu(312, 80),
    "h100-80gb": Gpu(989, 80),
    "rtx-4090": Gpu(165, 24),
    "v100-32gb": Gpu(125, 32),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A file of cyclip_model/recipes, or params.yaml's own sections."""

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


def read(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: there is none, or its file has a mistake.
    """
    path = path_of(name)
    content = params.parse_yaml(path.read_text(encoding="utf-8"))
    if "rows" not in content:
        raise ValueError(f"--plan {name}: {path} is a study, not a training: it names no rows")
    content["objective"] = content.pop("objectives")[0]
    content["losses"] = content.pop(f"losses.{content['objective']}")
    return params.build(Recipe, content, name, path)


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
    seconds = steps * flops_a_step / (config.processes * gpu.tflops * 1e12 * _REACHED)
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
    towers.set_grad_checkpointing(recipe.train.checkpoint_activations)
    return Learner(towers, made, is_bf16=False).train()


def one_pass(learner: Learner, config: TrainConfig, micro_batch: int) -> tuple[float, float]:
    """(operations, bytes kept for the backward pass) of one micro-batch, forward and backward.

    A multiplication and an addition are two operations. Bytes are those of the precision trained in.
    """
    size = learner.towers.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    images = torch.empty((micro_batch, 3, height, width), device="meta")
    tokens = torch.zeros((micro_batch, learner.towers.context_length), dtype=torch.long, device="meta")
    weights = {each.data_ptr() if not each.is_meta else id(each) for each in learner.parameters()}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        if not isinstance(value, nn.Parameter) and id(value) not in weights:
            kept[id(value.untyped_storage())] = value.untyped_storage().nbytes()
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
    name: Annotated[str, typer.Option("--plan", metavar="RECIPE", help="a file of cyclip_model/recipes")],
    gpu: Annotated[str, typer.Option(help=f"one of {', '.join(GPUS)}")] = "a100-80gb",
) -> None:
    """Says what a recipe takes."""
    if gpu not in GPUS:
        raise ValueError(f"--gpu {gpu}: unknown; GPUs: {', '.join(GPUS)}")
    recipe = read(name)
    sys.stdout.write(shown(name, recipe, plan(recipe, GPUS[gpu]), gpu))


def shown(name: str, recipe: Recipe, found: Plan, gpu_name: str) -> str:
    """The plan in words."""
    gpu = GPUS[gpu_name]
    fits = "fits" if found.memory_gib < 0.9 * gpu.memory_gib else "does NOT fit: lower micro_batch_size"
    config = recipe.train
    return (
        f"{name}: {recipe.objective}, {config.towers.arch}, {recipe.rows:,} pairs, {config.epochs} epochs, batches of "
        f"{config.batch_size}\n"
        f"parameters   {found.parameters / 1e6:,.1f} M\n"
        f"steps        {found.steps:,}\n"
        f"operations   {found.flops_a_step / 1e12:,.2f} TFLOP a step, "
        f"{found.flops_a_step * found.steps / 1e18:,.1f} EFLOP in all\n"
        f"memory       {found.memory_gib:.1f} GiB of {gpu.memory_gib:g} a GPU ({gpu_name}): {fits}\n"
        f"time         {found.hours:,.0f} h on {config.processes} x {gpu_name}, at {_REACHED:.0%} of its peak of "
        f"{gpu.tflops:g} TFLOP/s (an estimate)\n"
    )


if __name__ == "__main__":
    from cyclip_model.plan import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
