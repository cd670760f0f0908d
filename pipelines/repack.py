"""One shard of a snapshot packed again, for who doubts it: the bytes that stage pack gives, published nowhere.

python -m pipelines.repack data/raw/s1 data/selection/s1/kept.parquet train/00000.tar SCRATCH

`python -m lineage verify --rebuild-shard` starts it.
"""

from pathlib import Path

from lineage import params, stage
from pipelines import pack


def main(raw: Path, kept: Path, shard: str, scratch: Path) -> None:
    """Packs the shard SPLIT/NNNNN.tar to SCRATCH/out, as stage pack would by the params here.

    Raises:
        ValueError: if the selection makes no such shard, or the raw data are damaged.
    """
    tasks = pack.plan(raw, kept, scratch, params.load("pack", pack.PackConfig))
    chosen = [task for task in tasks if task.shard == shard]
    if not chosen:
        raise ValueError(f"{shard}: {kept} makes no such shard; it makes {', '.join(task.shard for task in tasks[:9])}")
    (scratch / "out" / shard).parent.mkdir(parents=True, exist_ok=True)
    pack.pack_shard(chosen[0])


if __name__ == "__main__":
    stage.command(main)
