"""Where the files of a revision can be read here: in the workspace, or in DVC's cache by their digest."""

import dataclasses
import functools
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lineage import dag, digests, edges, files, trace

LOCKED = ("dvc.lock", "dvc.yaml", "params.yaml")
"""What says which outs a revision has."""
Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Every scalar as text: a digest of digits alone stays one, and no params are read from here."""


class NotHereError(FileNotFoundError):
    """A file of a revision is neither in the workspace nor in DVC's cache."""


@dataclasses.dataclass(frozen=True, eq=False)
class Holdings:
    """The outs of a revision and, one by one, their files."""

    revision: dag.Revision
    outs: Mapping[str, str]
    """{out: digest}, as dvc.lock has them for what dvc.yaml and params.yaml list."""
    snapshots: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.revision)

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.revision.root

    def path(self, name: str) -> Path:
        """Returns where the file `name` of this revision can be read.

        Args:
            name: a file that is an out or lies in one, relative to the root, with `/`.

        Raises:
            NotHereError: if no out of the revision has it, or its bytes are not here.
        """
        if self.revision.commit is None and (self.root / name).is_file():
            return self.root / name
        digest = self.digest(name)
        if digest is None:
            raise NotHereError(f"{name}: not known here in {self}; `dvc pull {name.rsplit('/', 1)[0]}` brings it")
        held = dag.cache_place(self.root, digest)
        if held.is_file():
            return held
        here = self.root / name
        if here.is_file() and digests.md5_file(here) == digest:
            return here
        raise NotHereError(f"{name}: its bytes in {self} are not here; `dvc pull {name}` brings them")

    def has(self, name: str) -> bool:
        """Returns whether the file `name` can be read here."""
        try:
            self.path(name)
        except NotHereError:
            return False
        return True

    def digest(self, name: str) -> str | None:
        """Returns the md5 that a file of this revision has, None if no out has it or its listing is not here."""
        found = edges.digest_from(name, self.outs, self._listing)
        return None if found == edges.ABSENT else found

    def names(self, folder: str) -> list[str]:
        """Returns the files in an out folder, or below a folder in one, as paths from the root, sorted.

        Raises:
            NotHereError: if the listing is not here.
        """
        if self.revision.commit is None and (self.root / folder).is_dir():
            return sorted(path.relative_to(self.root).as_posix() for path in (self.root / folder).rglob("*.*"))
        out = next(iter(edges.producing(folder, self.outs)), "")
        listing = self._listing(out) if out else None
        if listing is None:
            raise NotHereError(f"{folder}: not known here in {self}; `dvc pull {folder}` brings it")
        inside = (f"{out}/{relpath}" for relpath in listing)
        return sorted(name for name in inside if name.startswith(f"{folder}/"))

    def instances(self, parent: str) -> list[str]:
        """Returns the names of the outs right under a parent folder: `models` -> clip-0, scorer."""
        return sorted(out.removeprefix(f"{parent}/") for out in self.outs if out.startswith(f"{parent}/"))

    def read_json(self, name: str) -> Any:
        """Returns a JSON file of this revision, tracked by git or by DVC.

        Raises:
            NotHereError: as `path`.
        """
        return files.read_json(self.path(name))

    def params(self) -> Mapping[str, Any]:
        """Returns params.yaml of this revision."""
        return dag.read_yaml(self.revision, "params.yaml")

    @functools.cached_property
    def _listings(self) -> dict[str, Mapping[str, str] | None]:
        return {}

    def _listing(self, out: str) -> Mapping[str, str] | None:
        if out not in self._listings:
            self._listings[out] = dag.listing(self.root, out, self.outs[out])
        return self._listings[out]


def at(root: Path, rev: str | None = None) -> Holdings:
    """Returns what a revision, or the working tree, has.

    Raises:
        ValueError: as dag.revision; or if dvc.yaml, params.yaml or dvc.lock is missing or cannot be read.
    """
    return of(dag.revision(root, rev))


def of(revision: dag.Revision) -> Holdings:
    """Returns what a revision has, remembered for commits in the repository's own folder."""
    contents = {}
    for name in LOCKED:
        content = revision.read(name)
        if content is None:
            raise ValueError(f"{name}: no such file in {revision}")
        contents[name] = content
    remembered = _memory(revision, contents)
    if remembered is not None and remembered.is_file():
        found = files.read_json(remembered)
    else:
        found = _read(revision, contents)
        if remembered is not None:
            remembered.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(remembered, found)
    return Holdings(revision, found["outs"], tuple(found["snapshots"]))


def history(root: Path) -> Iterator[Holdings]:
    """Yields each state of dvc.lock in the history of HEAD, newest first; equal ones once, by their newest commit."""
    done = _git(root, "log", "--format=%H", "HEAD", "--", "dvc.lock")
    seen = set()
    for commit in done.split():
        revision = dag.Revision(root, commit)
        try:
            found = of(revision)
        except ValueError:  # a commit from before the DAG was one
            continue
        key = tuple(sorted(found.outs.items()))
        if key not in seen:
            seen.add(key)
            yield found


def project(start: Path | None = None) -> Path:
    """Returns the project that a folder (the current one) lies in.

    Raises:
        ValueError: if there is none.
    """
    base = (start or Path.cwd()).resolve()
    found = trace.project(base)
    if not (found / "dvc.yaml").is_file():
        raise ValueError(f"{base}: no dvc.yaml here or above; run this in a project")
    return found


def _read(revision: dag.Revision, contents: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        lock = yaml.load(contents["dvc.lock"], Loader=Loader)  # noqa: S506 - it makes text, lists and mappings only
        pipeline, params = (dag.read_yaml(revision, name) for name in ("dvc.yaml", "params.yaml"))
        listed = {name for name, _ in dag.expand(pipeline.get("stages") or {}, params)}
        ran = {name: entry for name, entry in lock["stages"].items() if name in listed}
        outs = {out["path"]: out["md5"] for entry in ran.values() for out in entry.get("outs", ())}
        snapshots = [str(name) for name in params.get("snapshots") or []]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"dvc.lock in {revision}: cannot be read ({type(error).__name__}: {told})") from None
    return {"outs": outs, "snapshots": snapshots}


def _memory(revision: dag.Revision, contents: Mapping[str, bytes]) -> Path | None:
    """Returns where the outs of a commit are remembered, by the bytes that say them; None for the working tree."""
    if revision.commit is None:
        return None
    key = hashlib.sha256(b"\0".join(hashlib.sha256(contents[name]).digest() for name in LOCKED)).hexdigest()
    folder = _git(revision.root, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    return Path(folder) / "clipline-lineage" / f"{key}.json"


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def dumped(value: Any) -> str:
    """Returns JSON as every question prints it."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
