"""What is done with a worktree that passed: commit, push, and the main checkout moved to it."""

from collections.abc import Sequence
from typing import Annotated, Any

from prefect import get_run_logger, task
from prefect.tasks import exponential_backoff
from pydantic import BaseModel, ConfigDict, Field

from flows import process, repository
from flows.repository import Checkout

_RETRIES = 4
Remote = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Push(BaseModel):
    """Where what was made goes beside the main checkout; nowhere by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Annotated[bool, Field(description="run `dvc push` before the main checkout is moved")] = False
    data_remote: Annotated[Remote | None, Field(description="a DVC remote; the default one if empty")] = None
    git_remote: Annotated[Remote | None, Field(description="push the branch there; nowhere if empty")] = None


class HeldError(Exception):
    """Something keeps the main checkout from being moved: it is as it was, the worktree is kept."""


def take(main: Checkout, tree: Checkout, branch: str, message: str, push: Push) -> str:
    """Commits the worktree, pushes its data, moves the main checkout to it and removes it; returns the commit.

    Raises:
        HeldError: if the main checkout has uncommitted changes or commits of its own, naming them.
        CommandFailedError: if git or DVC fails; the worktree is kept and the next run goes on from there.
    """
    refuse_blocked(main, tree)
    commit(tree, message)
    if push.data:
        push_data(tree, push.data_remote)
    refuse_blocked(main, tree)
    moved = fast_forward(main, tree)
    if push.git_remote:
        push_commit(main, push.git_remote)
    repository.drop(main, tree, branch)
    return moved


def check(main: Checkout, push: Push) -> None:
    """Raises ValueError for a remote that is not there, before anything is begun."""
    said = process.run(process.python("dvc", "remote", "list"), main.root, lambda _: None)
    known = said.split()[::2]
    if push.data and (not known or (push.data_remote and push.data_remote not in known)):
        missing = push.data_remote or "at all"
        raise ValueError(f"push.data_remote: DVC has no remote {missing}; `dvc remote add --default` makes one")
    if push.git_remote and push.git_remote not in main.git("remote").split():
        raise ValueError(f"push.git_remote: git has no remote {push.git_remote}; `git remote add` makes one")


def refuse_blocked(main: Checkout, tree: Checkout) -> None:
    """Raises HeldError where the main checkout cannot be fast-forwarded, naming what is in the way."""
    blockers = repository.forward_blockers(main, tree)
    if blockers:
        raise HeldError("; ".join(blockers))


@task(task_run_name="commit")
def commit(tree: Checkout, message: str) -> None:
    """Commits params.yaml, dvc.lock, the .dvc files and runs/ of a worktree."""
    repository.commit(tree, message)


_AGAIN: dict[str, Any] = {
    "retries": _RETRIES,
    "retry_delay_seconds": exponential_backoff(5),
    "retry_jitter_factor": 0.5,
}


@task(task_run_name="dvc push", **_AGAIN)
def push_data(tree: Checkout, remote: str | None) -> None:
    """Pushes what DVC tracks; tried again, for a network fails for passing reasons."""
    words: Sequence[str] = ["--remote", remote] if remote else []
    process.run(process.python("dvc", "--wait-for-lock", "push", *words), tree.root, get_run_logger().info)


@task(task_run_name="git push", **_AGAIN)
def push_commit(main: Checkout, remote: str) -> None:
    """Pushes the main checkout's branch."""
    main.git("push", "--quiet", remote, "HEAD")


@task(task_run_name="fast-forward")
def fast_forward(main: Checkout, tree: Checkout) -> str:
    """Moves the main checkout, its data too, to the worktree's commit, and returns that."""
    repository.fast_forward(main, tree, get_run_logger().info)
    return main.head
