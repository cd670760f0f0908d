"""Stage scorer: the CLIP that scores pairs, trained here on the screened pairs of the first snapshot or taken as it is.

A small CLIP trained on the pairs at hand can tell good ones from bad ones, as Data Filtering Networks do (arXiv
2309.17425). It trains on the swapped captions too: with every epoch it remembers more of them, so few epochs tell most.

python -m cyclip_model.scorer data/screen data/raw/s20261001 models/scorer provenance/scorer/all.json
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclip_model import losses
from cyclip_model.model import adopted, external, model_folder, towers
from cyclip_model.model.learner import Learner
from cyclip_model.rows import data, raw
from cyclip_model.trainer import loop, ranks
from cyclip_model.trainer.config import TrainConfig
from cyclip_model.trainer.determinism import reproducible
from lineage import params, records, stage

KEYS = external.Keys("scorer.external", "scorer.external_sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerConfig:
    """Section scorer: either an external model or a training."""

    external: str | None
    """ARCH/TAG or ARCH/FILE of open_clip, or a folder in the hub's form; null to train one here."""
    external_sha256: str | None
    """What the external weights must have, 64 hex digits; null takes what is there and records it."""
    seed: int
    """Of the weights, the batches and the augmentation, where the scorer is trained here."""
    train: TrainConfig | None
    """As section train; null with an external model."""

    def __post_init__(self) -> None:
        if (self.external is None) == (self.train is None):
            raise ValueError("give either external (a model) or train (how to train one), and null for the other")
        if self.external_sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.external_sha256):
            raise ValueError("external_sha256 must be 64 hex digits in lower case, or null")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, not {self.seed}")


def main(screened: Path, raw_dir: Path, model: Path, provenance: Path) -> None:
    """Trains the scorer on the screened pairs of the raw snapshot, or takes the external one."""
    config = params.load("scorer", ScorerConfig)
    deps, outs = [screened, raw_dir], [model]
    with stage.run("scorer", "all", params=config, deps=deps, outs=outs, provenance=provenance) as this:
        made = this.scratch / "out"
        if config.external is not None:
            this.account(**adopted.take(config.external, config.external_sha256, KEYS, made, this.scratch / "arch"))
        else:
            assert config.train is not None
            uids = records.read_table(screened / "rows.parquet", columns=["uid"])["uid"].to_pylist()
            this.account(**fit(config.train, config.seed, raw_dir, uids, made))
        this.publish(made, model)


def fit(config: TrainConfig, seed: int, raw_dir: Path, uids: list[str], made: Path) -> dict[str, Any]:
    """Trains on the pairs of these uids, writes the model under made and returns the account.

    Raises:
        ValueError: there are fewer pairs than a batch has.
    """
    if len(uids) < config.batch_size:
        raise ValueError(
            f"{len(uids)} pairs passed the screen, fewer than scorer.train.batch_size = {config.batch_size}: "
            "lower it in params.yaml, or loosen the thresholds of screen"
        )
    if config.processes > 1:
        raise ValueError("params.yaml: scorer.train.processes must be 1: the scorer is trained by one process")
    if config.warm_start is not None:
        raise ValueError("params.yaml: scorer.train.warm_start must be null: a model for the scorer is scorer.external")
    recipe = loop.Recipe(config, lambda features: {"loss": losses.clip_loss(*features[:3])}, seed, ranks.join())
    with reproducible(config.threads):
        model_cfg = config.towers.model_cfg()
        trained = towers.build(model_cfg, towers.preprocess_cfg(config.preprocess), seed)
        rows = data.decoded(stage.progress(raw.read(raw_dir, uids), label="read pairs", total=len(uids)), trained)
        learner = Learner(trained.model, None, is_bf16=config.precision == "bf16")
        history = loop.fit(learner, rows, None, recipe, made.parent / "checkpoint.pt")
    drawn = loop.exposure(len(rows), config, seed)
    model_folder.write(made, trained.model, model_cfg, config, history)
    records.write_table(model_folder.exposure_table(rows, drawn), made / "exposure.parquet")
    seen = int((drawn > 0).sum())
    facts = {"epochs": len(history), "steps": int(history[-1]["step"]), "pairs_drawn": int(drawn.sum())}
    return {"rows_in": len(rows), "kept": seen, "dropped": {"never_drawn": len(rows) - seen}, **facts}


if __name__ == "__main__":
    from cyclip_model.scorer import main  # not __main__.main: pickle needs an importable name

    stage.command(main)
