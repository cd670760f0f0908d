"""Snapshots: the URL-list revisions the DAG runs on. `python -m pipelines.snapshot add | remove | list`.

A snapshot is a folder data/lists/NAME, tracked by DVC, and its name in params.yaml's `snapshots`, oldest first.
"""

import contextlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
import yaml

from lineage import digests, files, params, stage
from pipelines.lists import admission, descriptions, recognition
from pipelines.lists.presets import PRESETS
from pipelines.web import store

logger = logging.getLogger("clipline")

LISTS = Path("data/lists")
_OUT_FOLDERS = tuple(f"data/{kind}" for kind in ("source", "raw", "signals", "embeddings", "selection", "shards"))
_PROVENANCE_FOLDERS = ("source", "download", "measure", "embed", "pack")

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="a list of URLs with captions: a file, a folder or a quoted pattern")],
    name: Annotated[str, typer.Option(help="name of the snapshot, for example s20261101")],
    map: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN, e.g. caption=TEXT; repeatable")] = None,
    score: Annotated[list[str] | None, typer.Option(help="NAME=COLUMN, a score to carry along; repeatable")] = None,
    preset: Annotated[str | None, typer.Option(help=f"a well-known list: {', '.join(PRESETS)}")] = None,
) -> None:
    """Adds a URL list as the newest snapshot. Adding the same list under the same name again changes nothing.

    csv, tsv, jsonl, txt (`URL caption` a line), each also .gz or .zst; json (an array, or COCO captions); parquet.
    """
    with stage.user_errors():
        mapping, scores = parse_pairs(map or [], "--map", "caption=TEXT"), parse_pairs(score or [], "--score", "nsfw=P")
        add_list(path, name, mapping, scores=scores, preset=preset)


@app.command()
def remove(name: Annotated[str, typer.Argument(help="name of the snapshot")]) -> None:
    """Takes a snapshot out of the DAG; its data stay in DVC's cache, what was fetched stays in the store."""
    with stage.user_errors():
        remove_list(name)


@app.command()
def refetch(name: Annotated[str, typer.Argument(help="name of the snapshot")]) -> None:
    """Marks what a snapshot failed to fetch to be tried anew; what it fetched well stays as it is."""
    with stage.user_errors():
        refetch_failed(name)


@app.command("list")
def list_() -> None:
    """Lists the snapshots, oldest first."""
    with stage.user_errors():
        for name in params.names("snapshots"):
            description = descriptions.load(LISTS / name) if (LISTS / name).is_dir() else None
            state = f"{description.format}, {len(description.files)} file(s)" if description else "not in the workspace"
            sys.stdout.write(f"{name}  {state}\n")


def add_list(
    path: Path,
    name: str,
    mapping: Mapping[str, str],
    *,
    scores: Mapping[str, str] | None = None,
    preset: str | None = None,
) -> None:
    """Puts the list at `path` under data/lists/NAME with `dvc add` and appends NAME to `snapshots`.

    Rows whose URL or host is opted out, and pairs that were taken down before, are left out. The small roots that
    select reads are laid down with the first list.

    Args:
        mapping, scores, preset: as `recognition.describe` takes them.

    Raises:
        ValueError: for a bad name, a list that lacks a column or does not bring what a column is taken for, or another
            list under that name; nothing is changed.
    """
    from pipelines import purge, roots  # late: they read pictures too, which imports much

    params.check_name(name, "snapshot name")
    listed = params.names("snapshots")
    admission.check_recipes()
    made = _copy(path, name, recognition.describe(path, mapping, scores=scores, preset=preset))
    target = LISTS / name
    try:
        admission.check_rows(path, made, scores or {})
        if not _is_same(target, made):
            purge.purge_new_list(made)
        _refuse_other(target, made, name, listed)
        _list_and_track(made, target, listed)
    finally:
        files.remove(made)
    roots.lay()
    logger.info("%s: snapshot %s; `dvc repro` takes it through", target, name)


def remove_list(name: str) -> None:
    """Takes NAME out of `snapshots` and removes its list and its outputs from the workspace.

    Raises:
        ValueError: if there is no such snapshot.
    """
    listed = params.names("snapshots")
    if name not in listed:
        raise ValueError(f"snapshot {name!r} is not in params.yaml; snapshots: {', '.join(listed) or 'none'}")
    _set_snapshots([other for other in listed if other != name])
    files.remove(LISTS / f"{name}.dvc")
    files.remove(LISTS / name)
    for folder in _OUT_FOLDERS:
        files.remove(Path(folder) / name)
    for folder in _PROVENANCE_FOLDERS:
        files.remove(Path("provenance") / folder / f"{name}.json")
    logger.info("snapshot %s is out of params.yaml; add it again, and DVC takes from its cache what it has made", name)
    if listed == [name]:
        logger.info("no snapshot is left: DVC cannot read dvc.yaml, which names the first one, until a list is added")


def refetch_failed(name: str) -> None:
    """Marks the snapshot's failed fetches in the store; the next run of its download asks the web again.

    Raises:
        ValueError: if there is no such snapshot.
    """
    if name not in params.names("snapshots"):
        raise ValueError(f"snapshot {name!r} is not in params.yaml")
    with contextlib.closing(store.FetchStore(store.root(), name)) as fetched:
        marked = fetched.retry_failed()
    logger.info(
        "%s: %d failed fetches will be tried anew by `dvc repro --force --single-item download@%s`; then `dvc repro`",
        *(name, marked, name),
    )


def parse_pairs(pairs: list[str], option: str, example: str) -> dict[str, str]:
    """Returns {name: column} of NAME=COLUMN words.

    Raises:
        ValueError: for a word without `=`, naming the option.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{option} {pair}: expected NAME=COLUMN, for example {example}")
    return dict(pair.split("=", 1) for pair in pairs)  # type: ignore[misc]


def _copy(path: Path, name: str, description: descriptions.ListDescription) -> Path:
    """Returns a scratch folder with the list's files and its description."""
    made = stage.WORK / f"list-{name}"
    files.remove(made)
    made.mkdir(parents=True)
    for file in recognition.find(path):
        shutil.copyfile(file, made / file.name)
    descriptions.save(description, made)
    return made


def _refuse_other(target: Path, made: Path, name: str, listed: list[str]) -> None:
    if target.exists() and not _is_same(target, made):
        known = "is in params.yaml" if name in listed else "has a folder there"
        raise ValueError(
            f"{target}: snapshot {name} {known} with another list; choose another name, or remove it first"
        )
    tracked = target.with_name(f"{name}.dvc")
    if not target.exists() and tracked.exists():
        recorded = params.parse_yaml(tracked.read_text())["outs"][0]["md5"]
        if recorded != digests.dvc_digest(made):
            raise ValueError(f"{tracked}: tracks another list than this; choose another name, or remove it first")


def _is_same(target: Path, made: Path) -> bool:
    return target.exists() and digests.dvc_digest(target) == digests.dvc_digest(made)


def _list_and_track(made: Path, target: Path, listed: list[str]) -> None:
    """Appends a list's name to `snapshots` and gives the list to DVC; where DVC refuses it, nothing of it stays.

    In this order: without a first snapshot DVC cannot read dvc.yaml, which names it, and adds nothing.
    """
    before = params.PARAMS.read_bytes()
    if target.name not in listed:
        _set_snapshots([*listed, target.name])
    try:
        _track(made, target)
    except ValueError:
        files.write_bytes(params.PARAMS, before)
        raise


def _track(made: Path, target: Path) -> None:
    """Moves a list to its place and gives it to DVC; where DVC refuses it, nothing of it stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    added = [path for path in (target, target.with_name(f"{target.name}.dvc")) if not path.exists()]
    if target in added:
        made.rename(target)
    try:
        _dvc("add", str(target))  # not --quiet, which hides the reason
    except ValueError:
        for path in added:
            files.remove(path)
        raise


def _set_snapshots(listed: list[str]) -> None:
    """Writes `snapshots` and leaves every other byte of params.yaml as it is."""
    text = params.PARAMS.read_bytes().decode()
    entries = yaml.compose(text, Loader=yaml.SafeLoader).value
    key, value = next((key, value) for key, value in entries if key.value == "snapshots")
    if value.flow_style:
        start, end = value.start_mark.index, value.end_mark.index
        text = f"{text[:start]}[{', '.join(listed)}]{text[end:]}"
    else:
        text = _edit_block(text, key, value.value, listed)
    files.write_bytes(params.PARAMS, text.encode())


def _edit_block(text: str, key: yaml.Node, items: list[yaml.Node], listed: list[str]) -> str:
    """Returns the text with the lines of a block sequence `- a` taken out and put in, comments where they were."""
    lines = text.splitlines(keepends=True)
    last = items[-1].end_mark.line
    dash = lines[last][: lines[last].index("-")]
    added = [name for name in listed if name not in {item.value for item in items}]
    lines[last] = lines[last].rstrip("\r\n") + "".join(f"\n{dash}- {name}" for name in added) + "\n"
    for item in items:
        if item.value not in listed:
            lines[item.start_mark.line] = ""
    if not listed:
        line, column = key.end_mark.line, key.end_mark.column + 1
        lines[line] = f"{lines[line][:column]} []{lines[line][column:]}"
    return "".join(lines)


def _dvc(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"dvc {' '.join(arguments)} failed: {' '.join(done.stderr.split())}")


def main() -> None:
    """Runs the command line."""
    stage.log_to_stderr()
    app()


if __name__ == "__main__":
    main()
