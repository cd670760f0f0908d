"""A small project with one snapshot, reproduced and committed; its copies, and deployments in them."""

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cyclip_model.small_set import write_set
from tests.flows import pictures
from tests.flows.pictures import Site
from tests.project import Project, make_project

FIRST, SECOND = "s1", "s2"
LISTED = {FIRST: range(30), SECOND: range(25, 40)}
LAST = pictures.file_name(max(LISTED[SECOND]))
"""A picture that the second snapshot alone lists."""
WORKTREE = Path(".worktrees") / f"refresh-{SECOND}"
OF_ONE = {"source", "download", "measure", "embed", "pack", "trail"}
"""Stages with an instance a snapshot."""
GATES = {"max_metric_fall": None}
"""Of so few test rows one more or less is more than a fall that matters; captions are judged as ever."""
WATCHING = {"source": "incoming", "watch": True, "name": SECOND, "gates": GATES}
"""The shipped deployment, but for the name, which is that of a day there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What two runs of one schedule left: the flow runs as the server has them, dvc.lock before."""

    project: Project
    before: dict[str, Any]
    first: dict[str, Any]
    second: dict[str, Any]


def shrink_further(content: dict[str, Any]) -> None:
    """Leaves one objective; the scorer gets steps enough to learn six colours, fetches time enough to be broken off."""
    content["objectives"] = ["clip"]
    content["train"]["epochs"] = 8
    content["scorer"]["train"]["epochs"] = 24
    content["download"]["deadline_s"] = 60.0


def build(folder: Path, site: Site) -> Project:
    """Returns a project whose first snapshot has gone through the DAG."""
    made = make_project(folder / "checkout")
    made.params(shrink_further)
    write_set(made.folder / "data/sets/emoji")
    first = folder / f"{FIRST}.csv"
    pictures.write_list(first, site.base, LISTED[FIRST])
    made.run("python", "-m", "pipelines.snapshot", "add", str(first), "--name", FIRST)
    made.run("python", "-m", "dvc", "add", "--quiet", "data/sets/emoji")
    made.commit("one snapshot")
    made.repro()
    made.commit("reproduced")
    return made


def copy(base: Project, folder: Path) -> Project:
    """Returns a copy with its own cache and store."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(base.folder), str(folder / "checkout")], check=True)
    return Project(folder / "checkout")


def deploy(project: Project, name: str, **changes: Any) -> str:
    """Leaves refresh alone in prefect.yaml, under a name no other test has, commits that, and returns FLOW/NAME."""
    path = project.folder / "prefect.yaml"
    content = yaml.safe_load(path.read_text())
    entry = next(entry for entry in content["deployments"] if entry["entrypoint"].endswith(":refresh"))
    content["deployments"] = [{**entry, "name": name, **changes}]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    project.commit(f"deployment {name}")
    return f"refresh/{name}"


def stages(project: Project) -> dict[str, Any]:
    """Returns dvc.lock's entries by stage instance."""
    content = yaml.safe_load(project.lock())
    assert isinstance(content["stages"], dict)
    return content["stages"]


def outs(project: Project) -> dict[str, str]:
    """Returns {path: md5} of every out that dvc.lock names."""
    return {out["path"]: out["md5"] for entry in stages(project).values() for out in entry["outs"]}


def snapshots(project: Project) -> list[str]:
    """Returns the snapshots that params.yaml lists."""
    found: list[str] = yaml.safe_load((project.folder / "params.yaml").read_text())["snapshots"]
    return found
