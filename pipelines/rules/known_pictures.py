"""Rules against lists of pictures: opt-outs, and evaluation pictures that must not be trained on."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage import digests, records
from pipelines.likeness import decontamination, hamming, looks
from pipelines.rules.base import Bounds, RowRule, Value, demand_range, number_text
from pipelines.rules.near_duplicates import look_text
from pipelines.selection import digits
from pipelines.selection.rows import Bools, Ints, Rows, Sources, Vectors, fixed_bytes, remembered

_TEXT_KINDS = ("url_sha256", "host_sha256", "sha256")
_LOOKS = pa.schema([(name, pa.string()) for name in ("sha256", "pixel_sha256", "phash")] + [("thumbnail", pa.binary())])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OptOut(RowRule):
    """Drops what someone opted out: by URL, by host, by the picture's bytes or by its look.

    An opt-out of a host covers the hosts below it: that of a.test the pictures of img.a.test, too.
    """

    max_distance: int
    """Bits of 64 in which a picture may differ from an opted-out perceptual hash and still be taken for it."""

    def __post_init__(self) -> None:
        demand_range(self, "max_distance", 0, hamming.MAX_DISTANCE)

    def bounds(self) -> Bounds:
        """One: being named."""
        return (("opted_out", f"phash within {self.max_distance}"),)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the kind of the opt-out that names the row: url_sha256, host_sha256, sha256 or phash."""
        optouts = remembered(read_optouts, rows.sources.optouts)
        hash_N, known_N = rows.hashes()
        hashes = digits.words(optouts["phash"], 1)[:, 0]
        distance_N, _ = decontamination.nearest_hash(hash_N, hashes, self.max_distance)
        value = pc.if_else(pa.array(known_N & (distance_N >= 0)), "phash", pa.scalar(None, pa.string()))
        value = pc.if_else(pc.is_in(rows.text("sha256"), value_set=optouts["sha256"]), "sha256", value)
        below = pc.is_in(rows.text("host"), value_set=_hosts_below(rows.text("host"), optouts["host_sha256"]))
        named = pc.or_(pc.is_in(rows.text("host_sha256"), value_set=optouts["host_sha256"]), below)
        value = pc.if_else(named, "host_sha256", value)
        value = pc.if_else(pc.is_in(rows.text("url_sha256"), value_set=optouts["url_sha256"]), "url_sha256", value)
        return value, (pc.is_valid(value).to_numpy(zero_copy_only=False),)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decontaminate(RowRule):
    """Drops pictures that are, by bytes or pixels, or look like one of the evaluation sets to keep out."""

    max_distance: int
    """Of the perceptual hashes, bits of 64, 0 to 24."""
    max_rmse: float | None
    """Of the thumbnails, root mean square in grey levels, 0 to 255; null asks the hash alone."""

    def __post_init__(self) -> None:
        demand_range(self, "max_distance", 0, hamming.MAX_DISTANCE)
        demand_range(self, "max_rmse", 0, 255)

    def bounds(self) -> Bounds:
        """One: the distance, and the thumbnails'."""
        return (("test_picture", look_text(self.max_distance, self.max_rmse)),)

    def check(self, sources: Sources) -> None:
        """The list of sets must not be empty."""
        _demand_sets(sources)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the distance to the nearest evaluation picture within the bounds, 0 to itself; null without one."""
        tests = evaluation_looks(rows.sources)
        hash_N, known_N = rows.hashes()
        confirm = None
        if self.max_rmse is not None:
            thumbnails, seen_N = rows.thumbnails()
            known_N &= seen_N
            confirm = partial(_look_alike, fixed_bytes(thumbnails), tests, self.max_rmse)
        distance_N, _ = decontamination.nearest_hash(hash_N, tests.hash_M, self.max_distance, confirm=confirm)
        same_N = _same(rows.text("sha256"), tests.sha256) | _same(rows.text("pixel_sha256"), tests.pixel_sha256)
        near_N = same_N | (known_N & (distance_N >= 0))
        return np.where(same_N, 0, np.where(near_N, distance_N, np.nan)), (near_N,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecontaminateVectors(RowRule):
    """Drops pictures close to one of the evaluation sets to keep out, in the scorer's space."""

    min_cosine: float
    """At least this close is dropped, -1 to 1."""

    def __post_init__(self) -> None:
        demand_range(self, "min_cosine", -1, 1)

    def bounds(self) -> Bounds:
        """One: the cosine."""
        return (("test_picture", number_text(self.min_cosine)),)

    def check(self, sources: Sources) -> None:
        """The list of sets must not be empty."""
        _demand_sets(sources)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the cosine with the nearest evaluation picture; null where the scorer left the picture out."""
        vectors_nD, places = rows.vectors()
        tests_MD, cosine_N = evaluation_vectors(rows.sources), np.full(len(rows), np.nan)
        if len(tests_MD):
            cosine_N[places] = decontamination.nearest_vector(vectors_nD, tests_MD)[0]
        return cosine_N, (cosine_N >= self.min_cosine,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """How the M pictures of evaluation sets look."""

    sha256: pa.Array
    pixel_sha256: pa.Array
    hash_M: digits.Words
    thumbnail_MB: looks.Thumbnails


def _hosts_below(hosts: pa.Array, opted_out: pa.Array) -> pa.Array:
    """Returns those of some hosts that lie below one whose hash is opted out."""
    if len(opted_out) == 0:
        return pa.array([], pa.string())
    wanted = set(opted_out.to_pylist())
    names = pc.unique(hosts).drop_null().to_pylist()
    above = {name: name.lower().split(".") for name in names}
    return pa.array(
        [
            name
            for name, labels in above.items()
            if any(_sha256(".".join(labels[start:])) in wanted for start in range(1, len(labels)))
        ],
        pa.string(),
    )


def _sha256(text: str) -> str:
    return digests.sha256_bytes(text.encode())


def read_optouts(path: Path) -> dict[str, pa.Array]:
    """Returns the opted-out hex digits by kind."""
    table = records.read_table(path, records.OPTOUTS)
    return {
        kind: table.filter(pc.equal(table["kind"], kind))["value"].combine_chunks() for kind in (*_TEXT_KINDS, "phash")
    }


def evaluation_looks(sources: Sources) -> Looks:
    """Returns the looks of all pictures of the sets to keep out."""
    found = [remembered(read_looks, sources.benchmarks / name / "test_hashes.parquet") for name in sources.sets]
    return Looks(
        sha256=pa.concat_arrays([one.sha256 for one in found]),
        pixel_sha256=pa.concat_arrays([one.pixel_sha256 for one in found]),
        hash_M=np.concatenate([one.hash_M for one in found]),
        thumbnail_MB=np.concatenate([one.thumbnail_MB for one in found]),
    )


def read_looks(path: Path) -> Looks:
    """Returns the looks of one set's pictures."""
    table = records.read_table(path, _LOOKS, columns=_LOOKS.names).drop_null().combine_chunks()
    thumbnails, _ = looks.thumbnails_of(table["thumbnail"])
    sha256, pixel_sha256, phash = (table[name].combine_chunks() for name in ("sha256", "pixel_sha256", "phash"))
    hash_M = digits.words(phash, 1)[:, 0]
    return Looks(sha256=sha256, pixel_sha256=pixel_sha256, hash_M=hash_M, thumbnail_MB=thumbnails)


def evaluation_vectors(sources: Sources) -> Vectors:
    """Returns the vectors of all pictures of the sets to keep out, (M, D) float16."""
    found: list[Vectors] = [remembered(np.load, sources.test_embeddings / name / "image.npy") for name in sources.sets]
    return np.concatenate(found)


def _look_alike(thumbnail_NB: looks.Thumbnails, tests: Looks, max_rmse: float, i: Ints, j: Ints) -> Bools:
    return looks.differences(thumbnail_NB, tests.thumbnail_MB, i, j) <= max_rmse


def _same(column: pa.Array, wanted: pa.Array) -> Bools:
    found: Bools = pc.is_in(column, value_set=wanted, skip_nulls=True).to_numpy(zero_copy_only=False)
    return found


def _demand_sets(sources: Sources) -> None:
    if not sources.sets:
        raise ValueError(
            "needs evaluation sets to look for (select: name them in select.decontaminate_against; screen: in sets)"
        )
