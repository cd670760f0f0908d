"""Where a refresh gets its URL list: a file, folder or pattern, s3://, http(s)://, a watched folder."""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from flows import repository
from lineage import dag, digests, params

LISTS = "data/lists"
_MAX_BYTES = 64 * 2**30
_DEADLINE_S = 6 * 3600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A list as files on this disk, not yet a snapshot."""

    path: Path
    """What `snapshot add` takes: a file, folder or pattern."""
    digests: frozenset[str]
    """md5 of its files, as DVC has them."""


def fetch(source: str, folder: Path, main: Path) -> Path:
    """Returns where a list lies on this disk, after bringing it into `folder` if it is elsewhere.

    Args:
        source: a path or pattern (from the checkout's root), or a URL of http, https, or anything fsspec reads.
        main: root of the checkout whose params.yaml says which addresses may be connected to.

    Raises:
        PassingError: of pipelines.web.lists, where another try may end better.
        ValueError: where it would not.
    """
    scheme = source.partition("://")[0] if "://" in source else ""
    if not scheme:
        return main / Path(source).expanduser()
    if scheme in ("http", "https"):
        return _of_web(source, folder, main)
    return _of_bucket(source, folder)


def next_of(folder: Path, known: Collection[frozenset[str]]) -> Path | None:
    """Returns the first file, by name, of a watched folder that no list has taken; None where there is none.

    Names that start with `.` or `_` are passed over, so that a list may be written beside and renamed.

    Raises:
        ValueError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"source: {folder} is no folder to watch")
    taken = {digest for listed in known for digest in listed}
    waiting = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] not in "._")
    return next((path for path in waiting if digests.md5_file(path) not in taken), None)


def set_aside(path: Path, why: str) -> None:
    """Moves a file of a watched folder into a folder in it that says why, `.nothingnew` or `.rejected`."""
    folder = path.parent / f".{why.lower()}"
    folder.mkdir(exist_ok=True)
    path.replace(folder / path.name)


def may_pass(state: State[Any]) -> bool:
    """Returns whether a failed try to bring a list may end better when made again."""
    from pipelines.web.lists import PassingError

    return isinstance(state.result(raise_on_failure=False), PassingError | OSError)


def found(path: Path) -> Found:
    """Returns a list with the digests of its files.

    Raises:
        ValueError: if nothing is there.
    """
    from pipelines.lists import recognition  # late: only where a list is at hand

    try:
        listed = recognition.find(path)
    except FileNotFoundError as error:
        raise ValueError(f"source: {error}") from None
    return Found(path=path, digests=frozenset(digests.md5_file(file) for file in listed))


def known(tree: repository.Checkout) -> dict[str, frozenset[str]]:
    """Returns {snapshot: md5 of its list's files} of the snapshots that a checkout's params list."""
    graph = dag.load(dag.revision(tree.root, None)) if (tree.root / "dvc.lock").exists() else None
    lists: dict[str, frozenset[str]] = {}
    for name in params.names("snapshots", tree.root / "params.yaml"):
        root = graph.roots.get(f"{LISTS}/{name}") if graph else None
        listing = dag.listing(tree.root, root.path, root.digest) if root else None
        lists[name] = frozenset(md5 for file, md5 in (listing or {}).items() if file != "list.json")
    return lists


def _of_web(url: str, folder: Path, main: Path) -> Path:
    from pipelines.web import addresses, lists
    from pipelines.web.download_config import DownloadConfig

    config = params.load("download", DownloadConfig, main / "params.yaml")
    policy = addresses.AddressPolicy(allowed=addresses.parse_networks(config.allow_addresses))
    bounds: dict[str, Any] = {"max_bytes": _MAX_BYTES, "deadline_s": _DEADLINE_S}
    return lists.save(url, folder, policy=policy, user_agent=config.user_agent, **bounds)


def _of_bucket(source: str, folder: Path) -> Path:
    """Copies an object, a pattern of objects or a folder of them from wherever fsspec reads."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(source)
        matched = system.glob(path) if any(mark in path for mark in "*?[") else [path]
        objects = [name for match in matched for name in system.find(match)]
    except (ImportError, ValueError) as error:
        raise ValueError(f"source: {source}: {error}") from None
    if not objects:
        raise ValueError(f"source: {source}: nothing is there")
    folder.mkdir(parents=True, exist_ok=True)
    for name in objects:
        system.get_file(name, str(folder / Path(name).name))
    return folder / Path(objects[0]).name if len(objects) == 1 else folder
