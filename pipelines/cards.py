"""What a data set says of itself: a datasheet for people, a Croissant card for machines."""

import re
from collections import Counter
from typing import Any

from lineage import reasons
from pipelines.funnel import STEPS, Funnel

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The JSON-LD context of Croissant 1.0."""


def datasheet(name: str, description: str, root: dict[str, Any], funnel: Funnel) -> str:
    """Returns the datasheet as Markdown: what is in it, where from, under which licences, what was left out."""
    parts = [
        f"# Datasheet of {name}\n\n{description}\n",
        f"- digest: `{root['digest']}`\n- snapshots: {', '.join(root['snapshots'])}\n"
        f"- pairs: {root['rows']['train']} for training, {root['rows']['val']} for validation\n"
        f"- shards: {len(root['shards'])}, {sum(entry['bytes'] for entry in root['shards'])} bytes\n",
        "## Rows left after each stage\n\n" + _left_table(funnel),
        "## Rows left out, by reason\n\n" + _reason_table(funnel),
        "## Licences and origins, as the URL lists give them\n\n" + _licence_table(funnel),
        "Every row's verdict, with the value that decided and its threshold, is in data/selection/S/verdicts.parquet; "
        "the words are those of lineage/reasons.py.\n",
    ]
    return "\n".join(parts)


def croissant(name: str, description: str, root: dict[str, Any]) -> dict[str, Any]:
    """Returns a Croissant 1.0 card: every shard with its digest, and the pairs in them as one record set."""
    shards = [_shard_object(entry) for entry in root["shards"]]
    members = {
        "@type": "cr:FileSet",
        "@id": "captions",
        "containedIn": [{"@id": shard["@id"]} for shard in shards],
        "encodingFormat": "text/plain",
        "includes": "*.txt",
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": f"1.0.0+{root['digest']}",  # Croissant wants the form of semantic versions
        "distribution": [*shards, members],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "pairs",
                "field": [_field("uid", "filename", regex=r"^(.*)\.txt$"), _field("caption", "content")],
            }
        ],
    }


def _shard_object(entry: dict[str, Any]) -> dict[str, Any]:
    path = f"{entry['snapshot']}/{entry['shard']}"
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": f"../shards/{path}",
        "contentSize": f"{entry['bytes']} B",
        "encodingFormat": "application/x-tar",
        "sha256": entry["sha256"],
    }


def _field(name: str, file_property: str, regex: str | None = None) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "captions"}, "extract": {"fileProperty": file_property}}
    if regex is not None:
        source["transform"] = {"regex": regex}
    return {"@type": "cr:Field", "@id": f"pairs/{name}", "dataType": "sc:Text", "source": source}


def _left_table(funnel: Funnel) -> str:
    rows = [[snapshot, *map(str, funnel.left(snapshot).values())] for snapshot in funnel.counts]
    return _table(["snapshot", *STEPS], [*rows, ["all", *map(str, funnel.total().values())]])


def _reason_table(funnel: Funnel) -> str:
    rows = [
        [kind, word, str(number), reasons.ALL[word]]
        for kind in ("dropped", "failed")
        for word, number in funnel.reasons(kind).items()
    ]
    return _table(["", "reason", "rows", "meaning"], rows)


def _licence_table(funnel: Funnel) -> str:
    found: Counter[tuple[str, str]] = Counter()
    for counts in funnel.counts.values():
        for licence, origins in counts["pack"]["licenses"].items():
            found.update({(licence, origin): number for origin, number in origins.items()})
    return _table(["licence", "origin", "pairs"], [[*words, str(number)] for words, number in sorted(found.items())])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_escape, line))} |\n" for line in lines)


def _escape(cell: str) -> str:
    """Returns a cell's text without meaning in Markdown or HTML: licences and origins are a stranger's words."""
    return re.sub(r"[\\|`\[\]*]", r"\\\g<0>", " ".join(cell.split())).replace("&", "&amp;").replace("<", "&lt;")
