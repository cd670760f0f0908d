"""What a refresh has to do: the list, found and brought here, under the name of the snapshot that it becomes."""

import dataclasses
import datetime
import hashlib
import string
from collections.abc import Collection
from pathlib import Path

from prefect import get_run_logger, runtime, task
from prefect.tasks import exponential_backoff
from yarl import URL

from flows import repository, sources
from flows.repository import Checkout
from lineage import digests

_PREFIX = "refresh/"
_RETRIES = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One refresh: its snapshot's name, its list on this disk, and its worktree."""

    main: Checkout
    name: str
    source: str
    path: Path

    @property
    def branch(self) -> str:
        """The worktree's branch."""
        return _PREFIX + self.name

    @property
    def tree(self) -> Checkout:
        """The worktree, made or not."""
        return repository.place(self.main, self.branch)

    def made(self) -> str:
        """Returns a digest of what the worktree holds, "" where there is none: an approval is of that alone."""
        if not (self.tree.root / ".git").exists():
            return ""
        files = [self.tree.root / name for name in ("params.yaml", "dvc.lock")]
        return digests.content_digest(
            [self.tree.head, *(digests.sha256_file(file) for file in files if file.is_file())]
        )


def begin(main: Checkout, source: str, watch: bool, name: str | None) -> Work | None:
    """Returns what there is to do, under the name an earlier run of the same list began it with; None for nothing.

    Raises:
        ValueError: for a list that cannot be had, a name that another list has, or a main checkout on no branch.
    """
    log = get_run_logger()
    repository.refuse_detached(main)
    refuse_secrets(source)
    repository.finish_taken(main, _PREFIX, log.info)
    if loose := main.uncommitted():
        log.warning("the main checkout can only be moved once these are committed: %s", ", ".join(loose[:8]))
    known = sources.known(main)
    path: Path | None
    if watch:
        path = sources.next_of(main.root / source, known.values())
        if path is None:
            return None
    else:
        path = bring(source, scratch(main, source), main.root)
    found = sources.found(path)
    if any(found.digests <= listed for listed in known.values()):
        return None
    begun = _begun(main)
    resumed = next((of for of, listed in begun.items() if listed == found.digests), None)
    if resumed and name and name != resumed:
        raise ValueError(
            f"name: an earlier run began this list as {resumed}; give that name or none, or throw it away "
            f"(`python -m flows drop refresh-{resumed}`)"
        )
    chosen = resumed or name or _new_name({*known, *begun})
    if not resumed and chosen in begun:
        raise ValueError(
            f"name: an unfinished refresh of another list is {chosen} in {repository.WORKTREES}; finish that one, "
            f"throw it away (`python -m flows drop refresh-{chosen}`), or choose another name"
        )
    return Work(main=main, name=chosen, source=source, path=path)


@task(
    task_run_name="list",
    retries=_RETRIES,
    retry_delay_seconds=exponential_backoff(5),
    retry_jitter_factor=0.5,
    retry_condition_fn=lambda task, run, state: sources.may_pass(state),  # noqa: ARG005 - Prefect's signature
)
def bring(source: str, folder: Path, main: Path) -> Path:
    """Brings a URL list onto this disk; tried again where what failed may pass."""
    path: Path = sources.fetch(source, folder, main)
    return path


def refuse_secrets(source: str) -> None:
    """Raises ValueError for a URL with a user or password in it: what is given to a flow is kept and shown."""
    if "://" in source and (URL(source).raw_user is not None or URL(source).raw_password is not None):
        raise ValueError(
            f"source: {shown(source)}: a user or password does not belong into a URL here, where it is shown to "
            "whoever sees the runs"
        )


def shown(source: str) -> str:
    """Returns a source as it may be shown: a URL without user, password and query, which may hold secrets."""
    from pipelines.web import lists  # late: it imports a web client

    return lists.shown_url(source) if "://" in source else source


def run_name() -> str:
    """Returns what a run of refresh is called."""
    return f"refresh {shown(runtime.flow_run.parameters['source'])}"


def scratch(main: Checkout, source: str) -> Path:
    """Returns where a list is brought that lies elsewhere."""
    return main.root / ".work" / "lists" / hashlib.sha256(source.encode()).hexdigest()[:16]


def _begun(main: Checkout) -> dict[str, frozenset[str]]:
    """Returns {snapshot: md5 of its list's files} of the refreshes that earlier runs have left unfinished."""
    trees = repository.worktrees(main, _PREFIX)
    names = [(tree, repository.branch(tree).removeprefix(_PREFIX)) for tree in trees]
    return {name: sources.known(tree).get(name, frozenset()) for tree, name in names}


def _new_name(taken: Collection[str]) -> str:
    """Returns s and the day the run was scheduled for, with a letter behind it where that is taken."""
    when = runtime.flow_run.scheduled_start_time or datetime.datetime.now(datetime.UTC)
    names = [f"s{when:%Y%m%d}{letter}" for letter in ("", *string.ascii_lowercase[1:])]
    return next(name for name in names if name not in taken)
