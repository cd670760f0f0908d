"""Does everything hold that a result rests on? All bytes hashed anew, all records held against each other.

What is checked, each with its own word in the report:

- bytes: every out and root against dvc.lock or its .dvc file, in the workspace; of a revision, in DVC's cache.
- edge: what each stage read against what its producers made; params, code and command against dvc.yaml (trace.py).
- provenance: the provenance file of each run against dvc.lock: outs, parents, params, counts.
- records: the run record of each run against dvc.lock: outs, inputs, code.
- chain, history: runs/ as one hash chain a stage instance, and no committed line of it ever changed.
- imports: no stage imports a file of the project that dvc.yaml does not list.
- rows: members of shards against the manifest, that against selection and ledger, root.json against the shards,
  exposures against the pairs a model could see and the samples its run counted.
- rebuild: one shard packed again from raw, if asked for.

A check ends in one of four states. Good. Not checkable here: bytes, listing or history that this checkout lacks, as in
a clone with manifests alone; counted, never good, and no failure. Broken: two things that one run wrote together, or
that one digest names, disagree. So it is broken

- where dvc.lock and the provenance file it names disagree, whichever of them was edited: both come from one run;
- where a run record has that very provenance file, but other outs or inputs than dvc.lock;
- where a run record has the code, inputs, requirements and params of dvc.lock and other outs: stages are deterministic,
  and all three witnesses were made to agree later. (Of stages that loaded torch the exposure alone counts: the rest is
  bit-identical on one machine only.)

Unattested: no run record has the outs of a stage instance, and nothing contradicts them. An out that DVC restored from
a cache, or that was committed without its runs/, looks so; so does one that was made to look as if. So, too, where
records of equal runs tell of different bytes, and where the record is of other code. That is no failure unless asked
for (`--strict`), for nothing here tells the two apart: `dvc repro --force` does.

What no check here can see: weights that were changed, with dvc.lock, the provenance file and a record of a run that
never was, all made to agree (training again does); and a history of git that was rewritten whole by someone who ran
all stages anew on other data. For that, compare the commit with one that you noted elsewhere.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lineage import dag, stage, trace
from lineage.checks import attest, chains, exposure, hashes, rebuild, shards
from lineage.checks.findings import RERUN, Finding, Report
from lineage.checks.imports import Code
from lineage.checks.tree import Tree, split


def verify(
    paths: Sequence[str] = (),
    rev: str | None = None,
    root: Path | None = None,
    shard: str | None = None,
    seed: int | None = None,
) -> Report:
    """Returns what was checked of some results and everything below them.

    Args:
        paths: outs or files in them, relative to `root`, or to the current folder if that is None; none means all that
            no stage reads, and so the whole DAG.
        rev: commit, branch or tag; None is the working tree.
        root: the project's root; if None, the nearest folder with a dvc.yaml, from the current one up.
        shard: one to rebuild from raw, SNAPSHOT/SPLIT/NNNNN.tar, or `random`.
        seed: which one is random; None takes another every time.

    Raises:
        ValueError: for an unknown revision, path or shard, or a dvc.lock that cannot be read.
    """
    base = (root or Path.cwd()).resolve()
    folder = base if root else trace.project(base)
    graph = dag.load(dag.revision(folder, rev))
    tree = Tree(graph)
    asked = [trace.relative(path, folder, base) for path in paths]
    walk = trace.Walk(graph, tree.described, is_disk_checked=False)
    walk.listing = tree.listing
    found = [walk.from_path(path) for path in asked or ends(graph)]
    names = {name for each in found for name in each.stages} if asked else set(graph.instances)
    roots = {name for each in found for name in each.roots} if asked else set(graph.roots)
    reached = sorted({out for name in names for out in graph.instances[name].outs} | roots)
    outs = reached if asked else sorted({*reached, *graph.unrun})
    findings = [hashes.check(tree, out) for out in stage.progress(outs, label="hash")]
    findings += [*_edges(found), *_runs(tree, sorted(names)), *_rows(tree, reached)]
    if shard is not None:
        findings.append(rebuild.check(tree, *rebuild.choose(tree, shard, seed)))
    return Report(revision=str(graph.revision), paths=tuple(asked or ends(graph)), findings=tuple(findings))


def ends(graph: dag.Dag) -> list[str]:
    """Returns the outs that no stage reads, nor a file in them or a folder around them, sorted."""
    read = {dep for instance in graph.instances.values() for dep in instance.deps}
    return sorted(
        out
        for instance in graph.instances.values()
        for out in instance.outs
        if not any(out == dep or out.startswith(dep + "/") or dep.startswith(out + "/") for dep in read)
    )


def _edges(found: Sequence[trace.Trace]) -> list[Finding]:
    states = {edge: edge.state for each in found for edge in each.edges()}
    return [
        Finding(
            check="edge",
            what=": ".join(
                filter(None, (edge.stage, edge.path if edge.kind == "data" else f"{edge.kind} {edge.path}"))
            ),
            state=state,
            problem=edge.note,
            remedy="" if state == "good" else RERUN if state == "broken" else "`dvc pull`",
        )
        for edge, state in states.items()
    ]


def _runs(tree: Tree, names: Sequence[str]) -> Iterator[Finding]:
    records, chained = chains.read(tree.at)
    yield from chained
    yield from chains.history(tree.at)
    code = Code(tree.at)
    for name in names:
        instance = tree.graph.instances[name]
        word, which = split(name)
        of_it = [record for record in records.get(word, []) if record["instance"] == which]
        yield code.check(instance)
        yield from attest.check(instance, tree, of_it, code)


def _rows(tree: Tree, reached: Sequence[str]) -> Iterator[Finding]:
    packed = [name for name in shards.snapshots(tree) if f"{shards.SHARDS}/{name}" in reached]
    for snapshot in stage.progress(packed, label="read shards"):
        yield from shards.check(tree, snapshot)
    if any(shards.ROOT.startswith(f"{out}/") for out in reached):
        yield from shards.check_root(tree)
    for out in exposure.models(tree):
        if out in reached:
            yield from exposure.check(tree, out)
