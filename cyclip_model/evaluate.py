"""Stage evaluate: every protocol on one model; its metrics, and the predictions that the accuracies follow from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cyclip_model.benchmarks import KNOWN, NOVEL, ROWS, TRAIN
from cyclip_model.evaluation import encode
from cyclip_model.evaluation.protocols import ProtocolsConfig, Results, run
from cyclip_model.evaluation.suite import Encoded, Part, Space
from cyclip_model.metrics.zeroshot import class_embeddings
from cyclip_model.model import heads
from cyclip_model.model.heads import Saved
from cyclip_model.reporting import history
from cyclip_model.trainer.determinism import reproducible
from lineage import files, params, records, stage

if TYPE_CHECKING:
    from cyclip_model.model.towers import Loaded

PREDICTIONS = pa.schema(
    [(name, pa.string()) for name in ("set", "protocol", "part", "variant", "uid", "label", "prediction")]
    + [("rank", pa.int64())]
)
EXPOSURE = "exposure.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Section evaluate."""

    threads: int
    """Of torch; part of the result's identity, because sums of floats depend on it."""
    batch_size: int
    """Rows of a forward pass."""
    protocols: ProtocolsConfig
    """What is measured."""

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch_size < 1:
            raise ValueError("threads and batch_size must be at least 1")


class Texts:
    """Unit embeddings of texts, each distinct one encoded once."""

    def __init__(self, loaded: "Loaded", saved: Saved | None, lines: Iterable[str], batch_size: int) -> None:
        distinct = sorted(set(lines))
        self._row = {line: row for row, line in enumerate(distinct)}
        self._vectors = encode.compared(saved, encode.texts(loaded, distinct, batch_size), "text")

    def space(self, prompts: Mapping[str, Sequence[str]]) -> Space:
        """One class for each key, embedded as the normalised mean of its prompts' embeddings."""
        rows = [self._row[line] for lines in prompts.values() for line in lines]
        class_P = np.repeat(np.arange(len(prompts)), [len(lines) for lines in prompts.values()])
        return Space(classes=list(prompts), vectors=class_embeddings(self._vectors[rows], class_P, len(prompts)))


def fill(templates: Sequence[str], words: Iterable[str]) -> list[str]:
    """Every word in every template."""
    return [template.replace("{}", word) for word in words for template in templates]


def spoken(class_name: str) -> str:
    """The class name as words: face-smiling becomes face smiling."""
    return class_name.replace("-", " ").replace("_", " ")


def prompts(described: Mapping[str, Any]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """field -> variant -> class -> its prompts: the class's own name, or the names of its members in the train part."""
    templates = described["templates"]
    found = {"name": {"names": {name: fill(templates, [name]) for name in described["names"]}}}
    for field, key in (("subcategory", "subcategories"), ("category", "categories")):
        classes = described[key]
        found[field] = {
            "prompt": {name: fill(templates, [spoken(name)]) for name in classes},
            "members": {name: fill(templates, members["names"]) for name, members in classes.items()},
        }
    return found


def read_set(folder: Path) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """classes.json of a benchmark, and its parts as tables of benchmarks.ROWS."""
    path = folder / "classes.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `dvc repro benchmarks@{folder.name}` makes it")
    places = {TRAIN: TRAIN, **dict.fromkeys((*KNOWN, *NOVEL), "test")}
    tables = {part: records.read_table(folder / place / f"{part}.parquet", ROWS) for part, place in places.items()}
    return files.read_json(path), tables


def encode_set(loaded: "Loaded", saved: Saved | None, folder: Path, without: str | None, batch_size: int) -> Encoded:
    """The set in folder under the model and its heads.

    Raises:
        ValueError: the category to leave out is none of the set's.
    """
    described, tables = read_set(folder)
    if without is not None and without not in described["categories"]:
        known = ", ".join(described["categories"])
        raise ValueError(f"evaluate.protocols.without_category: {folder} has no category {without!r}; it has {known}")
    wanted = prompts(described)
    parts = {part: encode_part(loaded, saved, table, batch_size) for part, table in tables.items()}
    captions = {line: [line] for line in sorted({line for part in parts.values() for line in part.labels["caption"]})}
    lines = [line for field in wanted.values() for variant in field.values() for line in _flat(variant)]
    texts = Texts(loaded, saved, [*lines, *captions], batch_size)
    spaces = {field: {name: texts.space(of) for name, of in variants.items()} for field, variants in wanted.items()}
    parent = {name: members["category"] for name, members in described["subcategories"].items()}
    return Encoded(
        train=parts[TRAIN],
        tests={part: parts[part] for part in (*KNOWN, *NOVEL)},
        spaces=add_restricted(spaces, parent, without),
        categories=parent,
        captions=texts.space(captions),
    )


def _flat(prompts_by_class: Mapping[str, Sequence[str]]) -> list[str]:
    return [line for lines in prompts_by_class.values() for line in lines]


def encode_part(loaded: "Loaded", saved: Saved | None, table: pa.Table, batch_size: int) -> Part:
    """One part under the image tower."""
    columns = {name: table[name].to_pylist() for name in ("uid", "image", "name", "caption", "subcategory", "category")}
    feature_ND = encode.images(loaded, columns.pop("image"), batch_size)
    return Part(
        uids=columns.pop("uid"), labels=columns, features=feature_ND, images=encode.compared(saved, feature_ND, "image")
    )


def add_restricted(
    spaces: Mapping[str, Mapping[str, Space]], parent: Mapping[str, str], without: str | None
) -> dict[str, dict[str, Space]]:
    """The spaces, and beside each of subcategories or categories the same one without the category left out."""
    found = {field: dict(variants) for field, variants in spaces.items()}
    if without is None:
        return found
    for name, space in spaces["category"].items():
        found["category"][f"{name}_without_{without}"] = space.restricted(lambda label: label != without)
    for name, space in spaces["subcategory"].items():
        found["subcategory"][f"{name}_without_{without}"] = space.restricted(lambda label: parent[label] != without)
    return found


def model_facts(loaded: "Loaded", folder: Path) -> dict[str, Any]:
    """What the report says of the model: its size, and what it was trained on where its exposure is known."""
    facts: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "image_parameters": sum(parameter.numel() for parameter in loaded.model.visual.parameters()),
        "logit_scale": round(float(loaded.model.logit_scale.detach().exp()), 4),
    }
    if (folder / EXPOSURE).is_file():
        table = records.read_table(folder / EXPOSURE, records.EXPOSURE)
        counts = np.asarray(table["count"])
        facts["samples_seen"], facts["pairs_seen"] = int(counts.sum()), int((counts > 0).sum())
        facts["snapshots"] = sorted(set(table["snapshot"].to_pylist()))
    return facts


def write(found: Mapping[str, Results], model: Mapping[str, Any], out: Path, predictions: Path) -> int:
    """Writes metrics.json under out, and the predictions beside; returns their number.

    They are apart because DVC takes every file of a metrics folder for metrics.

    Args:
        found: what the protocols found, by set.
        model: what metrics.json says besides: the model's facts as `model`, what its training measured as `sets`.
    """
    sets = {**{name: of.metrics for name, of in found.items()}, **model["sets"]}
    files.write_json(out / "metrics.json", {"model": model["model"], "sets": sets})
    rows = [{"set": name, **row} for name, of in found.items() for row in of.predictions]
    records.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), predictions)
    return len(rows)


def main(model: Path, benchmarks: Path, out: Path, predictions: Path, provenance: Path) -> None:
    """Runs every protocol on MODEL over the sets in BENCHMARKS; writes metrics to OUT, answers to PREDICTIONS."""
    from cyclip_model.model import towers

    config, sets = params.load("evaluate", EvaluateConfig), params.names("sets")
    if not sets:
        raise ValueError("params.yaml: sets is empty: list at least one folder of data/sets to evaluate on")
    if history.SET in sets:
        raise ValueError(f"params.yaml: sets: {history.SET} is what the report calls the val split; rename that set")
    stage.prune(benchmarks, sets)
    settings = {"evaluate": config, "sets": sets}
    deps, outs = [model, benchmarks], [out, predictions]
    with (
        stage.run("evaluate", model.name, params=settings, deps=deps, outs=outs, provenance=provenance) as this,
        reproducible(config.threads),
    ):
        loaded, saved = towers.load(model), heads.load(model)
        found, num_listed, num_pictures = {}, 0, 0
        for name in stage.progress(sets, label="sets"):
            without = config.protocols.without_category
            encoded = encode_set(loaded, saved, benchmarks / name, without, config.batch_size)
            sides = (benchmarks / name / side for side in ("train", "test"))
            num_listed += sum(records.read_table(side, columns=["uid"]).num_rows for side in sides)
            num_pictures += sum(len(part.uids) for part in (encoded.train, *encoded.tests.values()))
            found[name] = run(encoded, config.protocols)
        made, answers = this.scratch / "out", this.scratch / "predictions.parquet"
        said = {"model": model_facts(loaded, model), "sets": history.as_sets(model)}
        num_predictions = write(found, said, made, answers)
        this.account(rows_in=num_listed, kept=num_pictures, predictions=num_predictions)
        this.publish(made, out)
        this.publish(answers, predictions)


if __name__ == "__main__":
    from cyclip_model.evaluate import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
