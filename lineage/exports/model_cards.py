"""The CycloneDX card of one model: how it was trained, on what data, and how it did on the evaluation sets."""

from collections.abc import Iterator
from typing import Any

from lineage.exports import ingredients
from lineage.exports.attested import Attested, flat, text

Card = dict[str, Any]


def card(attested: Attested, name: str, rests_on: list[str], left_out: dict[str, list[str]]) -> Card:
    """Returns the card of the model that an instance made; what cannot be had here is added to `left_out`."""
    out = next(out for out in attested.graph.instances[name].outs if out.startswith("models/"))
    model = out.removeprefix("models/")
    datasets = [path for path in rests_on if not path.startswith("models/")]
    parameters: Card = {
        "approach": {"type": "self-supervised"},
        "task": "contrastive pre-training on pairs of picture and caption",
        "architectureFamily": "CLIP",
        "datasets": [{"ref": path} for path in datasets],
        "inputs": [{"format": "image"}, {"format": "text"}],
        "outputs": [{"format": "embedding"}],
    }
    architecture = [file.removesuffix(".json") for file in sorted(attested.files(out)) if _is_architecture(file)]
    if architecture:
        parameters["modelArchitecture"] = architecture[0]
    made: Card = {"modelParameters": parameters, "properties": _properties(attested, name)}
    evaluated = f"results/{model}/metrics.json"
    metrics = attested.document(evaluated) if f"results/{model}" in attested.outs else None
    if metrics is not None:
        made["quantitativeAnalysis"] = {"performanceMetrics": list(_metrics(metrics))}
    else:
        left_out.setdefault("metrics: none made, or not here", []).append(out)
    return made


def _properties(attested: Attested, name: str) -> list[Card]:
    """Returns the objective, the seed, the digest of the data set, every param and what was counted."""
    stage, _, key = name.partition("@")
    objective, _, seed = key.rpartition("-")
    found: dict[str, Any] = {"objective": objective, "seed": seed} if stage == "train" else {}
    root = attested.document(ingredients.ROOT) if stage == "train" else None
    if root is not None:
        found["dataset.digest"] = root.get("digest")
    found |= {
        f"params.{path}": value for path, value in flat(attested.graph.instances[name].params.get("params.yaml", {}))
    }
    found |= {f"counts.{path}": value for path, value in attested.counts(name).items()}
    record = attested.record(name) or {}
    found |= {key: record[key] for key in ("commit", "device", "python", "seconds") if record.get(key) is not None}
    return [{"name": f"clipline:{path}", "value": text(found[path])} for path in sorted(found)]


def _metrics(metrics: Card) -> Iterator[Card]:
    """Yields every measured value; its slice is evaluation set and part, as in `emoji/novel`."""
    for place, value in flat(metrics.get("sets", {})):
        parts = place.split(".")
        if parts[-1] == "value" and len(parts) > 4 and value is not None:
            kind = ".".join([parts[1], *parts[3:-1]])
            yield {"type": kind, "value": text(value), "slice": f"{parts[0]}/{parts[2]}"}


def _is_architecture(file: str) -> bool:
    return file.endswith(".json") and "/" not in file and file != "open_clip_config.json"
