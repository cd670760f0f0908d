"""Near-duplicate search among perceptual hashes, all of it, against faiss on a sample of queries.

    python benchmarks/near_dedup.py [--rows 1000000] [--max-distance 6] [--kind clustered] [--rounds 3]

Ours: every pair within the distance (`pairs`), and who stays (`survivors`). Against it: faiss comparing a sample of the
rows with all of them (`brute force`), and faiss's multi-index hashing set up so that it is exact, too (`multi-hash`).
Both answer --queries rows only; their time for all rows is extrapolated from that of the queries alone and said to be.
All on one thread. The pairs of the sampled rows must be the same ones in all three, or it fails.

Kinds: `random`; `clustered`, 3 rows of 10 within 3 bits of another; `blank`, half of all within 3 bits of 5 hashes: of
those there are too many pairs to list, so only who stays is measured.
"""

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import contest
import faiss
import measure_run
import numpy as np
import numpy.typing as npt
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
from pipelines.likeness import near

_FLIPS = 3
_PLACES = np.uint64(1) << np.arange(64, dtype=np.uint64)


def main() -> None:
    """Measures, or is what is measured."""
    options = _options()
    if options.work:
        return _WORK[options.work](np.load(options.data), options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hashes.npy"
        np.save(path, hashes(options.rows, options.kind))
        script = [sys.executable, __file__, *sys.argv[1:], "--data", str(path), "--work"]
        works = [work for work in _WORK if options.kind != "blank" or work == "survivors"]
        one_thread = {"OMP_NUM_THREADS": "1"}
        contenders = [Contender(name=work, command=[*script, work], environment=one_thread) for work in works]
        runs = contest.hold(contenders, options.rounds)
    facts = {"kind": options.kind, "max_distance": options.max_distance, "gone": runs["survivors"][0].answer["gone"]}
    if options.kind != "blank":
        facts |= compared(runs, options)
    name = "near_dedup" if options.kind == "clustered" else f"near_dedup_{options.kind}"
    contest.report(name, [Heat(title="near duplicates", rows=options.rows, runs=runs)], facts, options.results)
    return None


def compared(runs: contest.Runs, options: argparse.Namespace) -> dict[str, Any]:
    """Returns what the pairs took, and faiss for as many queries as there are rows; the sampled pairs must be equal."""
    if len({run.answer["sample"] for name in _EXACT for run in runs[name]}) > 1:
        sys.exit("the pairs of the sampled rows differ")
    seconds = {name: statistics.median(run.answer["seconds"] for run in runs[name]) for name in _EXACT}
    ours = seconds.pop("pairs")
    facts: dict[str, Any] = {"pairs": runs["pairs"][0].answer["pairs"], "pairs_s": round(ours, 2)}
    for name, its in seconds.items():
        all_rows = its * options.rows / options.queries
        facts[f"{name}, s for all rows, EXTRAPOLATED from {options.queries} queries"] = round(all_rows)
        facts[f"{name}, times ours"] = round(all_rows / ours, 1)
    return facts


def hashes(num_rows: int, kind: str) -> npt.NDArray[Any]:
    """Returns (N,) uint64, the same every time."""
    random = np.random.default_rng(0)
    made = random.integers(0, 2**64, num_rows, np.uint64)
    if kind == "random":
        return made
    num_near = num_rows * 3 // 10 if kind == "clustered" else num_rows // 2
    num_origins = num_rows - num_near if kind == "clustered" else 5
    origins = made[random.integers(0, num_origins, num_near)]
    for _ in range(_FLIPS):
        origins = origins ^ _PLACES[random.integers(0, 64, num_near)]
    made[num_rows - num_near :] = origins
    return random.permutation(made)


def _pairs(hashes_N: npt.NDArray[Any], options: argparse.Namespace) -> None:
    start = time.perf_counter()
    i, j, distance = near.pairs_within(hashes_N, options.max_distance)
    seconds = time.perf_counter() - start
    first, second, bits = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([distance, distance])
    asked = first < options.queries
    measure_run.answer(seconds=seconds, pairs=len(i), sample=_digest(first[asked], second[asked], bits[asked]))


def _survivors(hashes_N: npt.NDArray[Any], options: argparse.Namespace) -> None:
    gone = near.near_duplicates(hashes_N, np.arange(len(hashes_N)), options.max_distance) >= 0
    measure_run.answer(gone=int(gone.sum()))


def _brute_force(hashes_N: npt.NDArray[Any], options: argparse.Namespace) -> None:
    _ask(faiss.IndexBinaryFlat(64), hashes_N, options)


def _multi_hash(hashes_N: npt.NDArray[Any], options: argparse.Namespace) -> None:
    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = options.max_distance // 4  # of 4 words, one has at most a quarter of the flips
    _ask(index, hashes_N, options)


def _ask(index: faiss.IndexBinary, hashes_N: npt.NDArray[Any], options: argparse.Namespace) -> None:
    codes = hashes_N.view(np.uint8).reshape(-1, 8)
    index.add(codes)
    start = time.perf_counter()
    bounds, distance, found = index.range_search(codes[: options.queries], options.max_distance + 1)
    seconds = time.perf_counter() - start
    row = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds.astype(np.int64)))
    others = row != found
    measure_run.answer(seconds=seconds, sample=_digest(row[others], found[others], distance[others]))


def _digest(first: npt.NDArray[Any], second: npt.NDArray[Any], distance: npt.NDArray[Any]) -> str:
    order = np.lexsort((second, first))
    columns = np.stack([first[order], second[order], distance[order]]).astype(np.int64)
    return hashlib.sha256(columns.tobytes()).hexdigest()


def _options() -> argparse.Namespace:
    parser = contest.parser(__doc__, rows=1_000_000, rounds=3, workers=1)
    parser.add_argument("--max-distance", type=int, default=6, help="bits")
    parser.add_argument("--kind", choices=["random", "clustered", "blank"], default="clustered")
    parser.add_argument("--queries", type=int, default=5000, help="rows that faiss is asked for")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    return parser.parse_args()


_WORK = {"pairs": _pairs, "survivors": _survivors, "brute force": _brute_force, "multi-hash": _multi_hash}
_EXACT = ("pairs", "brute force", "multi-hash")

if __name__ == "__main__":
    main()
