"""Flow reproduce: every stage of DVC's graph as a task run of its own, then a plain `dvc repro` as the proof.

    python -m flows reproduce --max-parallel 4

DVC alone decides what is stale; the flow only chooses what runs beside what.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed
from pydantic import Field

from flows import artifacts, graph, lock_file, outcomes, process, repository
from flows.repository import OnBusy

Target = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}(@[a-z][a-z0-9_-]{0,62})?$")]


_CHATTER = (
    "Updating lock file",
    "To track the changes",
    "git add ",
    "To enable auto staging",
    "dvc config core",
    "Use `dvc push",
)


class StagesFailedError(Exception):
    """Stages failed; what they said is in the message, {stage: what it said} in `said`."""

    def __init__(self, said: dict[str, str], left: Collection[str]) -> None:
        super().__init__(
            "; ".join(f"{name}: {words}" for name, words in said.items())
            + (f" (not run for that: {', '.join(sorted(left))})" if left else "")
        )
        self.said = said


@flow(name="reproduce", flow_run_name=artifacts.run_name, validate_parameters=True)
def reproduce(
    checkout: str = ".",
    targets: list[Target] | None = None,
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 2,
    stage_timeout_s: Annotated[float, Field(gt=0)] | None = None,
    on_busy: OnBusy = "wait",
) -> dict[str, str]:
    """Brings the DAG up to date, a task run a stage, and proves it by `dvc repro`.

    Args:
        checkout: root of the project's git checkout.
        targets: stages (`dataset`) or instances (`train@clip-0`) to stop at; all of them if empty.
        max_parallel: stages side by side at most; those of one matrix may, downloads never do.
        stage_timeout_s: seconds after which a stage is ended; no limit if empty. What it had done is gone on with.
        on_busy: whether to wait for another flow at work on the repository, or to refuse.

    Returns:
        {stage instance: Reproduced, RunCache or Cached}.

    Raises:
        BusyError: another flow is at work and `on_busy` is `refuse`.
        StagesFailedError: stages failed; what they do not touch has run all the same.
        ValueError: no such checkout or target.
    """
    tree = repository.at(checkout)
    log = get_run_logger()
    with repository.held(tree, "flow reproduce", on_busy, log.info):
        before = artifacts.committed_metrics(tree.root)
        stages = graph.read(tree.root)
        stages = stages.only(targets) if targets else stages
        changed = graph.changed(tree.root, log.debug)
        run = _Run(tree.root, stages, changed, max_parallel, stage_timeout_s)
        states = run.all()
        if run.said:
            publish(tree.root, run.states, before, return_state=True)
            raise StagesFailedError(run.said, run.left)
        proven = prove(tree.root, sorted(targets or []), return_state=True)
        publish(tree.root, run.states, before)
        proven.result()
    log.info("%s", _summary(states))
    return states


@task(task_run_name="{name}")
def run_stage(name: str, root: Path, is_settled: bool, timeout_s: float | None) -> State[Any]:
    """Runs one stage instance by `dvc repro --single-item`; the task run's state says what came of it.

    Completed is named Reproduced, RunCache or Cached.
    """
    if is_settled:
        return Completed(name="Cached", message="unchanged, and so is what it reads (dvc status, dvc.lock)")
    before = outcomes.of(name, root)
    command = process.python("dvc", "--wait-for-lock", "repro", "--single-item", name)
    process.run(command, root, _say, timeout_s=timeout_s)
    after = outcomes.of(name, root)
    came = outcomes.outcome(before, after)
    took = f"in {after.last['seconds']:.1f} s" if came == "Reproduced" and after.last else ""
    words = {"Reproduced": f"ran {took}", "RunCache": "restored from DVC's run cache", "Cached": "nothing to do"}
    return Completed(name=came, message=words[came])


@task(task_run_name="proof: dvc repro")
def prove(root: Path, targets: list[str]) -> None:
    """Runs a plain `dvc repro`, which must find nothing left to do.

    Raises:
        ValueError: if it did something all the same, naming the stages.
    """
    before = outcomes.lock(root)
    process.run(process.python("dvc", "--wait-for-lock", "repro", *targets), root, _say)
    after = outcomes.lock(root)
    changed = sorted(name for name in after if after[name] != before.get(name))
    if changed:
        raise ValueError(f"`dvc repro` ran again what had just been run: {', '.join(changed)}; was something edited?")


@task(task_run_name="artifacts")
def publish(root: Path, states: dict[str, str], before: artifacts.Metrics) -> None:
    """Publishes what there is to look at."""
    artifacts.publish_stages(root, states, {name: outcomes.of(name, root) for name in states})
    artifacts.publish_funnel(root)
    artifacts.publish_metrics(root, before)
    artifacts.publish_links(root)


@dataclasses.dataclass
class _Run:
    """The stages of one run: those done, at work and left."""

    root: Path
    stages: graph.Graph
    changed: set[str]
    """What `dvc status` found changed before the run."""
    max_parallel: int
    timeout_s: float | None
    states: dict[str, str] = dataclasses.field(default_factory=dict)
    said: dict[str, str] = dataclasses.field(default_factory=dict)
    left: list[str] = dataclasses.field(default_factory=list)
    same: set[str] = dataclasses.field(default_factory=set)
    """Stages done whose outs are what they were before the run."""

    def all(self) -> dict[str, str]:
        """Runs each stage once all it depends on is done; one that fails keeps only what is below it from running."""
        self.left = list(self.stages)
        before, shown = outcomes.lock(self.root), _progress(self.root, len(self.left))
        at_work: dict[PrefectFuture[Any], str] = {}
        futures: dict[str, PrefectFuture[Any]] = {}
        while True:
            for name in self._ready()[: self.max_parallel - len(at_work)]:
                above = [futures[parent] for parent in self.stages.parents[name]]
                words = (name, self.root, self._is_settled(name), self.timeout_s)
                futures[name] = run_stage.submit(*words, wait_for=above, return_state=False)
                at_work[futures[name]] = name
                self.left.remove(name)
            if not at_work:
                return self.states
            done = next(iter(as_completed(list(at_work))))
            done.wait()
            self._note(at_work.pop(done), done.state, before)
            shown(len(self.states))

    def _ready(self) -> list[str]:
        done = self.states.keys() - self.said.keys()
        return [name for name in self.left if self.stages.parents[name] <= done]

    def _is_settled(self, name: str) -> bool:
        """Returns whether DVC need not be asked: the stage was unchanged, and what it reads has stayed so."""
        return name not in self.changed and self.stages.parents[name] <= self.same

    def _note(self, name: str, state: State[Any], before: Mapping[str, Any]) -> None:
        lock_file.keep(self.root)
        self.states[name] = state.name or state.type.value
        if not state.is_completed():
            error = state.result(raise_on_failure=False)
            self.said[name] = getattr(error, "said", None) or str(error or state.message)
        elif outcomes.outs(outcomes.lock(self.root).get(name)) == outcomes.outs(before.get(name)):
            self.same.add(name)


def _progress(root: Path, total: int) -> Callable[[int], None]:
    """Publishes a progress bar and returns what moves it."""
    made = create_progress_artifact(0.0, key=artifacts.key("progress", root), description="Stages done")
    assert isinstance(made, UUID)
    return functools.partial(_move, made, total)


def _move(artifact: UUID, total: int, done: int) -> None:
    update_progress_artifact(artifact, progress=round(100 * done / max(total, 1), 1))


def _say(line: str) -> None:
    """Logs a line of DVC's or a stage's; what DVC says in every run only at level debug."""
    log = get_run_logger()
    (log.debug if line.strip().startswith(_CHATTER) or line.endswith("didn't change, skipping") else log.info)(line)


def _summary(states: dict[str, str]) -> str:
    counts = {name: sum(state == name for state in states.values()) for name in sorted(set(states.values()))}
    return f"{len(states)} stages: " + ", ".join(f"{number} {name}" for name, number in counts.items())
