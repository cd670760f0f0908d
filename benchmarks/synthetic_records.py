"""Manifests of many pairs without a picture: what source, download, measure, select, pack and train leave, made up."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage import files, reasons, records

SNAPSHOTS = {"s1": 0.8, "s2": 0.2}
"""Share of the rows."""
MODELS = ("clip-0", "cyclip-0", "nclip-0", "xclip-0", "scorer")
_ROWS_PER_HOST = 10
_ROWS_PER_PART = 100_000
_DROPPED = {"http_404": 0.1, "timeout": 0.03, "opt_out": 0.01, "too_small": 0.1, "duplicate_exact": 0.08}
_DROPPED |= {"below_top_fraction": 0.1, "language": 0.04}
_DROPPED_FRACS = list(_DROPPED.values())
_WORDS = "old harbour winter photograph of a red boat with three people near the market in morning light".split()


def make_project(root: Path, num_rows: int) -> list[dict[str, Any]]:
    """Makes a project whose records tell of `num_rows` pairs; returns some of their source rows."""
    root.mkdir(parents=True)
    files.write_text(
        root / "params.yaml", f"snapshots: [{', '.join(SNAPSHOTS)}]\nobjectives: {_objectives()}\nseeds: [0]\n"
    )
    files.write_text(root / "dvc.yaml", "stages: {}\n")
    files.write_text(root / "dvc.lock", "schema: '2.0'\nstages: {}\n")
    subprocess.run(["git", "init", "-q", root], check=True)
    seen: list[pa.Table] = []
    some: list[dict[str, Any]] = []
    nodes = {}
    start = 0
    for snapshot, share in SNAPSHOTS.items():
        stop = start + round(num_rows * share)
        source = _source(start, stop)
        seen.append(_write(root, snapshot, source))
        some += source.take(np.linspace(0, len(source) - 1, 40).astype(int)).to_pylist()
        counts = {"rows_in": len(source), "kept": len(source), "dropped": {}, "failed": {}}
        nodes[f"source@{snapshot}"] = {"stage": "source", "instance": snapshot, "counts": counts}
        start = stop
    exposure = pa.concat_tables(seen)
    for model in MODELS:
        records.write_table(exposure, root / f"models/{model}/exposure.parquet")
    files.write_json(root / "data/audit/graph.json", {"nodes": nodes, "roots": {}, "edges": []})
    return some


def _objectives() -> str:
    return "[" + ", ".join(model.removesuffix("-0") for model in MODELS if model.endswith("-0")) + "]"


def _source(start: int, stop: int) -> pa.Table:
    """Returns rows of a source, sorted by uid; hosts are many and few are large."""
    random = np.random.default_rng(start)
    num_hosts = max((stop - start) // _ROWS_PER_HOST, 10)
    host_N = np.minimum(random.zipf(1.3, stop - start), num_hosts)
    word_ND = random.integers(0, len(_WORDS), (stop - start, 9))
    rows = []
    for number, host, words in zip(range(start, stop), host_N.tolist(), word_ND.tolist(), strict=True):
        name = f"pictures{host}.site{host % 997}.test"
        url = f"https://{name}/albums/{number % 4096:03x}/original/{number}.jpg"
        caption = f"{' '.join(_WORDS[word] for word in words)}, number {number}"
        rows.append((records.uid_of(url, caption), url, caption, _sha256(url), name, _sha256(name), "CC-BY-4.0"))
    names = ("uid", "url", "caption", "url_sha256", "host", "host_sha256", "license")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()}).sort_by("uid")


def _write(root: Path, snapshot: str, source: pa.Table) -> pa.Table:
    """Writes every record of a snapshot and returns its rows of an exposure."""
    size = len(source)
    random = np.random.default_rng(size)
    words = np.array(["kept", *_DROPPED])
    reason = pa.array(words[random.choice(len(words), size, p=[1 - sum(_DROPPED_FRACS), *_DROPPED_FRACS])])
    fetched = pc.invert(pc.is_in(reason, pa.array(list(reasons.DOWNLOAD))))
    sha256 = pc.if_else(fetched, pa.array([_sha256(uid) for uid in source["uid"].to_pylist()]), None)
    kept = pc.equal(reason, "kept")
    failure = pc.if_else(fetched, None, reason)
    uid = source["uid"].combine_chunks()
    first = pc.if_else(pc.equal(reason, "duplicate_exact"), uid[0].as_py(), None)
    whole = _filled(records.SOURCE, {name: source[name] for name in source.column_names})
    records.write_table(whole, root / f"data/source/{snapshot}/source.parquet")
    ledger = {"uid": uid, "outcome": pc.if_else(fetched, "ok", "failed"), "reason": failure, "sha256": sha256}
    ledger["bytes"] = pc.if_else(fetched, 20_000, None)
    records.write_table(_filled(records.LEDGER, ledger), root / f"data/raw/{snapshot}/ledger.parquet")
    signals = {"uid": uid, "sha256": sha256, "phash": pc.utf8_slice_codeunits(sha256, 0, 16)}
    signals |= {name: pc.if_else(fetched, value, None) for name, value in (("format", "jpg"), ("language", "en"))}
    signals |= {name: pc.if_else(fetched, 512, None) for name in ("width", "height")}
    every = _filled(records.SIGNALS, signals)
    for number, start in enumerate(range(0, size, _ROWS_PER_PART)):
        part = root / f"data/signals/{snapshot}/{number:05d}.parquet"
        records.write_table(every.slice(start, _ROWS_PER_PART), part)
    verdicts = {"uid": uid, "keep": kept, "reason": reason, "duplicate_of": first}
    verdicts["rule"] = pc.if_else(kept, None, "top_fraction")
    verdicts |= {name: pc.if_else(kept, None, "0.578572") for name in ("value", "threshold")}
    records.write_table(_filled(records.VERDICTS, verdicts), root / f"data/selection/{snapshot}/verdicts.parquet")
    chosen = uid.filter(kept)
    numbers = np.arange(len(chosen))
    manifest = {
        "uid": chosen,
        "split": pa.array(["train"] * len(chosen)),
        "shard": pa.array([f"train/{number:05d}.tar" for number in (numbers // 1000).tolist()]),
        "offset": pa.array(numbers % 1000 * 22_528 + 512),
        "length": pa.array(np.full(len(chosen), 20_000)),
    }
    records.write_table(_filled(records.MANIFEST, manifest), root / f"data/shards/{snapshot}/manifest.parquet")
    names = pa.array([snapshot] * len(chosen))
    return pa.table({"snapshot": names, "uid": chosen, "count": pa.array(np.full(len(chosen), 32))})


def _filled(schema: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    """Returns a table with nulls where nothing is given."""
    size = len(columns["uid"])
    found = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(size, field.type)
        for field in schema
    ]
    return pa.table(found, schema=schema)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
