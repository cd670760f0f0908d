"""Stage select: which pairs are kept, on metadata alone; a verdict for every row of every snapshot.

    python -m pipelines.select SIGNALS EMBEDDINGS TEST_EMBEDDINGS BENCHMARKS OPTOUTS SCORES CONCEPTS OUT PROVENANCE
    python -m pipelines.select --what-if RULE.KEY=VALUE [--without RULE] [--json]

The second form writes nothing and shows what another recipe would change. data/selection/S holds verdicts.parquet,
values.parquet (what each rule measured of each row, dropped or not), kept.parquet and exclusion.json (who is dropped by
which rule).
"""

import contextlib
import logging
import sys
from collections import Counter
from pathlib import Path

from lineage import files, params, records, stage
from pipelines import rules
from pipelines.engine import RunnerConfig
from pipelines.rules import SelectConfig
from pipelines.selection import what_if
from pipelines.selection.exclusion import Tally
from pipelines.selection.fold import fold
from pipelines.selection.outcome import KEPT, Outcome, snapshot_of
from pipelines.selection.rows import Sources
from pipelines.selection.verdicts import account, counted, values_schema, worded
from pipelines.selection.workers import OnBeam

logger = logging.getLogger("clipline")


def main(
    signals: Path,
    embeddings: Path,
    test_embeddings: Path,
    benchmarks: Path,
    optouts: Path,
    scores: Path,
    concepts: Path,
    selection: Path,
    provenance: Path,
) -> None:
    """Judges every row of every snapshot."""
    config = params.load("select", SelectConfig)
    runner = params.load("runner", RunnerConfig)
    recipe = rules.parse(config.rules)
    listed = {"snapshots": params.names("snapshots"), "sets": params.names("sets")}
    if not listed["snapshots"]:
        raise ValueError("params.yaml: snapshots is empty; add a URL list with `python -m pipelines.snapshot add`")
    sources = sources_of(config, listed["sets"], optouts, scores, concepts, benchmarks, test_embeddings)
    rules.check(recipe, sources)
    for folder in (signals, embeddings):
        stage.prune(folder, listed["snapshots"])
    for folder in (benchmarks, test_embeddings):
        stage.prune(folder, listed["sets"])
    deps = [signals, embeddings, test_embeddings, benchmarks, optouts, scores, concepts]
    settings = {"select": config, **listed}
    with stage.run("select", "all", params=settings, deps=deps, outs=[selection], provenance=provenance) as this:
        snapshots = [snapshot_of(signals / name, embeddings / name) for name in listed["snapshots"]]
        workers = OnBeam(folder=this.scratch / "steps", runner=runner)
        counts: dict[str, Counter[str]] = {}
        for outcome in fold(snapshots, recipe, sources, workers=workers, num_partitions=config.num_partitions):
            guard(outcome, config)
            warn_of_unknown(outcome)
            counts[outcome.snapshot.name] = write(outcome, this.scratch / "out" / outcome.snapshot.name, config)
        this.account(
            **account(sum(counts.values(), Counter())),
            snapshots={name: account(count) for name, count in counts.items()},
        )
        this.publish(this.scratch / "out", selection)


def sources_of(
    config: SelectConfig,
    sets: list[str],
    optouts: Path,
    scores: Path,
    concepts: Path,
    benchmarks: Path,
    test_embeddings: Path,
) -> Sources:
    """Returns where rules look things up.

    Raises:
        ValueError: if an evaluation set to keep out is not listed under `sets`.
    """
    unknown = [name for name in config.decontaminate_against if name not in sets]
    if unknown:
        raise ValueError(f"params.yaml: select.decontaminate_against: {unknown[0]} is not listed under `sets`")
    return Sources(
        optouts=optouts,
        scores=scores,
        concepts=concepts,
        benchmarks=benchmarks,
        test_embeddings=test_embeddings,
        sets=tuple(config.decontaminate_against),
    )


def guard(outcome: Outcome, config: SelectConfig) -> None:
    """Warns, or stops the stage, where the rules drop too large a share of what was measured and not seen before.

    Raises:
        ValueError: naming snapshot, shares and the rule that drops most.
    """
    dropped = {step.label: outcome.count(place) for place, step in enumerate(outcome.recipe)}
    judged = sum(dropped.values()) + outcome.count(KEPT)
    if not judged or sum(dropped.values()) <= config.max_drop_frac * judged:
        return
    worst = max(dropped, key=lambda label: dropped[label])
    message = (
        f"select: the rules drop {sum(dropped.values()) / judged:.1%} of the {judged} rows of {outcome.snapshot.name}, "
        f"more than select.max_drop_frac ({config.max_drop_frac:.1%}); most, {dropped[worst]}, goes by {worst}"
    )
    if config.on_excess == "fail":
        raise ValueError(
            f"{message}; nothing was published. Loosen the rules (`--without {worst}` shows what that brings), raise "
            "the bound, set select.on_excess to warn, or take the snapshot out"
        )
    logger.warning("warning: %s", message)


def warn_of_unknown(outcome: Outcome) -> None:
    """Warns of rules on a score that no row of the snapshot has: its name may be mistyped."""
    for step, values in zip(outcome.recipe, outcome.values, strict=True):
        if hasattr(step.rule, "missing") and outcome.starts[-1] and not values.any_known(outcome.starts):
            name = outcome.snapshot.name
            logger.warning("warning: select: no row of %s has the score that rule %s asks for", name, step.label)


def write(outcome: Outcome, out: Path, config: SelectConfig) -> Counter[str]:
    """Writes the folder of one snapshot and returns how many rows there are of each reason."""
    counts: Counter[str] = Counter()
    tally = Tally()
    schemas = {"verdicts": records.VERDICTS, "values": values_schema(outcome), "kept": records.KEPT}
    with contextlib.ExitStack() as stack:
        writers = {
            name: stack.enter_context(records.TableWriter(out / f"{name}.parquet", schema))
            for name, schema in schemas.items()
        }
        for some in stage.progress(worded(outcome, config.val_frac), label=f"write {outcome.snapshot.name}"):
            for name, writer in writers.items():
                writer.write(getattr(some, name))
            counts.update(counted(some.verdicts))
            tally.add(some.rows, some.verdicts)
    assert counts.total() == outcome.starts[-1]
    files.write_json(out / "exclusion.json", tally.report(config.min_group_rows))
    return counts


if __name__ == "__main__":
    from pipelines.select import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(what_if.main if what_if.is_asked(sys.argv[1:]) else main)
