"""Any model through every protocol, beside the DAG: open_clip's by name or file, or one that is still being trained.

    python -m cyclip_model.evaluate ViT-B-32/laion2b_s34b_b79k data/benchmarks OUT    # fetched by open_clip
    python -m cyclip_model.evaluate ViT-B-32/weights/clip.pt data/benchmarks OUT      # a file
    python -m cyclip_model.evaluate weights/my-clip data/benchmarks OUT               # a folder in the hub's form
    python -m cyclip_model.evaluate models/clip-0 data/benchmarks OUT                 # ours, trained or half-trained

A model that shall stand in the report, and be traced, is an entry of `objectives` instead (model.adopted).
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cyclip_model import evaluate
from cyclip_model.evaluate import EvaluateConfig
from cyclip_model.model import adopted, external, towers
from cyclip_model.trainer import half_trained
from cyclip_model.trainer.determinism import reproducible
from lineage import params, stage

KEYS = external.Keys("MODEL", "MODEL")

logger = logging.getLogger("clipline")


def bring(model: str, scratch: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a model given in any of the forms above, and what is to be said of it.

    Raises:
        ValueError: it is none of them, or cannot be had here.
    """
    folder = Path(model)
    if (folder / towers.HUB_CONFIG).is_file():
        return folder, {}
    training = folder if (folder / "checkpoint.pt").is_file() else half_trained.scratch_of(folder.name)
    if training is not None:
        made = scratch / folder.name
        return made, {"half_trained": half_trained.write(training, made)}
    made = scratch / "-".join(folder.parts[-2:])
    account = adopted.take(model, None, KEYS, made, scratch / "arch")
    return made, {"external": account["external"]}


def main(
    model: Annotated[str, typer.Argument(help="ARCH/TAG, ARCH/FILE, a folder in the hub's form, or models/NAME.")],
    benchmarks: Annotated[Path, typer.Argument(help="What stage benchmarks made: data/benchmarks.")],
    out: Annotated[Path, typer.Argument(help="A folder for metrics.json and predictions.parquet.")],
) -> None:
    """Runs every protocol on MODEL over the sets of params.yaml in BENCHMARKS; no record is kept, no stage is run.

    With PREDICTIONS and PROVENANCE as fourth and fifth argument it is stage evaluate, on a folder under models.
    """
    config, sets = params.load("evaluate", EvaluateConfig), evaluate.listed_sets()
    stage.WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=stage.WORK, prefix="brought-") as scratch, reproducible(config.threads):
        folder, said = bring(model, Path(scratch))
        loaded = towers.load(folder)
        seen = evaluate.look(loaded, folder, benchmarks, sets, config)
        facts = {**evaluate.model_facts(loaded, folder), **said}
        evaluate.write(seen, folder, facts, out, out / "predictions.parquet")
    for name in seen.absent:
        logger.warning("%s is absent: %s", name, seen.absent[name]["how"])
    logger.info("%s: %d sets, %s", model, len(seen.found), out / "metrics.json")


if __name__ == "__main__":
    stage.command(main)
