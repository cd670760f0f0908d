"""A refresh of 1 % and a changed threshold, against the full build they spare: source to dataset.

    python benchmarks/refresh.py [--rows 100000] [--refresh-frac 0.01] [--latency-ms 100] [--verify]

The stages run as dvc.yaml says and where DVC would run them: where a digest of their data deps or their params has
changed. The web is one on loopback; the scorer is the demo's, untrained, and none of its training is counted. Three
builds follow each other: the first snapshot; a second one whose list is
1 % as long; a higher threshold of the CLIP score. With --verify all is built once more from nothing at the end, and
the data set must come out the same.
"""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import contest
import pyarrow as pa
import pyarrow.parquet as pq
import scratch_project
import synthetic
from contest import Heat
from loopback_site import Site
from measure_run import Run

sys.path.insert(0, str(contest.ROOT))
from cyclip_model.model import towers
from cyclip_model.trainer.config import TrainConfig
from lineage import files, params
from pipelines.lists import descriptions

_STAGES = ("source", "download", "measure", "embed", "select", "pack", "dataset")
_NUM_HOSTS = 10
_LOOKS = ("decontaminate",)
"""Needs an evaluation set."""
_FRACTION, _LOWER_FRACTION = 0.95, 0.94
"""Of the rows by CLIP score, before and after the threshold changes."""
Builds = dict[str, dict[str, Run]]


def main() -> None:
    """Measures."""
    options = _options()
    root = Path(tempfile.mkdtemp(prefix="refresh"))
    num_new = max(1, round(options.rows * options.refresh_frac))
    try:
        synthetic.make_album(root / "album", options.rows + num_new, options.workers)
        with Site(root / "album", _NUM_HOSTS, options.latency_ms) as site:
            lists = {"s1": range(options.rows), "s2": range(options.rows, options.rows + num_new)}
            builds, digest = build_all(root / "work", site, lists, options.workers)
            if options.verify and digest != build_anew(root / "anew", site, lists, options.workers):
                sys.exit("built from nothing, the data set is another one")
    finally:
        shutil.rmtree(root)
    runs = {name: [total(build)] for name, build in builds.items()}
    goal = "a 1 % refresh at most 5 %, a changed threshold at most 10 % of the full build"
    facts = {
        "data set": digest if options.verify else "not verified",
        "latency_ms": options.latency_ms,
        "new rows": num_new,
        "stages": {name: {label: shown(run) for label, run in build.items()} for name, build in builds.items()},
        "workers": options.workers,
    }
    contest.report("refresh", [Heat(title="refresh", rows=options.rows, runs=runs, goal=goal)], facts, options.results)


def build_all(root: Path, site: Site, lists: dict[str, range], workers: int) -> tuple[Builds, str]:
    """Returns what each stage run of the three builds took, and the digest of the data set they end with."""
    project = make_project(root, workers)
    states: dict[tuple[str, str], str] = {}
    builds: Builds = {}
    add_list(project, "s1", lists["s1"], site)
    builds["full build"] = build(project, states)
    add_list(project, "s2", lists["s2"], site)
    builds["refresh"] = build(project, states)
    set_fraction(project, _LOWER_FRACTION)
    builds["threshold"] = build(project, states)
    return builds, root_digest(project)


def build_anew(root: Path, site: Site, lists: dict[str, range], workers: int) -> str:
    """Returns the digest of the data set that one build of both lists makes."""
    project = make_project(root, workers)
    for name, numbers in lists.items():
        add_list(project, name, numbers, site)
    set_fraction(project, _LOWER_FRACTION)
    build(project, {})
    return root_digest(project)


def make_project(root: Path, workers: int) -> scratch_project.Project:
    """Returns a project without a snapshot."""
    project = scratch_project.Project(root)
    project.run_on(workers)
    recipe = [rule for rule in project.params["select"]["rules"] if rule["rule"] not in _LOOKS]
    project.change(
        {
            "snapshots": [],
            "download": {"allow_addresses": ["127.0.0.0/8"]},
            "select": {"rules": recipe, "on_excess": "warn"},
        }
    )
    set_fraction(project, _FRACTION)
    make_scorer(project)
    return project


def make_scorer(project: scratch_project.Project) -> None:
    """Writes the scorer that stage embed loads: freshly initialised, for what it says does not matter here."""
    section = project.params["scorer"]["train"]
    config = params.build(TrainConfig, section, "scorer.train", params.PARAMS)
    model_cfg, preprocess_cfg = config.towers.model_cfg(), towers.preprocess_cfg(config.preprocess)
    made = towers.build(model_cfg, preprocess_cfg, seed=0)
    towers.save(made.model, project.folder / "models/scorer", model_cfg, preprocess_cfg, arch=config.towers.arch)


def add_list(project: scratch_project.Project, name: str, numbers: Sequence[int], site: Site) -> None:
    """Adds a URL list as the newest snapshot."""
    folder = project.data / "lists" / name
    folder.mkdir(parents=True)
    columns = {"url": [site.url(n) for n in numbers], "caption": [synthetic.caption(n) for n in numbers]}
    pq.write_table(pa.table(columns), folder / "list.parquet")
    mapping = {"url": "url", "caption": "caption"}
    described = descriptions.ListDescription(format="parquet", files=["list.parquet"], columns=mapping)
    descriptions.save(described, folder)
    project.change({"snapshots": [*project.params["snapshots"], name]})


def set_fraction(project: scratch_project.Project, fraction: float) -> None:
    """Sets the threshold that changes."""
    rules = [
        {**rule, "fraction": fraction} if rule["rule"] == "top_fraction" else rule
        for rule in project.params["select"]["rules"]
    ]
    project.change({"select": {"rules": rules}})


def build(project: scratch_project.Project, states: dict[tuple[str, str], str]) -> dict[str, Run]:
    """Runs the stage instances whose deps or params have changed since the states; returns what each took."""
    runs = {}
    for stage in _STAGES:
        for instance in scratch_project.instances(stage, project.params["snapshots"]):
            state = project.state(stage, instance)
            if states.get((stage, instance)) != state:
                one = project.contender(stage, instance)
                runs[one.name] = contest.measured(one)
                contest.say(f"{one.name}: {runs[one.name].wall_s:.2f} s, {runs[one.name].cpu_s:.2f} s of CPU")
                # again: an aggregate prunes its deps
                states[stage, instance] = project.state(stage, instance)
    return runs


def root_digest(project: scratch_project.Project) -> str:
    """Returns the digest that names the data set."""
    return str(files.read_json(project.data / "dataset/root.json")["digest"])


def total(build: dict[str, Run]) -> Run:
    """Returns the stages' runs of a build as one."""
    runs = build.values()
    sums = {name: sum(getattr(run, name) for run in runs) for name in ("wall_s", "cpu_s")}
    return Run(**sums, peak_mib=max(run.peak_mib for run in runs), answer={})


def shown(run: Run) -> dict[str, float]:
    """Returns a run's figures."""
    return {name: round(value, 2) for name, value in dataclasses.asdict(run).items() if name != "answer"}


def _options() -> Any:
    parser = contest.parser(__doc__, rows=100_000, rounds=1, workers=1)
    parser.add_argument("--refresh-frac", type=float, default=0.01, help="rows of the second list, of the first's")
    parser.add_argument("--latency-ms", type=float, default=100.0, help="how long the web holds an answer back")
    parser.add_argument("--verify", action="store_true", help="build all once more from nothing and compare")
    return parser.parse_args()


if __name__ == "__main__":
    main()
