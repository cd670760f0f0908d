"""The run records: is every chain whole, and did no committed line of runs/ ever change?

A chain shows an edited or removed record unless everything after it was hashed anew. That is what git's history gives
away: runs/ only ever grows, so each committed version begins with the one before it.
"""

import functools
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lineage import dag, digests, runs
from lineage.checks.findings import Finding, judged, unchecked
from lineage.checks.tree import parsed

Records = dict[str, list[dict[str, Any]]]
_FILE = re.compile(r"runs/[A-Za-z0-9_.-]+\.jsonl")
_CONFIG = ("-c", "core.quotepath=off", "-c", "log.showRoot=true", "-c", "log.follow=false")
_PLAIN_LOG = tuple("--relative --full-history -m --raw --no-abbrev --no-renames --no-color --no-show-signature".split())
"""Whatever a user's, or a forger's, configuration of git says."""
_REMEDY = "`git log -p -- PATH` shows what it was; restore the line from there"


def read(at: dag.Revision) -> tuple[Records, list[Finding]]:
    """Returns {stage: its run records}, what is no record left out, and a finding a file."""
    found: Records = {}
    findings = []
    for path in _files(at):
        stage = Path(path).stem
        found[stage], problems = _chained(stage, at.read(path) or b"")
        findings.append(judged("chain", path, problems, _REMEDY.replace("PATH", path)))
    return found, findings


def history(at: dag.Revision) -> list[Finding]:
    """Returns, a file, whether every version of it in the history only adds to the one before.

    In a merge each side's lines must all be there, in order. A shallow or partial clone has no history to tell.
    """
    told = functools.partial(unchecked, "history", str(runs.RUNS))
    if _git(at.root, "rev-parse", "--is-shallow-repository") == "true":
        return [told("this clone is shallow: its history of run records is not here", "`git fetch --unshallow`")]
    head = at.commit or _git(at.root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return [told("nothing is committed yet", "commit runs/ with dvc.lock")]
    with _Blobs(at.root) as blobs:
        try:
            problems = _rewritten(at, head, blobs.read)
        except LookupError:
            return [told("this clone is partial: its history of run records is not here", "`git fetch --refetch`")]
    return [judged("history", path, found, _REMEDY.replace("PATH", path)) for path, found in sorted(problems.items())]


def _rewritten(at: dag.Revision, head: str, blob: Callable[[str], bytes]) -> dict[str, list[str]]:
    """Returns {file of run records: what was rewritten}."""
    problems: dict[str, list[str]] = {path: [] for path in _files(at)}
    for commit, is_merge, old, new, path in _changes(at.root, head):
        kept = _is_kept(blob(old), blob(new), is_merge)
        if not kept:
            problems.setdefault(path, []).append(f"commit {commit[:12]} changed or removed lines that were committed")
    if at.commit is None:
        for path, sha in _committed(at.root).items():
            if not (at.read(path) or b"").startswith(blob(sha)):
                problems.setdefault(path, []).append("lines that are committed are changed or removed in the workspace")
    return problems


def _files(at: dag.Revision) -> list[str]:
    if at.commit is not None:
        return [path for path in at.tracked(str(runs.RUNS)) if _FILE.fullmatch(path)]
    return sorted(path.relative_to(at.root).as_posix() for path in (at.root / runs.RUNS).glob("*.jsonl"))


def _chained(stage: str, content: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the records of a file and what is wrong with it; the form is that of `runs.append`."""
    text = content.decode("utf-8", "surrogateescape")
    records, problems = [], [] if text.endswith("\n") or not text else ["ends inside a line"]
    previous: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        record = parsed(line)
        if record is None or not isinstance(record.get("instance"), str) or record.get("stage", stage) != stage:
            problems.append(f"line {number} is not a run record of {stage}")
            continue
        name = record["instance"]
        if record.get("previous") != previous.get(name):
            problems.append(f"line {number}: the chain of {stage}@{name} is broken here")
        previous[name] = digests.sha256_bytes(line.encode("utf-8", "surrogateescape"))
        records.append(record)
    return records, problems


def _is_kept(old: bytes, new: bytes, is_merge: bool) -> bool:
    if new.startswith(old):
        return True
    rest = iter(new.splitlines())
    return is_merge and all(line in rest for line in old.splitlines())


def _changes(root: Path, head: str) -> Iterator[tuple[str, bool, str, str, str]]:
    """Yields commit, whether it is a merge, blob before, blob after and path of every change of a file of records."""
    said = _git(root, *_CONFIG, "log", *_PLAIN_LOG, "--format=%H %P", head, "--", str(runs.RUNS))
    commit: list[str] = []
    for line in said.splitlines():
        if not line.startswith(":"):
            commit = line.split() or commit
            continue
        facts, _, path = line.partition("\t")
        if _FILE.fullmatch(path):
            _, _, old, new, _ = facts.split()
            yield commit[0], len(commit) > 2, old, new, path


def _committed(root: Path) -> dict[str, str]:
    """Returns {file of records: its blob} at HEAD."""
    lines = (line.partition("\t") for line in _git(root, "ls-tree", "-r", "HEAD", "--", str(runs.RUNS)).splitlines())
    return {path: facts.split()[2] for facts, _, path in lines if _FILE.fullmatch(path)}


class _Blobs:
    """One `git cat-file` for many blobs."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            ["git", "--no-replace-objects", "cat-file", "--batch"],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.read = functools.lru_cache(maxsize=64)(self._read)

    def __enter__(self) -> "_Blobs":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def _read(self, sha: str) -> bytes:
        """Returns the content of a blob, none of the null one.

        Raises:
            LookupError: if it is not here.
        """
        if set(sha) == {"0"}:
            return b""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{sha}\n".encode())
        self._process.stdin.flush()
        said = self._process.stdout.readline().split()
        if len(said) != 3:
            raise LookupError(sha)
        return self._process.stdout.read(int(said[2]) + 1)[:-1]


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", "--no-replace-objects", *args], cwd=root, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "surrogateescape").strip()
