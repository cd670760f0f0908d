"""Stage train: packed shards to one model, named OBJECTIVE-SEED, with its history and the count of pairs it saw.

python -m cyclip_model.train data/dataset/root.json data/shards models/clip-0 provenance/train/clip-0.json
python -m cyclip_model.train --plan cyclip-cc3m --gpu a100-80gb      # what a recipe takes, without training
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from cyclip_model.trainer import timings, training
from cyclip_model.trainer.loop import TrainConfig
from lineage import files, params, stage


def main(root_json: Path, shards: Path, model: Path, provenance: Path) -> None:
    """Trains the model that the folder's name asks for, OBJECTIVE-SEED, on the shards that root_json lists."""
    name, _ = training.parse_name(model.name)
    _, loss_config = training.objective_of(name)
    config = params.load("train", TrainConfig)
    settings = {"train": config, f"losses.{name}": loss_config}
    with stage.run(
        "train", model.name, params=settings, deps=[root_json, shards], outs=[model], provenance=provenance
    ) as this:
        if config.processes > 1:
            training.launch(root_json, shards, model.name, this.scratch, config.processes)
        else:
            training.train(root_json, shards, model.name, this.scratch)
        this.account(**files.read_json(this.scratch / training.ACCOUNT))
        this.speed |= timings.summary(timings.path(model.name))
        this.publish(this.scratch / training.OUT, model)


if __name__ == "__main__":
    from cyclip_model.train import main  # not __main__.main: pickle needs an importable name

    if any(word.split("=")[0] == "--plan" for word in sys.argv):
        runpy.run_module("cyclip_model.plan", run_name="__main__")  # by name: no training depends on how it is planned
    else:
        stage.command(main)
