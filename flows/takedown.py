"""Flow takedown: opt-outs in, what they touch shown, all rebuilt without it in a worktree, and the proof looked for.

    python -m flows takedown letter-17.txt --reference "letter 17"

Roots alone are changed: data/optouts.parquet, evaluation sets and URL lists; DVC makes the rest of them. The store is
purged last, when the main checkout has the new revision: a takedown that ends before it has lost nothing, and one that
ends within it is ended by the next run, whatever that takes down.
"""

import datetime
import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows import artifacts, process, publishing, repository
from flows.publishing import HeldError, Push
from flows.refresh import bring_data
from flows.repository import Checkout, OnBusy
from flows.reproduce import reproduce
from lineage import digests, files, records, runs, stage

_OPTOUTS = Path("data/optouts.parquet")
_NEW = Path(".work/new-optouts.parquet")
_FLAG = re.compile(r"--(url|host|sha256|phash|picture)\b")
_MOST_ROWS = 1000
"""Of the impact's table; the record has the counts of all."""
_PREFIX = "takedown/"
_LEFT = (
    "What was taken down is still in DVC's cache, and in DVC remotes it was pushed to, for the revisions before this "
    "one. `dvc gc --workspace` takes everything out of the cache that the checked-out revision does not use, the data "
    "of all older revisions, other branches and worktrees with it; with `--cloud --remote NAME` out of a remote, too. "
    "With --all-commits, --all-branches or --all-tags it keeps what those name. Git's history holds digests, hashes "
    "and counts alone (dvc.lock, *.dvc, runs/), no URL, caption or picture; but by those digests a clone, a remote or "
    "a backup that has the old data can check them out, and copies outside of this repository are out of its reach."
)
"""What a takedown cannot or does not do by itself."""
Sets = Literal["purge", "keep"]


@flow(name="takedown", flow_run_name="takedown {reference}", validate_parameters=True)
def takedown(  # noqa: PLR0913 - each is a field of the form
    optouts: Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(min_length=1)],
    kind: Literal["url", "host", "sha256", "phash", "picture"] | None = None,
    reference: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = "",
    evaluation_sets: Sets = "purge",
    only_impact: bool = False,
    push: Push = Push(),  # noqa: B008 - frozen, and a part of the form
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 2,
    stage_timeout_s: Annotated[float, Field(gt=0)] | None = None,
    checkout: str = ".",
    on_busy: OnBusy = "wait",
) -> State[Any]:
    """Takes pictures out of every snapshot, shard and model, and proves it.

    Args:
        optouts: URLs, hashes, picture files, or files with one of them a line; only hashes of them are stored.
        kind: what every entry is; recognised by its form if empty.
        reference: what the request is known by, for the record and the commit; no personal data.
        evaluation_sets: whether evaluation sets lose the pictures, too, or stay as they are.
        only_impact: only show what would be touched.
        push: where to push DVC's data and the commit.
        max_parallel: stages side by side at most.
        stage_timeout_s: seconds after which a stage is ended; no limit if empty.
        checkout: root of the project's main checkout.
        on_busy: whether to wait for another flow at work on the repository, or to refuse.

    Returns:
        Completed: TakenDown, Impact, or NothingNew where every entry had been opted out before. Failed: Held.

    Raises:
        BusyError: another flow is at work and `on_busy` is `refuse`.
        StagesFailedError: a stage failed; the worktree is kept, and the next run of the same entries goes on in it.
        ValueError: as `new_opt_outs` and `show_impact`, or where something remains in the end, naming the places.
    """
    main, log = repository.at(checkout), get_run_logger()
    repository.refuse_detached(main)
    with repository.held(main, "flow takedown", on_busy, log.info):
        publishing.check(main, push)
        repository.finish_taken(main, _PREFIX, log.info)
        if not only_impact:
            purge("store", main)  # where an earlier run was killed before it could
        new = new_opt_outs(main, optouts, kind)
        named, found = show_impact(main, new, evaluation_sets)
        if only_impact or not new.num_rows:
            name = "Impact" if new.num_rows else "NothingNew"
            return Completed(name=name, message=f"{new.num_rows} new opt-outs name {_named(found)}")
        branch = f"{_PREFIX}{_name(new)}"
        tree = repository.worktree(main, branch, log.info)
        bring_data(tree, force=True)
        add_opt_outs(tree, new)
        purge_roots(tree, evaluation_sets)
        reproduce(checkout=str(tree.root), max_parallel=max_parallel, stage_timeout_s=stage_timeout_s)
        looked_for = prove(main, tree, named, evaluation_sets)
        record(tree, new, found, reference)
        try:
            moved = publishing.take(main, tree, branch, _message(reference, new, found), push)
        except HeldError as held:
            return Failed(name="Held", message=f"{held}. It is kept in {tree.root}")
        end(main, looked_for)
    return Completed(name="TakenDown", message=f"{_named(found)}, {found['kept']} kept before; commit {moved[:12]}")


def new_opt_outs(main: Checkout, entries: list[str], kind: str | None) -> pa.Table:
    """Returns the opt-outs among the entries that the main checkout does not have yet.

    Raises:
        ValueError: for an entry that is no opt-out, or a file without one, naming it.
    """
    from pipelines import optouts, pictures  # late: they read pictures

    found = set()
    for entry in entries:
        path = main.root / entry
        is_picture = kind is None and path.is_file() and pictures.sniff(path.read_bytes()[:32]) is not None
        try:
            text = str(path) if path.is_file() else entry
            parsed = optouts.parse(text, "picture" if is_picture else kind, main.root / "params.yaml")
        except ValueError as error:  # the hints are those of the command that takes each kind as an option
            words = _FLAG.sub(r"kind \1", str(error))
            raise ValueError(f"optouts: {words}") from None
        if not parsed:
            raise ValueError(f"optouts: {entry}: names nothing")
        found |= set(parsed)
    known = {(row["kind"], row["value"]) for row in _read(main.root / _OPTOUTS)}
    rows = [{"kind": kind, "value": value} for kind, value in sorted(found - known)]
    return records.rows_table(rows, records.OPTOUTS)


@task(task_run_name="opt-outs")
def add_opt_outs(tree: Checkout, new: pa.Table) -> None:
    """Adds opt-outs in the worktree; done already, it changes nothing."""
    table = tree.root / _NEW
    records.write_table(new, table)
    process.run(process.python("pipelines.roots", "opt-out", str(table)), tree.root, get_run_logger().info)


@task(task_run_name="impact")
def show_impact(main: Checkout, new: pa.Table, evaluation_sets: Sets) -> tuple[pa.Table, dict[str, Any]]:
    """Publishes what opt-outs touch in the main checkout, and returns it: impact.TOUCHED and impact.summary.

    The summary has `sets`, too: {set: {part: rows that are to go}}.

    Raises:
        ValueError: as sets_purge.find.
    """
    from pipelines import impact, sets_purge  # late: reads tables

    table = main.root / _NEW
    records.write_table(new, table)
    try:
        named = impact.touched(main.root, table)
        going = sets_purge.find(main.root, named, table) if evaluation_sets == "purge" else {}
    finally:
        table.unlink()
    found = impact.summary(main.root, named) | {"sets": sets_purge.counts(going)}
    models = [{"model": model, **saw} for model, saw in found["models"].items()]
    create_table_artifact(
        models or [{"model": "none", "pairs": 0, "times": 0}],
        key=artifacts.key("takedown-models", main.root),
        description=f"{found['pairs']} pairs are named, {found['kept']} of them kept, in {len(found['shards'])} "
        f"shards; {found['copies']} kept pairs have the same bytes under links that are not named; rows of evaluation "
        f"sets: {found['sets'] or 'none'}",
    )
    rows = named.slice(0, _MOST_ROWS).to_pylist() or [{"snapshot": "none"}]
    create_table_artifact(rows, key=artifacts.key("takedown-pairs", main.root), description="Pairs that are named")
    return named, found


def purge_roots(tree: Checkout, evaluation_sets: Sets) -> None:
    """Purges a worktree's sets, if they are to be, and then its lists: till then data/raw tells which are whose."""
    if evaluation_sets == "purge":
        purge("sets", tree)
    purge("lists", tree)


@task(task_run_name="purge {what}")
def purge(what: Literal["sets", "lists", "store"], where: Checkout) -> None:
    """Takes what a checkout has as opted out out of its evaluation sets, its URL lists, or the store.

    Done already, it changes nothing. The store loses what the checkout has as tombstones.
    """
    process.run(process.python("pipelines.purge", what), where.root, get_run_logger().info)


@task(task_run_name="proof: nothing remains")
def prove(main: Checkout, tree: Checkout, named: pa.Table, evaluation_sets: Sets) -> Any:
    """Looks through what was rebuilt for anything that was taken down, and returns what to look for in the store.

    Raises:
        ValueError: naming each place where something remains.
    """
    from pipelines import impact, sets_purge, traces

    stay = sets_purge.names(tree.root) if evaluation_sets == "keep" else sets_purge.elsewhere(tree.root)
    looked_for = traces.between(main.root, tree.root, stay)
    if looked_for.num_in_sets:
        told = "%d pictures that are taken down are an evaluation set's, too: what is in %s stays as it is"
        get_run_logger().warning(told, looked_for.num_in_sets, ", ".join(f"data/sets/{name}" for name in stay))
    places = list(impact.remains(tree.root, named, looked_for))
    lines = [f"- {place}" for place in places] or ["Nothing was found."]
    looked = (
        "Looked through: selections, manifests, every member of every shard, screen, index, what models saw; and byte "
        f"by byte every file of {', '.join(traces.WORKSPACE)} for {looked_for}."
    )
    text = f"{named.num_rows} pairs. {looked}\n\n" + "\n".join(lines) + f"\n\n{_LEFT}"
    create_markdown_artifact(text, key=artifacts.key("takedown-proof", tree.root), description="Proof of the takedown")
    _refuse(places)
    return looked_for


@task(task_run_name="proof: nothing remains in the store")
def prove_taken(main: Checkout, looked_for: Any) -> None:
    """Looks through the store and the main checkout; scratch folders of killed runs that hold something go.

    Raises:
        ValueError: naming each place where something remains.
    """
    from pipelines import traces

    folders, left_out = traces.workspace(main.root)
    store = main.root / (os.environ.get("CLIPLINE_STORE") or "store")
    places = []
    for path, told in traces.search(looked_for, [*folders, store], left_out):
        scratch = main.root / stage.WORK
        if path.is_relative_to(scratch):
            files.remove(scratch / path.relative_to(scratch).parts[0])
        else:
            places.append(f"{path}: {told}")
    _refuse(places)


def end(main: Checkout, looked_for: Any) -> None:
    """Purges the store of the main checkout, which has the new revision, proves that, and says what is left elsewhere.

    Raises:
        ValueError: naming each place where something remains.
    """
    purge("store", main)
    prove_taken(main, looked_for)
    get_run_logger().info("%s", _LEFT)


def _refuse(places: list[str]) -> None:
    if places:
        raise ValueError(f"of what was taken down something remains: {'; '.join(places)}")


@task(task_run_name="record")
def record(tree: Checkout, new: pa.Table, found: dict[str, Any], reference: str) -> None:
    """Appends the takedown to runs/takedown.jsonl: hashes and counts, nothing in the clear but the reference."""
    listed = _listed(new)
    content = {
        "stage": "takedown",
        "instance": _name(new),
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": tree.head,
        "reference": reference,
        "optouts": listed,
        "touched": found,
        "data_set": digests.sha256_file(tree.root / "data/dataset/root.json"),
    }
    written = [entry["instance"] for entry in runs.read("takedown", tree.root / runs.RUNS)]
    if content["instance"] not in written:  # a run that was killed after it is gone on with
        runs.append("takedown", content, tree.root / runs.RUNS)


def _listed(new: pa.Table) -> list[str]:
    return sorted(f"{row['kind']}:{row['value']}" for row in new.to_pylist())


def _name(new: pa.Table) -> str:
    """Returns what a takedown of these opt-outs is called: equal entries, however they are given, are one."""
    return hashlib.sha256("\n".join(_listed(new)).encode()).hexdigest()[:12]


def _read(path: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = records.read_table(path, records.OPTOUTS).to_pylist() if path.exists() else []
    return rows


def _message(reference: str, new: pa.Table, found: dict[str, Any]) -> str:
    head = f"Take down {_named(found)}" + (f": {reference}" if reference else "")
    models = ", ".join(found["models"]) or "no model"
    return f"{head}\n\n{new.num_rows} opt-outs; {found['kept']} pairs had been kept; seen by {models}.\n"


def _named(found: dict[str, Any]) -> str:
    num_rows = sum(sum(parts.values()) for parts in found["sets"].values())
    return f"{found['pairs']} pairs" + (f" and {num_rows} rows of evaluation sets" if num_rows else "")
