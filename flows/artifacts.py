"""What a run leaves to look at in Prefect: stages and their times, the funnel of rows, why rows dropped, metrics.

The figures are read from provenance/, runs/ and results/; nothing is counted here.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.outcomes import Trace
from lineage import dag, reasons, trace

Metrics = dict[str, dict[str, float]]
"""{name of a metric: {model: value}}."""


def key(name: str, root: Path) -> str:
    """Returns an artifact's key: Prefect shows the history of a key, one for a repository and all its worktrees."""
    git = root / ".git"
    # a worktree's .git is a file that says `gitdir: MAIN/.git/worktrees/NAME`
    home = Path(git.read_text().partition(": ")[2].strip()).parents[2] if git.is_file() else root
    return f"{name}-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"


def run_name() -> str:
    """Returns what a flow run is called, as `reproduce clipline`: its flow and the folder of its checkout."""
    checkout = runtime.flow_run.parameters.get("checkout", ".")
    return f"{runtime.flow_run.flow_name} {Path(checkout).resolve().name}"


def publish_stages(root: Path, states: Mapping[str, str], traces: Mapping[str, Trace]) -> None:
    """Publishes one row a stage: what came of it, and from its newest run record the time and memory it took."""
    rows = []
    for name, state in states.items():
        last = (traces[name].last if name in traces else None) or {}
        memory = last.get("peak_memory_bytes")
        rows.append(
            {
                "stage": name,
                "state": state,
                "last run, s": _rounded(last.get("seconds")),
                "CPU, s": _rounded(last.get("cpu_seconds")),
                "peak memory, MiB": None if memory is None else round(memory / 2**20),
                "commit": (last.get("commit") or "")[:12],
            }
        )
    _table("stages", root, rows, "Stages of the DAG; times are those of the last real run")


def publish_funnel(root: Path) -> None:
    """Publishes how many rows went into each stage and what became of them, and why rows dropped or failed."""
    funnel, why = [], []
    for file in sorted((root / "provenance").glob("*/*.json")):
        counts = json.loads(file.read_text(encoding="utf-8"))["counts"]
        lost = {kind: sum(counts[kind].values()) for kind in ("dropped", "failed")}
        name = f"{file.parent.name}@{file.stem}"
        funnel.append({"stage": name, "rows in": counts["rows_in"], "kept": counts["kept"], **lost})
        for kind in ("dropped", "failed"):
            for reason, number in counts[kind].items():
                meaning = reasons.ALL.get(reason, "")
                why.append({"stage": name, "what": kind, "reason": reason, "rows": number, "meaning": meaning})
    _table("funnel", root, funnel, "rows in = kept + dropped + failed, at every stage")
    _table("drop-reasons", root, why, "Why rows dropped or failed")


def publish_metrics(root: Path, before: Metrics) -> None:
    """Publishes every metric of every model, with its difference from `before`."""
    now = metrics(root)
    models = sorted({model for values in now.values() for model in values})
    rows = []
    for name, values in sorted(now.items()):
        old = before.get(name, {})
        rows.append({"metric": name, **{model: _compared(values.get(model), old.get(model)) for model in models}})
    _table("metrics", root, rows, "Metrics; in brackets the change since the last commit")


def publish_held(root: Path, why: str) -> None:
    """Publishes why a refresh is held, for whoever is to say what becomes of it."""
    text = f"{why}.\n\nThe main checkout is as it was; what was made lies in `{root}`."
    create_markdown_artifact(text, key=key("held", root), description="Why a refresh is held")


def publish_links(root: Path) -> None:
    """Publishes where the report lies and whether the lineage of every page of it holds."""
    page = root / "report" / "index.html"
    if not page.is_file():
        return
    where = "The report, on the machine that made it"
    create_link_artifact(page.as_uri(), key=key("report", root), link_text="report/index.html", description=where)
    found = trace.trace("report", root=root)
    broken = [edge for edge in found.edges() if edge.state == "broken"]
    lists = ", ".join(f"`{listed.path}`" for listed in found.url_lists()) or "none"
    said = "\n".join(f"- {edge.stage}: {edge.path}: {edge.note}" for edge in broken)
    text = (
        f"{found.count('good', 'broken')} edges checked from `report` to the URL lists ({lists}), "
        f"{found.count('unchecked')} not checkable here, **{len(broken)} broken**.\n\n{said}\n\n"
        f"Ask further with `python -m lineage trace PATH`, in `{root}`."
    )
    create_markdown_artifact(text, key=key("lineage", root), description="Lineage of the report")


def metrics(root: Path) -> Metrics:
    """Returns the metrics that lie in the workspace."""
    files = sorted((root / "results").glob("*/metrics.json"))
    return _by_name({file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files})


def committed_metrics(root: Path) -> Metrics:
    """Returns the metrics of the last commit, from DVC's cache; those that are not there are left out."""
    contents = {}
    with contextlib.suppress(ValueError):  # a first commit without dvc.lock: nothing to compare with
        graph = dag.load(dag.revision(root, "HEAD"))
        for path, digest in graph.outs().items():
            if path.startswith("results/"):
                listed = dag.listing(root, path, digest) or {}
                content = dag.cached(root, listed.get("metrics.json", ""))
                if content is not None:
                    contents[path.partition("/")[2]] = json.loads(content)
    return _by_name(contents)


def _table(name: str, root: Path, rows: list[dict[str, Any]], description: str) -> None:
    create_table_artifact(rows, key=key(name, root), description=description)


def _by_name(contents: Mapping[str, Any]) -> Metrics:
    found: Metrics = {}
    for model, content in contents.items():
        for name, value in _values(content.get("sets", {})):
            found.setdefault(name, {})[model] = value
    return found


def _values(content: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yields (dotted name, value) of each `value` in nested metrics."""
    if not isinstance(content, Mapping):
        return
    for name, inner in content.items():
        if name == "value" and isinstance(inner, int | float):
            yield prefix, float(inner)
        else:
            yield from _values(inner, f"{prefix}.{name}" if prefix else str(name))


def _compared(now: float | None, before: float | None) -> str:
    if now is None:
        return ""
    if before is None:
        return f"{now:.4f} (new)"
    return f"{now:.4f} ({now - before:+.4f})" if now != before else f"{now:.4f} (=)"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
