"""What stands in the shards: manifest against selection and ledger, every member against the manifest, root.json."""

import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage import digests, edges, records
from lineage.checks.findings import Finding, judged, unchecked
from lineage.checks.tree import OtherFormError, Tree, mapping, parsed, read_table

SHARDS, SELECTION, RAW, ROOT = "data/shards", "data/selection", "data/raw", "data/dataset/root.json"
_SPLITS = ("train", "val")
_SHARD = re.compile(r"(train|val)/\d{5}\.tar")
_BY_UID = ("uid", "ascending")
_REMEDY = "`rm -r PATH && dvc checkout PATH`; if it stays so, `dvc repro --force --single-item pack@SNAPSHOT`"


def snapshots(tree: Tree) -> list[str]:
    """Returns the snapshots whose shards are outs of the DAG."""
    return sorted(out.removeprefix(f"{SHARDS}/") for out in tree.outs if re.fullmatch(rf"{SHARDS}/[^/]+", out))


def is_recorded(tree: Tree, path: str) -> bool:
    """Returns whether the DAG has a file of that name, or may have: its folder's listing need not be here."""
    return tree.recorded(path) != edges.ABSENT


def check(tree: Tree, snapshot: str) -> Iterator[Finding]:
    """Yields a finding of the manifest of a snapshot and one of each of its shards."""
    folder = f"{SHARDS}/{snapshot}"
    path = f"{folder}/manifest.parquet"
    if not is_recorded(tree, path):
        return
    remedy = _REMEDY.replace("PATH", folder).replace("SNAPSHOT", snapshot)
    file = tree.find(path)
    if file is None:
        yield unchecked("rows", path, "the manifest is not here")
        return
    try:
        manifest = read_table(file, records.MANIFEST)
        yield _manifest(tree, snapshot, path, manifest, remedy)
    except OtherFormError as error:
        yield unchecked("rows", path, str(error), "check it out with the code of its time")
        return
    except ValueError as error:
        yield judged("rows", path, [str(error)], remedy)
        return
    for shard in sorted(pc.unique(manifest["shard"]).to_pylist()):
        if _SHARD.fullmatch(shard):
            listed = manifest.filter(pc.equal(manifest["shard"], shard)).sort_by([("offset", "ascending"), _BY_UID])
            yield _shard(tree, f"{folder}/{shard}", listed.to_pylist(), remedy)


def check_root(tree: Tree) -> Iterator[Finding]:
    """Yields whether root.json, which names the data set, is what its shards make it."""
    if ROOT not in tree.outs and not any(ROOT.startswith(f"{out}/") for out in tree.outs):
        return
    remedy = "`rm -r data/dataset && dvc checkout data/dataset`, or `dvc repro`"
    try:
        root = tree.json(ROOT)
    except ValueError as error:
        yield judged("rows", ROOT, [str(error)], remedy)
        return
    if root is None:
        yield unchecked("rows", ROOT, "is not here")
        return
    entries = root.get("shards") if isinstance(root, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield judged("rows", ROOT, ["lists no shards"], remedy)
        return
    problems = [] if root.get("digest") == digests.content_digest(entries) else ["its digest is not that of its shards"]
    listed = root.get("snapshots")
    if not isinstance(listed, list) or sorted(map(str, listed)) != snapshots(tree):
        problems.append("its snapshots are not those of the DAG")
    totals = {split: sum(_int(entry, "rows") for entry in entries if entry.get("split") == split) for split in _SPLITS}
    if root.get("rows") != totals:
        problems.append("its rows are not the sum of its shards'")
    missing, differing = _entries(tree, entries)
    yield judged("rows", ROOT, problems + differing, remedy)
    if missing:
        yield unchecked("rows", ROOT, f"{len(missing)} of {len(entries)} shards it lists are not here")


def _entries(tree: Tree, entries: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Returns the listed shards that are not here, and those with another sha256."""
    missing, differing = [], []
    for entry in entries:
        path = f"{SHARDS}/{entry.get('snapshot')}/{entry.get('shard')}"
        file = tree.find(path)
        if file is None:
            missing.append(path)
        elif digests.sha256_file(file) != entry.get("sha256"):
            differing.append(f"{path} has another sha256 than it lists")
    return missing, differing


def _manifest(tree: Tree, snapshot: str, path: str, manifest: pa.Table, remedy: str) -> Finding:
    uids, named = manifest["uid"].combine_chunks(), pc.unique(manifest["shard"]).to_pylist()
    is_sorted = len(uids) < 2 or pc.all(pc.less(uids[:-1], uids[1:])).as_py()
    problems = [] if is_sorted else ["its rows are not in order of uid, each once"]
    problems += [f"{shard!r} is no name of a shard" for shard in sorted(named) if not _SHARD.fullmatch(shard)]
    elsewhere = pc.invert(pc.equal(pc.list_element(pc.split_pattern(manifest["shard"], "/"), 0), manifest["split"]))
    problems += [f"{uid} lies in a shard of another split" for uid in manifest.filter(elsewhere)["uid"].to_pylist()]
    listing = tree.listing(f"{SHARDS}/{snapshot}")
    beside = {name for name in listing or () if name.endswith(".tar")} ^ set(named)
    problems += [f"{name} is in the folder or in the manifest, not in both" for name in sorted(beside) if listing]
    problems += _against_selection(tree, snapshot, manifest)
    problems += _against_ledger(tree, snapshot, manifest)
    return judged("rows", path, problems, remedy)


def _against_selection(tree: Tree, snapshot: str, manifest: pa.Table) -> list[str]:
    problems = []
    kept = tree.find(f"{SELECTION}/{snapshot}/kept.parquet")
    if kept is not None:
        chosen = read_table(kept, records.KEPT).sort_by("uid")
        if not _same(manifest.select(["uid", "split"]).sort_by("uid"), chosen.select(["uid", "split"])):
            problems.append("its pairs and splits are not those of kept.parquet")
    verdicts = tree.find(f"{SELECTION}/{snapshot}/verdicts.parquet")
    if verdicts is not None:
        judgement = read_table(verdicts, records.VERDICTS, ["uid", "keep"])
        kept_uids = judgement.filter(judgement["keep"]).select(["uid"]).sort_by("uid")
        if not _same(manifest.select(["uid"]).sort_by("uid"), kept_uids):
            problems.append("its pairs are not those that verdicts.parquet keeps")
    return problems


def _same(one: pa.Table, other: pa.Table) -> bool:
    return bool(one.combine_chunks().equals(other.combine_chunks()))


def _against_ledger(tree: Tree, snapshot: str, manifest: pa.Table) -> list[str]:
    ledger = tree.find(f"{RAW}/{snapshot}/ledger.parquet")
    if ledger is None:
        return []
    fetched = read_table(ledger, records.LEDGER, ["uid", "sha256"], is_full=False).rename_columns(["uid", "fetched"])
    joined = manifest.select(["uid", "source_sha256"]).join(fetched, "uid")
    others = joined.filter(pc.invert(pc.fill_null(pc.equal(joined["source_sha256"], joined["fetched"]), False)))
    return [f"{uid} has another source_sha256 than the ledger" for uid in sorted(others["uid"].to_pylist())]


def _shard(tree: Tree, path: str, rows: list[dict[str, Any]], remedy: str) -> Finding:
    file = tree.find(path)
    if file is None:
        return unchecked("rows", path, "the shard is not here")
    try:
        problems = list(_members(file, rows))
    except (tarfile.TarError, EOFError, ValueError) as error:
        problems = [f"cannot be read as tar ({' '.join(str(error).split())[:200]})"]
    return judged("rows", path, problems, remedy)


def _members(file: Path, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields what is wrong with the members of a shard: three a manifest row, in its order, and no other."""
    with tarfile.open(file, "r:") as tar:
        members = tar.getmembers()
        if len(members) != 3 * len(rows):
            yield f"holds {len(members)} members, the manifest {len(rows)} pairs of three"
        for place, row in enumerate(rows):
            triple = members[3 * place : 3 * place + 3]
            if len(triple) == 3:
                yield from _pair(tar, triple, row)


def _pair(tar: tarfile.TarFile, triple: Sequence[tarfile.TarInfo], row: dict[str, Any]) -> Iterator[str]:
    uid, (picture, facts, caption) = row["uid"], triple
    names = [member.name for member in triple]
    if not picture.name.startswith(f"{uid}.") or names[1:] != [f"{uid}.json", f"{uid}.txt"]:
        yield f"{uid} is not where the manifest says: {', '.join(names)[:200]!r} is"
        return
    if (picture.offset_data, picture.size) != (row["offset"], row["length"]):
        yield f"{uid}: offset or length differ from the manifest's"
    if not all(member.isreg() for member in triple) or _sha256(tar, picture) != row["sha256"]:
        yield f"{uid}: the picture's bytes have another sha256 than the manifest says"
    text = _content(tar, caption).decode("utf-8", "replace")
    told = mapping(parsed(_content(tar, facts).decode("utf-8", "replace")))
    if told.get("caption") != text or records.uid_of(str(told.get("url")), text) != uid:
        yield f"{uid}: URL and caption are not those it names"
    if any(told.get(key) != row[key] for key in ("sha256", "source_sha256", "split")):
        yield f"{uid}: its json disagrees with the manifest"


def _sha256(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = tar.extractfile(member)
    if file is None:
        return ""
    hashed = hashlib.sha256()
    while chunk := file.read(1 << 20):
        hashed.update(chunk)
    return hashed.hexdigest()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return file.read() if file else b""


def _int(entry: dict[str, Any], key: str) -> int:
    value = entry.get(key)
    return value if isinstance(value, int) else 0
