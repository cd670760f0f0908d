"""One rank's work of stage train: towers and heads built, rows read, trained; rank 0 writes the model folder.

    python -m torch.distributed.run --nproc-per-node N -m cyclip_model.trainer.training ROOT_JSON SHARDS NAME SCRATCH

is how stage train starts several, NAME being OBJECTIVE-SEED; one it runs itself.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cyclip_model import losses
from cyclip_model.model import heads, model_folder, towers, warm_start
from cyclip_model.model.adopted import AdoptedConfig
from cyclip_model.model.learner import Learner
from cyclip_model.rows import data, loader
from cyclip_model.rows.loader import LoaderConfig
from cyclip_model.trainer import events, loop, ranks, timings
from cyclip_model.trainer.config import TrainConfig
from cyclip_model.trainer.determinism import reproducible
from cyclip_model.trainer.loop import Record
from lineage import files, orphans, params, stage

MODEL_NAME = re.compile(r"([a-z][a-z0-9_]{0,30})-(0|[1-9][0-9]{0,8})")
OUT, ACCOUNT = "out", "account.json"


def parse_name(name: str) -> tuple[str, int]:
    """(objective, seed) of a model folder's name.

    Raises:
        ValueError: it is not OBJECTIVE-SEED.
    """
    found = MODEL_NAME.fullmatch(name)
    if not found:
        raise ValueError(f"{name}: a model folder is named OBJECTIVE-SEED, like models/clip-0")
    return found[1], int(found[2])


def objective_of(name: str, path: Path = params.PARAMS) -> tuple[losses.Objective, Any]:
    """What an entry of `objectives` in params.yaml stands for, with its config from section losses.NAME.

    An entry is an objective's name, or one of your own whose section says which it is: `losses.cyclip_strong:
    {objective: cyclip, ...}`. So one run of the DAG trains and compares several settings of an objective.

    Raises:
        ValueError: there is no such objective, or the section has a mistake; names the key.
    """
    if name in losses.OBJECTIVES:
        return losses.OBJECTIVES[name], params.load(f"losses.{name}", losses.OBJECTIVES[name].config, path)
    section = params.section("losses", path).get(name)
    if not isinstance(section, dict) or "objective" not in section:
        raise ValueError(
            f"{path}: objectives: there is no objective {name!r}; choose from {', '.join(losses.OBJECTIVES)}, or "
            f"give it a section losses.{name} with `objective: ONE_OF_THEM`"
        )
    objective = losses.objective(str(section["objective"]))
    content = {key: value for key, value in section.items() if key != "objective"}
    return objective, params.build(objective.config, content, f"losses.{name}", path)


def settings(name: str, path: Path = params.PARAMS) -> dict[str, Any]:
    """All that a params file says of the model of this name, by section."""
    entry, _ = parse_name(name)
    section = params.section("losses", path).get(entry)
    if isinstance(section, dict) and "external" in section:
        return {f"losses.{entry}": params.build(AdoptedConfig, section, f"losses.{entry}", path)}
    _, loss_config = objective_of(entry, path)
    return {"train": params.load("train", TrainConfig, path), f"losses.{entry}": loss_config}


def launch(root_json: Path, shards: Path, name: str, scratch: Path, config: TrainConfig) -> None:
    """Trains with `train.processes` ranks; they are torchrun's and die with it, as it dies with this process.

    Raises:
        ValueError: one of them failed; what it said is on stderr.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    command = [sys.executable, *torchrun, "-m", __name__, str(root_json), str(shards), name, str(scratch)]
    mine = os.getpid()
    done = subprocess.run(
        command,
        check=False,
        env={"OMP_NUM_THREADS": str(config.threads), **os.environ, ranks.STAGE_PID: str(mine)},
        preexec_fn=functools.partial(orphans.die_with_parent, mine),
    )
    if done.returncode != 0:
        raise ValueError(f"train@{name}: one of {config.processes} ranks failed; what it said stands above")


def train(root_json: Path, shards: Path, name: str, scratch: Path) -> None:
    """Trains the model that the name asks for, as the rank that this process is; rank 0 writes what comes of it."""
    entry, seed = parse_name(name)
    given = scratch / params.PARAMS.name  # what the stage began with
    objective, loss_config = objective_of(entry, given)
    config, loading = params.load("train", TrainConfig, given), params.load("loader", LoaderConfig, given)
    mine = ranks.join()
    if mine.rank:
        logging.getLogger("clipline").setLevel(logging.WARNING)  # all would say the same
    try:
        clusters = objective.nclip(loss_config) if objective.nclip else None
        temperature = clusters.temperature if clusters and objective.compares_clusters else None

        def parts(features: losses.Features) -> dict[str, Tensor]:
            return objective.parts(features, loss_config)

        told, views = timings.path(name), objective.views(loss_config) if objective.views else None
        is_told = events.is_asked() and not mine.rank
        telling = events.writer(stage.WORK / "tensorboard" / name) if is_told else contextlib.nullcontext()
        with telling as scalars, reproducible(config.threads), contextlib.ExitStack() as stack:
            recipe = loop.Recipe(config, parts, seed, mine, temperature, told, scalars, objective.is_contrastive, views)
            model_cfg = {**config.towers.model_cfg(), **(objective.model_cfg or {})}
            trained = towers.build(model_cfg, towers.preprocess_cfg(config.preprocess), seed)
            made_heads = heads.build(config.towers.embed_dim, clusters.head, seed) if clusters else None
            parent = None
            if config.warm_start:
                head, folder = clusters.head if clusters else None, scratch / f"parent-{mine.rank}"
                built = warm_start.Built(trained.model, model_cfg, towers.preprocess_cfg(config.preprocess))
                parent = warm_start.apply(config.warm_start, built, made_heads, head, folder)
            learner = Learner(trained.model, made_heads, is_bf16=config.precision == "bf16")
            listed = data.verified(root_json, shards)
            packed = {split: data.packed(shards, listed, split, trained) for split in ("train", "val")}
            rows, held_out = (
                stack.enter_context(loader.opened(its, loading, scratch / "rows" / split, mine.device))
                for split, its in packed.items()
            )
            history = loop.fit(learner, rows, held_out, recipe, scratch / "checkpoint.pt")
    finally:
        ranks.leave()
    if mine.rank:
        return
    made, drawn = scratch / OUT, loop.exposure(len(rows), config, seed)
    model_folder.write(made, trained.model, model_cfg, config, history)
    if clusters and made_heads:
        heads.save(heads.Saved(made_heads, clusters.temperature, objective.compares_clusters), made, clusters.head)
    warm_start.write_exposure(model_folder.exposure_table(rows, drawn), parent, made)
    started = {"warm_start": parent.account} if parent else {}
    files.write_json(scratch / ACCOUNT, {**_account(rows, held_out, drawn, history), **started})


def _account(
    rows: data.Source, held_out: data.Source, drawn: np.ndarray[Any, Any], history: list[Record]
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
    stage.log_to_stderr()
    with stage.user_errors():
        ranks.die_with_stage()
        train(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
