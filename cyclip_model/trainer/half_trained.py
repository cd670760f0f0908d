"""A model folder made of the newest checkpoint of a training at work, which goes on undisturbed.

A checkpoint is written by a rename and the one before stays, so a reader always finds a whole one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cyclip_model.model import heads, model_folder, towers
from cyclip_model.model.learner import Learner
from cyclip_model.trainer import checkpoint, training
from cyclip_model.trainer.config import TrainConfig
from lineage import params, stage

_SCRATCH = re.compile(r"train-(.+)-[0-9a-f]{16}")


def scratch_of(name: str) -> Path | None:
    """The scratch folder of the training of model NAME (clip-0) in this checkout; None where there is none."""
    found = [
        path
        for path in stage.WORK.glob(f"train-{name}-*")
        if (match := _SCRATCH.fullmatch(path.name)) and match[1] == name
    ]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def write(scratch: Path, made: Path) -> dict[str, Any]:
    """Writes the model of the newest checkpoint in scratch under made; returns how far it is.

    Raises:
        ValueError: scratch is not a training's, has no checkpoint yet, or none that fits its params.yaml.
    """
    matched = _SCRATCH.fullmatch(scratch.name)
    state = checkpoint.load(scratch / "checkpoint.pt")
    if matched is None or state is None:
        raise ValueError(
            f"{scratch}: no checkpoint yet: a training writes the first one after a few minutes, or after an epoch"
        )
    given = scratch / params.PARAMS.name
    entry, seed = training.parse_name(matched[1])
    path = given if given.is_file() else params.PARAMS
    objective, loss_config = training.objective_of(entry, path)
    config = params.load("train", TrainConfig, path)
    model_cfg = {**config.towers.model_cfg(), **(objective.model_cfg or {})}
    clusters = objective.nclip(loss_config) if objective.nclip else None
    built = towers.build(model_cfg, towers.preprocess_cfg(config.preprocess), seed)
    made_heads = heads.build(config.towers.embed_dim, clusters.head, seed) if clusters else None
    learner = Learner(built.model, made_heads, is_bf16=False)
    try:
        learner.load_state_dict(state["average"] or state["learner"])
    except RuntimeError as error:
        raise ValueError(f"{scratch}: the checkpoint does not fit {path}: {error}") from error
    history = list(state["history"])
    model_folder.write(made, learner.towers.eval(), model_cfg, config, history or [{"epoch": 0.0}])
    if clusters and made_heads:
        saved = heads.Saved(made_heads.eval(), clusters.temperature, objective.compares_clusters)
        heads.save(saved, made, clusters.head)
    return {"epochs_done": len(history), "epochs": config.epochs, "steps_of_next": len(state["steps"])}
