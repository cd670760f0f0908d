"""One machine-learning bill of materials (CycloneDX 1.6): models with their cards, data, libraries, what rests on what.

Made by cyclonedx-python-lib but for model cards and data descriptions, which that library has no classes for: these are
added to its JSON, and the whole is then held against its strict schema. No clock: the serial number is a digest of the
content, the time is the end of the newest run that a record attests.
"""

import datetime
import json
import re
import uuid
from collections.abc import Iterable
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from lineage import digests
from lineage.exports import ingredients, model_cards
from lineage.exports.attested import Attested, text

_APPLICATION = "clipline"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
Document = dict[str, Any]


def bom(attested: Attested) -> tuple[Document, dict[str, list[str]]]:
    """Returns the bill of materials, and what could not be had here: {reason: [name]}.

    Raises:
        ValueError: if requirements.lock of the revision is missing, or what the revision says does not fit the schema.
    """
    graph = ingredients.ingredients(attested)
    left_out: dict[str, list[str]] = {}
    if ingredients.DATA_SET in graph.data and attested.place(ingredients.ROOT) is None:
        _note(left_out, "the digest that names the data set: not here", ingredients.ROOT)
    models = {name: _model(attested, graph.models[name], left_out) for name in sorted(graph.models)}
    data = {path: _data(attested, path, graph.data[path]) for path in sorted(graph.data)}
    libraries = _libraries(attested)
    application = Component(name=_APPLICATION, type=ComponentType.APPLICATION, bom_ref=_APPLICATION)
    made = Bom(
        serial_number=uuid.UUID(int=0),
        components=[*models.values(), *data.values(), *libraries.values()],
        metadata=BomMetaData(component=application, timestamp=_newest(attested)),
    )
    made.register_dependency(application, [*models.values(), *libraries.values()])
    parts = {**data, **{graph.models[name]: component for name, component in models.items()}}
    for ref, needed in graph.rests_on.items():
        made.register_dependency(parts[ref], [parts[other] for other in needed])
    for name, component in models.items():
        versions = (attested.record(name) or {}).get("versions") or {}
        same = [key for key in sorted(versions) if key in libraries and libraries[key].version == versions[key]]
        made.register_dependency(component, [libraries[key] for key in same])
        other = [f"{graph.models[name]} ({key} {text(versions[key])})" for key in sorted(set(versions) - set(same))]
        _note(left_out, "libraries that ran in another version than requirements.lock has", *other)
    document = json.loads(JsonV1Dot6(made).output_as_string())
    entries = {entry["bom-ref"]: entry for entry in document["components"]}
    for path in graph.data:
        entries[path]["data"] = [_description(attested, path)]
    for name, ref in graph.models.items():
        entries[ref]["modelCard"] = model_cards.card(attested, name, graph.rests_on[ref], left_out)
    return _sealed(document, has_time=_newest(attested) is not None), {
        reason: sorted(names) for reason, names in left_out.items()
    }


def _model(attested: Attested, out: str, left_out: dict[str, list[str]]) -> Component:
    listing = attested.files(out)
    weights = sorted(file for file in listing if file.endswith(".safetensors"))[:1]
    hashes = [HashType(alg=HashAlgorithm.MD5, content=listing[file]) for file in weights]
    place = attested.place(f"{out}/{weights[0]}") if weights else None
    if place is not None:
        hashes.append(HashType(alg=HashAlgorithm.SHA_256, content=digests.sha256_file(place)))
    else:
        _note(left_out, "sha256 of weights that are not here", out)
    return Component(
        name=out.removeprefix("models/"),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=out,
        version=attested.outs[out],
        hashes=hashes,
        properties=[Property(name="clipline:weights", value=file) for file in weights],
    )


def _data(attested: Attested, path: str, digest: str) -> Component:
    is_file = not digest.endswith(".dir")
    root = attested.document(ingredients.ROOT) if path == ingredients.DATA_SET else None
    return Component(
        name=path,
        type=ComponentType.DATA,
        bom_ref=path,
        version=text(root["digest"]) if root and "digest" in root else digest,
        hashes=[HashType(alg=HashAlgorithm.MD5, content=digest)] if is_file else [],
        properties=[Property(name="clipline:dvc:md5", value=digest)],
    )


def _description(attested: Attested, path: str) -> Document:
    """Returns the CycloneDX description of a data component: counts only, nothing of a single row."""
    counts: dict[str, Any] = {}
    for name, instance in attested.graph.instances.items():
        if path in instance.outs or (path in instance.deps and name.partition("@")[0] == "source"):
            counts = attested.counts(name)
    told = [{"name": f"clipline:{key}", "value": text(counts[key])} for key in ("rows_in", "kept") if key in counts]
    described = {"type": "dataset", "name": path}
    return {**described, "contents": {"properties": told}} if told else described


def _libraries(attested: Attested) -> dict[str, Component]:
    """Returns {name: component} of every pin of requirements.lock, with the hashes that stand there."""
    lock = attested.at.read("requirements.lock")
    if lock is None:
        raise ValueError(f"requirements.lock: no such file in {attested.at}; the bill lists what it pins")
    found = {}
    for line in lock.decode("utf-8", "replace").replace("\\\n", " ").splitlines():
        pin = _PIN.match(line)
        if pin:
            name, version = re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2]
            purl = PackageURL(type="pypi", name=name, version=version)
            hashes = [HashType(alg=HashAlgorithm.SHA_256, content=content) for content in _HASH.findall(line)]
            found[name] = Component(name=name, version=version, purl=purl, bom_ref=purl.to_string(), hashes=hashes)
    return found


def _newest(attested: Attested) -> datetime.datetime | None:
    records: Iterable[Document] = filter(None, map(attested.record, attested.graph.instances))
    ended = [record["started"] + record["seconds"] for record in records]
    return datetime.datetime.fromtimestamp(max(ended), datetime.UTC) if ended else None


def _sealed(document: Document, *, has_time: bool) -> Document:
    """Returns the document with the serial number of its content, held against the schema."""
    document.pop("serialNumber")
    if not has_time:
        document["metadata"].pop("timestamp")
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digests.content_digest(document))}"
    sealed = {key: document[key] for key in sorted(document)}
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sealed))
    if found is not None:
        raise ValueError(f"what dvc.lock or a record says makes no CycloneDX 1.6: {' '.join(str(found).split())[:300]}")
    return sealed


def _note(left_out: dict[str, list[str]], reason: str, *names: str) -> None:
    if names:
        left_out.setdefault(reason, []).extend(names)
