"""Stage train: packed shards to one model, named OBJECTIVE-SEED, with its history and the count of pairs it saw.

python -m cyclip_model.train data/dataset/root.json data/shards models/clip-0 provenance/train/clip-0.json
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclip_model import data, heads, loop, losses, model_folder, towers
from cyclip_model.determinism import reproducible
from cyclip_model.learner import Learner
from cyclip_model.loop import Record, TrainConfig
from lineage import params, records, stage

MODEL_NAME = re.compile(r"([a-z][a-z0-9_]{0,30})-(0|[1-9][0-9]{0,8})")


def main(root_json: Path, shards: Path, model: Path, provenance: Path) -> None:
    """Trains the model that the folder's name asks for, OBJECTIVE-SEED, on the shards that root_json lists."""
    name, seed = parse_name(model)
    objective = losses.objective(name)
    config, loss_config = params.load("train", TrainConfig), params.load(f"losses.{name}", objective.config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = loop.Recipe(config, lambda features: objective.parts(features, loss_config), seed, device)
    sections = {"train": config, f"losses.{name}": loss_config}
    with stage.run(
        "train", model.name, params=sections, deps=[root_json, shards], outs=[model], provenance=provenance
    ) as this:
        with reproducible(config.threads):
            model_cfg = {**config.towers.model_cfg(), **(objective.model_cfg or {})}
            trained = towers.build(model_cfg, towers.preprocess_cfg(config.preprocess), seed)
            clusters = objective.nclip(loss_config) if objective.nclip else None
            made_heads = heads.build(config.towers.embed_dim, clusters.head, seed) if clusters else None
            learner = Learner(trained.model, made_heads, is_bf16=config.precision == "bf16")
            listed = data.verified(root_json, shards)
            rows, held_out = (data.read(shards, listed, split, trained) for split in ("train", "val"))
            history = loop.fit(learner, rows, held_out, recipe, this.scratch / "checkpoint.pt")
        made, drawn = this.scratch / "out", loop.exposure(len(rows), config, seed)
        model_folder.write(made, trained.model, model_cfg, config, history)
        if clusters and made_heads:
            saved = heads.Saved(made_heads, clusters.temperature, objective.compares_clusters)
            heads.save(saved, made, clusters.head)
        records.write_table(model_folder.exposure_table(rows, drawn), made / "exposure.parquet")
        this.account(**_account(rows, held_out, drawn, history))
        this.publish(made, model)


def parse_name(model: Path) -> tuple[str, int]:
    """(objective, seed) of a model folder.

    Raises:
        ValueError: it is not named OBJECTIVE-SEED.
    """
    found = MODEL_NAME.fullmatch(model.name)
    if not found:
        raise ValueError(f"{model}: a model folder is named OBJECTIVE-SEED, like models/clip-0")
    return found[1], int(found[2])


def _account(
    rows: data.Rows, held_out: data.Rows, drawn: np.ndarray[Any, Any], history: list[Record]
) -> dict[str, Any]:
    seen = int((drawn > 0).sum())
    facts = {"epochs": len(history), "steps": int(history[-1]["step"]), "pairs_drawn": int(drawn.sum())}
    return {
        "rows_in": len(rows) + len(held_out),
        "kept": seen,
        "dropped": {"val_split": len(held_out), "never_drawn": len(rows) - seen},
        "val_rows": len(held_out),
        "cyclic_unit": history[-1]["2B/D"],
        **facts,
    }


if __name__ == "__main__":
    from cyclip_model.train import main  # not __main__.main: pickle needs an importable name

    stage.command(main)
