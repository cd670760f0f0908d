"""Stage compare: all models' results side by side, as a page, a Markdown file, a CSV file and plots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclip_model.reporting import differences, findings, plots, report
from cyclip_model.reporting.results import Table, csv_text, read
from cyclip_model.reporting.results import listed as listed_models
from lineage import files, params, stage


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig:
    """Section compare."""

    confidence: float
    """Of all intervals, 0 to 1: what the number of test rows alone leaves around an accuracy, and what seeds leave
    around a difference; one less it is the level of all claims of differences together."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError("confidence must lie between 0 and 1")


def write(table: Table, rows: list[dict[str, Any]], out: Path, confidence: float) -> None:
    """Writes index.html, report.md, metrics.csv, differences.csv and the plots under out."""
    found = differences.against_first(table, report.headline_keys(table), confidence)
    drawn = plots.draw(table, found, confidence)
    for name, svg in drawn.items():
        files.write_text(out / f"{name}.svg", svg)
    content = {**report.content(table, confidence), **findings.shown(table, found, confidence)}
    files.write_text(out / "index.html", report.html(content, drawn))
    files.write_text(out / "report.md", report.markdown(content, list(drawn)))
    files.write_text(out / "metrics.csv", csv_text(rows))
    compared = differences.csv_rows(found, table.objectives[0])
    files.write_text(out / "differences.csv", csv_text(compared, differences.CSV_HEADER))


def main(results: Path, out: Path, provenance: Path) -> None:
    """Compares the models listed in params.yaml by what RESULTS holds of them and writes the report to OUT."""
    config = params.load("compare", CompareConfig)
    objectives, seeds = listed_models()
    listed = [f"{objective}-{seed}" for objective in objectives for seed in seeds]
    stage.prune(results, listed)
    settings = {"compare": config, "objectives": objectives, "seeds": seeds}
    with stage.run("compare", "all", params=settings, deps=[results], outs=[out], provenance=provenance) as this:
        table, rows = read(results, objectives, seeds)
        write(table, rows, this.scratch / "out", config.confidence)
        shown = sum(len(cell.values) for row in table.cells.values() for cell in row.values())
        this.account(rows_in=len(rows), kept=shown, models=len(listed))
        this.publish(this.scratch / "out", out)


if __name__ == "__main__":
    from cyclip_model.compare import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
