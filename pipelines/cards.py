"""What a data set says of itself: a datasheet for people, a Croissant card for machines."""

import re
from collections import Counter
from typing import Any

from lineage import reasons
from pipelines.funnel import STEPS, Funnel
from pipelines.pictures import EXTENSIONS

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
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
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
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The JSON-LD context of Croissant 1.0."""


def datasheet(name: str, description: str, root: dict[str, Any], funnel: Funnel) -> str:
    """Returns the datasheet as Markdown: what is in it, where from, under which licences, what was left out."""
    left_out = funnel.reasons("dropped")
    parts = [
        f"# Datasheet of {name}\n\n{description}\n",
        f"- digest: `{root['digest']}`\n- snapshots: {', '.join(root['snapshots'])}\n"
        f"- pairs: {root['rows']['train']} for training, {root['rows']['val']} for validation\n"
        f"- shards: {len(root['shards'])}, {sum(entry['bytes'] for entry in root['shards'])} bytes; "
        "each with its sha256 in root.json and croissant.json\n",
        "## Collection\n\nPictures were fetched from the URLs of the lists, once, from hosts that allow it; captions "
        f"are the lists' own. An opt-out names {left_out.get('opted_out', 0)} pairs, which were left out; so were "
        f"{left_out.get('test_picture', 0)} whose picture, or one that looks like it, is in an evaluation set.\n",
        "## Rows left after each stage\n\n" + _left_table(funnel),
        "![rows left and lost](funnel.svg)\n",
        "## Rows left out, by reason\n\n" + _reason_table(funnel),
        "## Values the rules decided by\n\n![spread of every rule's values](spreads.svg)\n\n"
        "Languages, hosts, domains and caption lengths that a rule drops far more often than others: "
        "[exclusion.md](exclusion.md).\n",
        "## Licences and origins, as the URL lists give them\n\n" + _licence_table(funnel),
        "Every row's verdict, with the value that decided and its threshold, is in data/selection/S/verdicts.parquet, "
        "every rule's value of every row in values.parquet beside it; the words are those of lineage/reasons.py.\n",
    ]
    return "\n".join(parts)


def licences(funnel: Funnel) -> dict[tuple[str, str], int]:
    """Returns {(licence, origin): pairs} over all snapshots, sorted, in the words of the URL lists."""
    found: Counter[tuple[str, str]] = Counter()
    for counts in funnel.counts.values():
        for licence, origins in counts["pack"]["licenses"].items():
            found.update({(licence, origin): number for origin, number in origins.items()})
    return dict(sorted(found.items()))


def croissant(name: str, description: str, root: dict[str, Any], licence_names: list[str]) -> dict[str, Any]:
    """Returns a Croissant 1.0 card: every shard with its digest; captions and pictures as record sets keyed by uid.

    They are two, for loaders read one file's content into a record. mlcroissant keeps what it has unpacked by
    contentUrl alone: a rebuilt data set wants a CROISSANT_CACHE of its own.
    """
    shards = [_shard_object(entry) for entry in root["shards"]]
    held_in = [{"@id": shard["@id"]} for shard in shards]
    pictures = {f"image/{kind.lower()}": f"*.{extension}" for kind, extension in EXTENSIONS.items()}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licence_names,
        "version": f"1.0.0+{root['digest']}",  # Croissant wants the form of semantic versions
        "distribution": [
            *shards,
            _file_set("caption-files", held_in, ["text/plain"], ["*.txt"]),
            _file_set("picture-files", held_in, list(pictures), list(pictures.values())),
        ],
        "recordSet": [
            _record_set("captions", "caption-files", {"caption": "sc:Text"}),
            _record_set("pictures", "picture-files", {"picture": "sc:ImageObject"}),
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


def _file_set(name: str, held_in: list[dict[str, str]], formats: list[str], globs: list[str]) -> dict[str, Any]:
    described = {"@type": "cr:FileSet", "@id": name, "name": name, "containedIn": held_in}
    return {**described, "encodingFormat": formats, "includes": globs}


def _record_set(name: str, file_set: str, contents: dict[str, str]) -> dict[str, Any]:
    """Returns a record set of uid and content, one record a file; the uid is what stands before the extension."""
    uid = {"fileProperty": "filename"}, {"transform": {"regex": r"^([0-9a-f]+)\."}}
    fields = [("uid", "sc:Text", *uid)]
    fields += [(field, kind, {"fileProperty": "content"}, {}) for field, kind in contents.items()]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/uid"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field}",
                "name": f"{name}/{field}",
                "dataType": kind,
                "source": {"fileSet": {"@id": file_set}, "extract": extract, **transform},
            }
            for field, kind, extract, transform in fields
        ],
    }


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
    return _table(["licence", "origin", "pairs"], [[*words, str(number)] for words, number in licences(funnel).items()])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_escape, line))} |\n" for line in lines)


def _escape(cell: str) -> str:
    """Returns a cell's text without meaning in Markdown or HTML: licences and origins are a stranger's words."""
    return re.sub(r"[\\|`\[\]*]", r"\\\g<0>", " ".join(cell.split())).replace("&", "&amp;").replace("<", "&lt;")
