"""Stage train: packed shards to one model, named OBJECTIVE-SEED, with its history and the count of pairs it saw.

python -m cyclip_model.train data/dataset/root.json data/shards models/clip-0 provenance/train/clip-0.json
python -m cyclip_model.train --plan cyclip-cc3m --gpu a100-80gb      # what a recipe takes, without training
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from cyclip_model.model import adopted, external
from cyclip_model.trainer import timings, training
from cyclip_model.trainer.config import TrainConfig
from lineage import files, params, stage


def main(root_json: Path, shards: Path, model: Path, provenance: Path) -> None:
    """Trains the model that the folder's name asks for, OBJECTIVE-SEED, on the shards that root_json lists."""
    text = params.PARAMS.read_bytes() if params.PARAMS.is_file() else b""
    settings = training.settings(model.name)
    _refuse_two_disks(model)
    with stage.run(
        "train", model.name, params=settings, deps=[root_json, shards], outs=[model], provenance=provenance
    ) as this:
        given = this.scratch / params.PARAMS.name  # what is trained with, whatever becomes of params.yaml meanwhile
        files.write_bytes(given, text)
        try:
            if training.settings(model.name, given) != settings:
                raise ValueError("params.yaml changed while the stage began: run it again")
            this.account(**_make(root_json, shards, model.name, this, settings))
        finally:
            given.unlink()  # a training refused before its first checkpoint leaves no scratch
        this.publish(this.scratch / training.OUT, model)


def _make(root_json: Path, shards: Path, name: str, this: stage.Run, settings: dict[str, Any]) -> dict[str, Any]:
    """The model of this name under the run's scratch, trained or taken from others; returns the account."""
    if "train" not in settings:
        ((key, config),) = settings.items()
        keys = external.Keys(f"{key}.external", f"{key}.sha256")
        made, scratch = this.scratch / training.OUT, this.scratch / "arch"
        return adopted.take(config.external, config.sha256, keys, made, scratch)
    train: TrainConfig = settings["train"]
    if train.processes > 1:
        training.launch(root_json, shards, name, this.scratch, train)
    else:
        training.train(root_json, shards, name, this.scratch)
    this.speed |= timings.summary(timings.path(name))
    account: dict[str, Any] = files.read_json(this.scratch / training.ACCOUNT)
    return account


def _refuse_two_disks(model: Path) -> None:
    """Raises ValueError where what training makes could not be published by a rename, before it trains for days."""
    stage.WORK.mkdir(exist_ok=True)
    above = next(path for path in model.absolute().parents if path.exists())
    if above.stat().st_dev != stage.WORK.stat().st_dev:
        raise ValueError(
            f"{above} and {stage.WORK.absolute()} lie on two file systems, but models are published by a rename: "
            "bring both onto one"
        )


if __name__ == "__main__":
    from cyclip_model.train import main  # not __main__.main: pickle needs an importable name

    if any(word.split("=")[0] == "--plan" for word in sys.argv):
        runpy.run_module("cyclip_model.plan", run_name="__main__")  # by name: no training depends on how it is planned
    else:
        stage.command(main)
