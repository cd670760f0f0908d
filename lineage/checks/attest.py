"""Three witnesses of every run: dvc.lock, the provenance file it left, and its run record. What does each say?

The provenance file is one of the outs, so its own digest ties the three together. lineage/verify.py says what counts as
broken and what as unattested.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineage import dag, digests, runs
from lineage.checks.findings import RERUN, Finding, judged, unchecked
from lineage.checks.imports import Code
from lineage.checks.tree import Tree, mapping, parsed, split

Record = Mapping[str, Any]
_INEXACT = "torch"
"""A training is bit-identical on one machine only: of what it makes elsewhere, only the exposure is the same."""
_EXACT = "exposure.parquet"
_OPEN = ("download",)
"""Stages that look at the web: the same inputs may bring other bytes."""


def check(instance: dag.Instance, tree: Tree, records: Sequence[Record], code: Code) -> Iterator[Finding]:
    """Yields what the provenance file of a stage instance and its run records, oldest first, say to dvc.lock."""
    path = tree.provenance_path(instance.name)
    if path is None:
        yield unchecked("provenance", instance.name, "has no provenance file among its outs", "none")
    elif tree.find(path) is None:
        yield unchecked("provenance", instance.name, f"{path} is not here", f"`dvc pull {path}`")
    else:
        yield judged("provenance", instance.name, _differing(instance, path, tree.provenance(instance.name)), RERUN)
    yield _attested(instance, path, tree, records, code)


def differing_params(recorded: Any, sections: Mapping[str, Any]) -> list[str]:
    """Returns the sections of params that a provenance file records with other values, as far as it names them.

    A stage with one section may record its content alone.
    """
    if len(sections) == 1 and recorded == next(iter(sections.values())):
        return []
    if not isinstance(recorded, dict) or (len(sections) == 1 and not recorded.keys() & sections.keys()):
        return sorted(sections)
    return sorted(name for name, value in sections.items() if name in recorded and recorded[name] != value)


def _differing(instance: dag.Instance, path: str, told: dict[str, Any] | None) -> list[str]:
    """Returns where a provenance file disagrees with dvc.lock, or with itself."""
    if told is None:
        return [f"{path} is no provenance file"]
    problems = []
    if (told.get("stage"), told.get("instance")) != split(instance.name):
        problems.append(f"{path} is that of {told.get('stage')}@{told.get('instance')}")
    outs = {out: mapping(found).get("md5") for out, found in mapping(told.get("outs")).items()}
    made = {out: md5 for out, md5 in instance.outs.items() if out != path}
    problems += [
        f"{out}: dvc.lock says {_short(made.get(out))}, {path} says {_short(outs.get(out))}"
        for out in sorted(outs.keys() | made.keys())
        if outs.get(out) != made.get(out)
    ]
    problems += [
        f"{dep}: dvc.lock says {_short(instance.deps.get(dep))} went in, {path} says {_short(md5)}"
        for dep, md5 in sorted(mapping(told.get("parents")).items())
        if instance.deps.get(dep) != md5
    ]
    others = differing_params(told.get("params"), instance.params.get("params.yaml", {}))
    problems += [f"params {name}: dvc.lock and {path} name other values" for name in others]
    return problems + _unbalanced(path, mapping(told.get("counts")))


def _unbalanced(path: str, counts: Mapping[str, Any]) -> list[str]:
    lost = [*mapping(counts.get("dropped")).values(), *mapping(counts.get("failed")).values()]
    figures = [counts.get("rows_in"), counts.get("kept"), *lost]
    if not all(isinstance(figure, int) for figure in figures):
        return [f"{path}: its counts are no numbers"]
    total = sum(figures[1:])
    return [] if figures[0] == total else [f"{path}: {figures[0]} rows in, but {total} accounted for"]


def _attested(instance: dag.Instance, path: str | None, tree: Tree, records: Sequence[Record], code: Code) -> Finding:
    name, file = instance.name, f"{runs.RUNS}/{split(instance.name)[0]}.jsonl"
    same = [record for record in records if _agree(mapping(record.get("outs")), instance.outs, whole=True)]
    fitting = [record for record in same if _agree(mapping(record.get("deps")), instance.deps)]
    contradicting = _contradicting(instance, path, tree, records, code)
    if fitting and contradicting is not None:
        also = f"{file} has these outs, but also a run (commit {contradicting}) of the same code, inputs and params"
        return _unattested(name, f"{also} that made other bytes")
    if fitting:
        return _by_this_code(instance, fitting, file, code)
    if same:
        return judged("records", name, [f"{file} has these outs, but made from other inputs than dvc.lock says"], RERUN)
    kin = [record for record in records if path and mapping(record.get("outs")).get(path) == instance.outs[path]]
    if kin:
        return judged(
            "records", name, [f"{file} has the run that wrote {path}, but it made other outs than dvc.lock says"], RERUN
        )
    if contradicting is not None:
        problem = f"{file} has a run of the same code, inputs and params (commit {contradicting}) that made other bytes"
        return judged("records", name, [problem], RERUN)
    return _unattested(name, f"no record in {file} has these outs: restored from a cache, made elsewhere, or forged")


def _by_this_code(instance: dag.Instance, records: Sequence[Record], file: str, code: Code) -> Finding:
    """Returns whether one of these records has the code that dvc.lock names, as far as that code is here."""
    here = code.digest(instance)
    if here is None or any(record.get("code") == here for record in records):
        return Finding(check="records", what=instance.name)
    return _unattested(instance.name, f"{file} has these outs, but of other code than dvc.lock says")


def _contradicting(
    instance: dag.Instance, path: str | None, tree: Tree, records: Sequence[Record], code: Code
) -> str | None:
    """Returns the commit of a run that had all that affects the result, and other outs; None where none is known."""
    here, lock = code.digest(instance), tree.at.read(str(runs.LOCK_FILE))
    requirements = None if lock is None else digests.sha256_bytes(lock)
    for record in records if here is not None and split(instance.name)[0] not in _OPEN else ():
        outs, given = mapping(record.get("outs")), (record.get("code"), record.get("requirements"))
        if outs == instance.outs or given != (here, requirements):
            continue
        if not _agree(mapping(record.get("deps")), instance.deps):
            continue
        held = tree.held(str(outs.get(path or "")))
        told = parsed(held.read_text(encoding="utf-8", errors="replace")) if held else None
        if told is None or differing_params(told.get("params"), instance.params.get("params.yaml", {})):
            continue
        if _INEXACT not in mapping(record.get("versions")) or _saw_others(tree, mapping(told.get("outs"))):
            return str(record.get("commit"))[:12]
    return None


def _saw_others(tree: Tree, outs: Mapping[str, Any]) -> bool:
    """Returns whether a run's exposures, by its provenance file, are others than those of the DAG."""
    recorded = {f"{out}/{_EXACT}": mapping(mapping(told).get("files")).get(_EXACT) for out, told in outs.items()}
    here = {path: tree.recorded(path) for path, md5 in recorded.items() if md5 is not None}
    return any(md5 is not None and md5 != recorded[path] for path, md5 in here.items())


def _unattested(name: str, problem: str) -> Finding:
    remedy = f"`dvc repro --force --single-item {name}` makes it here, with a record"
    return Finding(check="records", what=name, state="unattested", problem=problem, remedy=remedy)


def _agree(recorded: Mapping[str, Any], locked: Mapping[str, str], whole: bool = False) -> bool:
    """Returns whether all that a record names has the digest of dvc.lock, and with `whole` is all of it."""
    agrees = all(locked.get(path) == digest for path, digest in recorded.items())
    return agrees and (not whole or recorded.keys() == locked.keys())


def _short(digest: Any) -> str:
    return str(digest)[:12] if digest else "nothing"
