"""Stage screen: which pairs of the first snapshot may train the scorer; a verdict for every row.

Its recipe is made of select's rules, those that need no scorer, but is its own: it stays as it is when select's
changes, so that the scorer need not be trained again.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage import params, records, stage
from pipelines import rules
from pipelines.engine import RunnerConfig
from pipelines.selection.fold import fold
from pipelines.selection.outcome import snapshot_of
from pipelines.selection.rows import Sources
from pipelines.selection.verdicts import account, counted, worded
from pipelines.selection.workers import OnBeam

RULES = frozenset(
    "opt_out side aspect blur flatness basic_filter caption_length caption_words caption_letters caption_repetition "
    "boilerplate repeated_caption url_like script language decontaminate exact pixels near_duplicate".split()
)
"""Those that ask for nothing but signals, opt-outs and the evaluation sets' hashes."""
_NOWHERE = Path("none")
_ROWS = pa.schema([("uid", pa.string())])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScreenConfig:
    """Section `screen` of params.yaml."""

    rules: list[dict[str, Any]]
    """The recipe, as select.rules; evaluation pictures are those of every set in `sets`."""
    num_partitions: int
    """As select.num_partitions."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_partitions <= 1 << 16:
            raise ValueError(f"num_partitions must be in 1..65536, not {self.num_partitions}")


def main(signals: Path, optouts: Path, benchmarks: Path, screened: Path, provenance: Path) -> None:
    """Screens the first snapshot."""
    config = params.load("screen", ScreenConfig)
    runner = params.load("runner", RunnerConfig)
    sets = params.names("sets")
    sources = sources_of(optouts, benchmarks, sets)
    recipe = read_recipe(config, sources)
    stage.prune(benchmarks, sets)
    settings = {"screen": config, "sets": sets}
    deps = [signals, optouts, benchmarks]
    with stage.run("screen", "all", params=settings, deps=deps, outs=[screened], provenance=provenance) as this:
        workers = OnBeam(folder=this.scratch / "steps", runner=runner)
        snapshot = snapshot_of(signals, _NOWHERE)
        (outcome,) = fold([snapshot], recipe, sources, workers=workers, num_partitions=config.num_partitions)
        out, counts = this.scratch / "out", Counter[str]()
        with (
            records.TableWriter(out / "verdicts.parquet", records.VERDICTS) as verdicts,
            records.TableWriter(out / "rows.parquet", _ROWS) as rows,
        ):
            for some in worded(outcome, val_frac=0.0):
                verdicts.write(some.verdicts)
                rows.write(some.kept)
                counts.update(counted(some.verdicts))
        this.account(**account(counts))
        this.publish(out, screened)


def read_recipe(config: ScreenConfig, sources: Sources) -> rules.Recipe:
    """Returns the recipe.

    Raises:
        ValueError: if it is none, or asks for what there is only once the scorer is there, naming the rule.
    """
    recipe = rules.parse(config.rules, "screen.rules")
    for number, entry in enumerate(config.rules):
        if entry["rule"] not in RULES:
            known = ", ".join(sorted(RULES))
            raise ValueError(f"params.yaml: screen.rules[{number}]: {entry['rule']} is for select alone; here: {known}")
    rules.check(recipe, sources, "screen.rules")
    return recipe


def sources_of(optouts: Path, benchmarks: Path, sets: list[str]) -> Sources:
    """Returns where rules look things up: there are no scores, concepts and vectors yet."""
    none = {"scores": _NOWHERE, "concepts": _NOWHERE, "test_embeddings": _NOWHERE}
    return Sources(optouts=optouts, benchmarks=benchmarks, sets=tuple(sets), **none)


if __name__ == "__main__":
    from pipelines.screen import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
