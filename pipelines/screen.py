"""Stage screen: which pairs of the first snapshot may train the scorer; a verdict for every row.

Its thresholds are its own and stay as they are when select's change, so that the scorer need not be trained again.
Nothing here needs a scorer: sizes and captions, opt-outs, evaluation pictures, exact duplicates.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import params, reasons, records, stage
from pipelines import decontamination, looks

HASHES = pa.schema(
    [(name, pa.string()) for name in ("uid", "part", "sha256", "pixel_sha256", "phash")] + [("thumbnail", pa.binary())]
)
COLUMNS = (
    "uid url_sha256 host_sha256 sha256 pixel_sha256 phash thumbnail width height caption_chars caption_letters script "
    "language language_probability error"
).split()
VERDICT = ("reason", "rule", "value", "threshold", "duplicate_of")

Strings = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScreenConfig:
    """Section `screen` of params.yaml."""

    min_side_px: int
    """Shorter sides are dropped."""
    max_aspect: float
    """Longer side over shorter side above this is dropped."""
    min_caption_chars: int
    """Fewer characters are dropped."""
    max_caption_chars: int
    """More characters are dropped."""
    scripts: list[str]
    """Scripts a caption may be in, by the first word of their letters' Unicode names."""
    languages: list[str]
    """Languages a caption may be in, ISO 639 codes."""
    min_language_probability: float
    """Another language drops a row only with at least this probability, 0 to 1."""
    min_language_letters: int
    """... and with at least this many letters: short captions cannot be told."""
    max_optout_distance: int
    """Bits of 64 in which a picture may differ from an opted-out perceptual hash and still be taken for it."""
    max_test_distance: int
    """Bits of 64 in which a picture may differ from an evaluation picture and still be taken for it."""
    max_test_rmse: float
    """... where their thumbnails differ by no more than this too: root mean square, grey levels of 0 to 255."""

    def __post_init__(self) -> None:
        for name in ("max_optout_distance", "max_test_distance"):
            if not 0 <= getattr(self, name) <= 16:
                raise ValueError(f"{name} must be in 0..16, not {getattr(self, name)}")
        if not 0 <= self.min_language_probability <= 1:
            raise ValueError(f"min_language_probability must be in 0..1, not {self.min_language_probability}")
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect must be >= 1, not {self.max_aspect}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One rule over N rows."""

    rule: str
    reason: str
    fails_N: Bools
    value: Callable[[int], str]
    """Row number -> what was found there."""
    threshold: str | None = None
    duplicate_of: Callable[[int], str] | None = None
    """Row number -> uid of the row that stays instead."""


def main(signals: Path, optouts: Path, benchmarks: Path, screened: Path, provenance: Path) -> None:
    """Screens the first snapshot."""
    config = params.load("screen", ScreenConfig)
    sets = params.names("sets")
    stage.prune(benchmarks, sets)
    settings = {"screen": config, "sets": sets}
    deps = [signals, optouts, benchmarks]
    with stage.run("screen", "all", params=settings, deps=deps, outs=[screened], provenance=provenance) as this:
        rows = records.read_table(signals, records.SIGNALS, columns=COLUMNS).sort_by("uid")
        verdicts = judge(rows, read_optouts(optouts), read_tests(benchmarks, sets), config)
        out = this.scratch / "out"
        records.write_table(verdicts, out / "verdicts.parquet")
        kept = verdicts.filter(verdicts["keep"]).select(["uid"])
        records.write_table(kept, out / "rows.parquet")
        counts = Counter(verdicts["reason"].to_pylist())
        failures = {**reasons.DOWNLOAD, **reasons.MEASURE}
        dropped = {word: n for word, n in counts.items() if word not in failures and word != reasons.KEPT}
        failed = {word: n for word, n in counts.items() if word in failures}
        this.account(rows_in=rows.num_rows, kept=kept.num_rows, dropped=dropped, failed=failed)
        this.publish(out, screened)


def read_optouts(path: Path) -> dict[str, set[str]]:
    """Returns the opted-out hex digits by kind."""
    found: dict[str, set[str]] = {}
    for row in records.read_table(path, records.OPTOUTS).to_pylist():
        found.setdefault(row["kind"], set()).add(row["value"])
    return found


def read_tests(benchmarks: Path, sets: list[str]) -> pa.Table:
    """Returns the hashes of every test picture of every set, with a column `set`.

    Raises:
        FileNotFoundError: if a set has none.
    """
    tables = [HASHES.append(pa.field("set", pa.string())).empty_table()]
    for name in sets:
        table = records.read_table(benchmarks / name / "test_hashes.parquet", HASHES)
        tables.append(table.append_column("set", pa.array([name] * table.num_rows, pa.string())))
    return pa.concat_tables(tables)


def judge(rows: pa.Table, optouts: dict[str, set[str]], tests: pa.Table, config: ScreenConfig) -> pa.Table:
    """Returns the verdict on every row, by the first rule that drops it.

    Args:
        rows: COLUMNS of the signals, sorted by uid.
        optouts: kind -> hex digits.
        tests: as `read_tests` returns them.
    """
    verdict = {name: np.full(rows.num_rows, None, dtype=object) for name in VERDICT}
    failed = np.flatnonzero(pc.is_valid(rows["error"]).to_numpy(zero_copy_only=False))
    verdict["reason"][failed] = _strings(rows["error"])[failed]
    verdict["rule"][failed] = [
        "download" if word in reasons.DOWNLOAD else "measure" for word in verdict["reason"][failed]
    ]
    places = np.flatnonzero(pc.is_null(rows["error"]).to_numpy(zero_copy_only=False))
    measured = rows.take(pa.array(places))
    stays = np.ones(len(places), dtype=bool)
    for check in (
        optouts_check(measured, optouts, config),
        *row_checks(measured, config),
        tests_check(measured, tests, config),
    ):
        _apply(check, stays, places, verdict)
    _apply(duplicate_check(measured, stays), stays, places, verdict)
    verdict["reason"][places[stays]] = reasons.KEPT
    columns = {name: pa.array(values, pa.string()) for name, values in verdict.items()}
    columns |= {"uid": rows["uid"], "keep": pc.equal(columns["reason"], reasons.KEPT)}
    columns["duplicate_of_snapshot"] = pa.nulls(rows.num_rows, pa.string())
    return pa.table(columns).select(records.VERDICTS.names).cast(records.VERDICTS)


def _apply(check: Check, stays: Bools, places: Places, verdict: dict[str, Strings]) -> None:
    """Writes down a rule's drops among the rows that stay, and takes them from those."""
    drops = np.flatnonzero(stays & check.fails_N)
    stays[drops] = False
    at = places[drops]
    verdict["reason"][at], verdict["rule"][at], verdict["threshold"][at] = check.reason, check.rule, check.threshold
    verdict["value"][at] = [check.value(row) for row in drops]
    if check.duplicate_of is not None:
        verdict["duplicate_of"][at] = [check.duplicate_of(row) for row in drops]


def optouts_check(rows: pa.Table, optouts: dict[str, set[str]], config: ScreenConfig) -> Check:
    """Drops what an opt-out names by URL, host, bytes or look."""
    fails_N = np.zeros(rows.num_rows, dtype=bool)
    value_N = np.full(rows.num_rows, None, dtype=object)
    for kind in ("url_sha256", "host_sha256", "sha256"):
        hit = pc.is_in(rows[kind], pa.array(sorted(optouts.get(kind, ())), pa.string())).to_numpy(zero_copy_only=False)
        value_N[hit & ~fails_N] = kind
        fails_N |= hit
    looks = pa.array(sorted(optouts.get("phash", ())), pa.string())
    distance, _ = decontamination.nearest_hash(hashes(rows["phash"]), hashes(looks), config.max_optout_distance)
    value_N[(distance >= 0) & ~fails_N] = "phash"
    fails_N |= distance >= 0
    return Check(rule="optouts", reason="opted_out", fails_N=fails_N, value=lambda row: str(value_N[row]))


def row_checks(rows: pa.Table, config: ScreenConfig) -> list[Check]:
    """Returns the rules that look at one row alone."""
    shorter = np.minimum(_numbers(rows["width"]), _numbers(rows["height"]))
    aspect = np.maximum(_numbers(rows["width"]), _numbers(rows["height"])) / np.maximum(shorter, 1)
    chars, letters = _numbers(rows["caption_chars"]), _numbers(rows["caption_letters"])
    script, language = _strings(rows["script"]), _strings(rows["language"])
    sure = _numbers(rows["language_probability"])
    foreign = ~np.isin(language.astype(str), config.languages) & (sure >= config.min_language_probability)
    short, long = config.min_caption_chars, config.max_caption_chars
    return [
        _check("side", "too_small", shorter < config.min_side_px, shorter, "g", config.min_side_px),
        _check("aspect", "too_elongated", aspect > config.max_aspect, aspect, ".3f", config.max_aspect),
        _check("caption_length", "caption_too_short", chars < short, chars, "g", short),
        _check("caption_length", "caption_too_long", chars > long, chars, "g", long),
        _check("caption_letters", "caption_without_letters", letters < 1, letters, "g", 1),
        _check("script", "script", ~np.isin(script.astype(str), config.scripts), script, "", " ".join(config.scripts)),
        _check(
            "language",
            "language",
            foreign & (letters >= config.min_language_letters),
            language,
            "",
            config.min_language_probability,
        ),
    ]


def tests_check(rows: pa.Table, tests: pa.Table, config: ScreenConfig) -> Check:
    """Drops pictures that are, or look like, an evaluation picture."""
    thumbnails_N, thumbnails_M = (looks.thumbnails_of(table["thumbnail"])[0] for table in (rows, tests))

    def alike(i: Places, j: Places) -> Bools:
        return looks.differences(thumbnails_N, thumbnails_M, i, j) <= config.max_test_rmse

    distance, nearest = decontamination.nearest_hash(
        hashes(rows["phash"]), hashes(tests["phash"]), config.max_test_distance, confirm=alike
    )
    same = [pc.is_in(rows[name], tests[name]).to_numpy(zero_copy_only=False) for name in ("sha256", "pixel_sha256")]
    sets = tests["set"].to_pylist()

    def value(row: int) -> str:
        return "same" if distance[row] < 0 else f"{distance[row]} {sets[nearest[row]]}"

    fails_N = (distance >= 0) | same[0] | same[1]
    threshold = f"{config.max_test_distance} bits, {config.max_test_rmse:g} levels"
    return Check(rule="decontamination", reason="test_picture", fails_N=fails_N, value=value, threshold=threshold)


def duplicate_check(rows: pa.Table, stays: Bools) -> Check:
    """Drops rows whose bytes a row with a smaller uid brings that stays."""
    sha256 = _strings(rows["sha256"])
    first: dict[str, int] = {}
    for row in np.flatnonzero(stays):
        first.setdefault(sha256[row], int(row))
    fails_N = np.array([first.get(digest, row) != row for row, digest in enumerate(sha256)], dtype=bool)
    uids = rows["uid"]
    return Check(
        rule="exact",
        reason="duplicate_exact",
        fails_N=fails_N,
        value=lambda row: str(sha256[row]),
        duplicate_of=lambda row: str(uids[first[sha256[row]]]),
    )


def hashes(column: pa.Array | pa.ChunkedArray) -> Hashes:
    """Returns a column of 16 hex digits as uint64."""
    return np.array([int(digits, 16) for digits in column.to_pylist()], dtype=np.uint64)


def _check(rule: str, reason: str, fails_N: Bools, found_N: Any, shown: str, threshold: object) -> Check:
    def value(row: int) -> str:
        return format(found_N[row], shown)

    return Check(rule=rule, reason=reason, fails_N=fails_N, value=value, threshold=str(threshold))


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Returns a column as numbers; null is NaN, of which no bound is true."""
    return np.asarray(column.cast(pa.float64()).to_numpy())


def _strings(column: pa.ChunkedArray) -> Strings:
    return np.array(column.to_pylist(), dtype=object)


if __name__ == "__main__":
    from pipelines.screen import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
