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

import faiss
import measure_run
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from pipelines import near

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
        runs = measure_run.in_turn({work: [*script, work] for work in works}, options.rounds, {"OMP_NUM_THREADS": "1"})
    sys.stdout.write(f"{options.rows} hashes, {options.kind}, at most {options.max_distance} bits\n\n")
    sys.stdout.write(measure_run.table(runs) + "\n")
    sys.stdout.write(f"survivors: {runs['survivors'][0].answer['gone']} rows go\n")
    if options.kind != "blank":
        _compare(runs, options)
    return None


def _compare(runs: dict[str, list[measure_run.Run]], options: argparse.Namespace) -> None:
    digests = {run.answer["sample"] for name in ("pairs", "brute force", "multi-hash") for run in runs[name]}
    if len(digests) > 1:
        sys.exit("the pairs of the sampled rows differ")
    ours = statistics.median(run.answer["seconds"] for run in runs["pairs"])
    sys.stdout.write(f"pairs: {runs['pairs'][0].answer['pairs']} in {ours:.1f} s\n")
    for name in ("brute force", "multi-hash"):
        seconds = statistics.median(run.answer["seconds"] for run in runs[name]) * options.rows / options.queries
        sys.stdout.write(f"{name}: {seconds:.0f} s for all rows, EXTRAPOLATED from {options.queries} queries; ")
        sys.stdout.write(f"{seconds / ours:.1f} times ours\n")


def hashes(num_rows: int, kind: str) -> np.ndarray:
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


def _pairs(hashes_N: np.ndarray, options: argparse.Namespace) -> None:
    start = time.perf_counter()
    i, j, distance = near.pairs_within(hashes_N, options.max_distance)
    seconds = time.perf_counter() - start
    first, second, bits = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([distance, distance])
    asked = first < options.queries
    measure_run.answer(seconds=seconds, pairs=len(i), sample=_digest(first[asked], second[asked], bits[asked]))


def _survivors(hashes_N: np.ndarray, options: argparse.Namespace) -> None:
    gone = near.near_duplicates(hashes_N, np.arange(len(hashes_N)), options.max_distance) >= 0
    measure_run.answer(gone=int(gone.sum()))


def _brute_force(hashes_N: np.ndarray, options: argparse.Namespace) -> None:
    _ask(faiss.IndexBinaryFlat(64), hashes_N, options)


def _multi_hash(hashes_N: np.ndarray, options: argparse.Namespace) -> None:
    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = options.max_distance // 4  # of 4 words, one has at most a quarter of the flips
    _ask(index, hashes_N, options)


def _ask(index: faiss.IndexBinary, hashes_N: np.ndarray, options: argparse.Namespace) -> None:
    codes = hashes_N.view(np.uint8).reshape(-1, 8)
    index.add(codes)
    start = time.perf_counter()
    bounds, distance, found = index.range_search(codes[: options.queries], options.max_distance + 1)
    seconds = time.perf_counter() - start
    row = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds.astype(np.int64)))
    others = row != found
    measure_run.answer(seconds=seconds, sample=_digest(row[others], found[others], distance[others]))


def _digest(first: np.ndarray, second: np.ndarray, distance: np.ndarray) -> str:
    order = np.lexsort((second, first))
    columns = np.stack([first[order], second[order], distance[order]]).astype(np.int64)
    return hashlib.sha256(columns.tobytes()).hexdigest()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--max-distance", type=int, default=6, help="bits")
    parser.add_argument("--kind", choices=["random", "clustered", "blank"], default="clustered")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=5000, help="rows that faiss is asked for")
    parser.add_argument("--work", choices=list(_WORK), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    return parser.parse_args()


_WORK = {"pairs": _pairs, "survivors": _survivors, "brute force": _brute_force, "multi-hash": _multi_hash}

if __name__ == "__main__":
    main()
