"""A small project with every record that the questions read, in git and DVC's cache: two revisions of the same data."""

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage import audit, digests, files, records, trail
from lineage.cursors import Cursor
from tests.lineage.conftest import call, commit, dvc

URLS = {
    "s1": {
        1: ("http://a.test/1.png", "a red <b>fox</b>"),
        2: ("http://a.test/2.png", "too small"),
        3: ("http://img.b.test/3.png", "a blue bird"),
        4: ("http://b.test/gone.png", "gone"),
    },
    "s2": {
        1: ("http://a.test/1.png", "a red <b>fox</b>"),
        5: ("http://c.test/copy-of-3.png", "the same bird"),
        6: ("http://c.test/6.png", "a green frog"),
    },
}
REASONS = {
    "s1": {1: "kept", 2: "too_small", 3: "kept", 4: "http_404"},
    "s2": {1: "seen_before", 5: "duplicate_exact", 6: "kept"},
}
RULES = {"too_small": "side", "duplicate_exact": "exact"}
SPLITS = {1: "train", 3: "train", 6: "val"}
SEEN = {"clip-0": {("s1", 1): 11, ("s1", 3): 10}, "scorer": {("s1", 1): 4, ("s1", 2): 3}}
LOOKS = {1: 0b1, 2: 0b10, 3: 0xFF00, 5: 0xFF00, 6: 0xFFFF0000}
PARAMS = """snapshots: [s1, s2]
objectives: [clip]
seeds: [0]
sets: []
select:
  rules:
    - {rule: opt_out, max_distance: 2}
    - {rule: side, min_px: 32}
    - {rule: exact, same_image_captions: keep_one}
"""
OUTS = {
    "source": ["data/source/s1", "data/source/s2"],
    "download": ["data/raw/s1", "data/raw/s2"],
    "measure": ["data/signals/s1", "data/signals/s2"],
    "screen": ["data/screen"],
    "scorer": ["models/scorer"],
    "embed": ["data/embeddings/s1", "data/embeddings/s2"],
    "select": ["data/selection", "provenance/select/all.json"],
    "pack": ["data/shards/s1", "data/shards/s2"],
    "trail": ["data/trail/s1", "data/trail/s2"],
    "dataset": ["data/dataset"],
    "train": ["models/clip-0"],
    "evaluate": ["results/clip-0"],
    "audit": ["data/audit"],
}
DEPS = {
    "source": ["data/lists/{}"],
    "download": ["data/source/{}"],
    "measure": ["data/raw/{}"],
    "screen": ["data/signals/s1", "data/optouts.parquet"],
    "scorer": ["data/screen"],
    "embed": ["data/signals/{}", "models/scorer"],
    "select": ["data/signals", "data/embeddings", "data/optouts.parquet"],
    "pack": ["data/raw/{}", "data/selection/{}/kept.parquet"],
    "trail": ["data/signals/{}", "data/selection/{}", "data/shards/{}/manifest.parquet"],
    "dataset": ["data/shards", "data/selection"],
    "train": ["data/dataset/root.json", "data/shards"],
    "evaluate": ["models/clip-0"],
    "audit": ["data/trail", "models"],
}
PER_SNAPSHOT = ("source", "download", "measure", "embed", "pack", "trail")


def uid(snapshot: str, number: int) -> str:
    return records.uid_of(*URLS[snapshot][number])


def sha(text: str) -> str:
    return digests.sha256_bytes(text.encode())


def picture(number: int) -> bytes:
    """Returns the bytes of a picture; 5 is a copy of 3."""
    return b"picture %d" % (3 if number == 5 else number)


def build(folder: Path) -> None:
    """Lays the project down and commits it twice: in the second, opt-outs and metrics are others."""
    folder.mkdir(parents=True)
    call(folder, "git", "init", "-q", "-b", "main")
    dvc(folder, "init", "-q")
    (folder / ".dvcignore").write_text("**/.gitignore\n")
    (folder / ".gitignore").write_text("/.work/\n/store/\n")
    lay_down(folder)
    for root in ("data/lists/s1", "data/lists/s2", "data/optouts.parquet"):
        dvc(folder, "add", "-q", root)
    dvc(folder, "commit", "-q", "-f")
    commit(folder, "first")
    drop_the_fox(folder)
    dvc(folder, "commit", "-q", "-f")
    commit(folder, "second")


def lay_down(folder: Path) -> None:
    """Writes every record of the first revision."""
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "dvc.yaml").write_text(_dag())
    write(folder, "data/optouts.parquet", [], records.OPTOUTS)
    for snapshot in URLS:
        files.write_text(folder / f"data/lists/{snapshot}/list.csv", "url,caption\n")
        _lay_down_rows(folder, snapshot)
    files.write_json(folder / "provenance/select/all.json", {"params": {"select": _rules()}})
    files.write_text(folder / "data/screen/rows.txt", "rows")
    files.write_json(folder / "data/dataset/root.json", {"digest": "d" * 64})
    files.write_json(folder / "results/clip-0/metrics.json", {"emoji": {"top_1": {"value": 0.5}}})
    for model, seen in SEEN.items():
        _lay_down_model(folder, model, seen)
    index(folder)


def drop_the_fox(folder: Path) -> None:
    """Makes the second revision: pair 1 of s1 is opted out and trained on no more, pair 3 has other bytes."""
    write(
        folder, "data/optouts.parquet", [{"kind": "url_sha256", "value": sha("http://a.test/1.png")}], records.OPTOUTS
    )
    dvc(folder, "add", "-q", "data/optouts.parquet")
    (folder / "params.yaml").write_text(PARAMS + "# second\n")
    _lay_down_selection(folder, "s1", {**REASONS["s1"], 1: "opted_out"}, pictures={3: b"another"})
    _lay_down_model(folder, "clip-0", {("s1", 3): 20})
    _lay_down_model(folder, "scorer", {("s1", 2): 7})
    files.write_json(folder / "results/clip-0/metrics.json", {"emoji": {"top_1": {"value": 0.25}}})
    files.write_json(folder / "data/dataset/root.json", {"digest": "e" * 64})
    index(folder)


def index(folder: Path) -> None:
    """Makes trails and exposures by the functions of their stages."""
    for snapshot in URLS:
        made = folder / "data/trail" / snapshot
        told = trail.pairs(
            snapshot,
            Cursor(folder / f"data/selection/{snapshot}/verdicts.parquet", records.VERDICTS, trail.VERDICT),
            Cursor(folder / f"data/selection/{snapshot}/kept.parquet", records.KEPT, records.KEPT.names),
            Cursor(folder / f"data/shards/{snapshot}/manifest.parquet", records.MANIFEST, trail.PLACE),
        )
        records.write_tables(told, trail.PAIRS, made / "pairs.parquet")
        trail.index(folder / f"data/signals/{snapshot}", made)
    for model in SEEN:
        exposure = records.read_table(folder / f"models/{model}/exposure.parquet", records.EXPOSURE)
        audit.write_exposures(model, exposure, None, folder / "data/trail", list(URLS), folder / "data/audit")
    files.write_json(folder / "data/audit/graph.json", {})


def write(folder: Path, path: str, rows: list[dict[str, Any]], schema: Any) -> None:
    records.write_table(records.rows_table(rows, schema), folder / path)


def _lay_down_rows(folder: Path, snapshot: str) -> None:
    rows = URLS[snapshot].items()
    source, ledger, signals, scores = [], [], [], []
    for number, (url, caption) in rows:
        host = url.split("/")[2]
        key = {"uid": uid(snapshot, number)}
        hashes = {"url_sha256": sha(url), "host": host, "host_sha256": sha(host)}
        source.append({**key, "url": url, "caption": caption, **hashes})
        is_fetched = number != 4
        bytes_sha = digests.sha256_bytes(picture(number)) if is_fetched else None
        fetched = {"outcome": "ok", "sha256": bytes_sha} if is_fetched else {"outcome": "failed", "reason": "http_404"}
        ledger.append({**key, **fetched})
        look = f"{LOOKS[number]:016x}" if is_fetched else None
        signals.append({**key, **hashes, "sha256": bytes_sha, "phash": look, "width": 8 * number})
        if is_fetched and number != 2:
            scores.append({**key, "clip_score": number / 10})
    write(folder, f"data/source/{snapshot}/source.parquet", source, records.SOURCE)
    write(folder, f"data/source/{snapshot}/repeats.parquet", [], records.REPEATS)
    write(folder, f"data/raw/{snapshot}/ledger.parquet", ledger, records.LEDGER)
    ordered = sorted(signals, key=lambda row: str(row["uid"]))
    for part in range(2):  # as Beam leaves them: in parts, in order
        half = ordered[: len(ordered) // 2] if part == 0 else ordered[len(ordered) // 2 :]
        write(folder, f"data/signals/{snapshot}/{part:05}.parquet", half, records.SIGNALS)
    write(folder, f"data/embeddings/{snapshot}/00000.parquet", scores, records.EMBEDDINGS)
    _lay_down_selection(folder, snapshot, REASONS[snapshot], pictures={})


def _lay_down_selection(folder: Path, snapshot: str, reasons: dict[int, str], pictures: dict[int, bytes]) -> None:
    verdicts, values, kept, manifest, offset = [], [], [], [], 0
    for number, reason in sorted(reasons.items(), key=lambda item: uid(snapshot, item[0])):
        key = {"uid": uid(snapshot, number)}
        of = {"duplicate_of": uid("s1", 3 if number == 5 else 1), "duplicate_of_snapshot": "s1"}
        is_copy = reason in ("duplicate_exact", "seen_before")
        rule = {"rule": RULES[reason], "value": "16", "threshold": "32"} if reason in RULES else {}
        verdicts.append({**key, "keep": reason == "kept", "reason": reason, **rule, **(of if is_copy else {})})
        values.append({**key, "side": 8.0 * number, "exact": None})
        if reason == "kept":
            content = pictures.get(number, picture(number))
            place = {"split": SPLITS[number], "shard": f"{SPLITS[number]}/00000.tar", "offset": 512 + offset}
            kept.append({**key, "split": SPLITS[number]})
            hashes = dict.fromkeys(("sha256", "source_sha256"), digests.sha256_bytes(content))
            manifest.append({**key, **place, "length": len(content), **hashes})
            _pack(folder / f"data/shards/{snapshot}/{place['shard']}", f"{key['uid']}.png", content)
            offset += 1024
    write(folder, f"data/selection/{snapshot}/verdicts.parquet", verdicts, records.VERDICTS)
    schema = pa.schema([("uid", "string"), ("opt_out", "string"), ("side", "double"), ("exact", "string")])
    write(folder, f"data/selection/{snapshot}/values.parquet", values, schema)
    write(folder, f"data/selection/{snapshot}/kept.parquet", kept, records.KEPT)
    write(folder, f"data/shards/{snapshot}/manifest.parquet", manifest, records.MANIFEST)


def _pack(shard: Path, name: str, content: bytes) -> None:
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def _lay_down_model(folder: Path, model: str, seen: dict[tuple[str, int], int]) -> None:
    rows = [{"snapshot": name, "uid": uid(name, number), "count": count} for (name, number), count in seen.items()]
    write(folder, f"models/{model}/exposure.parquet", rows, records.EXPOSURE)
    files.write_text(folder / f"models/{model}/open_clip_model.safetensors", f"{model} {seen}")


def _rules() -> dict[str, Any]:
    names = [{"rule": "opt_out", "max_distance": 2}, {"rule": "side", "min_px": 32}]
    return {"rules": [*names, {"rule": "exact", "same_image_captions": "keep_one"}]}


def _dag() -> str:
    lines = ["stages:"]
    for stage, outs in OUTS.items():
        matrix = '    matrix: {snapshot: ["s1", "s2"]}\n' if stage in PER_SNAPSHOT else ""
        item = "${item.snapshot}"
        mine = [outs[0].replace("s1", item)] if stage in PER_SNAPSHOT else outs
        deps = [dep.format(item) for dep in DEPS[stage]]
        lines.append(f"  {stage}:\n{matrix}    cmd: {sys.executable} -m {stage}")
        lines.append("    deps: [" + ", ".join(f'"{dep}"' for dep in deps) + "]")
        lines.append("    outs: [" + ", ".join(f'"{out}"' for out in mine) + "]")
    return (
        "\n".join(lines)
        .replace("train:\n", 'train:\n    matrix: {objective: ["clip"], seed: ["0"]}\n')
        .replace("evaluate:\n", 'evaluate:\n    matrix: {objective: ["clip"], seed: ["0"]}\n')
        + "\n"
    )
