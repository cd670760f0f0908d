"""The deployments of prefect.yaml served from one process, and the automation that marks killed runs Crashed."""

import datetime
import importlib
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect import serve as serve_deployments
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.schedules import Cron, Interval, RRule, Schedule
from prefect.types.entrypoint import EntrypointType

from lineage import params

PREFECT_YAML = Path("prefect.yaml")
CRASHED = "clipline: a run whose heart has stopped is Crashed"
_SILENCE = datetime.timedelta(seconds=95)
"""Three heartbeats of 30 s and some; events of a loaded server come late."""
_FLOWS = ("refresh", "reproduce", "takedown", "verify")
"""Runs of other flows may have slower hearts."""
_OWN = ("Refreshed", "NothingNew", "Held", "Rejected", "TakenDown", "Impact", "Verified", "Broken")
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Paused", "Suspended", *_OWN)
"""An event is called after its state's name, and the states that our flows end in have names of their own."""


def serve(root: Path, limit: int) -> None:
    """Serves every deployment of prefect.yaml until interrupted; runs are started as they fall due, `limit` at once.

    Raises:
        ValueError: if prefect.yaml is not there or a deployment of it cannot be read, naming it.
    """
    ensure_automation()
    serve_deployments(*load(root / PREFECT_YAML), limit=limit, pause_on_shutdown=False)


def load(path: Path) -> list[RunnerDeployment]:
    """Returns the deployments of a prefect.yaml.

    Raises:
        ValueError: as `serve`.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; run this at the root of the project")
    content = params.parse_yaml(path.read_text())
    entries = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: `deployments` must be a list with at least one entry")
    made = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ValueError(f"{path}: deployments[{number}]: expected a mapping with a name")
        try:
            made.append(_deployment(entry))
        except (KeyError, TypeError, ValueError) as error:
            words = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}: deployments[{number}] ({entry['name']}): {words}") from None
    return made


def ensure_automation() -> None:
    """Creates or updates, on the server, the automation that marks a run Crashed when its heartbeats stop."""
    beats = {"prefect.flow-run.heartbeat"}
    ends = {f"prefect.flow-run.{name}" for name in _ENDS}
    wanted = AutomationCore(
        name=CRASHED,
        description="A process that was killed cannot say so. Runs that are done or wait for a person do not count.",
        trigger=EventTrigger(
            after={*beats, "prefect.flow-run.Running"},  # a run that was killed while it paused may be resumed
            expect=beats | ends,
            match={"prefect.resource.id": ["prefect.flow-run.*"]},  # type: ignore[arg-type]
            match_related={"prefect.resource.role": ["flow"], "prefect.resource.name": list(_FLOWS)},  # type: ignore[arg-type]
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed", state=StateType.CRASHED, message="its heartbeats have stopped", force=False
            )
        ],
    )
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(CRASHED)
        if not known:
            client.create_automation(wanted)
        elif _words(known[0]) != _words(wanted):  # an update makes the server forget the heartbeats it waits for
            client.update_automation(known[0].id, wanted)


def _words(automation: AutomationCore) -> dict[str, Any]:
    return automation.model_dump(include={"description", "trigger", "actions"})


def _deployment(entry: dict[str, Any]) -> RunnerDeployment:
    file, _, name = str(entry.get("entrypoint")).partition(":")
    try:
        flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
    except (ImportError, AttributeError, ValueError):
        flow = None
    if not isinstance(flow, Flow):
        raise ValueError(f"entrypoint {entry.get('entrypoint')}: no such flow")
    unknown = sorted(set(entry.get("parameters") or {}) - set(flow.parameters.properties))
    if unknown:
        raise ValueError(f"parameters: {unknown[0]} is none of {', '.join(flow.parameters.properties)}")
    limit = entry.get("concurrency_limit")
    made: Any = flow.to_deployment(
        name=entry["name"],
        description=entry.get("description"),
        tags=entry.get("tags"),
        parameters=entry.get("parameters") or {},
        schedules=[_schedule(schedule) for schedule in entry.get("schedules") or []],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(made, RunnerDeployment)
    return made


def _schedule(entry: dict[str, Any]) -> Schedule:
    common: dict[str, Any] = {key: entry[key] for key in ("timezone", "active", "slug", "parameters") if key in entry}
    if "cron" in entry:
        return Cron(entry["cron"], **common)
    if "rrule" in entry:
        return RRule(entry["rrule"], **common)
    if "anchor_date" in entry:
        common["anchor_date"] = datetime.datetime.fromisoformat(str(entry["anchor_date"]))
    if "interval" not in entry:
        raise ValueError(f"schedules: expected cron, interval or rrule, found {', '.join(map(str, entry))}")
    return Interval(datetime.timedelta(seconds=float(entry["interval"])), **common)
