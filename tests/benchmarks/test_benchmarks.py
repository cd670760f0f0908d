"""Every benchmark runs on few rows, its contenders agree, and what holds them to each other can tell them apart."""

import importlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lineage import records
from tests import chromium
from tests.builders import make_signals, write_signals

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def run(script: str, results: Path, *options: str) -> dict[str, Any]:
    """Returns what a benchmark wrote; it ends with an error where its contenders made different things."""
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), "--results", str(results), "--workers", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (written,) = results.glob("*.json")
    found: dict[str, Any] = json.loads(written.read_text())
    assert set(found["machine"]) >= {"cores", "python"}
    for heat in found.get("heats", []):
        assert f"| {heat['baseline']} | {heat['rows']} |" in done.stdout
    return found


@pytest.mark.slow
def test_measure_makes_the_signals_that_the_pool_makes(tmp_path: Path) -> None:
    (heat,) = run("measure", tmp_path, "--rows", "40", "--rounds", "1")["heats"]
    assert list(heat["contenders"]) == ["Pool of 1", "stage measure"]
    assert heat["contenders"]["Pool of 1"]["wall_ratio"] == 1


@pytest.mark.slow
def test_pack_packs_what_tar_packs(tmp_path: Path) -> None:
    (heat,) = run("pack", tmp_path, "--rows", "40", "--rounds", "1")["heats"]
    assert heat["rows"] == 36
    assert len(heat["contenders"]) == 3


@pytest.mark.slow
def test_select_keeps_what_one_query_keeps(tmp_path: Path) -> None:
    found = run("select_rows", tmp_path, "--rows", "5000", "--rows-per-part", "700", "--rounds", "1")
    assert 3000 < found["facts"]["kept"] < 4500, "rules and copies take some, not most"
    assert "decontaminate" not in found["facts"]["recipe"]


@pytest.mark.slow
def test_the_gateway_fetches_what_img2dataset_fetches(tmp_path: Path) -> None:
    options = ("--rows", "60", "--polite-rows", "40", "--rounds", "1", "--latency-ms", "5")
    asked = run("gateway", tmp_path, *options)["facts"]["asked of the hosts"]
    alone, stage, polite = asked.values()
    # the stage asks each of the 10 hosts for robots.txt and tdmrep.json as well
    assert [one["requests"] for one in alone] == [60, 40]
    assert stage[0]["requests"] == 80
    assert polite[0]["requests"] == 60
    assert polite[0]["peak_per_s"] <= 6, "0.2 s lie between two requests to a host"


@pytest.mark.slow
def test_a_refresh_ends_with_the_data_set_of_a_full_build(tmp_path: Path) -> None:
    found = run("refresh", tmp_path, "--rows", "60", "--refresh-frac", "0.2", "--latency-ms", "0", "--verify")
    assert len(found["facts"]["data set"]) == 64
    ran = {name: set(runs) for name, runs in found["facts"]["stages"].items()}
    aggregates = {"select@all", "dataset@all"}
    assert ran["full build"] == aggregates | {"source@s1", "download@s1", "measure@s1", "embed@s1", "pack@s1"}
    assert ran["refresh"] == aggregates | {"source@s2", "download@s2", "measure@s2", "embed@s2", "pack@s2"}
    assert ran["threshold"] <= aggregates | {"pack@s1", "pack@s2"}
    assert "select@all" in ran["threshold"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "stages"), [("metadata", {"source", "select"}), ("pictures", {"download", "measure", "pack"})]
)
def test_costs_are_written_and_drawn(tmp_path: Path, kind: str, stages: set[str]) -> None:
    found = run("cost", tmp_path, "--kind", kind, "--rows", "50")
    assert set(found["stages"]) == stages
    assert all(one["rows"] == 50 and one["cpu_s"] > 0 for (one,) in found["stages"].values())
    drawing = (tmp_path / "cost.svg").read_text()
    assert all(f">{stage}<" in drawing for stage in stages)


def test_other_signals_have_another_digest(load: Any, tmp_path: Path) -> None:
    measure = load("measure")
    rows = [make_signals(f"{number:032x}") for number in range(4)]
    digest = measure.content_digest(write_signals(tmp_path / "a", rows, num_parts=2))
    assert measure.content_digest(write_signals(tmp_path / "b", rows, num_parts=1)) == digest
    rows[2]["blur"] += 1e-6
    assert measure.content_digest(write_signals(tmp_path / "b", rows, num_parts=1)) != digest


def test_other_members_have_another_digest(load: Any, tmp_path: Path) -> None:
    def packed(name: str, caption: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / "a.txt").write_text(caption)
        with tarfile.open(tmp_path / name / "0.tar", "w") as archive:
            archive.add(tmp_path / "a.txt", "a.txt")
        return tmp_path / name

    digests = [load("pack").members_digest(packed(name, name[0])) for name in ("one", "other", "two")]
    assert digests[0] == digests[1] != digests[2]


def test_kept_rows_are_told_apart_by_their_uids(load: Any, tmp_path: Path) -> None:
    digests = []
    for uids in (["a", "b"], ["a", "b"], ["ab"]):
        rows = [{"uid": uid, "split": "train"} for uid in uids]
        records.write_table(records.rows_table(rows, records.KEPT), tmp_path / "kept.parquet")
        digests.append(load("select_rows").uids_digest(tmp_path / "kept.parquet"))
    assert digests[0] == digests[1] != digests[2]


def test_the_peak_is_the_fullest_second(load: Any) -> None:
    peak_rate = load("loopback_site").peak_rate
    assert peak_rate([]) == 0
    assert peak_rate([5.0]) == 1
    assert peak_rate([0.0, 0.5, 0.99, 1.0, 1.4, 3.0]) == 4, "from 0.5 to 1.4"


def test_pictures_and_captions_are_distinct_and_the_same_every_time(load: Any) -> None:
    synthetic = load("synthetic")
    made = [(synthetic.picture(n, synthetic.SMALL_PX), synthetic.caption(n)) for n in range(8)]
    assert len(set(made)) == len({picture for picture, _ in made}) == 8
    assert made[3] == (synthetic.picture(3, synthetic.SMALL_PX), synthetic.caption(3))
    assert [synthetic.extension(n) for n in range(4)] == ["jpg", "jpg", "jpg", "png"]
    assert made[3][0][1:4] == b"PNG"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("clustered", "near_dedup"), ("blank", "near_dedup_blank")])
def test_near_duplicates_are_faisss(tmp_path: Path, kind: str, name: str) -> None:
    found = run("near_dedup", tmp_path, "--rows", "3000", "--queries", "200", "--rounds", "1", "--kind", kind)
    assert found["benchmark"] == name
    assert found["facts"]["gone"] > 300
    assert ("pairs" in found["facts"]) == (kind == "clustered"), "of blank pictures there are too many pairs to list"


@pytest.mark.slow
def test_exact_duplicates_are_duckdbs(tmp_path: Path) -> None:
    found = run("exact_dedup", tmp_path, "--rows", "4000", "--partitions", "2", "5", "--rounds", "1")
    assert found["facts"]["kept"] == 3600
    assert len(found["heats"][0]["contenders"]) == 4


@pytest.mark.slow
@pytest.mark.skipif(not chromium.is_there(), reason="no chromium: apt-get install chromium")
def test_the_lineage_report_answers_in_the_browser(tmp_path: Path) -> None:
    found = run("lineage_report", tmp_path, "--rows", "3000", "--rounds", "1", "--questions", "3")
    assert [heat["rows"] for heat in found["heats"]] == [300, 3000]
    facts = found["facts"]
    assert 0 < facts["first page"]["bytes"] < facts["first page"]["goal"]
    for kind in ("uid", "url", "sha256", "domain"):
        assert facts[kind]["questions"] == 3
        assert 0 < facts[kind]["bytes_most"] < facts[kind]["bytes_goal"]


@pytest.mark.slow
def test_questions_name_the_pairs_that_duckdb_names(tmp_path: Path) -> None:
    found = run("who_saw", tmp_path, "--rows", "30000", "--rounds", "1", "--questions", "3")
    (heat,) = found["heats"]
    assert set(heat["contenders"]) == {"DuckDB", "who-saw", "why"}
    assert found["facts"]["trail, bytes a row"] > 0


@pytest.mark.slow
def test_losses_are_their_textbook_forms(tmp_path: Path) -> None:
    found = run("losses", tmp_path, "--rows", "1024", "--widths", "16", "--rounds", "1", "--gib", "0.02")
    assert len({case["form"] for case in found["cases"]}) == 7
    left_out = [case for case in found["cases"] if "not_run" in case]
    assert {(case["form"], case["batch"]) for case in left_out} >= {("cyclip, textbook", 1024)}
    assert all(case["batch"] == 1024 for case in left_out)
    assert {one["ratio"] for one in found["ratios"]} >= {"clip", "cyclic", "cyclip over clip"}
    assert "D = 16" in (tmp_path / "losses.svg").read_text()


@pytest.mark.slow
def test_metrics_are_clip_benchmarks(tmp_path: Path) -> None:
    found = run("evaluate", tmp_path, "--rows", "2000", "--pool", "200", "--steps", "50", "--rounds", "1")
    assert [heat["title"] for heat in found["heats"]] == ["zero-shot", "retrieval", "probe"]
    assert [heat["rows"] for heat in found["heats"]] == [2000, 200, 50]
    assert "classify, 8000 unit rows" in found["facts"]["growth of the peak over the features, MiB"]


def test_metrics_that_differ_are_told_apart(load: Any) -> None:
    evaluate = load("evaluate")
    evaluate._agree("zero-shot", 50_000, [[0.5, 0.7], [0.5001, 0.7]])
    with pytest.raises(SystemExit, match="zero-shot: the results differ"):
        evaluate._agree("zero-shot", 50_000, [[0.5, 0.7], [0.5, 0.7003]])


@pytest.mark.slow
def test_training_is_measured_against_both_loops(tmp_path: Path) -> None:
    found = run("train", tmp_path, "--rows", "512", "--stock-rows", "256", "--epochs", "1", "--rounds", "1")
    ours = ["ours", "ours ahead", "ours from shards"]
    assert [sorted(heat["contenders"]) for heat in found["heats"]] == [["ours", "stock"], [*ours, "tuned"]]
    assert [heat["rows"] for heat in found["heats"]] == [256, 512]
    assert len(found["facts"]["share of the time waiting for data"]) == 6
    assert [heat["baseline"] for heat in found["heats"]] == ["stock", "tuned"]


def test_contenders_take_turns(load: Any, tmp_path: Path) -> None:
    contest, log = load("contest"), tmp_path / "log"
    contenders = [contest.Contender(name=name, command=["sh", "-c", f"printf {name} >> {log}"]) for name in "ab"]
    runs = contest.hold(contenders, 3)
    assert log.read_text() == "ababab"
    assert [len(its) for its in runs.values()] == [3, 3]


def test_a_stage_runs_again_where_its_data_or_params_change(load: Any, tmp_path: Path) -> None:
    project = load("scratch_project").Project(tmp_path)
    project.change({"snapshots": ["s1"]})
    (project.data / "signals/s1").mkdir()
    state = project.state("select", "all")
    project.change({"pack": {"rows_per_shard": 7}})
    assert project.state("select", "all") == state
    project.change({"select": {"val_frac": 0.5}})
    changed = project.state("select", "all")
    assert changed != state
    (project.data / "signals/s1/00000.parquet").write_bytes(b"x")
    assert project.state("select", "all") != changed


def test_ratios_are_to_the_first_contender_round_by_round(load: Any) -> None:
    contest, measure_run = load("contest"), load("measure_run")

    def took(wall_s: float) -> Any:
        return measure_run.Run(wall_s=wall_s, cpu_s=1.0, peak_mib=1.0, answer={})

    runs = {"base": [took(1.0), took(4.0)], "ours": [took(2.0), took(6.0)]}
    heat = contest.Heat(title="", rows=10, runs=runs)
    assert heat.ratios("ours", "wall_s") == [2.0, 1.5]
    assert "| ours | 10 | 4.00 | 1.00 | 1 | 1.75 (1.50 to 2.00) | 1.00 |" in contest.table(heat)


def test_a_contender_that_fails_ends_the_contest(load: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    contest = load("contest")
    command = [sys.executable, "-c", "raise SystemExit('no luck')"]
    with pytest.raises(RuntimeError, match=r"ours: .*: exit status 1"):
        contest.measured(contest.Contender(name="ours", command=command, folder=tmp_path))
    assert "no luck" in capfd.readouterr().err
