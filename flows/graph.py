"""DVC's own graph of stages, and what of it one `dvc status` calls changed."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows import process
from lineage import dag, params

IN_ORDER = ("download",)
"""Stages whose instances run one after the other, as listed: an older snapshot's pictures are copied, not fetched."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Stage instances in an order that puts each after all it depends on, and what each depends on directly."""

    parents: Mapping[str, frozenset[str]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parents)

    def __len__(self) -> int:
        return len(self.parents)

    def above(self, names: Collection[str]) -> set[str]:
        """Returns the named stages and all they depend on."""
        found: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += self.parents[name]
        return found

    def only(self, targets: Collection[str]) -> "Graph":
        """Returns the part of the graph that the targets need: stage instances (`pack@s1`) or stages (`pack`).

        Raises:
            ValueError: for a target that is neither.
        """
        wanted = {target: [name for name in self if target in (name, name.partition("@")[0])] for target in targets}
        for target, names in wanted.items():
            if not names:
                raise ValueError(f"targets: dvc.yaml has no stage {target!r}; choose from {', '.join(self)}")
        needed = self.above([name for names in wanted.values() for name in names])
        return Graph(parents={name: found for name, found in self.parents.items() if name in needed})


def read(root: Path) -> Graph:
    """Returns the graph of the project at `root`.

    Raises:
        ValueError: if DVC cannot read it, with DVC's own words.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            names = {node: node.name for node in repo.index.graph if node.cmd}
            parents = {
                name: {names[above] for above in repo.index.graph.successors(node) if above in names}
                for node, name in names.items()
            }
    except DvcException as error:
        raise ValueError(f"{root}: {error}") from None
    order = declared(root)
    return Graph(parents=_by_level(_one_after_the_other(parents, order), order))


def changed(root: Path, say: Callable[[str], None]) -> set[str]:
    """Returns the stages and .dvc files that `dvc status` finds changed in themselves."""
    return set(parsed(process.run(process.python("dvc", "status", "--json"), root, say)))


def parsed(said: str) -> dict[str, Any]:
    """Returns the JSON that a DVC command printed, after whatever else it said."""
    content: dict[str, Any] = json.loads(said[said.index("{") :])
    return content


def declared(root: Path) -> list[str]:
    """Returns the stage instances as dvc.yaml and params.yaml list them."""
    pipeline, values = (params.parse_yaml((root / name).read_text()) for name in ("dvc.yaml", "params.yaml"))
    return [name for name, _ in dag.expand(pipeline["stages"], values)]


def _one_after_the_other(parents: Mapping[str, set[str]], order: list[str]) -> dict[str, set[str]]:
    chained = {name: set(found) for name, found in parents.items()}
    for stage in IN_ORDER:
        instances = [name for name in order if name.partition("@")[0] == stage and name in chained]
        for before, after in itertools.pairwise(instances):
            chained[after].add(before)
    return chained


def _by_level(parents: Mapping[str, set[str]], order: list[str]) -> dict[str, frozenset[str]]:
    """Returns the graph level by level, within one in the order of dvc.yaml: what may run side by side is together."""
    left, done = sorted(parents, key=order.index), dict[str, frozenset[str]]()
    while left:
        level = [name for name in left if parents[name] <= done.keys()]
        assert level, "DVC refuses a graph with a cycle"
        done |= {name: frozenset(parents[name]) for name in level}
        left = [name for name in left if name not in done]
    return done
