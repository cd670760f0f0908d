"""The files of a revision, wherever they lie: the working tree itself, or DVC's cache."""

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

from lineage import dag
from lineage.params import parse_yaml
from lineage.questions.holdings import Holdings

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
"""What a snapshot, an objective or a set may be called."""


@dataclasses.dataclass(frozen=True)
class Holding:
    """One revision and where its files can be read."""

    graph: dag.Dag

    @property
    def at(self) -> dag.Revision:
        """The revision."""
        return self.graph.revision

    def path(self, name: str) -> Path:
        """Returns the file that holds the content of `name` in this revision; raises as Holdings.path."""
        return self._held.path(name)

    def has(self, name: str) -> bool:
        """Returns whether `path` would find a file."""
        return self._held.has(name)

    def names(self, folder: str, suffix: str) -> list[str]:
        """Returns the files right under a folder that end in `suffix`, sorted; raises as Holdings.names."""
        found = self._held.names(folder)
        return [name for name in found if name.endswith(suffix) and "/" not in name.removeprefix(f"{folder}/")]

    def digest(self, name: str) -> str | None:
        """Returns the md5 that the revision's lock has for a file or folder, None if it tells of none."""
        return self._held.digest(name)

    def json(self, name: str) -> Any:
        """Returns the content of a JSON file.

        Raises:
            ValueError: if it is none.
        """
        try:
            return json.loads(self.path(name).read_bytes())
        except ValueError as error:
            raise ValueError(f"{name} of {self.at}: not valid JSON ({error})") from None

    def mapping(self, name: str) -> dict[str, Any]:
        """Returns the content of a JSON file that holds one object.

        Raises:
            ValueError: if it holds something else.
        """
        content = self.json(name)
        if not isinstance(content, dict):
            raise ValueError(f"{name} of {self.at}: not a JSON object")
        return content

    def params(self) -> dict[str, Any]:
        """Returns the content of params.yaml."""
        content = parse_yaml(self.at.read("params.yaml") or b"{}")
        return content if isinstance(content, dict) else {}

    def listed(self, key: str) -> list[str]:
        """Returns a top-level list of names in params.yaml.

        Raises:
            ValueError: if it is none.
        """
        found = self.params().get(key)
        if not isinstance(found, list) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in found):
            raise ValueError(f"params.yaml of {self.at}: {key} must be a list of names, not {found!r}")
        return found

    @functools.cached_property
    def _held(self) -> Holdings:
        return Holdings(self.at, self.graph.outs(), tuple(self.params().get("snapshots") or ()))


def holding(root: Path, rev: str | None) -> Holding:
    """Returns what is at hand of a revision, the working tree if `rev` is None."""
    return Holding(dag.load(dag.revision(root, rev)))
