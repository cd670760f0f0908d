"""What a revision holds fast of its stages, by digests: run records, provenance, sizes and content of outs."""

import dataclasses
import functools
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineage import dag, digests, edges
from lineage.params import parse_yaml

_REASONED = ("dropped", "failed")
_NUMBER = (int, float)
_MOST = {"started": 4e10, "seconds": 4e10}
"""s; later is no date."""
_RECORD: dict[str, type | tuple[type, ...]] = {
    "instance": str,
    "deps": dict,
    "outs": dict,
    "started": _NUMBER,
    "seconds": _NUMBER,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A data set by its name in the repository and the DVC digest that a stage saw of it."""

    path: str
    digest: str


class Attested:
    """The DAG of one revision with what its run records and manifests say; each lookup is made once."""

    def __init__(self, graph: dag.Dag) -> None:
        self.graph, self.at = graph, graph.revision
        self.outs = graph.outs()
        self.listing = functools.cache(self._listing)
        self.provenance = functools.cache(self._provenance)
        self.records = functools.cache(self._records)
        self._described = functools.cache(digests.described)

    @functools.cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Returns {out: (bytes, files)} as dvc.lock gives them."""
        lock = parse_yaml(self.at.read("dvc.lock") or b"{}")
        found = (out for name in self.graph.instances for out in lock["stages"][name].get("outs") or ())
        return {out["path"]: (int(out.get("size", 0)), int(out.get("nfiles", 1))) for out in found}

    @functools.cached_property
    def _read(self) -> set[str]:
        return {piece.path for name in self.graph.instances for piece in self.inputs(name)}

    def record(self, name: str) -> dict[str, Any] | None:
        """Returns the newest run record that made what dvc.lock holds of an instance from what it holds, or None."""
        instance = self.graph.instances[name]
        stage, _, key = name.partition("@")
        attesting = [
            record
            for record in self.records(stage)
            if record["instance"] == (key or "all")
            and record["outs"] == instance.outs
            and all(instance.deps.get(path) == digest for path, digest in record["deps"].items())
        ]
        return attesting[-1] if attesting else None

    def unattested(self) -> list[str]:
        """Returns the instances without a run record of what dvc.lock holds: their outs came from a cache."""
        return [name for name in sorted(self.graph.instances) if self.record(name) is None]

    def counts(self, name: str) -> dict[str, Any]:
        """Returns {dotted key: number} of an instance's provenance file, empty where the file cannot be had here.

        Of nested counts only reasons are given: the keys of others (licences, origins) are words of a URL list.
        """
        found = (self.provenance(name) or {}).get("counts")
        if not isinstance(found, dict):
            return {}
        told = {key: value for key, value in found.items() if key in _REASONED or isinstance(value, int | float)}
        return dict(flat(told))

    def inputs(self, name: str) -> list[Piece]:
        """Returns the data that an instance read: a parent folder as the outs in it, where these add up to it."""
        read = self.graph.instances[name].deps
        return [piece for path, digest in sorted(read.items()) for piece in self._pieces(path, digest)]

    def outputs(self, name: str) -> list[Piece]:
        """Returns an instance's outs, and the files and folders in them that other instances read on their own."""
        outs = self.graph.instances[name].outs
        inside = sorted(path for path in self._read if any(path.startswith(f"{out}/") for out in outs))
        found = [(path, edges.digest_from(path, outs, self.listing)) for path in (*sorted(outs), *inside)]
        return [Piece(path=path, digest=digest) for path, digest in found if digest and digest != edges.ABSENT]

    def place(self, path: str) -> Path | None:
        """Returns where the bytes of a file lie that is an out or lies in one, checked; None if nowhere here."""
        digest = edges.digest_from(path, self.outs, self.listing)
        if not digest or digest == edges.ABSENT or digest.endswith(".dir"):
            return None
        places = (dag.cache_place(self.at.root, digest), self.at.root / path)
        return next((file for file in places if file.is_file() and digests.md5_file(file) == digest), None)

    def document(self, path: str) -> dict[str, Any] | None:
        """Returns the content of a JSON file that is an out or lies in one; None if it is nowhere here.

        Raises:
            ValueError: if it holds no JSON object.
        """
        file = self.place(path)
        return None if file is None else _object(file.read_bytes(), f"{path} in {self.at}")

    def files(self, out: str) -> dict[str, str]:
        """Returns {relpath: md5} of a folder out, empty where its listing cannot be had here."""
        return dict(self.listing(out) or {})

    def _pieces(self, path: str, digest: str) -> Iterator[Piece]:
        makers = edges.producing(path, self.outs)
        if not makers:
            return  # code
        if makers != [path] and not path.startswith(f"{makers[0]}/"):
            parts = [Piece(path=out, digest=self.outs[out]) for out in makers]
            if edges.digest_from(path, self.outs, self.listing) == digest:
                yield from parts
                return
        yield Piece(path=path, digest=digest)

    def _listing(self, out: str) -> edges.Listing | None:
        return dag.listing(self.at.root, out, self.outs[out], self._described)

    def _provenance(self, name: str) -> dict[str, Any] | None:
        own = [out for out in self.graph.instances[name].outs if out.startswith("provenance/")]
        return self.document(own[0]) if own else None

    def _records(self, stage: str) -> list[dict[str, Any]]:
        """Returns the run records of a stage at the revision, oldest first.

        Raises:
            ValueError: if a line is no run record or breaks its instance's chain, naming file and line.
        """
        where = f"runs/{stage}.jsonl"
        previous: dict[str, str] = {}
        found = []
        for number, line in enumerate((self.at.read(where) or b"").splitlines(), 1):
            record = _object(line, f"{where}:{number} in {self.at}")
            wrong = _wrong(record)
            if wrong:
                raise ValueError(f"{where}:{number} in {self.at}: not a run record: {wrong} is missing or wrong")
            if record.get("previous") != previous.get(record["instance"]):
                raise ValueError(f"{where}:{number} in {self.at}: the chain of {stage}@{record['instance']} is broken")
            previous[record["instance"]] = digests.sha256_bytes(line)
            found.append({**record, "sha256": previous[record["instance"]]})
        return found


def load(root: Path, rev: str | None) -> Attested:
    """Returns what a git revision of the project holds fast; the working tree for None."""
    return Attested(dag.load(dag.revision(root, rev)))


def flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of every leaf of nested mappings; a list is one leaf."""
    if not isinstance(content, dict):
        yield prefix, content
        return
    for key, value in sorted(content.items()):
        yield from flat(value, f"{prefix}.{key}" if prefix else key)


def text(value: Any) -> str:
    """Returns a value of a JSON document as one line of text."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _wrong(record: dict[str, Any]) -> str | None:
    """Returns the first field of a run record that is missing or has no value that can be."""
    for key, kind in _RECORD.items():
        if not isinstance(record.get(key), kind):
            return key
    for key, most in _MOST.items():
        if not 0 <= record[key] <= most:
            return key
    return None if isinstance(record.get("versions", {}), dict) else "versions"


def _object(content: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError:
        raise ValueError(f"{where}: not JSON") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"{where}: expected a JSON object, found {reprlib.repr(parsed)}")
    return parsed
