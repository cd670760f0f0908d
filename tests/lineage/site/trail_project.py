"""A small project as every stage leaves it, with pairs of every fate and captions that would like to be code."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

from lineage import digests, files, records

HOSTILE = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "quotes": "\"' onmouseover='alert(3)' x=\"]]>*/`${alert(4)}`</script><!--",
    "bidi": "safe \u202egnp.exe\u202c \u2066turned\u2069 \u200bhidden",
    "null": "before\0after\x1b[31m\x07",
    "separators": "line\u2028paragraph\u2029end & &lt;b&gt; \\u003c",
    "emoji": "a \U0001f469\u200d\U0001f680 flies, نص عربي, 日本語",
    "long": "so <b>long</b> & " * 60_000,
}
"""Captions by name."""
OPTED_OUT = {"header": "a private thing", "takedown": "another private thing", "hash": "a third private thing"}
"""Captions of pairs that nobody may see."""
MODELS = ("clip-0", "scorer")


def url_of(name: str) -> str:
    return f"http://{'private' if name in OPTED_OUT else 'a'}.pictures.test/{name}?q=<b>&x='\""


def caption_of(name: str) -> str:
    return {**HOSTILE, **OPTED_OUT}.get(name, f"the picture {name}")


def uid(name: str) -> str:
    return records.uid_of(url_of(name), caption_of(name))


def png(name: str) -> bytes:
    """Returns a picture, another one for each name, with a comment inside."""
    colour = tuple(digests.sha256_bytes(name.encode()).encode()[:3])
    target = io.BytesIO()
    picture = Image.new("RGB", (90, 70), colour)
    picture.info["icc_profile"] = b"SECRET PROFILE"
    picture.save(target, "PNG", icc_profile=b"SECRET PROFILE")
    return target.getvalue()


KEPT = (*HOSTILE, "plain")
FATES: dict[str, str] = {
    **dict.fromkeys(KEPT, "kept"),
    "copy": "duplicate_exact",
    "gone": "http_404",
    "small": "too_small",
    "header": "opt_out",
    "takedown": "kept",
    "hash": "opted_out",
}
AGAIN = ("plain", "takedown")
"""In the second snapshot too, where the second is a tombstone."""


def lay_down(root: Path) -> None:
    """Writes the project: snapshot s1 with every fate, s2 with rows seen before."""
    files.write_text(root / "params.yaml", "snapshots: [s1, s2]\nobjectives: [clip]\nseeds: [0]\nselect: {rules: []}\n")
    files.write_text(root / "dvc.yaml", "stages: {}\n")
    files.write_text(root / "dvc.lock", "stages: {}\n")
    write(root, "s1", FATES)
    write(root, "s2", dict.fromkeys(AGAIN, "seen_before"), tombstones=("takedown",))
    optouts = [{"kind": "sha256", "value": digests.sha256_bytes(png("hash"))}]
    records.write_table(records.rows_table(optouts, records.OPTOUTS), root / "data/optouts.parquet")
    for model, count in zip(MODELS, (11, 4), strict=True):
        seen = [{"snapshot": "s1", "uid": uid(name), "count": count} for name in sorted(KEPT, key=uid)]
        path = root / f"models/{model}/exposure.parquet"
        records.write_table(records.rows_table(seen, records.EXPOSURE), path)
    metric = {"value": 0.125, "chance": 0.01, "n": 100}
    files.write_json(
        root / "results/clip-0/metrics.json", {"sets": {"emoji": {"naming": {"novel": {"names": {"top_1": metric}}}}}}
    )
    files.write_json(root / "data/audit/graph.json", graph())
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)


def graph() -> dict[str, Any]:
    """Returns what audit says, as short as can be."""
    counts = {"rows_in": 20, "kept": 14, "dropped": {"repeat": 4}, "failed": {"no_url": 2}}
    names = {"source@s1": ("source", "s1"), "source@s2": ("source", "s2"), "select": ("select", "all")}
    empty = {"rows_in": 2, "kept": 2, "dropped": {}, "failed": {}}
    nodes = {
        name: {"stage": stage, "instance": instance, "counts": empty if instance == "s2" else counts}
        for name, (stage, instance) in names.items()
    }
    edges = [
        {"reader": "source@s1", "path": "data/lists/s1", "digest": "1" * 32, "producers": []},
        {"reader": "select", "path": "data/source/s1", "digest": "2" * 32, "producers": ["source@s1"]},
        {"reader": "select", "path": "provenance/source", "digest": "3" * 32, "producers": ["source@s2"]},
    ]
    return {"nodes": nodes, "roots": {"data/lists/s1": "1" * 32}, "edges": edges}


def write(root: Path, snapshot: str, fates: dict[str, str], tombstones: tuple[str, ...] = ()) -> None:
    """Writes what every stage leaves of one snapshot."""
    names = sorted(fates, key=uid)
    offsets = _write_tar(root / f"data/raw/{snapshot}/00000.tar", [name for name in names if name != "gone"])
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ("source", "ledger", "signals", "verdicts", "places")}
    for name in names:
        reason, is_gone = fates[name], fates[name] in ("http_404", "opt_out")
        host = url_of(name).split("/")[2]
        known = {"uid": uid(name), "url_sha256": _sha256(url_of(name)), "host_sha256": _sha256(host)}
        shown = {} if name in tombstones else {"url": url_of(name), "caption": caption_of(name), "host": host}
        rows["source"].append({**known, **shown})
        sha256 = None if is_gone else digests.sha256_bytes(png("plain" if name == "copy" else name))
        place = {"shard": 0, "offset": offsets[name], "bytes": len(png(name))} if not is_gone else {}
        fetched = {"outcome": "failed" if is_gone else "ok", "reason": reason if is_gone else None, "sha256": sha256}
        rows["ledger"].append({"uid": uid(name), **fetched, **place})
        looks = {} if is_gone else {"format": "png", "width": 90, "height": 70, "language": "en", "phash": "0" * 16}
        rows["signals"].append({"uid": uid(name), "sha256": sha256, **looks})
        other = {"duplicate_of": uid("plain"), "duplicate_of_snapshot": "s1"} if reason == "duplicate_exact" else {}
        said = {} if reason == "kept" else {"rule": "a_rule", "value": "3", "threshold": "8"}
        rows["verdicts"].append({"uid": uid(name), "keep": reason == "kept", "reason": reason, **said, **other})
        if reason == "kept":
            rows["places"].append(
                {"uid": uid(name), "split": "train", "shard": "train/00000.tar", "offset": 512, "length": 9}
            )
    for kind, path, schema in (
        ("source", f"data/source/{snapshot}/source.parquet", records.SOURCE),
        ("ledger", f"data/raw/{snapshot}/ledger.parquet", records.LEDGER),
        ("signals", f"data/signals/{snapshot}/00000.parquet", records.SIGNALS),
        ("verdicts", f"data/selection/{snapshot}/verdicts.parquet", records.VERDICTS),
        ("places", f"data/shards/{snapshot}/manifest.parquet", records.MANIFEST),
    ):
        records.write_table(records.rows_table(rows[kind], schema), root / path)


def _write_tar(path: Path, names: list[str]) -> dict[str, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets = {}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            info = tarfile.TarInfo(f"{uid(name)}.png")
            content = png("plain" if name == "copy" else name)
            info.size = len(content)
            offsets[name] = tar.offset + 512
            tar.addfile(info, io.BytesIO(content))
    return offsets


def _sha256(text: str) -> str:
    return digests.sha256_bytes(text.encode())
