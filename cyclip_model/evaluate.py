"""Stage evaluate: every protocol on one model; its metrics, and the predictions that the accuracies follow from.

python -m cyclip_model.evaluate models/clip-0 data/benchmarks results/clip-0 data/predictions/clip-0.parquet \
    provenance/evaluate/clip-0.json

Without predictions and provenance it takes any model, beside the DAG (evaluation.brought):

python -m cyclip_model.evaluate ViT-B-32/laion2b_s34b_b79k data/benchmarks looked-at/vit-b-32
"""

import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from cyclip_model.evaluation import kinds
from cyclip_model.evaluation.answers import Results
from cyclip_model.evaluation.encoder import Encoder, cache_folder
from cyclip_model.evaluation.protocols import ProtocolsConfig
from cyclip_model.model import heads, towers
from cyclip_model.reporting import history
from cyclip_model.trainer.determinism import reproducible
from lineage import digests, files, params, records, stage

if TYPE_CHECKING:
    from cyclip_model.model.towers import Loaded

PREDICTIONS = pa.schema(
    [(name, pa.string()) for name in ("set", "protocol", "part", "variant", "uid", "label", "prediction")]
    + [("rank", pa.int64())]
)
EXPOSURE = "exposure.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Section evaluate."""

    threads: int
    """Of torch; part of the result's identity, because sums of floats depend on it."""
    batch_size: int
    """Rows of a forward pass."""
    device: Literal["cpu", "cuda"]
    """Where the towers compute; never chosen by what the machine has, for the last bits differ."""
    protocols: ProtocolsConfig
    """What is measured."""

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch_size < 1:
            raise ValueError("threads and batch_size must be at least 1")


@dataclass(kw_only=True, slots=True)
class Seen:
    """What a model's evaluation on all sets found."""

    found: dict[str, Results] = field(default_factory=dict)
    absent: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Sets that are not here: why, and how to get them."""
    num_listed: int = 0
    num_read: int = 0


def look(loaded: "Loaded", folder: Path, benchmarks: Path, sets: list[str], config: EvaluateConfig) -> Seen:
    """Every protocol on a model, loaded from folder, over the sets in benchmarks.

    Its features are kept under .work, for the next time.
    """
    saved = heads.load(folder)
    loaded.model.to(config.device)
    weights = {name: digests.sha256_file(folder / name) for name in (towers.HUB_CONFIG, towers.WEIGHTS)}
    shared = {**weights, "batch_size": config.batch_size, "threads": config.threads, "device": config.device}

    def encoder(name: str) -> Encoder:
        identity = {**shared, "set": digests.dvc_digest(benchmarks / name)}
        return Encoder(loaded, saved, config.batch_size, cache_folder(folder.name, name, identity))

    seen = Seen()
    for name in stage.progress(sets, label="sets"):
        described = kinds.description(benchmarks / name)
        if absent := described.get("absent"):
            seen.absent[name] = absent
            continue
        seen.found[name] = kinds.run(encoder, benchmarks / name, described, config.protocols)
        seen.num_listed += kinds.num_listed(described)
        seen.num_read += kinds.num_stored(benchmarks / name)
    return seen


def model_facts(loaded: "Loaded", folder: Path) -> dict[str, Any]:
    """What the report says of the model: its size, and what it was trained on where its exposure is known."""
    facts: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "image_parameters": sum(parameter.numel() for parameter in loaded.model.visual.parameters()),
        "logit_scale": round(float(loaded.model.logit_scale.detach().exp()), 4),
    }
    if (folder / EXPOSURE).is_file():
        table = records.read_table(folder / EXPOSURE, records.EXPOSURE)
        counts = np.asarray(table["count"])
        facts["samples_seen"], facts["pairs_seen"] = int(counts.sum()), int((counts > 0).sum())
        facts["snapshots"] = sorted(set(table["snapshot"].to_pylist()))
    return facts


def write(seen: Seen, model: Path, facts: Mapping[str, Any], out: Path, predictions: Path) -> int:
    """Writes metrics.json under out, and the predictions beside; returns their number.

    They are apart because DVC takes every file of a metrics folder for metrics.

    Args:
        seen: what the protocols found.
        model: the folder whose history says what its training measured.
        facts: the model's own.
    """
    sets = {**{name: of.metrics for name, of in seen.found.items()}, **history.as_sets(model)}
    epochs = history.epochs(model)
    said = {"absent": seen.absent} if seen.absent else {}
    files.write_json(out / "metrics.json", {"model": facts, "sets": sets, "history": epochs, **said})
    rows = [{"set": name, **row} for name, of in seen.found.items() for row in of.predictions]
    records.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), predictions)
    return len(rows)


def listed_sets() -> list[str]:
    """The sets that params.yaml lists.

    Raises:
        ValueError: there is none, or one has the name of the val split.
    """
    sets = params.names("sets")
    if not sets:
        raise ValueError("params.yaml: sets is empty: list at least one folder of data/sets to evaluate on")
    if history.SET in sets:
        raise ValueError(f"params.yaml: sets: {history.SET} is what the report calls the val split; rename that set")
    return sets


def main(model: Path, benchmarks: Path, out: Path, predictions: Path, provenance: Path) -> None:
    """Runs every protocol on MODEL over the sets in BENCHMARKS; writes metrics to OUT, answers to PREDICTIONS."""
    config, sets = params.load("evaluate", EvaluateConfig), listed_sets()
    stage.prune(benchmarks, sets)
    settings = {"evaluate": config, "sets": sets}
    deps, outs = [model, benchmarks], [out, predictions]
    with (
        stage.run("evaluate", model.name, params=settings, deps=deps, outs=outs, provenance=provenance) as this,
        reproducible(config.threads),
    ):
        loaded = towers.load(model)
        seen = look(loaded, model, benchmarks, sets, config)
        made, answers = this.scratch / "out", this.scratch / "predictions.parquet"
        num_predictions = write(seen, model, model_facts(loaded, model), made, answers)
        this.account(rows_in=seen.num_listed, kept=seen.num_read, predictions=num_predictions)
        this.publish(made, out)
        this.publish(answers, predictions)


if __name__ == "__main__":
    from cyclip_model.evaluate import main  # not __main__.main: what pickles needs an importable name

    if len(sys.argv) == 1 + len(main.__annotations__) - 1:
        stage.command(main)
    else:  # by name: no result of the DAG depends on how other models are brought
        runpy.run_module("cyclip_model.evaluation.brought", run_name="__main__", alter_sys=True)
