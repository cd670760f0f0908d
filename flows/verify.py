"""Flow verify: is what lies here what the lock says, down to the URL lists? For every night.

python -m flows verify
"""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from flows import artifacts, graph, process, repository
from flows.publishing import Remote
from flows.repository import OnBusy
from lineage import verify as lineage_verify

_MOST = 10
_REPAIR = "`rm -r PATH && dvc checkout PATH`, or `dvc pull` where the cache has it not"


@flow(name="verify", flow_run_name=artifacts.run_name, validate_parameters=True)
def verify(
    checkout: str = ".",
    is_remote_checked: bool = False,
    remote: Remote | None = None,
    on_busy: OnBusy = "wait",
) -> State[Any]:
    """Hashes every output anew and holds all records against each other, down to the URL lists: `lineage verify`.

    Args:
        checkout: root of the project's git checkout.
        is_remote_checked: whether to ask DVC's remote, too, for everything the lock names.
        remote: a DVC remote; the default one if empty.
        on_busy: whether to wait for another flow at work on the repository, or to refuse.

    Returns:
        Completed: Verified. Failed: Broken, with all that was found; everything else about it is in the artifact.
    """
    tree, log = repository.at(checkout), get_run_logger()
    with repository.held(tree, "flow verify", on_busy, log.info):
        found = [*stale(tree.root), *broken(tree.root)]
        if is_remote_checked:
            found += missing_remotely(tree.root, remote)
    rows = [{"what": what, "problem": problem} for what, problem in found] or [{"what": "all", "problem": "none"}]
    create_table_artifact(rows, key=artifacts.key("verify", tree.root), description="What does not hold")
    if found:
        more = f"; and {len(found) - _MOST} more, in the artifact" if len(found) > _MOST else ""
        told = "; ".join(f"{what}: {problem}" for what, problem in found[:_MOST])
        return Failed(name="Broken", message=f"{told}{more}. What is on disk is replaced by {_REPAIR}")
    return Completed(name="Verified", message="every output is what the lock says, down to the URL lists")


Found = list[tuple[str, str]]
"""(what, its problem)."""


@task(task_run_name="dvc status")
def stale(root: Path) -> Found:
    """Returns what `dvc status` finds changed."""
    return [(name, "changed since it was run") for name in sorted(graph.changed(root, get_run_logger().debug))]


@task(task_run_name="lineage verify")
def broken(root: Path) -> Found:
    """Returns what `lineage verify` finds broken, and logs how much it could not check or found unattested."""
    report = lineage_verify.verify(root=root)
    counts = report.as_json()
    few = {key: counts[key] for key in ("checked", "not_checkable_here", "unattested", "broken")}
    get_run_logger().info("lineage verify: %s", few)
    return [(finding.what, finding.problem) for finding in report.of("broken")]


@task(task_run_name="remote", retries=4, retry_delay_seconds=exponential_backoff(5), retry_jitter_factor=0.5)
def missing_remotely(root: Path, remote: str | None) -> Found:
    """Returns what DVC's remote lacks of what the lock names; tried again, for a network fails for passing reasons."""
    words = ["--remote", remote] if remote else []
    said = process.run(process.python("dvc", "status", "--cloud", "--json", *words), root, get_run_logger().debug)
    return [(what, problem) for what, problem in sorted(graph.parsed(said).items()) if problem != "ok"]
