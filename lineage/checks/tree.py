"""The files behind a DAG: in the workspace for the working tree, in DVC's cache, by digest, for a revision."""

import functools
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import dag, digests, edges, files, records

_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


class Tree:
    """Looks up outs and roots of one DAG; what was hashed or read once is remembered."""

    def __init__(self, graph: dag.Dag) -> None:
        self.graph, self.at, self.root = graph, graph.revision, graph.revision.root
        self.is_live = graph.revision.commit is None
        self.outs, self.makers = graph.outs(), graph.makers()
        self.described = functools.cache(digests.described)
        self.md5 = functools.cache(digests.md5_file)
        self.listing = functools.cache(self._listing)
        self.provenance = functools.cache(self._provenance)

    def find(self, path: str) -> Path | None:
        """Returns the file of an out, or of a file in one: what lies in the workspace, or what the cache holds.

        The content is what is there, not what should be.
        """
        if self.is_live:
            here = self.root / path
            return here if is_inside(path) and here.is_file() else None
        recorded = self.recorded(path)
        return None if recorded in (None, edges.ABSENT) else self.held(str(recorded))

    def recorded(self, path: str) -> str | None:
        """Returns the digest that the DAG records for a path, None where it cannot be had, or edges.ABSENT."""
        return edges.digest_from(path, self.outs, self.listing)

    def held(self, digest: str) -> Path | None:
        """Returns the file that DVC's cache has under a digest."""
        if not _DIGEST.fullmatch(digest):
            return None
        file = dag.cache_place(self.root, digest)
        return file if file.is_file() else None

    def provenance_path(self, name: str) -> str | None:
        """Returns the provenance file among the outs of a stage instance."""
        stage, instance = split(name)
        path = f"provenance/{stage}/{instance}.json"
        return path if path in self.graph.instances[name].outs else None

    def json(self, path: str) -> Any:
        """Returns the content of a JSON file, None if it is not here.

        Raises:
            ValueError: if it is not JSON.
        """
        file = self.find(path)
        return None if file is None else read_json(file)

    def _provenance(self, name: str) -> dict[str, Any] | None:
        """Returns what the provenance file of a stage instance says, None if there is none here or it is no mapping."""
        path = self.provenance_path(name)
        try:
            content = self.json(path) if path else None
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def _listing(self, out: str) -> edges.Listing | None:
        """Returns the recorded listing of a folder: from cache or workspace, else from the maker's provenance."""
        found = dag.listing(self.root, out, self.outs[out], self.described)
        if found is not None or self.makers[out] not in self.graph.instances:
            return found
        told = mapping(mapping(mapping(self.provenance(self.makers[out])).get("outs")).get(out)).get("files")
        entries = [{"md5": str(md5), "relpath": str(relpath)} for relpath, md5 in mapping(told).items()]
        return mapping(told) if digests.listing_digest(entries) == self.outs[out] else None


def split(name: str) -> tuple[str, str]:
    """Returns stage and instance of `train@clip-0`, as provenance files and run records name them."""
    stage, _, instance = name.partition("@")
    return stage, instance or "all"


def is_inside(path: str) -> bool:
    """Returns whether a path from dvc.lock stays in the project."""
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def mapping(content: Any) -> dict[str, Any]:
    """Returns the content if it is a mapping, else an empty one: what others wrote may be anything."""
    return content if isinstance(content, dict) else {}


def read_json(file: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        ValueError: if it is not JSON, however deep it nests.
    """
    try:
        return files.read_json(file)
    except RecursionError:
        raise ValueError(f"{file}: not valid JSON (nested too deep)") from None


class OtherFormError(ValueError):
    """A record of an earlier or a later version of this project: nothing is wrong with it, but it cannot be read."""


def read_table(file: Path, schema: pa.Schema, columns: list[str] | None = None, *, is_full: bool = True) -> pa.Table:
    """Returns a parquet file as `records.read_table` does; `is_full` says that nothing in it may be null.

    Raises:
        OtherFormError: if it lacks a column that records have today.
        ValueError: if it is damaged, or something is null.
    """
    try:
        names = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None
    missing = [name for name in columns or schema.names if name not in names]
    if missing:
        raise OtherFormError(f"of another version of this project: column {missing[0]} is missing")
    try:
        table = records.read_table(file, schema, columns)
    except pa.ArrowException as error:
        raise ValueError(f"columns have other types ({' '.join(str(error).split())[:200]})") from None
    empty = [name for name in table.column_names if table[name].null_count]
    if is_full and empty:
        raise ValueError(f"{file.name}: column {empty[0]} has {table[empty[0]].null_count} rows without a value")
    return table


def parsed(line: str) -> dict[str, Any] | None:
    """Returns a line of JSON if it is a mapping."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
