"""Where an output comes from: the walk from any output path down to the URL lists, every edge checked by digest."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ruamel.yaml.error import YAMLError

from lineage import dag, digests, edges
from lineage.params import parse_yaml

State = Literal["good", "unchecked", "broken"]
Kind = Literal["asked", "file", "data", "code", "params", "recipe"]
"""`file`: the path asked for against the disk; `asked`: that path where there is nothing to hold it against."""
LISTS = "data/lists"
"""The folder of the URL lists."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One check: a data dep against its producers, or the code, params or command of a stage against the revision's.

    In the working tree a producer's out that is on disk is held against the disk as well.
    """

    stage: str
    kind: Kind
    path: str
    digest: str
    state: State
    note: str = ""
    makers: tuple[str, ...] = ()
    """Stage instances and .dvc files that made the dep, for a data edge."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was found: `stages` and `roots` reached, and every edge, in the order of the walk from `path`."""

    path: str
    revision: str
    start: Edge
    stages: dict[str, tuple[Edge, ...]]
    roots: dict[str, dag.Root]

    def edges(self) -> list[Edge]:
        """Returns every edge that was or should have been checked, that of the path asked for first."""
        start = [] if self.start.kind == "asked" else [self.start]
        return start + [edge for found in self.stages.values() for edge in found]

    def count(self, *states: State) -> int:
        """Returns how many edges are in one of these states."""
        return sum(edge.state in states for edge in self.edges())

    def url_lists(self) -> list[dag.Root]:
        """Returns the URL lists the walk ended at, in order of path."""
        return [
            root for _, root in sorted(self.roots.items()) if PurePosixPath(LISTS) in PurePosixPath(root.path).parents
        ]

    def as_json(self) -> dict[str, Any]:
        """Returns the whole trace as plain values."""
        return {
            "path": self.path,
            "revision": self.revision,
            "edges": [dataclasses.asdict(edge) for edge in self.edges()],
            "roots": [dataclasses.asdict(root) for _, root in sorted(self.roots.items())],
            "url_lists": [root.path for root in self.url_lists()],
            "checked": self.count("good", "broken"),
            "not_checkable_here": self.count("unchecked"),
            "broken": self.count("broken"),
        }


def trace(path: str, rev: str | None = None, root: Path | None = None) -> Trace:
    """Returns the lineage of an output at a git revision, or in the working tree.

    Args:
        path: an out, a file inside an out, a parent folder of outs or a root, relative to `root`, or to the current
            folder if that is None.
        rev: commit, branch or tag; None is the working tree, where outs that are on disk are checked too.
        root: the project's root; if None, the nearest folder with a dvc.yaml, from the current one up.

    Raises:
        ValueError: for an unknown revision, or a path that no stage makes and no .dvc file holds.
    """
    base = (root or Path.cwd()).resolve()
    root = base if root else project(base)
    return Walk(dag.load(dag.revision(root, rev))).from_path(relative(path, root, base))


class Walk:
    """The DAG of one revision with the lookups that a walk repeats, each made once; `described` as in dag.listing."""

    def __init__(
        self,
        graph: dag.Dag,
        described: Callable[[Path], dict[str, Any]] = digests.described,
        is_disk_checked: bool = True,
    ) -> None:
        self.graph, self.at = graph, graph.revision
        self.is_disk_checked = is_disk_checked and self.at.commit is None
        self.outs, self.makers = graph.outs(), graph.makers()
        self.tracked = frozenset(self.at.tracked())
        self.described = functools.cache(described)
        self.listing = functools.cache(self._listing)
        self.git_md5 = functools.cache(self._git_md5)
        self.params_file = functools.cache(self._params_file)

    def from_path(self, path: str) -> Trace:
        """Returns the trace of a path; stages stand in the order of a breadth-first walk."""
        start = self._start(path)
        stages: dict[str, tuple[Edge, ...]] = {}
        roots: dict[str, dag.Root] = {}
        pending = [start]
        while pending:
            for name in pending.pop(0).makers:
                roots |= {root.path: root for root in self.graph.roots.values() if root.file == name}
                if name in self.graph.instances and name not in stages:
                    stages[name] = tuple(self._edges(self.graph.instances[name]))
                    pending += stages[name]
        return Trace(path=path, revision=str(self.at), start=start, stages=stages, roots=roots)

    def _start(self, path: str) -> Edge:
        makers = self._makers(path)
        if not makers:
            raise ValueError(f"{path}: no stage makes it and no .dvc file holds it in {self.at}; {self._nearest(path)}")
        unrun = [name for name in makers if name in self.graph.unrun.values()]
        if unrun:
            raise ValueError(f"{path}: {unrun[0]} has no entry in dvc.lock of {self.at}: it has not run")
        digest = edges.digest_from(path, self.outs, self.listing)
        if digest == edges.ABSENT:
            raise ValueError(f"{path}: {makers[0]} made no such file in {self.at}")
        return self._start_edge(path, digest, makers)

    def _start_edge(self, path: str, digest: str | None, makers: tuple[str, ...]) -> Edge:
        state, note = _compare(digest, digest)
        outs = edges.producing(path, self.outs)
        inside = digest if path.startswith(outs[0] + "/") else None
        present, differing = self._on_disk({path: inside} if inside else {out: self.outs[out] for out in outs})
        kind: Kind = "file" if present or digest is None else "asked"
        if differing:
            state, note = "broken", differing
        return Edge(stage="", kind=kind, path=path, digest=digest or "", state=state, note=note, makers=makers)

    def _edges(self, instance: dag.Instance) -> Iterator[Edge]:
        note = "; ".join(instance.changes)
        yield Edge(
            stage=instance.name,
            kind="recipe",
            path="dvc.yaml",
            digest="",
            state="broken" if note else "good",
            note=note,
        )
        for file, sections in instance.params.items():
            yield self._params_edge(instance.name, file, sections)
        code = {path: md5 for path, md5 in instance.deps.items() if not self._makers(path)}
        if code:
            yield self._code_edge(instance.name, code)
        for path, recorded in instance.deps.items():
            if path not in code:
                yield self._data_edge(instance.name, path, recorded)

    def _data_edge(self, stage: str, path: str, recorded: str) -> Edge:
        makers = self._makers(path)
        unrun = sorted({name for name in makers if name in self.graph.unrun.values()})
        if unrun:
            note = f"{', '.join(unrun)} has no entry in dvc.lock: it has not run"
            return Edge(stage=stage, kind="data", path=path, digest=recorded, state="broken", note=note, makers=makers)
        state, note = _compare(recorded, edges.digest_from(path, self._outs_with_tracked(path), self.listing))
        note = note and f"{note} ({', '.join(makers)})"
        _, differing = self._on_disk({out: self.outs[out] for out in edges.producing(path, self.outs)})
        if differing and state != "broken":
            state, note = "broken", differing
        return Edge(stage=stage, kind="data", path=path, digest=recorded, state=state, note=note, makers=makers)

    def _on_disk(self, recorded: Mapping[str, str]) -> tuple[bool, str]:
        """Returns whether any of these paths is on disk, and a note of those that are there with another digest."""
        here = self.at.root
        there = [path for path in recorded if self.is_disk_checked and (here / path).exists()]
        found = {path: self.described(here / path)["md5"] for path in there}
        differing = ", ".join(
            f"{path} is {md5[:12]}, recorded {recorded[path][:12] or 'none'}"
            for path, md5 in found.items()
            if md5 != recorded[path]
        )
        return bool(found), differing and f"what is on disk is not what ran: {differing}"

    def _code_edge(self, stage: str, code: dict[str, str]) -> Edge:
        """Returns one edge for all the files of a stage that git tracks."""
        changed = [path for path, md5 in code.items() if self.git_md5(path) != md5]
        loose = [path for path in changed if self.git_md5(path) is None]
        note = f"code at this revision differs from what ran: {', '.join(sorted(changed))}" if changed else ""
        if loose:
            note = f"nobody makes {', '.join(sorted(loose))}: no stage, no .dvc file, not in git"
        count = f"{len(code)} file" + "s" * (len(code) != 1)
        return Edge(
            stage=stage,
            kind="code",
            path=count,
            digest=digests.content_digest(code)[:32],
            state="broken" if changed else "good",
            note=note,
        )

    def _params_edge(self, stage: str, file: str, sections: dict[str, Any]) -> Edge:
        content = self.params_file(file)
        changed = [key for key, value in sections.items() if content is None or _value(content, key) != value]
        state: State = "broken" if changed else "good"
        note = f"params at this revision differ from what ran: {', '.join(changed)}" if changed else ""
        if content is None:
            state, note = "unchecked", f"{file} cannot be read at this revision"
        return Edge(
            stage=stage,
            kind="params",
            path=", ".join(sections) if file == "params.yaml" else f"{file}: {', '.join(sections)}",
            digest=digests.content_digest(sections)[:32],
            state=state,
            note=note,
        )

    def _makers(self, path: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.makers[out] for out in edges.producing(path, self.outs)))

    def _outs_with_tracked(self, path: str) -> dict[str, str]:
        """Returns the outs, and for a parent folder also the files git tracks in it: DVC hashes them along."""
        inside = [file for file in self.tracked if file.startswith(path + "/")]
        visible = [file for file in inside if not digests.IGNORED_NAMES & set(file.split("/"))]
        return {**{file: self.git_md5(file) or "" for file in visible}, **self.outs}

    def _listing(self, out: str) -> edges.Listing | None:
        return dag.listing(self.at.root, out, self.outs[out], self.described)

    def _git_md5(self, path: str) -> str | None:
        """Returns DVC's digest of a file or folder of the revision itself, None if there is none."""
        content = self.at.read(path)
        if content is not None:
            return hashlib.md5(content, usedforsecurity=False).hexdigest()
        inside = {file: self.git_md5(file) or "" for file in self.tracked if file.startswith(path + "/")}
        return edges.digest_from(path, inside, lambda _: None) if inside else None

    def _params_file(self, file: str) -> Any:
        content = self.at.read(file)
        try:
            return None if content is None else parse_yaml(content)
        except YAMLError:
            return None

    def _nearest(self, path: str) -> str:
        parts = path.split("/")
        for depth in range(len(parts) - 1, 0, -1):
            near = [out for out in sorted(self.outs) if out.startswith("/".join(parts[:depth]) + "/")]
            if near:
                return f"outputs there: {', '.join(near[:6])}"
        return f"outputs are under {', '.join(sorted({out.split('/')[0] for out in self.outs}))}"


def _compare(recorded: str | None, made: str | None) -> tuple[State, str]:
    """Returns state and note of a recorded digest against that of the producer, None where it cannot be had."""
    if made is None:
        return "unchecked", "not checkable here: the listing of the folder is in neither cache nor workspace"
    if recorded == made:
        return "good", ""
    return "broken", f"recorded {(recorded or 'none')[:12]}, its producer has {made[:12]}"


def _value(content: Any, key: str) -> Any:
    try:
        return dag.lookup(content, key, "")
    except ValueError:
        return None


def project(folder: Path) -> Path:
    """Returns the nearest folder with a dvc.yaml, from a folder up to the root of its git repository, else itself."""
    for above in (folder, *folder.parents):
        if (above / "dvc.yaml").is_file():
            return above
        if (above / ".git").exists():
            break
    return folder


def relative(path: str, root: Path, base: Path) -> str:
    """Returns a path given relative to `base` as it stands in dvc.yaml; symbolic links are not followed."""
    absolute = base / path
    parts: list[str] = []
    for part in absolute.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    clean = Path(*parts)
    if not clean.is_relative_to(root) or clean == root:
        raise ValueError(f"{path}: not a path inside the project {root.name}; give one like models/clip-0")
    return clean.relative_to(root).as_posix()
