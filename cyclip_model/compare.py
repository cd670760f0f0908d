"""Stage compare: all models' results side by side, as a page, a Markdown file, CSV files, plots and pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclip_model.reporting import (
    answers,
    differences,
    findings,
    gallery,
    plots,
    report,
    resampled,
    robustness,
    summary,
)
from cyclip_model.reporting.answers import AllAnswers
from cyclip_model.reporting.families import headline_keys
from cyclip_model.reporting.resampled import BootstrapConfig
from cyclip_model.reporting.results import Table, csv_text, read
from cyclip_model.reporting.results import listed as listed_models
from lineage import files, params, stage


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig:
    """Section compare."""

    confidence: float
    """Of all intervals, 0 to 1: what the number of test rows alone leaves around an accuracy, and what seeds leave
    around a difference; one less it is the level of all claims of differences together."""
    bootstrap: BootstrapConfig
    """How test rows are drawn anew to see what others might give."""
    num_pictures: int
    """Pictures in a strip of the gallery, 0 or more."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError("confidence must lie between 0 and 1")
        if self.num_pictures < 0:
            raise ValueError("num_pictures must be at least 0")


def write(table: Table, given: AllAnswers, pictures: list[dict[str, Any]], out: Path, config: CompareConfig) -> None:
    """Writes index.html, report.md, differences.csv, summary.json and the plots under out.

    Args:
        table: results of all models.
        given: their answers, of which rows are drawn anew.
        pictures: of the gallery.
        out: a folder.
        config: section compare.
    """
    claimed = headline_keys(table)
    found = differences.against_first(table, claimed, config.confidence)
    drawn = resampled.against_first(table, given, table.cells, config.confidence, config.bootstrap)
    drawings = plots.draw(table, found, drawn, config.confidence)
    for name, plot in drawings.items():
        files.write_text(out / f"{name}.svg", plot.svg)
    content = {**report.content(table, config.confidence), **findings.shown(table, found, drawn, config.confidence)}
    content |= {"gallery": pictures, "rounds": f"{config.bootstrap.rounds:,}"}
    files.write_text(out / "index.html", report.html(content, drawings))
    files.write_text(out / "report.md", report.markdown(content, list(drawings)))
    compared = differences.csv_rows(found, drawn, table.objectives[0])
    files.write_text(out / "differences.csv", csv_text(compared, differences.CSV_HEADER))
    files.write_json(out / "summary.json", summary.flat(table))


def main(results: Path, predictions: Path, benchmarks: Path, out: Path, provenance: Path) -> None:
    """Compares the models listed in params.yaml by their RESULTS and PREDICTIONS on BENCHMARKS; the report is OUT."""
    config = params.load("compare", CompareConfig)
    objectives, seeds = listed_models()
    listed = [f"{objective}-{seed}" for objective in objectives for seed in seeds]
    sets = params.names("sets")
    stage.prune(results, listed)
    stage.prune(predictions, [f"{name}.parquet" for name in listed])
    stage.prune(benchmarks, sets)
    settings = {"compare": config, "objectives": objectives, "seeds": seeds, "sets": sets}
    deps = [results, predictions, benchmarks]
    with stage.run("compare", "all", params=settings, deps=deps, outs=[out], provenance=provenance) as this:
        table, rows = read(results, objectives, seeds)
        robustness.add(table)
        given = answers.read(predictions, objectives, seeds)
        pictures = gallery.shown(given, benchmarks, objectives, config.num_pictures)
        made = this.scratch / "out"
        write(table, given, pictures, made, config)
        files.write_text(made / "metrics.csv", csv_text(rows))
        this.account(rows_in=len(rows), kept=len(rows), models=len(listed))
        this.publish(made, out)


if __name__ == "__main__":
    from cyclip_model.compare import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
