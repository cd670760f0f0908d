"""The rule that leaves one of the pictures that are close in the scorer's space: SemDeDup (arXiv 2303.09540)."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.likeness import cosines, decontamination, semantic
from pipelines.rules.base import Bounds, Decision, SnapshotRule, Turn, demand_least, demand_range, number_text
from pipelines.rules.duplicates import SameImage, keepers
from pipelines.rules.frozen import assign, freeze_centres, packed, unpacked
from pipelines.rules.groups import grouped, pictures, scattered, sorted_by_partition
from pipelines.selection.rows import Bools, Floats, Ints, Rows, Vectors
from pipelines.selection.workers import Held, column, loaded


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SemanticDuplicate(SnapshotRule):
    """Drops pictures close to one kept, compared within clusters that are frozen with the first snapshot.

    SemDeDup keeps the picture farthest from its cluster's centre; here the least id stays, as among all duplicates, so
    that a later snapshot never takes a row from an earlier one.
    """

    num_clusters: int
    """K (SemDeDup: 50 000 for LAION-440M)."""
    num_samples: int
    """Pictures of the first snapshot the clusters are found with."""
    seed: int
    """Of the clusters."""
    min_cosine: float
    """At least this close is a duplicate (SemDeDup: 1 - epsilon)."""
    same_image_captions: SameImage

    def __post_init__(self) -> None:
        demand_least(self, num_clusters=1, num_samples=self.num_clusters)
        demand_range(self, "min_cosine", 0, 1)

    def bounds(self) -> Bounds:
        """One: the cosine."""
        return (("duplicate_semantic", number_text(self.min_cosine)),)

    def decide(self, turn: Turn) -> Decision:
        """Value: the cosine with the row that stays instead; of a row that is out already, with the nearest that stays.

        Null where nothing of the cluster that stays is as close, where the row itself stays, and without a vector.
        """
        centres, earlier = turn.memory or (None, ())
        if centres is None:
            centres = freeze_centres(turn, self.num_clusters, self.num_samples, self.seed)
        now = turn.over_parts("clusters", partial(by_cluster, centres, turn.num_partitions), turn.alive_N)
        keep_all = self.same_image_captions == "keep_all"
        tables = grouped(turn, now, earlier, partial(alike_in_clusters, self.min_cosine, keep_all=keep_all))
        duplicate_of_N = scattered(turn, tables, "duplicate_of", -1)
        return Decision(
            value=scattered(turn, tables, "cosine", np.nan),
            code_N=(duplicate_of_N >= 0).astype(np.uint8),
            bounds=self.bounds(),
            duplicate_of_N=duplicate_of_N,
            memory=(centres, (*earlier, *now)),
        )


def by_cluster(centres: Held, num_partitions: int, rows: Rows, ids: Ints, flags: Bools) -> pa.Table:
    """Returns the rows of a part that have a vector, sorted by partition: that, cluster, vector, picture, id, alive."""
    vectors_nD, places = rows.vectors()
    cluster_n = assign(vectors_nD, loaded(centres))
    columns: dict[str, Any] = {
        "partition": (cluster_n % num_partitions).astype(np.uint16),
        "cluster": cluster_n,
        "vector": packed(vectors_nD),
        "picture": pictures(rows)[places],
        "id": ids[places],
        "alive": flags[places],
    }
    return sorted_by_partition(pa.table(columns))


def alike_in_clusters(min_cosine: float, now: pa.Table, before: pa.Table, *, keep_all: bool) -> pa.Table:
    """Returns, for the rows of this snapshot that do not stay, the id of the one that stays instead and the cosine.

    Of rows that were out already: -1, and the cosine with the nearest that stays if it is within the bound.

    Args:
        now: rows of this snapshot, in whole clusters.
        before: kept rows of earlier ones; they stay.
    """
    alive = now.filter(now["alive"])
    both = pa.concat_tables([before, alive]).combine_chunks()
    vectors_ND, cluster_N, ids = unpacked(both), column(both, "cluster"), column(both, "id")
    decide = partial(_close, vectors_ND, cluster_N, ids, min_cosine)
    keeper_N = keepers(ids, column(both, "picture"), before.num_rows, decide, keep_all=keep_all)
    goes = np.flatnonzero(keeper_N >= 0)
    out = now.filter(pc.invert(now["alive"])).combine_chunks()
    nearest = _nearest(out, both.filter(pa.array(keeper_N < 0)).combine_chunks())
    out_cosine = np.where(nearest >= min_cosine, nearest, np.nan)
    named, cosine = ids[keeper_N[goes]], cosines.of_pairs(vectors_ND, vectors_ND, goes, keeper_N[goes])
    return pa.table(
        {
            "id": np.concatenate([ids[goes], column(out, "id")]),
            "duplicate_of": np.concatenate([named, np.full(out.num_rows, -1)]),
            "cosine": np.concatenate([cosine, out_cosine]),
        }
    )


def _close(vectors_ND: Vectors, cluster_N: Ints, ids: Ints, min_cosine: float, rows: Ints, fixed: Bools) -> Ints:
    return semantic.semantic_duplicates(vectors_ND[rows], cluster_N[rows], ids[rows], min_cosine, fixed_N=fixed)


def _nearest(rows: pa.Table, staying: pa.Table) -> Floats:
    """Returns the greatest cosine of each row with one of those that stay in its cluster; NaN where none does."""
    nearest_N = np.full(rows.num_rows, np.nan)
    vectors_ND, clusters_N = unpacked(rows), column(rows, "cluster")
    staying_MD, clusters_M = unpacked(staying), column(staying, "cluster")
    for cluster in np.intersect1d(clusters_N, clusters_M):
        here = clusters_N == cluster
        nearest_N[here] = decontamination.nearest_vector(vectors_ND[here], staying_MD[clusters_M == cluster])[0]
    return nearest_N
