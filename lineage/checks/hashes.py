"""Is every out what dvc.lock says: all its bytes hashed anew, file by file where it is a folder."""

from collections.abc import Mapping

from lineage.checks.findings import RESTORE, Finding, judged, unchecked
from lineage.checks.tree import Tree, is_inside


def check(tree: Tree, path: str) -> Finding:
    """Returns whether an out or root has its recorded digest, in the workspace or, of a revision, in DVC's cache.

    What is not here at all, and files that a folder lacks, cannot be checked; a file that is another, or one too many,
    is broken.
    """
    digest, remedy = tree.outs[path], RESTORE.replace("PATH", path)
    if not digest:
        return unchecked("bytes", path, f"{tree.makers[path]} has no entry in dvc.lock: it has not run", "`dvc repro`")
    if not is_inside(path):
        return judged("bytes", path, ["lies outside the project; nothing there is read"], "mend dvc.yaml")
    if not tree.is_live:
        return _in_cache(tree, path, digest)
    here = tree.root / path
    if not here.exists():
        return unchecked("bytes", path, "not in this checkout")
    found = tree.described(here)
    if found["md5"] == digest:
        return Finding(check="bytes", what=path)
    wanted = tree.listing(path) if here.is_dir() else None
    if wanted is None:
        return judged("bytes", path, [f"is {found['md5'][:12]}, recorded {digest[:12]}"], remedy)
    return _compared(path, wanted, found["files"], remedy)


def _in_cache(tree: Tree, path: str, digest: str) -> Finding:
    wanted = tree.listing(path) if digest.endswith(".dir") else {"": digest}
    if wanted is None:
        return unchecked("bytes", path, "the listing of the folder is in neither cache nor workspace")
    found = {name: tree.md5(file) for name, md5 in wanted.items() if (file := tree.held(md5))}
    remedy = f"remove what is damaged from DVC's cache and `dvc pull {path}`"
    return _compared(path, wanted, found, remedy)


def _compared(path: str, wanted: Mapping[str, str], found: Mapping[str, str], remedy: str) -> Finding:
    missing = sorted(wanted.keys() - found.keys())
    problems = [
        f"{name or path} is {found[name][:12]}, recorded {wanted[name][:12]}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name] != wanted[name]
    ] + [f"{name} is not one of its files" for name in sorted(found.keys() - wanted.keys())]
    if problems or not missing:
        return judged("bytes", path, problems, remedy)
    few = ", ".join(name or path for name in missing[:3]) + (", ..." if len(missing) > 3 else "")
    return unchecked("bytes", path, f"{len(missing)} of {len(wanted)} files are not here: {few}")
