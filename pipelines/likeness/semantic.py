"""Semantic duplicates: SemDeDup (arXiv 2303.09540, section 3) as a fold over snapshots.

The embeddings are parted by spherical k-means, so that only pairs inside a cluster are compared; of rows whose cosine
is at least a threshold (1 - epsilon in the paper) one stays. Two things differ from the paper. The centres are frozen
with the first snapshot: a later row finds its cluster among them and never moves another's. And who stays is settled
by rank, oldest first (`near.survivors`), where the paper keeps the row farthest from its centre: that row may come
with a later snapshot, and an old verdict would change.

Pairs across a cluster's border are missed, as in the paper.

Letters in names: N rows, D embedding, K clusters. Vectors are L2-normalised, float16 or float32.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipelines.likeness import cosines, near
from pipelines.likeness.cosines import Cosines, Index, Vectors

_MAX_ITERATIONS = 25
_SAMPLE_PER_CLUSTER = 256  # rows that place a centre; more hardly move it, as faiss's clustering has it too


def freeze_centres(vectors_ND: Vectors, num_clusters: int, seed: int) -> npt.NDArray[np.float32]:
    """Returns the centres of spherical k-means: (K, D) float32, L2-normalised.

    The same bytes on any number of threads: no decision hangs on the last bits of a product (see `cosines`), and the
    sums are float64 in the order of the rows. The order counts, so give the rows sorted by uid.

    Args:
        vectors_ND: (N, D).
        num_clusters: K, >= 1; where there are fewer rows than that, every row is a centre.
        seed: of the rows that the centres start from, and of those that place them where there are very many.

    Raises:
        ValueError: if there is no row, or num_clusters is below 1.
    """
    if num_clusters < 1 or not len(vectors_ND):
        raise ValueError(f"clusters need rows and num_clusters >= 1; there are {len(vectors_ND)} and {num_clusters}")
    generator = np.random.default_rng(seed)
    sample = _some_rows(generator, len(vectors_ND), num_clusters * _SAMPLE_PER_CLUSTER)
    rows_ND = vectors_ND[sample].astype(np.float32)
    centres_KD = rows_ND[_some_rows(generator, len(rows_ND), num_clusters)]
    cluster_N = np.full(len(rows_ND), -1, np.int64)
    for _ in range(_MAX_ITERATIONS):
        before, cluster_N = cluster_N, assign(rows_ND, centres_KD)
        if (before == cluster_N).all():
            break
        centres_KD = _means(rows_ND, cluster_N, centres_KD)
    return centres_KD


def assign(vectors_ND: Vectors, centres_KD: npt.NDArray[np.float32]) -> Index:
    """Returns for each row the centre with the greatest cosine, the first of equals: (N,) int64."""
    return cosines.nearest(vectors_ND, centres_KD)[1]


def pairs_within_clusters(vectors_ND: Vectors, cluster_N: Index, min_cosine: float) -> tuple[Index, Index, Cosines]:
    """Returns every pair i < j of one cluster whose cosine is at least `min_cosine`, sorted by (i, j).

    Returns:
        i and j (P,) int64, cosine (P,) float64, rounded to 6 decimals. The memory is that of the answer: where there
        may be crowds of equal pictures, call `semantic_duplicates`.
    """
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    found += list(_find_pairs(vectors_ND, cluster_N, np.arange(len(vectors_ND)), None, min_cosine))
    i, j = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((j, i))
    return i[order], j[order], cosines.of_pairs(vectors_ND, vectors_ND, i[order], j[order])


def semantic_duplicates(
    vectors_ND: Vectors, cluster_N: Index, rank_N: Index, min_cosine: float, *, fixed_N: near.Rows | None = None
) -> Index:
    """Returns for each row the row it is a semantic duplicate of, or -1 where it stays: (N,) int64.

    The greedy rule of `near.survivors` over the pairs of `pairs_within_clusters`, in bounded memory.

    Args:
        vectors_ND: (N, D).
        cluster_N: (N,) int64, from `assign`.
        rank_N: (N,) int64, no two alike.
        min_cosine: -1..1; 1 - epsilon of the paper.
        fixed_N: rows that stay whatever they look like; their ranks must be below all others.

    Raises:
        ValueError: if two rows have the same rank, or a fixed row a rank above another's.
    """

    def find(rows: Index, others: Index | None) -> Iterator[tuple[Index, Index]]:
        return _find_pairs(vectors_ND, cluster_N, rows, others, min_cosine)

    return near.duplicates(rank_N, find, fixed_N=fixed_N)


def _some_rows(generator: np.random.Generator, num_rows: int, most: int) -> Index:
    """Returns the rows, ascending, or `most` of them drawn at random."""
    if num_rows <= most:
        return np.arange(num_rows)
    return np.sort(generator.choice(num_rows, most, replace=False))


def _means(
    rows_ND: npt.NDArray[np.float32], cluster_N: Index, centres_KD: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Returns the mean direction of each cluster; one that is empty, or has none, keeps its centre."""
    order = np.argsort(cluster_N, kind="stable")
    clusters, starts = np.unique(cluster_N[order], return_index=True)
    sums = np.add.reduceat(rows_ND[order].astype(np.float64), starts)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    has_direction = norms[:, 0] > cosines.MARGIN
    moved_KD = centres_KD.copy()
    moved_KD[clusters[has_direction]] = (sums / np.maximum(norms, cosines.MARGIN))[has_direction]
    return moved_KD


def _find_pairs(
    vectors_ND: Vectors, cluster_N: Index, rows: Index, others: Index | None, min_cosine: float
) -> Iterator[tuple[Index, Index]]:
    """Yields the pairs (place in rows, place in others) of one cluster; among rows, i < j, if there are no others."""
    left, right = _by_cluster(cluster_N[rows]), _by_cluster(cluster_N[rows if others is None else others])
    against = rows if others is None else others
    for cluster in sorted(left.keys() & right.keys()):
        places, of_others = left[cluster], right[cluster]
        for part in cosines.blocks(len(places), len(of_others)):
            later = of_others[part.start :] if others is None else of_others  # those before met these already
            i, j, _ = cosines.at_least(vectors_ND[rows[places[part]]], vectors_ND[against[later]], min_cosine)
            i, j = places[part][i], later[j]
            once = slice(None) if others is not None else i < j
            yield i[once], j[once]


def _by_cluster(cluster_N: Index) -> dict[int, Index]:
    """Returns the places of each cluster, ascending."""
    order = np.argsort(cluster_N, kind="stable")
    clusters, starts = np.unique(cluster_N[order], return_index=True)
    return dict(zip(clusters.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}
