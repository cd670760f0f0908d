"""Stage embed_tests: the scorer's embeddings of an evaluation set's test pictures, for decontamination by embedding.

data/test_embeddings/SET holds embeddings.parquet (uid, part, row) and image.npy (float16, L2-normalised).
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lineage import files, params, records, stage
from pipelines import inference
from pipelines.embed import EmbedConfig
from pipelines.engine import Receipt, RunnerConfig, run_tasks

TEST_EMBEDDINGS = pa.schema([("uid", pa.string()), ("part", pa.string()), ("row", pa.int64())])
PICTURES = pa.schema([("uid", pa.string()), ("image", pa.binary())])
_HASHES = "test_hashes.parquet"
_PICTURES_AT_A_TIME = 64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EmbedTestsTask:
    """One test part of the set to embed."""

    name: str
    part: Path
    out: Path
    work: Path
    settings: inference.Settings


def main(benchmark: Path, scorer: Path, embeddings: Path, provenance: Path) -> None:
    """Embeds the test pictures of one evaluation set."""
    config = params.load("embed", EmbedConfig)
    runner = params.load("runner", RunnerConfig)
    outs, deps = [embeddings], [benchmark, scorer]
    with stage.run("embed_tests", embeddings.name, params=config, deps=deps, outs=outs, provenance=provenance) as this:
        settings = inference.settings(scorer, config.batch_size, config.threads, config.device)
        parts, work = this.scratch / "parts", this.scratch / "inference"
        parts.mkdir(exist_ok=True)
        tasks = [
            EmbedTestsTask(name=part.stem, part=part, out=parts, work=work, settings=settings)
            for part in sorted((benchmark / "test").glob("*.parquet"))
        ]
        if not tasks and not (benchmark / _HASHES).is_file():  # a set of texts, or an absent one, has none
            raise FileNotFoundError(f"{benchmark}/test: no test part there; `dvc repro benchmarks` makes them")
        receipts = run_tasks(f"embed_tests {embeddings.name}", tasks, embed_part, this.scratch / "receipts", runner)
        merged = merge(tasks, width_of(scorer), this.scratch / "out")
        rows_in = sum(receipt["rows"] for receipt in receipts)
        facts = {"parts": {task.name: receipt["rows"] for task, receipt in zip(tasks, receipts, strict=True)}}
        failed = {"not_embedded": rows_in - merged}
        this.account(rows_in=rows_in, kept=merged, failed=failed, scorer=settings.scorer_sha256, **facts)
        this.publish(this.scratch / "out", embeddings)


def embed_part(task: EmbedTestsTask) -> Receipt:
    """Writes the embeddings of one part, each picture once, and returns how many rows the part has."""
    uids = records.read_table(task.part, PICTURES, columns=["uid"])["uid"].to_pylist()
    found = inference.embed(_samples(task.part), task.settings, task.work / task.name, with_text=False)
    inference.save_vectors(found.image_ND, task.out / f"{task.name}.npy")
    places = {uid: row for row, uid in enumerate(found.uids)}
    kept = [{"uid": uid, "part": task.name, "row": places[uid]} for uid in uids if uid in places]
    records.write_table(records.rows_table(kept, TEST_EMBEDDINGS), task.out / f"{task.name}.parquet")
    return {"rows": len(uids)}


def _samples(part: Path) -> Iterator[inference.Sample]:
    """Yields each picture of a part once, in the part's order; it may stand there under several names."""
    seen = set[str]()
    try:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=_PICTURES_AT_A_TIME, columns=["uid", "image"]):
                for uid, image in zip(batch["uid"].to_pylist(), batch["image"].to_pylist(), strict=True):
                    if uid not in seen:
                        seen.add(uid)
                        yield inference.Sample(uid, image, b"")
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(f"{part}: cannot be read as pictures ({' '.join(str(error).split())[:200]})") from None


def width_of(scorer: Path) -> int:
    """Returns the width of the scorer's embeddings."""
    return int(files.read_json(scorer / "open_clip_config.json")["model_cfg"]["embed_dim"])


def merge(tasks: list[EmbedTestsTask], width: int, out: Path) -> int:
    """Writes the parts as one table, sorted by uid and part, with one vector a row; returns its number of rows.

    A set without pictures, or one that is absent, has no part: its table is empty.
    """
    rows: list[dict[str, Any]] = []
    vectors = []
    for task in sorted(tasks, key=lambda task: task.name):
        vectors_ND = np.load(task.out / f"{task.name}.npy")
        for row in records.read_table(task.out / f"{task.name}.parquet", TEST_EMBEDDINGS).to_pylist():
            rows.append(row)
            vectors.append(vectors_ND[row["row"]])
    order = sorted(range(len(rows)), key=lambda place: (rows[place]["uid"], rows[place]["part"]))
    table = [{**rows[place], "row": row} for row, place in enumerate(order)]
    made = np.stack([vectors[place] for place in order]) if order else np.empty((0, width), dtype=np.float16)
    inference.save_vectors(made, out / "image.npy")
    records.write_table(pa.Table.from_pylist(table, schema=TEST_EMBEDDINGS), out / "embeddings.parquet")
    return len(table)


if __name__ == "__main__":
    from pipelines.embed_tests import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
