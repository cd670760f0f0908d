"""Flow refresh: a URL-list revision becomes a snapshot, and all that follows of it, in a worktree; main takes it last.

    python -m flows refresh lists/november.parquet --name s20261101

A refresh that was killed is gone on with by the next one of the same list: what the worktree holds is not done again.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Completed, Failed
from pydantic import BaseModel, ConfigDict, Field

from flows import artifacts, pending, process, publishing, repository, sources
from flows import gates as gating
from flows.gates import Gates
from flows.pending import Work
from flows.publishing import HeldError, Push
from flows.repository import Checkout, OnBusy
from flows.reproduce import StagesFailedError, reproduce
from lineage import files, params

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Pair = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*=[^=\n]+$")]


class Listed(BaseModel):
    """How the URL list is to be read, as `python -m pipelines.snapshot add` takes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Annotated[
        str | None, Field(pattern=r"^[a-z0-9_]+$", description="a well-known list: cc3m, laion2b, ...")
    ] = None
    map: Annotated[list[Pair], Field(description="FIELD=COLUMN, e.g. caption=TEXT")] = []
    score: Annotated[list[Pair], Field(description="NAME=COLUMN, a score to carry along")] = []

    def words(self) -> list[str]:
        """Returns the options of the command line."""
        pairs = [("--map", pair) for pair in self.map] + [("--score", pair) for pair in self.score]
        return [*itertools.chain(*pairs), *(["--preset", self.preset] if self.preset else [])]


class Approval(RunInput):
    """What a person says of a refresh that is held."""

    approve: bool = Field(description="take it all the same; otherwise its worktree and snapshot are thrown away")
    reason: str = Field(description="why; it goes into the commit's message")


@flow(name="refresh", flow_run_name=pending.run_name, validate_parameters=True)
def refresh(  # noqa: PLR0913 - each is a field of the form
    source: Annotated[str, Field(min_length=1, max_length=4096)],
    name: Name | None = None,
    watch: bool = False,
    listed: Listed = Listed(),  # noqa: B008 - frozen, and a part of the form
    gates: Gates = Gates(),  # noqa: B008
    approve: Annotated[str, Field(max_length=500)] | None = None,
    on_hold: Literal["fail", "pause"] = "fail",
    hold_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 72.0,
    push: Push = Push(),  # noqa: B008
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 2,
    stage_timeout_s: Annotated[float, Field(gt=0)] | None = None,
    checkout: str = ".",
    on_busy: OnBusy = "wait",
) -> State[Any]:
    """Takes a new URL list through the DAG and, if every gate passes, into the main checkout.

    Args:
        source: the list: a path or pattern, s3://..., http(s)://..., or with `watch` a folder whose next file is taken.
        name: of the snapshot; by default s and the day the run was scheduled for, as s20261101.
        watch: whether `source` is a folder to take the next file of.
        listed: how the list is to be read.
        gates: what may change without the refresh being held.
        approve: why a held refresh is to be taken all the same; empty where nobody has looked.
        on_hold: what a held refresh does: fail, or pause until a person answers.
        hold_hours: how long it pauses at most, hours.
        push: where to push DVC's data and the commit.
        max_parallel: stages side by side at most.
        stage_timeout_s: seconds after which a stage is ended; no limit if empty.
        checkout: root of the project's main checkout.
        on_busy: whether to wait for another flow at work on the repository, or to refuse.

    Returns:
        Completed: Refreshed, or NothingNew where the list brings no pair that is not there. Failed: Held or Rejected.

    Raises:
        BusyError: another flow is at work and `on_busy` is `refuse`.
        StagesFailedError: a stage failed; the worktree is kept, and the next run of the same list goes on in it.
        ValueError: no such checkout, or a list that cannot be read.
    """
    main, log = repository.at(checkout), get_run_logger()
    attempt = Attempt(listed, gates, push, {"max_parallel": max_parallel, "stage_timeout_s": stage_timeout_s})
    while True:
        with repository.held(main, "flow refresh", on_busy, log.info):
            publishing.check(main, push)
            work = pending.begin(main, source, watch, name)
        if work is None:
            nothing = f"{pending.shown(source)} brings no list that is not a snapshot already"
            return Completed(name="NothingNew", message=nothing)
        pause_s = round(hold_hours * 3600) if on_hold == "pause" else None
        ended = see_through(work, attempt, approve, pause_s, on_busy)
        if not watch or ended.name not in ("NothingNew", "Rejected"):
            return ended
        log.info("%s is put aside, or it would keep the lists behind it waiting", work.path.name)
        sources.set_aside(work.path, str(ended.name))
        if ended.name == "Rejected":
            return ended


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """How a refresh is to be run."""

    listed: Listed
    gates: Gates
    push: Push
    run: dict[str, Any]
    """What flow reproduce is given."""


def see_through(work: Work, attempt: Attempt, approved: str | None, pause_s: int | None, on_busy: OnBusy) -> State[Any]:
    """Runs a refresh to its end; where a gate holds it, fails or waits `pause_s` seconds for a person.

    An answer counts for what was there when the question was asked, and for nothing else.
    """
    log = get_run_logger()
    while True:
        with repository.held(work.main, "flow refresh", on_busy, log.info):
            try:
                return take_through(work, attempt, approved)
            except HeldError as held:
                why, asked = str(held), work.made()
        log.warning("held, the main checkout is as it was: %s", why)
        artifacts.publish_held(work.tree.root, why)
        if pause_s is None:
            return Failed(name="Held", message=f"{why}. It is kept in {work.tree.root}")
        answer = pause_flow_run(wait_for_input=Approval, timeout=pause_s)
        with repository.held(work.main, "flow refresh", on_busy, log.info):
            if work.made() != asked:
                changed = "what was asked about is no longer there: another run went on with it or threw it away"
                return Failed(name="Held", message=f"{changed}; nothing was taken")
            if not answer.approve:
                repository.drop(work.main, work.tree, work.branch)
                return Failed(name="Rejected", message=answer.reason)
        approved = answer.reason


def take_through(work: Work, attempt: Attempt, approved: str | None) -> State[Any]:
    """Runs the snapshot through the DAG, asks the gates, and moves the main checkout.

    Raises:
        HeldError: a gate holds it.
    """
    log = get_run_logger()
    tree = repository.worktree(work.main, work.branch, log.info)
    bring_data(tree)
    add_snapshot(tree, work.name, work.path, attempt.listed)
    num_new = count_new_pairs(tree, work.name)
    if num_new == 0:
        repository.drop(work.main, tree, work.branch)
        return Completed(name="NothingNew", message=f"every pair of {work.name} is in an earlier snapshot")
    try:
        reproduce(checkout=str(tree.root), targets=["dataset"], **attempt.run)
    except StagesFailedError as failed:
        if gating.drop_share(failed.said.get("select", "")):
            raise HeldError(failed.said["select"]) from None
        raise
    pass_gates("gates of the data", gating.of_data(attempt.gates, tree.root, work.name), approved)
    reproduce(checkout=str(tree.root), **attempt.run)
    fallen = gating.of_metrics(attempt.gates, artifacts.committed_metrics(work.main.root), artifacts.metrics(tree.root))
    pass_gates("gates of the metrics", fallen, approved)
    message = _message(work, num_new, approved)
    moved = publishing.take(work.main, tree, work.branch, message, attempt.push)
    files.remove(pending.scratch(work.main, work.source))
    return Completed(name="Refreshed", message=f"snapshot {work.name}, {num_new} new pairs, commit {moved[:12]}")


@task(task_run_name="data of the last commit")
def bring_data(tree: Checkout, force: bool = False) -> None:
    """Brings what DVC's cache has of the worktree's outs; stages bring the rest. By force, what is not in it goes."""
    words = ["checkout", "--allow-missing", *(["--force"] if force else [])]
    process.run(process.python("dvc", "--wait-for-lock", *words), tree.root, _debug())


@task(task_run_name="snapshot add {name}")
def add_snapshot(tree: Checkout, name: str, path: Path, listed: Listed) -> None:
    """Adds the list as the newest snapshot; done already, it changes nothing."""
    words = ("add", str(path), "--name", name, *listed.words())
    process.run(process.python("pipelines.snapshot", *words), tree.root, get_run_logger().info)


@task(task_run_name="new pairs of {name}")
def count_new_pairs(tree: Checkout, name: str) -> int:
    """Returns how many of the snapshot's pairs no earlier snapshot lists, after running its stage source."""
    from pipelines import uid_sets  # late: reads tables

    earlier = [other for other in params.names("snapshots", tree.root / "params.yaml") if other != name]
    command = process.python("dvc", "--wait-for-lock", "repro", *(f"source@{other}" for other in [*earlier, name]))
    process.run(command, tree.root, _debug())
    own, *others = (uid_sets.read(tree.root / "data/source" / of / "source.parquet") for of in [name, *earlier])
    return uid_sets.num_distinct(uid_sets.minus(own, *others))


def pass_gates(what: str, found: list[str], approved: str | None) -> None:
    """Does nothing where gates found nothing, or a person has approved it.

    Raises:
        HeldError: naming all that was found.
    """
    if not ask(what, found, approved, return_state=True).is_completed():
        raise HeldError("; ".join(found) + "; to take it all the same, run again and say why in `approve`")


@task(task_run_name="{what}")
def ask(what: str, found: list[str], approved: str | None) -> State[Any]:
    """Shows what gates found; Failed, named Held, where that is something and nobody has approved it."""
    log = get_run_logger()
    for words in found:
        log.warning("%s: %s", what, words)
    if not found:
        return Completed(message="nothing holds it")
    if approved:
        return Completed(message=f"approved: {approved}")
    return Failed(name="Held", message="; ".join(found))


def _message(work: Work, num_new: int, approved: str | None) -> str:
    lines = [f"Add snapshot {work.name}", "", f"Refreshed from {pending.shown(work.source)}: {num_new} new pairs."]
    return "\n".join([*lines, *([f"Held by a gate and approved: {approved}"] if approved else [])]) + "\n"


def _debug() -> Any:
    return get_run_logger().debug
