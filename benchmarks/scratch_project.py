"""A project of its own in a scratch folder, whose stages run as dvc.yaml says, but without DVC.

Its params.yaml is the real one but for the changes asked for; commands, data deps and params of the stages are read
from the real dvc.yaml, and what has changed is told as DVC tells it: by the digests of deps and params.
"""

import copy
import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contest import ROOT, Contender

sys.path.insert(0, str(ROOT))
from lineage import digests, files, params, records

_STAGES: dict[str, Any] = params.parse_yaml((ROOT / "dvc.yaml").read_text())["stages"]
_CODE = ("lineage/", "pipelines/", "cyclip_model/")


@dataclasses.dataclass
class Project:
    """A project folder with its store beside it."""

    root: Path
    params: dict[str, Any] = dataclasses.field(default_factory=lambda: params.read(ROOT / "params.yaml"))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.params = copy.deepcopy(self.params)
        for name in ("benchmarks", "test_embeddings", "embeddings", "signals"):
            (self.data / name).mkdir(parents=True)
        records.write_table(records.OPTOUTS.empty_table(), self.data / "optouts.parquet")
        records.write_table(records.SCORES.empty_table(), self.data / "scores.parquet")
        files.write_text(self.data / "concepts.txt", "")
        self.change({"sets": [], "download": {"demo_site": None}, "select": {"decontaminate_against": []}})

    @property
    def folder(self) -> Path:
        """Where the stages run."""
        return self.root / "project"

    @property
    def data(self) -> Path:
        """The project's data folder."""
        return self.folder / "data"

    @property
    def store(self) -> Path:
        """What was fetched."""
        return self.root / "store"

    def change(self, changes: Mapping[str, Any]) -> None:
        """Writes params.yaml anew; a mapping in `changes` replaces single keys of its section."""
        for section, change in changes.items():
            merged = {**self.params[section], **change} if isinstance(change, Mapping) else change
            self.params[section] = merged
        files.write_json(self.folder / "params.yaml", self.params)  # JSON is YAML

    def run_on(self, workers: int) -> None:
        """Has Beam use so many processes; one is this process itself."""
        mode = "in_memory" if workers == 1 else "multi_processing"
        self.change({"runner": {"num_workers": workers, "running_mode": mode}})

    def contender(self, stage: str, instance: str, name: str = "", **changes: Any) -> Contender:
        """Returns a stage instance as something to be measured."""
        words = shlex.split(_filled(_STAGES[stage]["cmd"], instance))
        command = [sys.executable if word == "python" else word for word in words]
        environment = {"PYTHONPATH": str(ROOT), "CLIPLINE_STORE": str(self.store)}
        name = name or f"{stage}@{instance}"
        made = Contender(name=name, command=command, folder=self.folder, environment=environment)
        return dataclasses.replace(made, **changes)

    def state(self, stage: str, instance: str) -> str:
        """Returns a digest of the data deps and the params of a stage instance: it runs where this changes."""
        entry = _STAGES[stage]
        deps = [_filled(dep, instance) for dep in entry["deps"] if not dep.startswith(_CODE)]
        found: dict[str, Any] = {dep: digests.dvc_digest(self.folder / dep) for dep in deps}
        return digests.content_digest([found, {name: self.params[name] for name in entry["params"]}])


def instances(stage: str, snapshots: list[str]) -> list[str]:
    """Returns the instances of a stage."""
    return snapshots if "matrix" in _STAGES[stage] else ["all"]


def _filled(text: str, instance: str) -> str:
    return str(text).replace("${item.snapshot}", instance)
