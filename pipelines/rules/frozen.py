"""Rules in the scorer's space, held against something frozen with the first snapshot: clusters, reference pictures.

Letters in names: N rows of the snapshot or part, n of them with a vector, D its width, K clusters, R reference rows.
"""

import dataclasses
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.likeness import backdoor, semantic
from pipelines.rules.base import Bounds, Decision, SnapshotRule, Turn, number_text
from pipelines.rules.known_pictures import evaluation_vectors
from pipelines.selection import digits
from pipelines.selection.rows import Bools, Floats, Ints, Rows, Vectors, fixed_bytes
from pipelines.selection.workers import Held, column, loaded, opened

_DECIMALS = 6  # of a score: the last bits of a float32 product are no fact


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageBased(SnapshotRule):
    """DataComp's image-based filter (arXiv 2304.14108, section 4.1): keeps clusters that hold a wanted picture.

    The wanted pictures are those of evaluation sets: there is no hub to fetch ImageNet's training part from. Its first
    step, English captions of some length, is the rule `basic_filter`.
    """

    sets: list[str]
    """Whose pictures are wanted."""
    num_clusters: int
    """K (DataComp: 100 000)."""
    num_samples: int
    """Pictures of the first snapshot the clusters are found with."""
    seed: int
    """Of the clusters."""

    def bounds(self) -> Bounds:
        """One: lying in a wanted cluster."""
        return (("image_off_concept", f"a cluster of {' '.join(self.sets)}"),)

    def decide(self, turn: Turn) -> Decision:
        """Value: the number of the picture's cluster; null where the scorer left it out, which drops nothing."""
        centres = turn.memory
        if centres is None:
            centres = freeze_centres(turn, self.num_clusters, self.num_samples, self.seed)
        wanted = dataclasses.replace(turn.sources, sets=tuple(self.sets))
        wanted_clusters = assign(evaluation_vectors(wanted), loaded(centres))
        tables = turn.over_parts("clusters", partial(clusters_of, centres), turn.alive_N)
        value_N = _concatenated([column(opened(made), "cluster") for made in tables])
        off_N = ~np.isnan(value_N) & ~np.isin(value_N, wanted_clusters)
        return Decision(value=value_N, code_N=off_N.astype(np.uint8), bounds=self.bounds(), memory=centres)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Backdoor(SnapshotRule):
    """Drops outliers as backdoor samples are (arXiv 2502.01385): judged against pictures of the first snapshot."""

    num_reference: int
    """R, pictures of the first snapshot."""
    num_neighbours: int
    """k of the nearest neighbours looked at."""
    max_score: float
    """More is dropped."""

    def bounds(self) -> Bounds:
        """One: the outlier score."""
        return (("backdoor_outlier", number_text(self.max_score)),)

    def decide(self, turn: Turn) -> Decision:
        """Value: the outlier score; null where the scorer left the picture out, which drops nothing."""
        reference = turn.memory
        if reference is None:
            reference = turn.workers.hold(f"{turn.label} reference", sample(turn, self.num_reference))
        work = partial(outlier_scores, reference, self.num_neighbours)
        value_N = _concatenated(
            [column(opened(made), "score") for made in turn.over_parts("scores", work, turn.alive_N)]
        )
        code_N = (value_N > self.max_score).astype(np.uint8)
        return Decision(value=value_N, code_N=code_N, bounds=self.bounds(), memory=reference)


def sample(turn: Turn, number: int) -> Vectors:
    """Returns the vectors of up to `number` rows still in, in order of uid.

    They are the rows of least uid: it is a hash, so nothing but chance chose them.
    """
    alive = np.flatnonzero(turn.alive_N)
    by_uid = alive[np.lexsort((turn.uid_N2[alive, 1], turn.uid_N2[alive, 0]))]
    chosen_N = np.zeros(len(turn.alive_N), bool)
    chosen_N[by_uid[:number]] = True
    tables = [opened(made) for made in turn.over_parts("sample", vectors_of, chosen_N)]
    found = [table for table in tables if table.num_rows]
    if not found:
        return np.empty((0, 0), np.float16)
    uid_n2 = np.concatenate([np.stack([column(table, name) for name in ("high", "low")], axis=1) for table in found])
    vectors_nD = np.concatenate([unpacked(table) for table in found])
    sampled_ND: Vectors = vectors_nD[np.lexsort((uid_n2[:, 1], uid_n2[:, 0]))]
    return sampled_ND


def vectors_of(rows: Rows, _ids: Ints, flags: Bools) -> pa.Table:
    """Returns the flagged rows that have a vector: both halves of the uid, and the vector."""
    vectors_nD, places = rows.vectors()
    chosen = flags[places]
    uid_n2 = digits.words(rows.text("uid"), 2)[places[chosen]]
    return pa.table({"high": uid_n2[:, 0], "low": uid_n2[:, 1], "vector": packed(vectors_nD[chosen])})


def freeze_centres(turn: Turn, num_clusters: int, num_samples: int, seed: int) -> Held:
    """Returns cluster centres (K, D) float32 of the rows still in; none where there is no vector."""
    vectors_ND = sample(turn, num_samples).astype(np.float32)
    number = min(num_clusters, len(vectors_ND))
    centres_KD = semantic.freeze_centres(vectors_ND, number, seed) if number else np.empty((0, 0), np.float32)
    return turn.workers.hold(f"{turn.label} centres", centres_KD)


def assign(vectors_ND: Vectors, centres_KD: npt.NDArray[np.float32]) -> Ints:
    """Returns each vector's cluster; 0 where the first snapshot had nothing to find clusters in."""
    if len(centres_KD) == 0:
        return np.zeros(len(vectors_ND), np.int64)
    return semantic.assign(np.asarray(vectors_ND, np.float32), centres_KD)


def clusters_of(centres: Held, rows: Rows, _ids: Ints, _flags: Bools) -> pa.Table:
    """Returns the cluster of each row of a part, NaN where it has no vector."""
    vectors_nD, places = rows.vectors()
    cluster_N = np.full(len(rows), np.nan)
    cluster_N[places] = assign(vectors_nD, loaded(centres))
    return pa.table({"cluster": cluster_N})


def outlier_scores(reference: Held, num_neighbours: int, rows: Rows, _ids: Ints, _flags: Bools) -> pa.Table:
    """Returns the outlier score of each row of a part, NaN where it has no vector or there is nothing to compare."""
    vectors_nD, places = rows.vectors()
    score_N, reference_RD = np.full(len(rows), np.nan), loaded(reference)
    if len(reference_RD) > num_neighbours:
        vectors = np.asarray(vectors_nD, np.float32)
        score_N[places] = backdoor.outlier_score(vectors, np.asarray(reference_RD, np.float32), num_neighbours)
    return pa.table({"score": score_N.round(_DECIMALS)})


def packed(vectors_nD: Vectors) -> pa.Array:
    """Returns vectors as one binary value a row."""
    number, width = vectors_nD.shape
    octets = np.ascontiguousarray(vectors_nD, np.float16)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * width), number, [None, pa.py_buffer(octets)])


def unpacked(table: pa.Table) -> Vectors:
    """Returns the column `vector` as (n, D) float16."""
    return fixed_bytes(table["vector"].combine_chunks()).view(np.float16)


def _concatenated(arrays: list[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *arrays])
