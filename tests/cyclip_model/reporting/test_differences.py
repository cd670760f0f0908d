"""Differences over seeds: the paired test by hand, Holm's correction by hand, and what findings make of them."""

import json
import math
import re
from pathlib import Path

import pytest

from cyclip_model.reporting import differences, findings, plots
from cyclip_model.reporting.differences import holm, paired
from cyclip_model.reporting.families import headline_keys
from cyclip_model.reporting.results import Cell, Key, Table
from tests.cyclip_model.test_compare import metrics, project, run

__all__ = ["project"]
TOP_1: Key = ("emoji", "naming", "twemoji", "names", "top_1")
PROBE: Key = ("emoji", "linear_probe", "novel", "all", "top_1")
ALIGNMENT: Key = ("emoji", "geometry", "novel", "pairs", "alignment")
BASE = {0: 0.10, 1: 0.12, 2: 0.11}


def cell(by_seed: dict[int, float]) -> Cell:
    return Cell(by_seed=by_seed, chances=[0.01], majority=None, n=400)


def table(**by_objective: dict[Key, dict[int, float]]) -> Table:
    """Objectives by name, each its values by metric and seed."""
    made = Table(objectives=list(by_objective), seeds=[0, 1, 2], models={name: {} for name in by_objective})
    for objective, by_key in by_objective.items():
        for key, by_seed in by_key.items():
            made.cells.setdefault(key, {})[objective] = cell(by_seed)
    return made


def moved(base: dict[int, float], *gaps: float) -> dict[int, float]:
    return {seed: value + gap for (seed, value), gap in zip(base.items(), gaps, strict=True)}


def said_of(made: Table) -> list[str]:
    found = differences.against_first(made, headline_keys(made), 0.95)
    said: list[str] = findings.shown(made, found, {}, 0.95)["findings"]
    return said


def test_the_paired_test_by_hand() -> None:
    one = paired(TOP_1, "cyclip", cell(moved(BASE, 0.01, 0.02, 0.03)), cell(BASE), 0.95)
    assert one is not None
    error = 0.01 / math.sqrt(3)  # the gaps' standard deviation is 0.01
    assert one.mean == pytest.approx(0.02)
    assert one.high == pytest.approx(0.02 + 4.302653 * error, rel=1e-6)
    assert one.low == pytest.approx(0.02 - 4.302653 * error, rel=1e-6)
    t = 0.02 / error
    assert one.p == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-6)  # two-sided, of Student's t with 2 degrees


def test_seeds_are_paired_by_their_number_and_only_shared_ones_count() -> None:
    one = paired(TOP_1, "cyclip", cell({2: 0.13, 0: 0.11, 7: 0.9}), cell(BASE), 0.95)
    assert one is not None
    assert one.num_seeds == 2
    assert one.mean == pytest.approx(0.015)
    assert paired(TOP_1, "cyclip", cell({7: 0.9}), cell(BASE), 0.95) is None


@pytest.mark.parametrize("gaps", [(0.0, 0.0, 0.0), (0.05, 0.05, 0.05)])
def test_seeds_that_all_differ_alike_prove_nothing(gaps: tuple[float, ...]) -> None:
    one = paired(TOP_1, "cyclip", cell(moved(BASE, *gaps)), cell(BASE), 0.95)
    assert one is not None
    assert (one.p, one.low, one.high) == (None, None, None)
    assert "no difference shown" in said_of(table(clip={TOP_1: BASE}, cyclip={TOP_1: moved(BASE, *gaps)}))[0]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_only_the_headline_is_corrected_and_all_of_it_together() -> None:
    base = {TOP_1: BASE, PROBE: BASE, ALIGNMENT: BASE}
    made = table(
        clip=base,
        cyclip={key: moved(BASE, 0.01, 0.02, 0.03) for key in base},
        xclip={key: moved(BASE, 0.1, 0.101, 0.102) for key in base},
    )
    found = differences.against_first(made, headline_keys(made), 0.95)
    assert len(found) == 6
    assert {one.p_holm for one in found if one.key == ALIGNMENT} == {None}
    (sharp,) = [one for one in found if one.key == TOP_1 and one.objective == "xclip"]
    assert sharp.p is not None
    assert sharp.p_holm == pytest.approx(4 * sharp.p)


def test_gain_loss_and_neither_are_said_of_each_objective() -> None:
    base = {TOP_1: BASE, PROBE: BASE}
    made = table(
        clip=base,
        cyclip={TOP_1: moved(BASE, 0.1, 0.101, 0.102), PROBE: moved(BASE, -0.1, -0.101, -0.102)},
        xclip={key: moved(BASE, -0.01, 0.02, 0.0) for key in base},
    )
    first, second = said_of(made)
    assert first == (
        "cyclip against clip, 2 headline metrics, 3 seeds: gain in 1 (Naming, top-1, known emoji, new artist: "
        "+10.1 [9.9, 10.3]), loss in 1 (Linear probe, top-1, new emoji: -10.1 [-10.3, -9.9])."
    )
    assert second.startswith("xclip against clip, 2 headline metrics, 3 seeds: no difference shown, which does not")


def test_one_seed_claims_nothing_and_draws_no_differences() -> None:
    made = table(clip={TOP_1: {0: 0.1}}, cyclip={TOP_1: {0: 0.9}})
    assert said_of(made) == [findings.ONE_SEED]
    found = differences.against_first(made, headline_keys(made), 0.95)
    assert found[0].mean == pytest.approx(0.8)
    assert (found[0].p, found[0].p_holm, found[0].low) == (None, None, None)
    assert "differences" not in plots.draw(made, found, {}, 0.95)


def test_one_objective_is_compared_with_nothing() -> None:
    assert said_of(table(clip={TOP_1: BASE})) == []


def test_the_report_has_them_as_text_table_plot_and_csv(project: Path) -> None:
    for seed, value in ((0, 0.30), (1, 0.402)):
        (project / f"results/cyclip-{seed}/metrics.json").write_text(json.dumps(metrics(value)))
    out = run("report")
    text, page = (out / "report.md").read_text(), (out / "index.html").read_text()
    assert "- cyclip against clip, 10 headline metrics, 2 seeds: no difference shown" in text
    start = "| emoji | Naming, top-1 | known emoji, new artist | "
    said = text[text.index(start) + len(start) :].splitlines()[0]
    assert re.fullmatch(r"\+10\.1 \\\[8\.8, 11\.4\\\], p 0\.063, rows \\\[-\d\d\.0, \d\d\.0\\\] \|", said)
    assert "+10.1 [8.8, 11.4]" in page
    assert "![differences](differences.svg)" in text
    lines = (out / "differences.csv").read_text().splitlines()
    assert lines[0] == ",".join(differences.CSV_HEADER)
    (line,) = [line for line in lines if line.startswith("emoji,naming,twemoji,names,top_1,")]
    assert line.startswith("emoji,naming,twemoji,names,top_1,cyclip,clip,2,0.101,")
    (other,) = [line for line in lines if line.startswith("emoji,naming,seen,names,top_1,")]
    assert other.endswith(",,,,"), "not of the headline: no corrected p; no predictions: no rows drawn"
