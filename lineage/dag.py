"""The DAG of a git revision or of the working tree, read from dvc.yaml, params.yaml, dvc.lock and .dvc files.

DVC itself is not imported. Lock entries that the revision's dvc.yaml and params.yaml do not list are left out.
"""

import configparser
import dataclasses
import hashlib
import itertools
import json
import posixpath
import re
import reprlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from lineage import digests
from lineage.params import parse_yaml

_INTERPOLATION = re.compile(r"(?<!\\)\$\{(.*?)\}")
_STAGE_KEYS = frozenset("matrix cmd deps params outs metrics plots desc meta frozen always_changed".split())


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """The files of a project at a commit, or in the working tree where commit is None."""

    root: Path
    commit: str | None

    def __str__(self) -> str:
        return self.commit[:12] if self.commit else "the working tree"

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file, or None if there is none."""
        if self.commit is None:
            file = self.root / path
            return file.read_bytes() if file.is_file() else None
        done = _git(self.root, "cat-file", "blob", f"{self.commit}:./{path}")
        return done.stdout if done.returncode == 0 else None

    def tracked(self, under: str = ".") -> list[str]:
        """Returns the files under a path that git tracks (or, in the working tree, does not ignore), sorted."""
        listing = ("ls-tree", "-r", "-z", "--name-only", self.commit, "--", under) if self.commit else None
        done = _git(self.root, *(listing or ("ls-files", "-z", "-co", "--exclude-standard", "--", under)))
        names = {name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name}
        return sorted(names if self.commit else (name for name in names if (self.root / name).is_file()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One stage instance (`train@clip-0`) as dvc.lock says it ran; `changes` says how dvc.yaml differs from that."""

    name: str
    deps: dict[str, str]
    outs: dict[str, str]
    params: dict[str, dict[str, Any]]
    changes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What a .dvc file holds fast: the digest, and where it came from if DVC fetched it."""

    path: str
    digest: str
    file: str
    origin: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """Stage instances, roots, and who makes each out."""

    revision: Revision
    instances: dict[str, Instance]
    roots: dict[str, Root]
    unrun: dict[str, str]
    """Outs of listed instances without a lock entry: {out: instance}."""

    def makers(self) -> dict[str, str]:
        """Returns {out: name of its stage instance, or of the .dvc file}."""
        made = {out: instance.name for instance in self.instances.values() for out in instance.outs}
        return {**self.unrun, **made, **{root.path: root.file for root in self.roots.values()}}

    def outs(self) -> dict[str, str]:
        """Returns {out: digest}; an out that was never made has an empty digest."""
        made = {out: md5 for instance in self.instances.values() for out, md5 in instance.outs.items()}
        return {**dict.fromkeys(self.unrun, ""), **made, **{root.path: root.digest for root in self.roots.values()}}


def revision(root: Path, rev: str | None) -> Revision:
    """Returns the revision `rev` (any git name of a commit), or the working tree for None.

    Raises:
        ValueError: if there is no git repository or no such commit.
    """
    if _git(root, "rev-parse", "--git-dir").returncode != 0:
        raise ValueError(f"{root}: not in a git repository; lineage is read from one")
    if rev is None:
        return Revision(root, None)
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    if found.returncode != 0:
        raise ValueError(f"{rev}: unknown revision; give a commit, branch or tag of this repository")
    return Revision(root, found.stdout.decode().strip())


def load(at: Revision) -> Dag:
    """Returns the DAG of a revision.

    Raises:
        ValueError: if dvc.yaml, params.yaml or dvc.lock is missing, or one of them or a .dvc file cannot be read,
            naming the file and the entry.
    """
    pipeline, params, lock = (read_yaml(at, name) for name in ("dvc.yaml", "params.yaml", "dvc.lock"))
    for key in sorted(set(pipeline) - {"stages", "metrics", "plots", "artifacts"}):
        raise ValueError(f"dvc.yaml: {key} is not understood by lineage")
    ran = _mapping(lock, "stages", f"dvc.lock in {at}")
    instances: dict[str, Instance] = {}
    unrun: dict[str, str] = {}
    for name, declared in expand(pipeline.get("stages") or {}, params):
        if name in ran:
            instances[name] = _instance(name, declared, ran[name], f"dvc.lock in {at}: {name}")
        else:
            unrun |= dict.fromkeys(_paths(declared, "outs", "metrics", "plots"), name)
    roots = {root.path: root for file in at.tracked() if file.endswith(".dvc") for root in _roots(at, file)}
    return Dag(revision=at, instances=instances, roots=roots, unrun=unrun)


def expand(stages: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (instance name, its definition with every `${...}` filled in), as DVC does for a matrix.

    Raises:
        ValueError: for a key of dvc.yaml this reader does not know, or a `${...}` without a value.
    """
    for stage, definition in stages.items():
        for key in definition:
            if key not in _STAGE_KEYS:
                raise ValueError(f"dvc.yaml: stages.{stage}.{key} is not understood by lineage")
        body = {key: value for key, value in definition.items() if key != "matrix"}
        if "matrix" not in definition:
            yield stage, _fill(body, params, stage)
            continue
        axes = _fill(definition["matrix"], params, stage)
        for values in itertools.product(*axes.values()):
            item = dict(zip(axes, values, strict=True))
            key = "-".join(_text(value) for value in values)
            yield f"{stage}@{key}", _fill(body, {**params, "item": item, "key": key}, stage)


def listing(
    root: Path, path: str, digest: str, described: Callable[[Path], dict[str, Any]] = digests.described
) -> dict[str, str] | None:
    """Returns {relpath: md5} of a folder out, or None if it is neither in DVC's cache nor, unchanged, in the workspace.

    A cached listing that does not have its own digest is damaged and is not used. `described` is `digests.described`,
    or one that remembers what it hashed.
    """
    if not digest.endswith(".dir"):
        return None
    content = cached(root, digest) or b""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir" == digest:
        return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
    if (root / path).is_dir():
        here = described(root / path)
        if here["md5"] == digest:
            return dict(here["files"])
    return None


def cached(root: Path, digest: str) -> bytes | None:
    """Returns what DVC's cache holds under a digest, unchecked, or None if it holds nothing."""
    held = cache_place(root, digest)
    return held.read_bytes() if held.is_file() else None


def cache_place(root: Path, digest: str) -> Path:
    """Returns where DVC's cache has a digest, if it has it: below its `cache.dir`, which git worktrees share."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    return root / ".dvc" / config.get("cache", "dir", fallback="cache") / "files" / "md5" / digest[:2] / digest[2:]


def _instance(name: str, declared: Mapping[str, Any], ran: Any, where: str) -> Instance:
    if not isinstance(ran, dict):
        raise ValueError(f"{where}: expected a mapping, found {reprlib.repr(ran)}")
    deps, outs = ({entry["path"]: _digest(entry) for entry in _entries(ran, kind, where)} for kind in ("deps", "outs"))
    recorded = _mapping(ran, "params", where)
    params = {file: dict(_mapping(recorded, file, f"{where}: params")) for file in recorded}
    compared = [
        ("dep", set(_paths(declared, "deps")), set(deps)),
        ("out", set(_paths(declared, "outs", "metrics", "plots")), set(outs)),
        ("params section", _sections(declared), set(params.get("params.yaml", {}))),
    ]
    changes = [f"{what} {path} is new in dvc.yaml" for what, wanted, had in compared for path in sorted(wanted - had)]
    changes += [
        f"{what} {path} is gone from dvc.yaml" for what, wanted, had in compared for path in sorted(had - wanted)
    ]
    if str(declared.get("cmd")).split() != str(ran.get("cmd")).split():
        changes.append("the command in dvc.yaml is another")
    return Instance(name=name, deps=deps, outs=outs, params=params, changes=tuple(changes))


def _roots(at: Revision, file: str) -> Iterator[Root]:
    content, where = read_yaml(at, file), f"{file} in {at}"
    wdir = content.get("wdir", ".")
    if not isinstance(wdir, str):
        raise ValueError(f"{where}: wdir: expected a path, found {reprlib.repr(wdir)}")
    folder = posixpath.join(posixpath.dirname(file), wdir)
    origin = next((entry["path"] for entry in _entries(content, "deps", where)), None)
    for entry in _entries(content, "outs", where):
        path = posixpath.normpath(posixpath.join(folder, entry["path"]))
        yield Root(path=path, digest=_digest(entry), file=file, origin=origin)


def _paths(declared: Mapping[str, Any], *kinds: str) -> list[str]:
    entries = [entry for kind in kinds for entry in declared.get(kind) or []]
    return [posixpath.normpath(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries]


def _sections(declared: Mapping[str, Any]) -> set[str]:
    return {entry for entry in declared.get("params") or [] if isinstance(entry, str)}


def _mapping(content: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = {} if content.get(key) is None else content[key]
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{where}: {key}: expected a mapping of names, found {reprlib.repr(found)}")
    return found


def _entries(content: Mapping[str, Any], kind: str, where: str) -> list[dict[str, Any]]:
    found = [] if content.get(kind) is None else content[kind]
    if not isinstance(found, list):
        raise ValueError(f"{where}: {kind}: expected a list, found {reprlib.repr(found)}")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise ValueError(f"{where}: {kind}[{number}]: expected a mapping with a path, found {reprlib.repr(entry)}")
    return found


def _digest(entry: Mapping[str, Any]) -> str:
    return str(entry.get(str(entry.get("hash", "md5"))) or entry.get("etag") or entry.get("checksum") or "")


def _fill(value: Any, context: Mapping[str, Any], stage: str) -> Any:
    if isinstance(value, Mapping):
        return {_fill(key, context, stage): _fill(item, context, stage) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, context, stage) for item in value]
    if not isinstance(value, str):
        return value
    whole = _INTERPOLATION.fullmatch(value)
    if whole:
        return lookup(context, whole[1], f"dvc.yaml: stage {stage}")
    filled = _INTERPOLATION.sub(lambda match: _text(lookup(context, match[1], f"dvc.yaml: stage {stage}")), value)
    return filled.replace("\\${", "${")


def lookup(content: Any, key: str, where: str) -> Any:
    """Returns the value under a key like `losses.clip.weight` or `snapshots[0]`.

    Raises:
        ValueError: if there is none, naming `where` and the key.
    """
    for part in key.strip().replace("[", ".").replace("]", "").split("."):
        try:
            content = content[int(part)] if isinstance(content, list) else content[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"{where}: {key} has no value in params.yaml") from None
    return content


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError(f"dvc.yaml: {value!r} stands where one word must")
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_yaml(at: Revision, name: str) -> dict[str, Any]:
    """Returns a YAML file of a revision; raises ValueError, naming it, if it is missing or holds no mapping."""
    content = at.read(name)
    if content is None:
        raise ValueError(f"{name}: no such file in {at}")
    try:
        parsed = parse_yaml(content)
    except YAMLError as error:
        raise ValueError(f"{name} in {at}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"{name} in {at}: expected a mapping")
    return parsed


def _git(root: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *args], cwd=root, capture_output=True, check=False)
