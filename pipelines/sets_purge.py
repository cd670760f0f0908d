"""Takes pictures that opt-outs name out of evaluation sets; how many rows of which part went stays with the set.

What goes: rows with the picture of pairs that opt-outs name and of no other pair, and rows whose picture an opt-out
names by its bytes or its look. Texts say nothing here: a set may have a caption, or a name, of a pair by chance.
"""

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import digests, files, params, phash, records
from pipelines import impact, parquet_rows, pictures, roots
from pipelines.likeness import decontamination
from pipelines.rules import known_pictures
from pipelines.selection import digits

logger = logging.getLogger("clipline")

SETS = Path("data/sets")
OPTED_OUT = "opted_out.parquet"
"""The file in a set that counts the rows that went, records.OPTED_OUT_OF_SET."""
_DESCRIPTION = "set.json"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Named:
    """Pictures that are to go."""

    sha256: frozenset[str]
    look_M: digits.Words
    """Perceptual hashes."""
    max_distance: int
    """Bits in which a picture may differ from one of them."""
    max_pixels: int

    def __contains__(self, content: bytes) -> bool:
        """Returns whether a picture is one of them, by its bytes or its look."""
        if digests.sha256_bytes(content) in self.sha256:
            return True
        rgb = pictures.read(content, self.max_pixels).rgb if len(self.look_M) else None
        if rgb is None:
            return False
        look_N = np.array([phash.perceptual_hash(rgb)], np.uint64)
        distance_N, _ = decontamination.nearest_hash(look_N, self.look_M, self.max_distance)
        return bool(distance_N[0] >= 0)


def purge() -> None:
    """Takes what data/optouts.parquet names out of every evaluation set and gives it to DVC.

    The counts are noted first: killed at any point, and run again, it ends the same; done already, it changes nothing.

    Raises:
        ValueError: as `find`, or if a set is not as DVC has it.
    """
    for name in elsewhere(Path()):
        logger.warning(
            "%s: the evaluation set %s cannot be purged from here: it lies elsewhere, or is not tracked by `dvc add`",
            *(SETS / name, name),
        )
    for name, gone in find(Path(), impact.touched(Path(), roots.OPTOUTS), roots.OPTOUTS).items():
        folder = SETS / name
        with roots.changing(folder):
            for left in folder.glob(".*.partial"):  # by a killed run
                files.remove(left)
            _take_out(gone, folder)
        if gone.num_rows:
            logger.info("%s: %d rows taken down", folder, pc.sum(gone["rows"]).as_py())


def _take_out(gone: pa.Table, folder: Path) -> None:
    if gone.num_rows:
        _note(gone, folder)
    for part in pc.unique(gone["part"]).to_pylist():
        uids = gone.filter(pc.equal(gone["part"], part))["uid"].to_pylist()
        _rewrite(folder / f"{part}.parquet", frozenset(uids))


def find(root: Path, named: pa.Table, optouts: Path) -> dict[str, pa.Table]:
    """Returns {set: what is to go from it, as records.OPTED_OUT_OF_SET}; nothing is changed.

    Args:
        root: of the project.
        named: impact.TOUCHED, the pairs that opt-outs name.
        optouts: those opt-outs.

    Raises:
        FileNotFoundError: if raw data of a snapshot are missing.
        ValueError: if a set is not in the workspace or damaged, or a part of it would lose its last row, naming it.
    """
    going, others = _going(root, named, optouts), elsewhere(root)
    return {name: _in_set(root / SETS / name, going) for name in names(root) if name not in others}


def names(root: Path) -> list[str]:
    """Returns the sets that the project lists, and what others its workspace has."""
    there = [path.name for path in (root / SETS).glob("*/")]
    return sorted({*params.names("sets", root / "params.yaml"), *there})


def elsewhere(root: Path) -> list[str]:
    """Returns those of `names` that cannot be purged from here: DVC does not keep them for us."""
    return [name for name in names(root) if not roots.is_ours(root / SETS / name, _DESCRIPTION)]


def counts(found: dict[str, pa.Table]) -> dict[str, dict[str, int]]:
    """Returns {set: {part: rows that are to go}} of what `find` found."""
    told = {}
    for name, gone in found.items():
        summed = gone.group_by("part").aggregate([("rows", "sum")]).sort_by("part")
        told[name] = dict(zip(summed["part"].to_pylist(), summed["rows_sum"].to_pylist(), strict=True))
    return {name: parts for name, parts in told.items() if parts}


def _going(root: Path, named: pa.Table, optouts: Path) -> _Named:
    going, stay = set[str](), set[str]()
    for snapshot in params.names("snapshots", root / "params.yaml"):
        ledger = records.read_table(root / "data/raw" / snapshot / "ledger.parquet", records.LEDGER)
        uids = named.filter(pc.equal(named["snapshot"], snapshot))["uid"].combine_chunks()
        is_named = pc.is_in(ledger["uid"], value_set=uids)
        going |= set(ledger.filter(is_named)["sha256"].drop_null().to_pylist())
        stay |= set(ledger.filter(pc.invert(is_named))["sha256"].to_pylist())
    opted_out = known_pictures.read_optouts(optouts)
    return _Named(
        sha256=frozenset(going - stay) | frozenset(opted_out["sha256"].to_pylist()),
        look_M=digits.words(opted_out["phash"], 1)[:, 0],
        max_distance=impact.max_distance(root),
        max_pixels=params.read(root / "params.yaml")["measure"]["max_pixels"],
    )


def _in_set(folder: Path, going: _Named) -> pa.Table:
    rows = []
    for path in sorted(folder.glob("*.parquet")):
        if path.name == OPTED_OUT:
            continue
        found = Counter(_uid(content) for content in _pictures(path) if content in going)
        if found and found.total() == pq.read_metadata(path).num_rows:
            raise ValueError(
                f"{path}: part {path.stem} of set {folder.name} would lose its last row: put others into it first, or "
                "keep the sets as they are (flow takedown's `--evaluation-sets keep`)"
            )
        rows += [{"part": path.stem, "uid": uid, "rows": number} for uid, number in sorted(found.items())]
    return pa.Table.from_pylist(rows, records.OPTED_OUT_OF_SET)


def _pictures(path: Path) -> Iterator[bytes]:
    """Yields the pictures of a part, row by row."""
    try:
        with pq.ParquetFile(path) as file:
            if "image" not in file.schema_arrow.names:
                raise ValueError(f"{path}: column image is missing")
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["image"])["image"]
                yield from (value.as_py() or b"" for chunk in column.chunks for value in chunk)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None


def _note(gone: pa.Table, folder: Path) -> None:
    """Adds to the counts of a set; those of a picture that is counted already are of what there is of it now."""
    path = folder / OPTED_OUT
    before = records.read_table(path, records.OPTED_OUT_OF_SET) if path.is_file() else gone.slice(0, 0)
    counted = {(row["part"], row["uid"]): row["rows"] for row in [*before.to_pylist(), *gone.to_pylist()]}
    rows = [{"part": part, "uid": uid, "rows": number} for (part, uid), number in sorted(counted.items())]
    records.write_table(pa.Table.from_pylist(rows, records.OPTED_OUT_OF_SET), path)


def _rewrite(path: Path, uids: frozenset[str]) -> None:
    """Writes a part anew without the rows of some pictures, by a rename."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    parquet_rows.drop(
        path, partial, lambda rows: [_uid(content or b"") in uids for content in rows["image"].to_pylist()]
    )
    os.replace(partial, path)


def _uid(content: bytes) -> str:
    return digests.sha256_bytes(content)[:32]
