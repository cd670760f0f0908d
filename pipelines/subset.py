"""Subsets: algebra on sets of uids, each result beside the formula that made it.

    python -m pipelines.subset union | intersect | minus A B... --out C.npy
    python -m pipelines.subset sample A --num N --seed S --out C.npy
    python -m pipelines.subset export A --out C.npy
    python -m pipelines.subset import C.npy --selection data/selection --out FOLDER

A, B are a selection folder, one snapshot of it, or a file: .npy or .bin in DataComp's subset format, .parquet, .txt.
`import` writes FOLDER/S/kept.parquet of the pairs that are selected, which stage pack takes in place of its own.
C.npy.formula.json says what C is: operation, operands and their digests, down to what was not made here.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from lineage import files, records, stage
from pipelines import uid_sets

logger = logging.getLogger("clipline")

_OPERATIONS: dict[str, Callable[..., uid_sets.Uids]] = {
    "union": uid_sets.union,
    "intersect": uid_sets.intersect,
    "minus": uid_sets.minus,
    "export": lambda only: only,
}
Operands = Annotated[list[Path], typer.Argument(metavar="A B...", help="sets of uids")]
Operand = Annotated[Path, typer.Argument(metavar="A", help="a set of uids")]
Out = Annotated[Path, typer.Option("--out", help=f"the result; ends in {', '.join(uid_sets.SUFFIXES)}")]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def union(operands: Operands, out: Out) -> None:
    """Writes the uids of any set, each as often as where it is repeated most."""
    with stage.user_errors():
        combine("union", operands, out)


@app.command()
def intersect(operands: Operands, out: Out) -> None:
    """Writes the uids of the first set that all others have, as often as in the first."""
    with stage.user_errors():
        combine("intersect", operands, out)


@app.command()
def minus(operands: Operands, out: Out) -> None:
    """Writes the uids of the first set that no other has, as often as in the first."""
    with stage.user_errors():
        combine("minus", operands, out)


@app.command()
def export(operand: Operand, out: Out) -> None:
    """Writes one set in another form: .npy or .bin is DataComp's."""
    with stage.user_errors():
        combine("export", [operand], out)


@app.command()
def sample(
    operand: Operand,
    out: Out,
    num: Annotated[int, typer.Option("--num", help="distinct uids to draw")],
    seed: Annotated[int, typer.Option("--seed", help="of the draw, an integer >= 0")],
) -> None:
    """Writes a part of a set drawn by uid: with one seed, a smaller sample is part of a larger one."""
    with stage.user_errors():
        draw(operand, out, num, seed)


@app.command("import")
def import_(
    operand: Operand,
    selection: Annotated[Path, typer.Option("--selection", help="the selection, a folder of snapshots")],
    out: Annotated[Path, typer.Option("--out", help="the folder of snapshots to write")],
) -> None:
    """Writes the selected pairs of a set as kept.parquet of every snapshot, ready for stage pack."""
    with stage.user_errors():
        import_set(operand, selection, out)


def combine(operation: str, operands: list[Path], out: Path) -> uid_sets.Uids:
    """Writes the result of one of union, intersect, minus, export, and its formula; returns it.

    Raises:
        ValueError: as uid_sets.read and uid_sets.write, or if a formula beside an operand is not its own.
    """
    sets = [uid_sets.read(path) for path in stage.progress(operands, label=operation)]
    described = [describe(path, uids) for path, uids in zip(operands, sets, strict=True)]
    result = _OPERATIONS[operation](*sets)
    _save(result, out, {"operation": operation, "operands": described})
    return result


def draw(operand: Path, out: Path, num: int, seed: int) -> uid_sets.Uids:
    """Writes a sample of one set, and its formula; returns it.

    Raises:
        ValueError: as `combine`, or if there are not so many uids.
    """
    if seed < 0:
        raise ValueError(f"--seed {seed}: must be >= 0")
    uids = uid_sets.read(operand)
    result = uid_sets.sample(uids, num, seed)
    _save(result, out, {"operation": "sample", "operands": [describe(operand, uids)], "num": num, "seed": seed})
    return result


def import_set(operand: Path, selection: Path, out: Path) -> dict[str, int]:
    """Writes the rows of each snapshot's kept.parquet that a set names, and returns how many of each snapshot.

    Raises:
        ValueError: if the set names no selected pair; as `combine`.
    """
    uids = uid_sets.read(operand)
    taken: dict[Path, pa.Table] = {}
    for path in sorted(selection.glob("*/kept.parquet")):
        kept = records.read_table(path, records.KEPT)
        mask = uid_sets.contains(uids, _in_order(kept, path))
        taken[out / path.parent.name / path.name] = kept.filter(pa.array(mask))
    found = sum(table.num_rows for table in taken.values())
    if not found:
        raise ValueError(f"{operand}: names no pair that {selection} keeps")
    for path, table in taken.items():
        records.write_table(table, path)
    num_named = uid_sets.num_distinct(uids)
    if num_named > found:
        logger.warning("%s: %d uids are not selected in %s and were left out", operand, num_named - found, selection)
    if len(uids) > num_named:
        logger.warning("%s: %d repeats were left out; a shard holds a pair once", operand, len(uids) - num_named)
    operands = [describe(selection, uid_sets.read(selection)), describe(operand, uids)]
    _record(uid_sets.read(out), out, {"operation": "intersect", "operands": operands})
    return {path.parent.name: table.num_rows for path, table in taken.items()}


def describe(path: Path, uids: uid_sets.Uids) -> dict[str, Any]:
    """Returns what a formula says of an operand: its name, digest and size, and its own formula where it has one.

    Raises:
        ValueError: if the formula beside it tells of other uids.
    """
    known = {"name": path.as_posix(), **_size(uids)}
    beside = formula_path(path)
    if not beside.exists():
        return known
    formula = files.read_json(beside)
    if formula["digest"] != known["digest"]:
        raise ValueError(f"{beside}: tells of other uids than {path} holds; make them anew, or remove the formula")
    return {**known, "formula": {key: formula[key] for key in formula if key not in ("digest", "rows", "uids")}}


def expression(formula: dict[str, Any]) -> str:
    """Returns a formula in one line, for example `minus(union(a.npy, b.npy), c.txt)`."""
    inner = [expression(one["formula"]) if "formula" in one else one["name"] for one in formula["operands"]]
    numbers = [f"{name}={formula[name]}" for name in ("num", "seed") if name in formula]
    return f"{formula['operation']}({', '.join([*inner, *numbers])})"


def formula_path(path: Path) -> Path:
    """Returns where the formula of a set stands."""
    return path.with_name(f"{path.name}.formula.json")


def _in_order(kept: pa.Table, path: Path) -> uid_sets.Uids:
    """Returns the uids of a kept.parquet, which must be sorted, so that they stand beside its rows."""
    uids = uid_sets.of_texts(kept["uid"], str(path))
    if not uid_sets.as_texts(uids).equals(kept["uid"].combine_chunks()):
        raise ValueError(f"{path}: is not sorted by uid; `dvc repro select` makes it so")
    return uids


def _save(uids: uid_sets.Uids, out: Path, formula: dict[str, Any]) -> None:
    uid_sets.write(uids, out)
    _record(uids, out, formula)


def _record(uids: uid_sets.Uids, out: Path, formula: dict[str, Any]) -> None:
    files.write_json(formula_path(out), {**formula, "expression": expression(formula), **_size(uids)})
    logger.info("%s: %s, %d uids in %d rows", out, expression(formula), uid_sets.num_distinct(uids), len(uids))


def _size(uids: uid_sets.Uids) -> dict[str, Any]:
    return {"digest": uid_sets.digest(uids), "uids": uid_sets.num_distinct(uids), "rows": len(uids)}


def main() -> None:
    """Runs the command line."""
    stage.log_to_stderr()
    app()


if __name__ == "__main__":
    main()
