"""The three small roots that select reads beside the snapshots: opt-outs, a user's scores, wanted concepts.

    python -m pipelines.roots opt-out FILE_OR_VALUE... [--url | --host | --sha256 | --phash | --picture]
    python -m pipelines.roots scores TABLE --uid COLUMN
    python -m pipelines.roots concepts FILE
    python -m pipelines.roots list

They are tracked by `dvc add` and exist, empty, from the start. Opt-outs are kept as hashes only.
"""

import contextlib
import fcntl
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer

from lineage import digests, files, params, records, stage
from pipelines import optouts, score_tables

logger = logging.getLogger("clipline")

OPTOUTS, SCORES, CONCEPTS = Path("data/optouts.parquet"), Path("data/scores.parquet"), Path("data/concepts.txt")
_EMPTY: dict[Path, Callable[[Path], None]] = {
    OPTOUTS: lambda path: records.write_table(records.OPTOUTS.empty_table(), path),
    SCORES: lambda path: records.write_table(records.SCORES.empty_table(), path),
    CONCEPTS: lambda path: files.write_bytes(path, b""),
}
_RWLOCK = ".dvc/tmp/rwlock"
"""Where DVC notes who reads and writes what; a kill may leave it cut off, and DVC then refuses everything."""
_FOLDERS = (Path("data/benchmarks"), Path("data/test_embeddings"))
"""Of evaluation sets: DVC wants them to be there where `sets` names none."""

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


def lay() -> None:
    """Lays down what is missing of the three roots, empty, and gives it to DVC; what is there stays as it is.

    Raises:
        ValueError: if DVC tracks a root that is neither in the workspace nor in its cache, or refuses one.
    """
    for folder in _FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
    made = [path for path in _EMPTY if not path.exists()]
    for path in made:
        _bring(path)
    untracked = [path for path in _EMPTY if recorded(path) is None]
    if not untracked:
        return
    try:
        dvc("add", *map(str, untracked))
    except ValueError:
        for path in set(made) & set(untracked):
            files.remove(path)
        raise


@app.command("opt-out")
def opt_out(
    entries: Annotated[list[str], typer.Argument(metavar="FILE_OR_VALUE...", help="or a file with one a line")],
    url: Annotated[bool, typer.Option("--url", help="every entry is the exact URL of a picture")] = False,
    host: Annotated[bool, typer.Option("--host", help="every entry is a host name")] = False,
    sha256: Annotated[bool, typer.Option("--sha256", help="every entry is the sha256 of a picture's bytes")] = False,
    phash: Annotated[bool, typer.Option("--phash", help="every entry is a picture's perceptual hash")] = False,
    picture: Annotated[bool, typer.Option("--picture", help="every entry is a picture file")] = False,
) -> None:
    """Adds opt-outs, as hashes only; without a flag each entry's kind is recognised by its form."""
    flags = {"url": url, "host": host, "sha256": sha256, "phash": phash, "picture": picture}
    chosen = [name for name, given in flags.items() if given]
    with stage.user_errors(), alone():
        if len(chosen) > 1:
            raise ValueError(f"--{chosen[0]} and --{chosen[1]}: give one of them")
        add_opt_outs(entries, chosen[0] if chosen else None)


@app.command()
def scores(
    table: Annotated[Path, typer.Argument(help="a csv or parquet file, one row a pair")],
    uid: Annotated[str, typer.Option("--uid", help="its column with the pairs' uids")],
    column: Annotated[list[str] | None, typer.Option("--column", help="only these scores; repeatable")] = None,
) -> None:
    """Adds a table of scores, one column a score; a score that is there already is replaced."""
    with stage.user_errors(), alone():
        add_scores(table, uid, column)


@app.command()
def concepts(file: Annotated[Path, typer.Argument(help="UTF-8 text, one concept a line")]) -> None:
    """Replaces the list of wanted concepts."""
    with stage.user_errors(), alone():
        set_concepts(file)


@app.command("list")
def list_() -> None:
    """Shows how much stands in each root."""
    with stage.user_errors():
        for path, counts in count().items():
            sys.stdout.write(f"{path}  {', '.join(f'{n} {what}' for what, n in counts.items()) or 'empty'}\n")


def add_opt_outs(entries: list[str], kind: str | None) -> int:
    """Adds opt-outs to data/optouts.parquet and returns how many of them are new.

    Args:
        entries: values, or files that hold them.
        kind: one of optouts.KINDS, or None to recognise each.

    Raises:
        ValueError: for an entry that is nothing of the kind, naming it, its file and row; nothing is changed.
    """
    found = {entry for text in entries for entry in optouts.parse(text, kind, params.PARAMS)}
    lay()
    before = {(row["kind"], row["value"]) for row in records.read_table(OPTOUTS, records.OPTOUTS).to_pylist()}
    rows = [{"kind": kind, "value": value} for kind, value in sorted(before | found)]
    _put(OPTOUTS, lambda path: records.write_table(records.rows_table(rows, records.OPTOUTS), path))
    logger.info("%s: %d new opt-outs, %d in all; `dvc repro` applies them", OPTOUTS, len(found - before), len(rows))
    return len(found - before)


def add_scores(table: Path, uid_column: str, columns: list[str] | None = None) -> None:
    """Merges a user's table into data/scores.parquet and says what of it was of no use.

    Raises:
        ValueError: as score_tables.read; nothing is changed.
    """
    found = score_tables.read(table, uid_column, columns)
    lay()
    before = records.read_table(SCORES, records.SCORES)
    merged = score_tables.merge(before, found.scores)
    replaced = before.num_rows + found.scores.num_rows - merged.num_rows
    _put(SCORES, lambda path: records.write_table(merged, path))
    for note in found.notes:
        logger.warning("%s: %s", table, note)
    unknown = _num_unknown(found.scores)
    if unknown:
        logger.warning("%s: %d uids stand in no data/source; their scores are kept", table, unknown)
    logger.info("%s: %d scores, %d of them in place of older ones", SCORES, found.scores.num_rows, replaced)


def set_concepts(file: Path) -> None:
    """Replaces data/concepts.txt by the distinct lines of a file, sorted.

    Raises:
        ValueError: if the file is not there, not UTF-8 or has no concept.
    """
    lines = sorted({" ".join(line.split()) for line in optouts.read_lines(file)} - {""})
    if not lines:
        raise ValueError(f"{file}: names no concept; to want none, take the rules that use them out of the recipe")
    lay()
    _put(CONCEPTS, lambda path: files.write_text(path, "\n".join(lines) + "\n"))
    logger.info("%s: %d concepts", CONCEPTS, len(lines))


def count() -> dict[Path, dict[str, int]]:
    """Returns how many entries of which kind stand in each root that is there."""
    kinds = {OPTOUTS: ("kind", records.OPTOUTS), SCORES: ("name", records.SCORES)}
    found = {
        path: dict(sorted(Counter(records.read_table(path, schema)[column].to_pylist()).items()))
        for path, (column, schema) in kinds.items()
        if path.exists()
    }
    if CONCEPTS.exists() and (lines := optouts.read_lines(CONCEPTS)):
        return {**found, CONCEPTS: {"concepts": len(lines)}}
    return {**found, CONCEPTS: {}}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Waits until no other command changes the roots of this checkout, and keeps others out until it is left."""
    stage.WORK.mkdir(exist_ok=True)
    with (stage.WORK / "roots.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Frames a change of a list or set that DVC keeps: at the end it has the change.

    Raises:
        ValueError: if the folder is not as DVC has it and no change that was killed accounts for that.
    """
    begun = stage.WORK / f"changing-{folder.parent.name}-{folder.name}"
    if not begun.exists() and recorded(folder) != digests.dvc_digest(folder):
        raise ValueError(
            f"{folder}: not what DVC has of it; `dvc checkout {folder}` brings that back, `dvc add {folder}` keeps this"
        )
    stage.WORK.mkdir(exist_ok=True)
    begun.touch()
    yield
    if recorded(folder) != digests.dvc_digest(folder):
        dvc("add", str(folder))
    files.remove(begun)


def dvc(*arguments: str) -> None:
    """Runs DVC's command line.

    Raises:
        ValueError: with what DVC says, if it fails.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        remedy = f"; if no DVC is at work, remove {_RWLOCK}" if _RWLOCK in done.stderr else ""
        raise ValueError(f"dvc {' '.join(arguments)} failed: {' '.join(done.stderr.split())}{remedy}")


def _bring(path: Path) -> None:
    """Brings one root into the workspace: the empty one, or what DVC has tracked instead."""
    tracked = recorded(path)
    _EMPTY[path](path)
    if tracked in (None, digests.md5_file(path)):
        return
    files.remove(path)
    try:
        dvc("checkout", str(path))
    except ValueError:
        raise ValueError(f"{path}: tracked, but not in DVC's cache; `dvc pull {path}.dvc` fetches it") from None


def recorded(path: Path) -> str | None:
    """Returns the md5 under which DVC tracks a file or folder, if it does."""
    tracked = path.with_name(f"{path.name}.dvc")
    if not tracked.exists():
        return None
    md5: str = params.parse_yaml(tracked.read_text(encoding="utf-8"))["outs"][0]["md5"]
    return md5


def is_ours(folder: Path, holding: str) -> bool:
    """Returns whether a list or set is one that DVC keeps for us, not one that lies elsewhere and is merely referenced.

    Args:
        holding: the name of a file that every such folder has.

    Raises:
        ValueError: if it is, but is not in the workspace.
    """
    tracked = folder.with_name(f"{folder.name}.dvc")
    if not tracked.is_file() or "deps" in params.parse_yaml(tracked.read_text(encoding="utf-8")):
        return False
    if not (folder / holding).is_file():
        raise ValueError(f"{folder}: not in the workspace; `dvc pull {tracked}` brings it")
    return True


def _put(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a root, and gives it to DVC unless it has just these bytes."""
    write(path)
    if recorded(path) != digests.md5_file(path):
        dvc("add", str(path))


def _num_unknown(scores: pa.Table) -> int:
    """Returns how many scored pairs stand in no snapshot's source table, if there is one to compare with."""
    uids = pc.unique(scores["uid"])
    for path in sorted(Path("data/source").glob("*/source.parquet")):
        try:
            known = records.read_table(path, columns=["uid"])["uid"]
        except ValueError:  # a pointer into a bucket: there is nothing to compare with here
            return 0
        uids = uids.filter(pc.invert(pc.is_in(uids, value_set=known.combine_chunks())))
    return len(uids) if any(Path("data/source").glob("*/source.parquet")) else 0


def main() -> None:
    """Runs the command line."""
    stage.log_to_stderr()
    app()


if __name__ == "__main__":
    main()
