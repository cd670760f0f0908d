"""Roots in a bucket: stages work on a local mirror of the objects, the project keeps a pointer to each object.

A path on a command line is ROOT/./data/raw/S, as in s3://BUCKET/PREFIX/./data/raw/S: what follows `/./` is its place in
the project. The stage is given .mirror/s3/BUCKET/PREFIX/-/data/raw/S, a local path like any other. The project's own
data/raw/S holds one pointer for each object, its md5 and size as JSON: all that DVC and provenance see of it.

A PUT shows an object whole or not at all; the pointers, laid down last and by one rename, are the commit. One clone
writes to a root.
"""

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from lineage import digests, files

MIRROR = Path(".mirror")
"""May be removed whenever no stage is at work."""

_MARK = "-"
"""Stands in a mirrored path for the `.` that a pathlib path would lose."""
_REMAKE = "make it anew by `dvc repro --force --single-item` of its stage"
_NUM_TRANSFERS = 8
"""At once; an upload of less than 100 MiB is held in memory, of a larger object 50 MiB at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Pointer = dict[str, Any]


def mirrored(argument: str) -> str:
    """Returns the local path of a command-line argument ROOT/./PATH; an argument that is no URL unchanged.

    Raises:
        ValueError: if it is a URL of another form.
    """
    if not re.match(r"[a-z][a-z0-9]*://", argument):
        return argument
    root, _, place = argument.removeprefix("s3://").partition("/./")
    if not _is_plain(root) or not _is_plain(place):
        raise ValueError(
            f"{argument}: a path in a bucket is written s3://BUCKET/PREFIX/./data/raw/S, where `/./` stands before its "
            "place in the project, of letters, digits and ._=-"
        )
    return str(MIRROR / "s3" / root / _MARK / place)


def is_mirrored(path: Path) -> bool:
    """Returns whether a path lies in the mirror."""
    return path.parts[:1] == MIRROR.parts


def logical(path: Path) -> Path:
    """Returns a mirrored path's place in the project, where its pointers are; any other path unchanged."""
    return Path(*path.parts[path.parts.index(_MARK) + 1 :]) if is_mirrored(path) else path


def url_of(path: Path) -> str:
    """Returns the URL of a mirrored path."""
    _, scheme, *parts = path.parts
    parts.remove(_MARK)
    return f"{scheme}://{'/'.join(parts)}"


def fetch(path: Path) -> None:
    """Makes the mirror hold just what the pointers of a mirrored path name; what it has already stays as it is.

    Raises:
        FileNotFoundError: if there is no pointer, or no object where one points.
        ValueError: if an object has other bytes than its pointer says, or the bucket cannot be reached.
    """
    pointers = _pointers(path)
    MIRROR.mkdir(exist_ok=True)
    with (MIRROR / "lock").open("w") as lock:  # two stages may read one snapshot
        fcntl.flock(lock, fcntl.LOCK_EX)
        for surplus in set(_files(path)) - set(pointers):
            files.remove(surplus)
        if logical(path).is_dir():
            path.mkdir(parents=True, exist_ok=True)
        held = _each(lambda file: _holds(file, pointers[file]), list(pointers), f"check {path.name}")
        lacking = [file for file, holds in zip(pointers, held, strict=True) if not holds]
        if lacking:
            system = _filesystem()
            _each(lambda file: _get(system, file, pointers[file]), lacking, f"fetch {path.name}")


def push(made: Path, out: Path) -> None:
    """Puts a finished file or folder into the bucket, at the place of `out`, and lays its pointers down.

    An object that is there already with the same bytes is not sent again, so that a killed upload is continued; what
    else lies below that place is removed.

    Raises:
        FileNotFoundError: if there is no such bucket.
        ValueError: if the bucket cannot be reached or written.
    """
    place = logical(out)
    files.remove(place)  # nothing may vouch for objects that are being replaced
    system, prefix = _filesystem(), url_of(out)
    with _explained(prefix):
        sizes = {f"s3://{key}": entry["size"] for key, entry in system.find(prefix, detail=True).items()}
    sources = {out / file.relative_to(made): file for file in _files(made)}  # a file is `.` from itself

    def put(target: Path) -> Pointer:
        pointer = {"bytes": sources[target].stat().st_size, "md5": digests.md5_file(sources[target])}
        _put(system, sources[target], url_of(target), pointer, there=sizes.get(url_of(target)) == pointer["bytes"])
        return pointer

    pointers = _each(put, list(sources), f"put {out.name}")
    surplus = sorted(set(sizes) - set(map(url_of, sources)))
    if surplus:
        with _explained(prefix):
            system.rm(surplus)
    staged = made.with_name(f"{made.name}.pointers")
    files.remove(staged)
    if made.is_dir():
        staged.mkdir()
    for target, pointer in zip(sources, pointers, strict=True):
        files.write_json(staged / target.relative_to(out), pointer)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(staged, place)


def main(paths: list[Path]) -> None:
    """Brings files and folders of a bucket into the mirror and prints where they lie."""
    for path in paths:
        if not is_mirrored(path):
            raise ValueError(f"{path}: not in a bucket; write s3://BUCKET/PREFIX/./{path}")
        fetch(path)
        sys.stdout.write(f"{path}\n")


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return all(re.fullmatch(r"[A-Za-z0-9._=-]+", part) and part not in (".", "..", _MARK) for part in parts)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _pointers(path: Path) -> dict[Path, Pointer]:
    place = logical(path)
    if not place.exists():
        raise FileNotFoundError(f"{place}: no such file or folder; `dvc repro` makes what comes before this stage")
    listed = [file for file in _files(place) if file.name not in digests.IGNORED_NAMES]
    return {path / file.relative_to(place): _read(file) for file in listed}


def _read(file: Path) -> Pointer:
    with contextlib.suppress(ValueError):
        content = files.read_json(file)
        if isinstance(content, dict) and content.keys() == {"bytes", "md5"}:
            return content
    raise ValueError(f"{file}: not a pointer to an object; {_REMAKE}")


def _holds(file: Path, pointer: Pointer) -> bool:
    return file.is_file() and file.stat().st_size == pointer["bytes"] and digests.md5_file(file) == pointer["md5"]


def _filesystem() -> Any:
    import fsspec  # late: most projects have no bucket

    return fsspec.filesystem("s3", use_listings_cache=False, max_concurrency=1)


def _get(system: Any, file: Path, pointer: Pointer) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    advice = f"bring the object back, or {_REMAKE}"
    with _explained(url_of(file), advice):
        system.get_file(url_of(file), str(partial))
    if not _holds(partial, pointer):
        files.remove(partial)
        raise ValueError(f"{url_of(file)}: not the bytes that {logical(file)} points to; {advice}")
    os.replace(partial, file)


def _put(system: Any, source: Path, url: str, pointer: Pointer, *, there: bool) -> None:
    with _explained(url):
        if not there or system.getxattr(url, "md5") != pointer["md5"]:
            system.put_file(str(source), url, Metadata={"md5": pointer["md5"]})


@contextlib.contextmanager
def _explained(url: str, advice: str = "make the bucket first") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{url}: {error}; {advice}") from None
    except Exception as error:  # of whatever library is below
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{url}: {said}; check AWS_ENDPOINT_URL, the credentials and the network") from None


def _each(act: Callable[[Item], Result], items: Sequence[Item], label: str) -> list[Result]:
    with ThreadPoolExecutor(_NUM_TRANSFERS) as pool:
        done = pool.map(act, items)
        return list(tqdm(done, desc=label, total=len(items), mininterval=1.0, leave=False, disable=None))


if __name__ == "__main__":
    from lineage import stage

    stage.command(main)
