"""What the held-out pairs say of all models: to choose settings by, before any test set is read.

dvc repro train && python -m cyclip_model.ranking      # the best first
python -m cyclip_model.ranking --by loss           # within one objective: losses of two do not compare
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from cyclip_model.reporting import history, results
from lineage import stage

MODELS = Path("models")


class Row(NamedTuple):
    """One entry of `objectives` over the seeds that are trained."""

    name: str
    values: dict[str, list[float]]
    """By metric of the val split, the last epoch's, one a seed."""


def read(folder: Path, names: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """What the models in folder ended with.

    Raises:
        ValueError: a model that the params list is not there, or had no held-out pairs.
    """
    return [Row(name, _joined([_last(folder / f"{name}-{seed}") for seed in seeds])) for name in names]


def _last(model: Path) -> dict[str, float]:
    if not model.is_dir():
        raise ValueError(f"{model} is missing: `dvc repro train@{model.name}` makes it")
    found = history.last_epoch(model)
    if not found:
        raise ValueError(f"{model / 'history.csv'} has no validation: select.val_frac holds too few pairs out")
    return found


def _joined(ends: list[dict[str, float]]) -> dict[str, list[float]]:
    return {metric: [end[metric] for end in ends] for metric in ends[0]}


def table(rows: list[Row], by: str) -> str:
    """Mean and deviation over seeds in Markdown, the best first: the highest recall, or the lowest loss.

    Raises:
        ValueError: `by` is no metric of all rows.
    """
    lacking = [row.name for row in rows if by not in row.values]
    if lacking:
        raise ValueError(f"--by {by}: {lacking[0]} has no such metric; it has {', '.join(rows[0].values)}")
    ordered = sorted(rows, key=lambda row: statistics.fmean(row.values[by]), reverse="recall" in by)
    metrics = list(dict.fromkeys((by, *rows[0].values)))
    lines = [f"| model | {' | '.join(metrics)} | seeds |", f"|{'---|' * (len(metrics) + 2)}"]
    for row in ordered:
        cells = [_cell(row.values[metric]) for metric in metrics]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {len(row.values[by])} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2g}"


def main(by: Annotated[str, typer.Option(help="metric of the val split that orders the rows")] = "recall_10") -> None:
    """Shows what all models that params.yaml lists end with on held-out pairs."""
    typer.echo(table(read(MODELS, *results.listed()), by), nl=False)


if __name__ == "__main__":
    from cyclip_model.ranking import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
