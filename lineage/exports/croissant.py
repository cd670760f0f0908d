"""The data set's Croissant card with PROV-O: which stages made it, from which URL lists, and which models came of it.

The card is the one that stage dataset wrote; what is added names data sets by path and digest, never a row, a URL of a
list or a caption. Times and the commit are those of run records; a stage without one has neither.
"""

import datetime
from typing import Any
from urllib.parse import quote

from lineage import edges
from lineage.exports.attested import Attested, Piece

CARD = "data/dataset/croissant.json"
_STAGE = "dataset"
_CONTEXT = {"prov": "http://www.w3.org/ns/prov#", "xsd": "http://www.w3.org/2001/XMLSchema#"}
Node = dict[str, Any]


def card(attested: Attested) -> tuple[Node, dict[str, int], list[str]]:
    """Returns the card with its provenance, the numbers of its nodes, and the instances without times and code.

    Raises:
        ValueError: if the card is neither in the cache nor, unchanged, in the workspace.
    """
    content = attested.document(CARD)
    if content is None or not isinstance(content.get("@context"), dict):
        raise ValueError(f"{CARD}: not here as recorded in {attested.at}; `dvc pull data/dataset` or `dvc repro`")
    wanted = [name for name in attested.graph.instances if name == _STAGE or _makes_model(attested, name)]
    names = _upstream(attested, wanted)
    nodes: dict[str, Node] = {}
    for name in names:
        for key, node in _activity(attested, name).items():
            nodes[key] = nodes.get(key, {}) | node
    lists = _lists(attested, _upstream(attested, [_STAGE]))
    added = {
        "prov:wasDerivedFrom": [{"@id": _entity_id(piece)} for piece in lists],
        "prov:wasGeneratedBy": {"@id": _activity_id(attested, _STAGE)},
        "@included": [nodes[key] for key in sorted(nodes)],
    }
    kinds = [node["@type"] for node in nodes.values()]
    counts = {
        "entities": kinds.count("prov:Entity"),
        "activities": kinds.count("prov:Activity"),
        "agents": kinds.count("prov:SoftwareAgent"),
    }
    untold = [name for name in names if attested.record(name) is None]
    return {**content, "@context": {**content["@context"], **_CONTEXT}, **added}, counts, untold


def _activity(attested: Attested, name: str) -> dict[str, Node]:
    """Returns the nodes of one stage instance: its activity, what it used and made, and the code that ran."""
    here = _activity_id(attested, name)
    used = attested.inputs(name)
    node: Node = {"@id": here, "@type": "prov:Activity", "name": name}
    node["prov:used"] = [{"@id": _entity_id(piece)} for piece in used]
    found = {_entity_id(piece): _entity(piece) for piece in used}
    for piece in attested.outputs(name):
        sources = [{"@id": _entity_id(source)} for source in used]
        made = {"prov:wasGeneratedBy": {"@id": here}, "prov:wasDerivedFrom": sources}
        found[_entity_id(piece)] = {**_entity(piece), **made}
    record = attested.record(name)
    if record is not None:
        node["prov:startedAtTime"] = _moment(record["started"])
        node["prov:endedAtTime"] = _moment(record["started"] + record["seconds"])
        agent = _agent(record)
        node["prov:wasAssociatedWith"] = {"@id": agent["@id"]}
        found[agent["@id"]] = agent
    return {**found, here: node}


def _agent(record: dict[str, Any]) -> Node:
    code, commit = str(record.get("code")), str(record.get("commit"))
    return {
        "@id": f"urn:clipline:code:{quote(code, safe='')}:{quote(commit, safe='')}",
        "@type": "prov:SoftwareAgent",
        "name": f"code {code} at git commit {commit}" + (" with changes" if record.get("dirty") else ""),
    }


def _entity(piece: Piece) -> Node:
    algorithm = "md5 of DVC's listing" if piece.digest.endswith(".dir") else "md5"
    identifier = f"{algorithm}: {piece.digest.removesuffix('.dir')}"
    return {"@id": _entity_id(piece), "@type": "prov:Entity", "name": piece.path, "identifier": identifier}


def _entity_id(piece: Piece) -> str:
    return f"urn:clipline:data:{quote(piece.path)}:{quote(piece.digest, safe='')}"


def _activity_id(attested: Attested, name: str) -> str:
    """Returns the id of a run: of its record, else of the outs that dvc.lock holds."""
    record = attested.record(name)
    own = record["sha256"] if record else "-".join(sorted(attested.graph.instances[name].outs.values()))
    return f"urn:clipline:run:{quote(name)}:{quote(own, safe='')}"


def _upstream(attested: Attested, names: list[str]) -> list[str]:
    """Returns these instances and all whose outs reach them, sorted."""
    makers = attested.graph.makers()
    found: set[str] = set()
    pending = [name for name in names if name in attested.graph.instances]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        read = [out for path in attested.graph.instances[name].deps for out in edges.producing(path, attested.outs)]
        pending += [makers[out] for out in read if makers[out] in attested.graph.instances]
    return sorted(found)


def _lists(attested: Attested, names: list[str]) -> list[Piece]:
    found = {piece for name in names for piece in attested.inputs(name) if piece.path.startswith("data/lists/")}
    return sorted(found, key=lambda piece: piece.path)


def _makes_model(attested: Attested, name: str) -> bool:
    return any(out.startswith("models/") for out in attested.graph.instances[name].outs)


def _moment(seconds: float) -> Node:
    shown = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")
    return {"@value": shown, "@type": "xsd:dateTime"}
