"""A git checkout with its DVC cache: one flow at a time in a repository, worktrees that share the cache."""

import contextlib
import dataclasses
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from flows import lock_file, process
from lineage import params

OnBusy = Literal["wait", "refuse"]
WORKTREES = Path(".worktrees")
"""Below the main checkout, where git and DVC ignore it: the same file system, so that the cache can be linked."""
TRACKED = ("params.yaml", "dvc.lock", "data", "runs")
"""What a flow commits."""
_POLL_S = 1.0
_held: dict[Path, int] = {}
"""How often this process holds the lock of a repository: a flow may call another on it."""


class BusyError(Exception):
    """Another flow is at work on the repository."""


@dataclasses.dataclass(frozen=True, slots=True)
class Checkout:
    """A working tree of the repository: the main one or a worktree."""

    root: Path

    def git(self, *words: str) -> str:
        """Runs git and returns its stdout without the last line end.

        Raises:
            CommandFailedError: with git's words.
        """
        done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True)
        if done.returncode != 0:
            raise process.CommandFailedError(["git", *words], process.said(done.stderr.splitlines()))
        return done.stdout.rstrip("\n")

    @property
    def common(self) -> Path:
        """The repository's own folder, shared by all worktrees."""
        return (self.root / self.git("rev-parse", "--git-common-dir")).resolve()

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    def uncommitted(self) -> list[str]:
        """Returns the files that differ from the last commit, untracked ones that git does not ignore too."""
        listed = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--", ".")
        return [entry[3:] for entry in listed.split("\0") if len(entry) > 3]


def at(folder: str | Path) -> Checkout:
    """Returns the checkout whose root the folder is.

    Raises:
        ValueError: if it is not the root of a git checkout with a dvc.yaml.
    """
    root = Path(folder).expanduser().resolve()
    for name in (".git", "dvc.yaml", "params.yaml"):
        if not (root / name).exists():
            raise ValueError(f"checkout: {root} has no {name}; give the root of a project's git checkout")
    return Checkout(root)


@contextlib.contextmanager
def held(main: Checkout, what: str, on_busy: OnBusy, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the repository's lock while the context is open; it goes with the process, however that ends.

    Raises:
        BusyError: if another flow holds it and `on_busy` is `refuse`, naming that flow.
    """
    path = main.common / "clipline-flow.lock"
    if _held.get(path):
        yield
        return
    with path.open("a+") as file:
        _take(file.fileno(), path, on_busy, say)
        file.truncate(0)
        file.write(f"{what}, process {os.getpid()}")
        file.flush()
        _held[path] = 1
        try:
            for tree in (main, *worktrees(main, "")):
                lock_file.mend(tree.root, say)
                lock_file.mend_rwlock(tree.root, say)
            yield
        finally:
            _held[path] = 0
            file.truncate(0)


def _take(descriptor: int, path: Path, on_busy: OnBusy, say: Callable[[str], None]) -> None:
    is_told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = path.read_text() or "another flow"
        if on_busy == "refuse":
            raise BusyError(f"{holder} is at work on this repository; run again when it has ended, or wait for it")
        if not is_told:
            say(f"{holder} is at work on this repository; waiting for it to end")
            is_told = True
        time.sleep(_POLL_S)


def place(main: Checkout, branch: str) -> Checkout:
    """Returns where the worktree of a branch is, or would be."""
    return Checkout(main.root / WORKTREES / branch.replace("/", "-"))


def worktrees(main: Checkout, prefix: str) -> list[Checkout]:
    """Returns the worktrees there are of branches whose names begin so."""
    found = sorted((main.root / WORKTREES).glob(f"{prefix.replace('/', '-')}*/.git"))
    return [Checkout(path.parent) for path in found if (path.parent / "params.yaml").is_file()]


def branch(tree: Checkout) -> str:
    """Returns the branch that is checked out."""
    return tree.git("branch", "--show-current")


def worktree(main: Checkout, branch: str, say: Callable[[str], None]) -> Checkout:
    """Returns the worktree of a branch, made from the main checkout's commit where there is none.

    One that is there is one that an earlier run began: it is gone on with. It shares the main checkout's DVC cache
    and the demo's websites; what was fetched lies in the main checkout's store in any case.
    """
    made = place(main, branch)
    main.git("worktree", "prune")
    if (made.root / ".git").exists():
        say(f"going on in {made.root}, which an earlier run began")
    else:
        is_old = bool(main.git("branch", "--list", branch))
        where = [str(made.root), branch] if is_old else ["-b", branch, str(made.root)]
        main.git("worktree", "add", "--quiet", *where)
    if not (made.root / "params.yaml").is_file():  # a kill while git laid it out
        made.git("reset", "--quiet", "--hard")
    _share(main, made)
    return made


def drop(main: Checkout, tree: Checkout, branch: str) -> None:
    """Removes a worktree and its branch, merged or not."""
    main.git("worktree", "remove", "--force", str(tree.root))
    main.git("branch", "--quiet", "-D", branch)


def drop_named(main: Checkout, name: str) -> None:
    """Removes a worktree: by the name of its folder, or of the snapshot where it is a refresh's.

    Raises:
        ValueError: if there is none, naming those there are.
    """
    trees = {tree.root.name: tree for tree in worktrees(main, "")}
    tree = trees.get(name) or trees.get(f"refresh-{name}")
    if tree is None:
        raise ValueError(f"{name}: no such worktree in {WORKTREES}; there: {', '.join(trees) or 'none'}")
    drop(main, tree, branch(tree))


def commit(tree: Checkout, message: str) -> bool:
    """Commits what flows make (TRACKED); returns whether there was anything to."""
    tree.git("add", "--", *(name for name in TRACKED if (tree.root / name).exists()))
    if not tree.git("diff", "--cached", "--name-only"):
        return False
    identity = [] if tree.git("config", "--default", "", "user.email") else _IDENTITY
    tree.git(*identity, "commit", "--quiet", "--no-verify", "-m", message)
    return True


def forward_blockers(main: Checkout, tree: Checkout) -> list[str]:
    """Returns what keeps the main checkout from being fast-forwarded to the worktree's commit."""
    loose, changed = main.uncommitted(), _changed_data(main)
    blockers = [f"uncommitted changes in the main checkout: {_some(loose)}"] if loose else []
    if changed:
        blockers.append(f"data in the main checkout that are not what its dvc.lock says: {_some(changed)}")
    if not _is_ancestor(main, main.head, tree.head):
        blockers.append(
            f"the main checkout has moved on to {main.head[:12]}, which this run did not begin from; "
            f"`python -m flows drop {tree.root.name}` and run again: what was fetched and what DVC's cache has is not "
            "done anew"
        )
    return blockers


def finish_taken(main: Checkout, prefix: str, say: Callable[[str], None]) -> None:
    """Ends what flows left that were killed once the main checkout had been moved: data come, worktrees go."""
    for tree in worktrees(main, prefix):
        if not tree.uncommitted() and _is_ancestor(main, tree.head, main.head):
            say(f"the main checkout has all of {tree.root.name}: bringing its data, removing that worktree")
            process.run(process.python("dvc", "--wait-for-lock", "checkout", "--allow-missing"), main.root, say)
            drop(main, tree, branch(tree))


def refuse_detached(main: Checkout) -> None:
    """Raises ValueError where the main checkout is on no branch: what is committed there would be lost."""
    if not branch(main):
        raise ValueError(
            f"checkout: {main.root} is on no branch; `git switch` to the one that is to move, and run again"
        )


def fast_forward(main: Checkout, tree: Checkout, say: Callable[[str], None]) -> None:
    """Moves the main checkout to the worktree's commit, and its data along."""
    main.git("merge", "--quiet", "--ff-only", tree.head)
    process.run(process.python("dvc", "--wait-for-lock", "checkout"), main.root, say)


_IDENTITY = ["-c", "user.name=Clipline", "-c", "user.email=clipline@localhost"]
"""Who commits where git knows nobody, as on a worker."""


def _is_ancestor(main: Checkout, older: str, newer: str) -> bool:
    return main.git("merge-base", older, newer) == older


def _changed_data(main: Checkout) -> list[str]:
    """Returns the outs in the workspace whose bytes `dvc checkout` would overwrite and no lock entry knows."""
    said = process.run(process.python("dvc", "data", "status", "--json"), main.root, lambda _: None)
    return sorted(json.loads(said[said.index("{") :]).get("uncommitted", {}).get("modified", []))


def _share(main: Checkout, tree: Checkout) -> None:
    cache = process.run(process.python("dvc", "cache", "dir"), main.root, lambda _: None).splitlines()[-1]
    local = tree.root / ".dvc" / "config.local"
    if not local.exists():
        own = main.root / ".dvc" / "config.local"
        local.write_bytes(own.read_bytes() if own.exists() else b"")
    process.run(process.python("dvc", "cache", "dir", "--local", cache), tree.root, lambda _: None)
    for site in _demo_sites(main.root):
        here, there = tree.root / site, main.root / site
        if there.is_dir() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.symlink_to(there)


def _demo_sites(root: Path) -> Sequence[str]:
    site = (params.read(root / "params.yaml").get("download") or {}).get("demo_site")
    return [] if not site or Path(site).is_absolute() else [site]


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
