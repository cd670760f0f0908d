"""What a row costs each stage, and what memory it takes, as the number of rows grows.

    python benchmarks/cost.py --kind metadata [--rows 10000000]
    python benchmarks/cost.py --kind pictures [--rows 100000]

Stages that read metadata alone: source and select, 10^4 rows and ten times more up to --rows. Stages that handle
pictures: download (from a web on loopback that answers at once), measure and pack, from 10^3 rows. Each run is a fresh
process with one worker. Writes results/cost_KIND.json, and of both kinds, where there, results/cost.svg.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import contest
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scratch_project
import select_rows
import synthetic
from loopback_site import Site
from measure_run import Run

sys.path.insert(0, str(contest.ROOT))
from lineage import files, records
from pipelines import plots
from pipelines.lists import descriptions

_LEAST = {"metadata": 10_000, "pictures": 1000}
_MOST = {"metadata": 10_000_000, "pictures": 100_000}
_ROWS_PER_FILE = 1_000_000
_ROWS_PER_PART = 10_000
_NUM_HOSTS = 10
Costs = dict[str, dict[int, Run]]
"""By stage and number of rows."""


def main() -> None:
    """Measures."""
    parser = contest.parser(__doc__, rows=0, rounds=1)
    parser.add_argument("--kind", choices=list(_LEAST), required=True)
    options = parser.parse_args()
    costs: Costs = {}
    for num_rows in sizes(_LEAST[options.kind], options.rows or _MOST[options.kind]):
        for name, run in of_size(options.kind, num_rows, options):
            costs.setdefault(name, {})[num_rows] = run
            contest.say(f"{num_rows} rows: {name}: {run.wall_s:.2f} s, {run.cpu_s:.2f} s of CPU")
    content = {"benchmark": f"cost_{options.kind}", "stages": as_json(costs), "machine": contest.machine()}
    files.write_json(options.results / f"cost_{options.kind}.json", content)
    draw(options.results)
    sys.stdout.write(f"{table(costs)}\n{options.results / 'cost.svg'}\n")


def sizes(least: int, most: int) -> list[int]:
    """Returns `least` and ten times more as often as `most` allows; `most` alone where it is smaller."""
    found = [least * 10**place for place in range(12) if least * 10**place <= most]
    return found or [most]


def of_size(kind: str, num_rows: int, options: Any) -> Iterator[tuple[str, Run]]:
    """Yields what the stages took, each with its name."""
    root = Path(tempfile.mkdtemp(prefix="cost"))
    try:
        if kind == "metadata":
            yield "source", source_of(root / "list", num_rows, options)
            project = select_rows.make_project(root / "select", num_rows, _ROWS_PER_PART, options.workers)
            project.run_on(1)
            yield "select", best(project, "select", "all", options.rounds)
        else:
            yield from of_pictures(root, num_rows, options)
    finally:
        shutil.rmtree(root)


def source_of(root: Path, num_rows: int, options: Any) -> Run:
    """Returns what stage source takes for a list of parquet files."""
    project = scratch_project.Project(root)
    project.change({"snapshots": ["s1"]})
    folder = project.data / "lists/s1"
    folder.mkdir(parents=True)
    names: list[str] = []
    for start in range(0, num_rows, _ROWS_PER_FILE):
        numbers = pa.array(np.arange(start, min(start + _ROWS_PER_FILE, num_rows)))
        spelt = numbers.cast(pa.string())
        host = pc.binary_join_element_wise("http://site", pc.utf8_slice_codeunits(spelt, 0, 3), ".test/picture/", "")
        url = pc.binary_join_element_wise(host, spelt, ".jpg", "")
        caption = pc.binary_join_element_wise("an old photograph of the harbour in winter, number", spelt, " ")
        names.append(f"{len(names):05d}.parquet")
        pq.write_table(pa.table({"url": url, "caption": caption}), folder / names[-1])
    mapping = {"url": "url", "caption": "caption"}
    descriptions.save(descriptions.ListDescription(format="parquet", files=names, columns=mapping), folder)
    run = best(project, "source", "s1", options.rounds)
    shutil.rmtree(root)
    return run


def of_pictures(root: Path, num_rows: int, options: Any) -> Iterator[tuple[str, Run]]:
    """Yields what download, measure and pack take, one after the other."""
    project = scratch_project.Project(root / "work")
    project.run_on(1)
    project.change({"snapshots": ["s1"], "download": {"allow_addresses": ["127.0.0.0/8"]}})
    synthetic.make_album(root / "album", num_rows, options.workers)
    with Site(root / "album", _NUM_HOSTS) as site:
        table = synthetic.source_table(range(num_rows), site.url)
        synthetic.write_source(table, project.data / "source/s1")
        kept = pa.table({"uid": table["uid"], "split": ["train"] * num_rows}, schema=records.KEPT)
        records.write_table(kept, project.data / "selection/s1/kept.parquet")
        yield "download", best(project, "download", "s1", options.rounds, partial(files.remove, project.store))
    files.remove(project.store)
    for stage in ("measure", "pack"):
        yield stage, best(project, stage, "s1", options.rounds)


def best(
    project: scratch_project.Project,
    stage: str,
    instance: str,
    rounds: int,
    prepare: Callable[[], None] = contest.nothing,
) -> Run:
    """Returns the run of a stage that took least of the CPU."""
    one = project.contender(stage, instance, prepare=prepare)
    return min((contest.measured(one) for _ in range(rounds)), key=lambda run: run.cpu_s)


def as_json(costs: Costs) -> dict[str, list[dict[str, float]]]:
    """Returns the figures as plain data."""
    return {
        name: [
            {
                "rows": rows,
                "wall_s": round(run.wall_s, 3),
                "cpu_s": round(run.cpu_s, 3),
                "peak_mib": round(run.peak_mib, 1),
                "cpu_us_per_row": round(run.cpu_s / rows * 1e6, 2),
            }
            for rows, run in runs.items()
        ]
        for name, runs in costs.items()
    }


def table(costs: Costs) -> str:
    """Returns the figures in Markdown."""
    lines = ["| stage | rows | wall s | CPU s | CPU us/row | peak MiB |", "|---|---|---|---|---|---|"]
    for name, found in as_json(costs).items():
        for one in found:
            figures = f"{one['wall_s']:.2f} | {one['cpu_s']:.2f} | {one['cpu_us_per_row']:.1f} | {one['peak_mib']:.0f}"
            lines.append(f"| {name} | {one['rows']} | {figures} |")
    return "\n".join(lines) + "\n"


def draw(results: Path) -> None:
    """Draws what the results have of both kinds: cost per row, and peak memory, over the number of rows."""
    panels = {"cpu_us_per_row": "CPU time per row, µs", "peak_mib": "peak memory, MiB"}
    with plots.page(results / "cost.svg", 9, 3.6) as figure:
        for axes, (field, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for kind, style in (("metadata", "o-"), ("pictures", "s--")):
                path = results / f"cost_{kind}.json"
                for name, found in files.read_json(path)["stages"].items() if path.exists() else ():
                    axes.plot([one["rows"] for one in found], [one[field] for one in found], style, label=name)
            axes.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
            axes.set_xticks([10**power for power in range(3, 8)])
            for axis in (axes.xaxis, axes.yaxis):  # by default labels are TeX, which no browser reads
                axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
                axis.set_minor_formatter(lambda *_: "")
            axes.tick_params(axis="x", labelsize="small")
            axes.set_ylim(bottom=1 if field == "cpu_us_per_row" else 100)
            axes.grid(alpha=0.3)
        figure.legend(*axes.get_legend_handles_labels(), fontsize="small", loc="outside right")


if __name__ == "__main__":
    main()
