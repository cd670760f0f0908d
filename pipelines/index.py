"""Stage index: the kept pairs of all snapshots as a search index, in the layout that `clip-retrieval back` serves.

data/index holds image.index and text.index (faiss, inner product), metadata/metadata_0.parquet (row i describes vector
i: uid, snapshot, split, caption, clip_score) and indices_paths.json. `python -m pipelines.search` serves it.

`back` answers 500 where the metadata have none of the columns it is asked for, or fewer rows than the index: ours have
`caption`, which it asks for by default, and a row a vector.
"""

import contextlib
import dataclasses
import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage import files, params, records, stage
from pipelines import inference

METADATA = pa.schema(
    [(name, pa.string()) for name in ("uid", "snapshot", "split", "caption")] + [("clip_score", pa.float64())]
)
SIDES = ("image", "text")
NAME = "clipline"
"""Of the index, in requests."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """Section `index` of params.yaml."""

    kind: Literal["flat", "ivf"]
    """flat compares a query with every vector; ivf with those in the nearest lists. Both are the same bytes always."""
    num_lists: int
    """Lists of an ivf index, >= 1."""
    num_probes: int
    """Lists that an ivf index looks into for a query, 1 to num_lists."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_probes <= self.num_lists:
            raise ValueError(f"num_probes must be in 1..num_lists = {self.num_lists}, not {self.num_probes}")


def main(signals: Path, embeddings: Path, selection: Path, index: Path, provenance: Path) -> None:
    """Indexes the kept pairs of every snapshot."""
    config = params.load("index", IndexConfig)
    snapshots = params.names("snapshots")
    deps = [signals, embeddings, selection]
    for folder in deps:
        stage.prune(folder, snapshots)
    settings = {"index": config, "snapshots": snapshots}
    with stage.run("index", "all", params=settings, deps=deps, outs=[index], provenance=provenance) as this:
        vectors, out = this.scratch / "vectors", this.scratch / "out"
        files.remove(vectors)
        files.remove(out)
        tables = [METADATA.empty_table()]
        num_kept = 0
        for snapshot in stage.progress(snapshots, label="collect vectors"):
            kept = records.read_table(selection / snapshot / "kept.parquet", records.KEPT)
            num_kept += kept.num_rows
            tables += collect(kept, signals / snapshot, embeddings / snapshot, vectors)
        metadata = pa.concat_tables(tables)
        if not metadata.num_rows:
            raise ValueError(f"{selection}: no kept pair has an embedding; there is nothing to index")
        for side in SIDES:
            build(vectors / side, out / f"{side}.index", config, metadata.num_rows)
        records.write_table(metadata, out / "metadata/metadata_0.parquet")
        files.write_json(out / "indices_paths.json", {NAME: index.as_posix()})
        failed = {"not_embedded": num_kept - metadata.num_rows}
        this.account(rows_in=num_kept, kept=metadata.num_rows, failed=failed)
        files.remove(vectors)
        this.publish(out, index)


def collect(kept: pa.Table, signals: Path, embeddings: Path, vectors: Path) -> Iterator[pa.Table]:
    """Yields the metadata of a snapshot's kept pairs part by part, once their vectors lie in files under `vectors`.

    The files' names are in the order of the parts, snapshot by snapshot as called.
    """
    for part in sorted(embeddings.glob("*.parquet")):
        table = records.read_table(part, records.EMBEDDINGS)
        table = table.filter(pc.and_(pc.is_in(table["uid"], kept["uid"]), pc.is_valid(table["row"]))).sort_by("uid")
        if not table.num_rows:
            continue
        for side in SIDES:
            vectors_ND = np.load(part.with_name(f"{part.stem}.{side}.npy"), mmap_mode="r")
            number = len(list((vectors / side).glob("*.npy")))
            inference.save_vectors(vectors_ND[table["row"].to_numpy()], vectors / side / f"{number:06d}.npy")
        captions = records.read_table(signals / part.name, records.SIGNALS, columns=["uid", "caption"])
        table = table.join(captions, "uid").join(kept, "uid")  # in any order: sorted below
        table = table.append_column("snapshot", pa.array([embeddings.name] * table.num_rows, pa.string()))
        yield table.select(METADATA.names).cast(METADATA).sort_by("uid")


def build(vectors: Path, path: Path, config: IndexConfig, num_vectors: int) -> None:
    """Writes one index of the vectors of a folder of .npy files, in order of name, by autofaiss with one thread.

    Raises:
        ValueError: if there are fewer vectors than lists.
    """
    if config.kind == "ivf" and num_vectors < config.num_lists:
        raise ValueError(f"{num_vectors} kept pairs are fewer than index.num_lists = {config.num_lists}; lower it")
    key = {"flat": "Flat", "ivf": f"IVF{config.num_lists},Flat"}[config.kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    infos = path.with_suffix(".infos.json")  # speeds it measured, so never the same
    with _quiet():
        from autofaiss import build_index

        build_index(
            str(vectors),
            index_path=str(path),
            index_infos_path=str(infos),
            index_key=key,
            # without one it would choose by the speed it measures
            index_param=f"nprobe={config.num_probes}" if config.kind == "ivf" else None,
            metric_type="ip",
            nb_cores=1,
            verbose=logging.ERROR,
        )
    if not path.is_file():
        free = shutil.disk_usage(path.parent).free >> 20
        raise ValueError(f"{path.name}: autofaiss made no index of {num_vectors} vectors; {free} MiB of disk are free")
    infos.unlink()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps autofaiss and faiss from the terminal."""
    streams = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), streams[0], streams[1]:
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    from pipelines.index import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
