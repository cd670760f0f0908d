"""What digest a path must have by what its producers recorded: the arithmetic behind every edge of the DAG.

Outs are given as {path: digest}, paths relative to the root with `/`; a folder's digest ends with `.dir`. A listing is
{relpath: md5} of the files in a folder.
"""

from collections.abc import Callable, Iterable, Mapping

from lineage import digests

Listing = Mapping[str, str]
ABSENT = "absent"
"""Instead of a digest: the producer's out holds no such file."""


def producing(path: str, outs: Iterable[str]) -> list[str]:
    """Returns the outs that `path` consists of, sorted: itself, else the out it lies in, else all outs under it."""
    known = sorted(outs)
    for found in (
        [out for out in known if out == path],
        [out for out in known if path.startswith(out + "/")],
        [out for out in known if out.startswith(path + "/")],
    ):
        if found:
            return found
    return []


def digest_from(path: str, outs: Mapping[str, str], listing: Callable[[str], Listing | None]) -> str | None:
    """Returns the digest that `path` has if it is what its producers made.

    Args:
        path: an out, a file or folder inside an out, or a parent folder of outs.
        outs: digest of every out.
        listing: returns the listing of a folder out, or None if it cannot be had here.

    Returns None if a listing that is needed is missing, ABSENT if no producer has such a file.
    """
    found = producing(path, outs)
    if not found:
        return ABSENT
    if found == [path]:
        return outs[path]
    if path.startswith(found[0] + "/"):
        inside = listing(found[0])
        return None if inside is None else _inside(path.removeprefix(found[0] + "/"), inside)
    return _parent(path, {out: outs[out] for out in found}, listing)


def _inside(relpath: str, listing: Listing) -> str:
    if relpath in listing:
        return listing[relpath]
    prefix = relpath + "/"
    below = {name.removeprefix(prefix): md5 for name, md5 in listing.items() if name.startswith(prefix)}
    return _folder_digest(below) if below else ABSENT


def _parent(path: str, children: Mapping[str, str], listing: Callable[[str], Listing | None]) -> str | None:
    """Returns the digest of a folder recomputed from the outs in it: DVC stores no listing for such a dep."""
    combined: dict[str, str] = {}
    for child, digest in children.items():
        relpath = child.removeprefix(path + "/")
        if not digest.endswith(".dir"):
            combined[relpath] = digest
            continue
        inside = listing(child)
        if inside is None:
            return None
        combined |= {f"{relpath}/{name}": md5 for name, md5 in inside.items()}
    return _folder_digest(combined)


def _folder_digest(listing: Listing) -> str:
    return digests.listing_digest([{"md5": md5, "relpath": relpath} for relpath, md5 in listing.items()])
